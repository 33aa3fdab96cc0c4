"""Damaged folders of a run that was swept and studied, shown to every command that reads one."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from cimsim.cli import main
from cimsim.errors import CimsimError
from tests.fuzz.judging import Unacceptable, refuse_unclear, refuse_unprintable
from tests.fuzz.values import anything, damage, mutate, text, written

_MADE = """
train --data digits --model mlp --profile pcm-ibm-2020 --epochs 1 --limit 200 --out RUN
sweep RUN --over noise=0,2 --chips 2
sweep RUN --over adc.bits=ideal,4 --chips 1
map RUN --x noise=0,6 --y adc.bits=ideal,3 --chips 1 --age 1h
tolerance RUN --over adc.bits --within 5 --to 7 --chips 1
budget RUN --chips 1 --age 60s
budget RUN --waterfall --chips 1 --age 0s
sensitivity RUN --chips 1 --samples 20
advise RUN --within 8 --chips 1 --samples 20
life RUN --from 1min --points 2 --chips 1
yield RUN --above 50 --chips 2
cost RUN --inputs 2
"""
_HASHES = "SHA256SUMS"
_READ = (
    "report RUN --out page.html",
    "report RUN --out page.html",
    "plot RUN --over noise --out plot.png",
    "plot RUN --over adc.bits --out plot.png",
    "sweep RUN --over noise=0,2 --chips 2",
    "sweep RUN --over noise=0,3 --chips 1",
    "map RUN --x noise=0,6 --y adc.bits=ideal,3 --chips 1 --age 1h",
    "tolerance RUN --over adc.bits --within 5 --to 7 --chips 1",
    "life RUN --from 1min --points 2 --chips 1",
    "yield RUN --above 50 --chips 2",
    "cost RUN --inputs 2",
    "train --data digits --model mlp --profile pcm-ibm-2020 --epochs 1 --limit 200 --resume "
    "--out RUN",
)


@cache
def made() -> Path:
    """The folder of a run of which everything was measured; made once, then copied."""
    folder = Path(tempfile.mkdtemp(prefix="cimsim-fuzz-run-"))
    run = folder / "run"
    for line in _MADE.strip().splitlines():
        code, out = typed(line, run, folder)
        if code != 0:
            raise RuntimeError(f"{line}: {out}")
    return run


def remove() -> None:
    """Remove what :func:`made` made."""
    if made.cache_info().currsize:
        shutil.rmtree(made().parent, ignore_errors=True)
        made.cache_clear()


def write_case(rng: random.Random, folder: Path) -> str:
    """Copy the run into ``folder`` and damage one of its files; returns what was done."""
    run = folder / "run"
    shutil.copytree(made(), run)
    files = sorted(path for path in run.rglob("*") if path.is_file())
    weights = [1 if path.suffix in (".csv", ".png", ".svg") else 4 for path in files]
    (path,) = rng.choices(files, weights)
    name, way = rng.choice(_WAYS)
    way(rng, path)
    if path.name != _HASHES and rng.random() < 0.5:
        (run / _HASHES).unlink(missing_ok=True)  # so that more than the hash is tried
    return f"{path.relative_to(run)} ({name})"


def check_case(rng: random.Random, folder: Path) -> str:
    """Run a command on the run in ``folder``.

    Raises:
        CimsimError: it refused the run.
        Unacceptable: it ended otherwise, or printed what a terminal obeys.
    """
    command = rng.choice(_READ)
    code, out = typed(command, folder / "run", folder)
    refuse_unprintable(out)
    if code == 0:
        return command
    found = [line for line in out.splitlines() if line.startswith("cimsim: error: ")]
    if code != 2 or not found or "Traceback" in out:
        raise Unacceptable(f"`cimsim {command}` ended with {code}: {out[-300:]!a}")
    message = out[out.index("cimsim: error: ") :].strip()
    refuse_unclear(message)
    raise CimsimError(f"{command}: {message}")


def typed(line: str, run: Path, folder: Path) -> tuple[int, str]:
    """The exit code of a command, and what it printed."""
    words = [
        {"RUN": str(run), "page.html": str(folder / "page.html")}.get(w, w) for w in line.split()
    ]
    words = [str(folder / word) if word.endswith(".png") else word for word in words]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            code = main(words)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
    return code, printed.getvalue()


def _bytes(rng: random.Random, path: Path) -> None:
    path.write_bytes(damage(rng, path.read_bytes()))


def _fields(rng: random.Random, path: Path) -> None:
    """A field of JSON, a cell of CSV, or a line of something else is another value."""
    content = path.read_bytes()
    if path.suffix in (".json", ".jsonl"):
        lines = [content.decode()] if path.suffix == ".json" else content.decode().splitlines()
        which = rng.randrange(len(lines))
        tree = json.loads(lines[which])
        tree.pop("sha256", None)  # as somebody would who means it
        lines[which] = written(mutate(rng, tree, [tree]), strict=True)
        path.write_bytes("\n".join([*lines, ""]).encode("utf-8", "surrogatepass"))
    elif path.suffix == ".csv":
        rows = list(csv.reader(io.StringIO(content.decode())))
        row = rng.choice(rows)
        row[rng.randrange(len(row))] = text(rng)
        table = io.StringIO()
        csv.writer(table).writerows(rows)
        path.write_bytes(table.getvalue().encode("utf-8", "surrogatepass"))
    elif path.suffix == ".yaml":
        lines = content.decode().splitlines()
        which = rng.randrange(len(lines))
        key = lines[which].partition(":")[0]
        lines[which] = f"{key}: {written(anything(rng))}"
        path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    elif path.suffix == ".svg":
        odd = rng.choice(
            (b'viewBox="x"', b'viewBox="0 0 nan 1"', b"", b'viewBox="1"', b"<svg>" * 3)
        )
        path.write_bytes(content.replace(b'viewBox="', odd + b' a="', 1))
    else:
        _bytes(rng, path)


def _empty(rng: random.Random, path: Path) -> None:
    path.write_bytes(rng.choice((b"", b"\n", b"null", b"[]", b"{}", b"0", b"[" * 100_000)))


def _gone(rng: random.Random, path: Path) -> None:
    path.unlink()


def _pipe(rng: random.Random, path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(rng: random.Random, path: Path) -> None:
    path.unlink()
    path.mkdir()


def _link(rng: random.Random, path: Path) -> None:
    path.unlink()
    path.symlink_to(rng.choice(("/dev/zero", "/dev/null", path.name, "/nonexistent", ".")))


def _aliases(rng: random.Random, path: Path) -> None:
    """A few hundred bytes of YAML that mean gigabytes."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    path.write_text("\n".join(lines))


_WAYS: tuple[tuple[str, Callable[[random.Random, Path], None]], ...] = (
    *(("fields", _fields),) * 6,
    *(("bytes", _bytes),) * 3,
    ("empty", _empty),
    ("gone", _gone),
    ("pipe", _pipe),
    ("folder", _folder),
    ("link", _link),
    ("aliases", _aliases),
)
