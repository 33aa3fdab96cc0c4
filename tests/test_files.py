"""How files are written: whole or not at all, through no link, and one process at a time."""

from __future__ import annotations

import ast
import errno
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from cimsim import files as files_module
from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.errors import CimsimError
from cimsim.files import (
    append_line,
    locked,
    make_folder,
    read_file,
    replacing,
    sha256_of,
    write_text,
)
from cimsim.training.config import TrainConfig
from cimsim.training.fit import fit
from cimsim.training.progress import Silent
from cimsim.training.run import Run
from tests.children import LEAST_S, patience
from tests.forks import Fork, forked
from tests.subjects import sweep
from tests.training.small import small

ROOT = Path(__file__).parents[1]


def test_a_temporary_file_has_no_name_that_can_be_foreseen(tmp_path: Path) -> None:
    names = set()
    for _ in range(3):
        with replacing(tmp_path / "a.txt") as temporary:
            names.add(temporary.name)
            assert temporary.is_file()
            temporary.write_text("x")
    assert len(names) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_it_is_made_exclusively(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a link of the right name is not followed."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    monkeypatch.setattr(files_module.secrets, "token_hex", lambda count: "known")
    (tmp_path / ".a.txt.known.part").symlink_to(elsewhere)
    with pytest.raises(CimsimError, match=r"cannot write .*a\.txt: File exists"):
        write_text(tmp_path / "a.txt", "new")
    assert elsewhere.read_text() == "precious"


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    (tmp_path / "a.txt").symlink_to(elsewhere)
    write_text(tmp_path / "a.txt", "new")
    assert (elsewhere.read_text(), (tmp_path / "a.txt").read_text()) == ("precious", "new")
    (tmp_path / "log").symlink_to(elsewhere)
    with pytest.raises(CimsimError, match="log: it is a symbolic link"):
        append_line(tmp_path / "log", "more")
    with (
        pytest.raises(CimsimError, match="log: it is a symbolic link"),
        locked(tmp_path / "log", ""),
    ):
        pass
    assert elsewhere.read_text() == "precious"


def test_files_are_as_readable_as_the_user_wants(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_what_a_killed_process_left_is_removed_later(tmp_path: Path) -> None:
    old, new, other = (tmp_path / f".{name}.part" for name in ("a.1", "a.2", "b.1"))
    for path in (old, new, other):
        path.touch()
    os.utime(old, (0, 0))
    os.utime(other, (0, 0))
    write_text(tmp_path / "a", "")
    assert not old.exists()
    assert new.exists()  # another process may be writing it
    assert other.exists()


@pytest.mark.parametrize("kind", ["pipe", "folder", "missing", "device"])
def test_what_is_no_file_is_not_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path = Path("/dev/zero")
    for read in (read_file, sha256_of):
        with pytest.raises(CimsimError, match=str(path)):
            read(path)


def test_what_is_too_large_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    assert read_file(tmp_path / "x", 5) == b"12345"
    with pytest.raises(CimsimError, match="larger than the limit of 4 bytes"):
        read_file(tmp_path / "x", 4)


def test_a_pipe_is_no_log(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    with pytest.raises(CimsimError, match="not a regular file"):
        append_line(tmp_path / "log", "x")


def test_folders_of_a_run_are_no_links(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    run = tmp_path / "run"
    run.mkdir()
    (run / "sweeps").symlink_to(tmp_path / "elsewhere")
    make_folder(run / "sweeps" / "free")  # not yet a run
    (run / "config.yaml").touch()
    with pytest.raises(CimsimError, match="sweeps: it is a symbolic link"):
        make_folder(run / "sweeps" / "noise")
    with pytest.raises(CimsimError, match="sweeps: it is a symbolic link"):
        make_folder(run / "sweeps")
    (tmp_path / "link").symlink_to(run)  # the user's own way to a run
    make_folder(tmp_path / "link" / "maps")
    assert (run / "maps").is_dir()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(small(epochs=1), tmp_path_factory.mktemp("trained") / "run").path


@pytest.mark.parametrize(
    "link", ["sweeps", "sweeps/noise", "sweeps/noise/results.jsonl", "sweeps/noise/sweep.json"]
)
def test_a_sweep_writes_nothing_elsewhere(link: str, trained: Path, tmp_path: Path) -> None:
    run = Run.open(shutil.copytree(trained, tmp_path / "run"))
    elsewhere = tmp_path / "elsewhere"
    if "." in link:
        elsewhere.write_text("")
    else:
        elsewhere.mkdir()
    (run.path / link).parent.mkdir(parents=True, exist_ok=True)
    (run.path / link).symlink_to(elsewhere)
    refusal = pytest.raises(CimsimError, match="is a symbolic link")
    with nullcontext() if link.endswith("sweep.json") else refusal:  # that one is replaced
        sweep([run], parse_axis("noise=1"), 1)
    assert not list(elsewhere.iterdir()) if elsewhere.is_dir() else elsewhere.read_text() == ""


@pytest.mark.parametrize("link", [".lock", "metrics.jsonl", "checkpoint.pt", "model.safetensors"])
def test_a_training_writes_nothing_elsewhere(link: str, tmp_path: Path) -> None:
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "run"
    elsewhere.write_text("")
    fit(small(epochs=1), out)
    for name in ("result.json", link):
        (out / name).unlink(missing_ok=True)
    (out / link).symlink_to(elsewhere)
    refusal = pytest.raises(CimsimError, match=re.escape(link))
    with nullcontext() if link == "model.safetensors" else refusal:  # that one is replaced
        fit(small(epochs=1), out, resume=True)
    assert elsewhere.read_text() == ""


WRITING = {"write_text", "write_bytes", "savefig", "save_file", "save_model", "to_csv", "tofile"}
ALLOWED = {  # they write elsewhere than into a run, or to memory
    ("analysis/figures/svg.py", "savefig"),  # to text
    ("training/data/download.py", "open"),  # to the temporary file that its caller made
}


def _is_writing(call: ast.Call) -> str | None:
    """The name of the function, where a call opens a file to write or writes one."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in WRITING:
        return name
    if name in ("save", "dump") and isinstance(call.func, ast.Attribute):
        owner = ast.unparse(call.func.value)
        return name if owner in ("torch", "np", "numpy") else None
    modes = [*call.args, *(word.value for word in call.keywords)]
    texts = [m.value for m in modes if isinstance(m, ast.Constant) and isinstance(m.value, str)]
    if name in ("open", "fdopen") and any(
        set(text) <= set("rwaxbt+") and set(text) & set("wax+") for text in texts
    ):
        return name
    return None


def _temporaries(tree: ast.AST) -> set[str]:
    """Names of the paths that :func:`replacing` gives, and of the files that are opened there."""
    names: set[str] = set()
    for node in ast.walk(tree):
        for item in node.items if isinstance(node, ast.With) else []:
            text = ast.unparse(item.context_expr)
            given = item.optional_vars
            if isinstance(given, ast.Name) and (
                text.startswith("replacing(") or text.partition(".")[0] in names
            ):
                names.add(given.id)
    return names


def test_files_are_written_in_one_way() -> None:
    """Every writer of the package writes to a path of ``replacing``, or by this module."""
    found = []
    for folder in ("analysis", "cimsim", "training"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name == "cimsim/files.py" or name.startswith("cimsim/kernels/"):
                continue  # the one way, and the cache of compiled kernels
            tree = ast.parse(path.read_text(encoding="utf-8"))
            safe = _temporaries(tree)
            for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
                writing = _is_writing(call)
                of_file = ast.unparse(call.func) == "write_text"  # that of this module
                if not writing or of_file or (name, writing) in ALLOWED:
                    continue
                said = {ast.unparse(a) for a in call.args} | {ast.unparse(call.func).split(".")[0]}
                if not said & (safe | {f"str({n})" for n in safe} | {"hashed"}):
                    found.append(f"{name}:{call.lineno}: {ast.unparse(call)}")
    assert not found


def test_a_full_disk_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for write in (write_text, append_line):
        with pytest.raises(CimsimError, match=r"cannot write .*x: No space left on device"):
            write(tmp_path / "x", "text")


TRIALS = 8


class Held(Silent):
    """Ends no epoch."""

    def __init__(self, say: Connection) -> None:
        self._say = say

    def epoch(self, metrics: dict[str, Any]) -> None:
        self._say.send("held")
        time.sleep(1000)


def train(config: TrainConfig, folder: Path, trials: int, say: Connection, hold: bool) -> None:
    """In a process of its own: train whenever the test says that one may begin."""
    for trial in range(trials):
        say.send("ready")
        while not (folder / f"start-{trial}").exists():
            time.sleep(0.0003)
        try:
            fit(config, folder / f"run-{trial}", progress=Held(say) if hold else None)
            say.send("trained")
        except CimsimError as error:
            say.send(str(error))


@contextmanager
def training(
    *configs: TrainConfig, folder: Path, trials: int, hold: bool = False
) -> Iterator[tuple[list[Fork], list[Connection]]]:
    """A process for each configuration, and what it says."""
    with ExitStack() as stack:
        pipes = [Pipe(duplex=False) for _ in configs]
        for pipe in pipes:
            for end in pipe:
                stack.callback(end.close)
        given = [(c, folder, trials, say, hold) for c, (_, say) in zip(configs, pipes, strict=True)]
        yield stack.enter_context(forked(train, given)), [heard for heard, _ in pipes]


def line_of(heard: Connection) -> Any:
    """What a process says next."""
    assert heard.poll(LEAST_S) or heard.poll(patience())
    return heard.recv()


def test_of_two_trainings_started_together_one_runs(tmp_path: Path) -> None:
    """With different seeds: the folder must not be a mixture of both."""
    configs = [small(seed=seed, epochs=1) for seed in (1, 2)]
    with training(*configs, folder=tmp_path, trials=TRIALS) as (_, pair):
        for trial in range(TRIALS):
            assert [line_of(heard) for heard in pair] == ["ready", "ready"]
            (tmp_path / f"start-{trial}").touch()
            said = [line_of(heard) for heard in pair]
            assert said.count("trained") == 1, said
            winner = said.index("trained")
            assert re.search(
                "another process is training in|already contains a run", said[1 - winner]
            )
            run = Run.open(tmp_path / f"run-{trial}")
            assert run.config.seed == 1 + winner
            run.chip_model()


def test_the_lock_is_held_until_its_holder_is_killed(tmp_path: Path) -> None:
    """Also against one that says that its profile has moved, which rewrites ``config.yaml``."""
    profile = tmp_path / "mine.yaml"
    profile.write_text("name: mine\nextends: generic-gaussian\n")
    config, out = small(profile=str(profile)), tmp_path / "run-0"
    (tmp_path / "start-0").touch()
    with training(config, folder=tmp_path, trials=1, hold=True) as ((holder,), (heard,)):
        assert [line_of(heard), line_of(heard)] == ["ready", "held"]
        before = {path: path.read_bytes() for path in out.iterdir()}
        moved = shutil.copy(profile, tmp_path / "moved.yaml")
        for settings in (config, small(profile=str(moved))):
            with pytest.raises(CimsimError, match="another process is training in"):
                fit(settings, out, resume=True)
        assert {path: path.read_bytes() for path in out.iterdir()} == before
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=60)
        assert fit(small(profile=str(moved)), out, resume=True).config.profile == str(moved)
