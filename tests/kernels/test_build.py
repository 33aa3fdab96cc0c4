"""Building the kernels: by good compilers and bad ones, once for all processes."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import cimsim
from cimsim import kernels
from cimsim.errors import CimsimWarning
from cimsim.kernels import cache, cpu
from tests.children import all_ended, ended
from tests.forks import forked
from tests.kernels.conftest import PYTHON, Compiler, build_in_a_process

Builds = Callable[[], cpu.Build]
needs_kernels = pytest.mark.skipif(cpu.build().library is None, reason=cpu.build().note)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def libraries(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.so"))


def fails(builds: Builds, said: str) -> cpu.Build:
    """A build that fails, with one warning."""
    with pytest.warns(CimsimWarning) as caught:
        built = builds()
    assert built.library is None
    assert said in built.note
    assert [str(warning.message) for warning in caught] == [f"the CPU kernels {built.note}"]
    assert "plain torch" in built.note
    return built


@needs_kernels
def test_they_are_built_once_and_kept(builds: Builds, tmp_path: Path) -> None:
    first = builds()
    assert first.library is not None
    (library,) = libraries(tmp_path / "cache")
    assert first.folder == library.parent
    written = library.stat().st_mtime_ns
    assert builds().library is not None
    assert library.stat().st_mtime_ns == written
    assert not list(library.parent.glob("scratch-*"))


def test_no_compiler_is_no_error(
    builds: Builds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert builds() == (
        None,
        "no C++ compiler was found; with one, training is several times faster (install g++ or "
        "clang)",
        "",
        None,
        False,
    )
    layer = cimsim.convert(nn.Linear(8, 4), "pcm-ibm-2020")
    x = torch.randn(3, 8)
    cimsim.calibrate(layer, [x])
    layer(x).sum().backward()
    assert layer.weight.grad is not None


HALF = 'head -c $(($(wc -c < "$OUT") / 2)) "$OUT" > "$OUT.half"; mv "$OUT.half" "$OUT"'


@pytest.mark.parametrize(
    ("script", "said", "starts"),
    [
        ("echo 'x.cpp:1: error: nonsense'; echo '1 error generated.'; exit 1", "nonsense", 5),
        ('echo junk > "$OUT"', "cannot be used (", 5),
        (': > "$OUT"', "cannot be used (", 5),
        ("exit 0", "wrote no library", 5),
        ("exit 1", "ended with code 1", 5),
        ("kill -9 $$", "ended by SIGKILL", 1),
    ],
)
def test_a_failing_compiler_is_no_error_and_is_remembered(
    builds: Builds,
    compiler: Compiler,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    said: str,
    starts: int,
) -> None:
    monkeypatch.setenv("CXX", compiler.does(script))
    fails(builds, said)
    assert not kernels.active(torch.empty(1))
    assert compiler.starts == starts
    fails(builds, "`cimsim doctor --rebuild` tries again")
    assert compiler.starts == starts


def test_a_failure_is_forgotten_after_a_day_and_for_another_compiler(
    builds: Builds, compiler: Compiler, whole: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", compiler.does("exit 1"))
    fails(builds, "code 1")
    (record,) = (tmp_path / "cache").rglob("*.failed")
    content = json.loads(record.read_text())
    record.write_text(json.dumps(content | {"at": content["at"] - 2 * 86400}))
    fails(builds, "code 1")
    assert compiler.starts == 10
    for damaged in ("", "[]", '{"at": "x"}', "\xff"):
        record.write_text(damaged, encoding="latin-1")
        fails(builds, "code 1")
    compiler.does(f"{whole}  # another version")
    assert builds().library is not None


def test_a_compiler_that_takes_too_long_is_stopped_with_its_children(
    builds: Builds, compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", compiler.does('sleep 600 & echo $! $$ > "$PIDS"; wait'))
    monkeypatch.setenv("CIMSIM_BUILD_SECONDS", "0.5")
    begin = time.monotonic()
    fails(builds, "stopped after 0.5 s; CIMSIM_BUILD_SECONDS in the environment allows more")
    assert time.monotonic() - begin < 30
    assert compiler.starts == 1
    assert len(compiler.children) == 2
    assert not compiler.living()
    fails(builds, "`cimsim doctor --rebuild` tries again")
    assert compiler.starts == 1
    monkeypatch.setenv("CIMSIM_BUILD_SECONDS", "0.6")
    fails(builds, "stopped after 0.6 s")
    assert compiler.starts == 2


def test_an_interrupted_build_stops_the_compiler(
    builds: Builds, compiler: Compiler, tmp_path: Path
) -> None:
    script = compiler.does('sleep 600 & echo $! $$ > "$PIDS"; wait')
    listens = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    process = subprocess.Popen(
        [*PYTHON[:2], listens + PYTHON[2]],
        env=os.environ | {"CXX": script},
        stderr=subprocess.PIPE,
    )
    try:
        _until(lambda: len(compiler.children) == 2)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert not compiler.living()
        assert not list((tmp_path / "cache").rglob("scratch-*"))
    finally:
        process.kill()
        process.communicate()


def test_a_killed_build_leaves_nothing_that_is_loaded(
    builds: Builds, compiler: Compiler, whole: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = compiler.does(f'{whole}; {HALF}; echo $$ > "$PIDS"; sleep 600')
    process = subprocess.Popen(PYTHON, env=os.environ | {"CXX": script})
    try:
        _until(lambda: bool(compiler.children))
    finally:
        process.kill()
        process.wait()
        compiler.kill()
    left = list((tmp_path / "cache").rglob("scratch-*"))
    assert left
    for folder in left:
        os.utime(folder, (0, 0))  # as a later day finds it
    monkeypatch.setenv("CXX", compiler.does(whole))
    assert builds().library is not None
    assert not any(folder.exists() for folder in left)


def _until(true: Callable[[], bool], within_s: float = 120.0) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("damage", ["half", "empty", "one bit", "longer"])
def test_a_damaged_library_is_built_again(
    builds: Builds,
    compiler: Compiler,
    whole: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: str,
) -> None:
    """In a process of its own: to load half a library ends one by SIGBUS."""
    monkeypatch.setenv("CXX", compiler.does(whole))
    assert builds().library is not None
    (library,) = libraries(tmp_path / "cache")
    content = library.read_bytes()
    damaged = {
        "half": content[: len(content) // 2],
        "empty": b"",
        "one bit": bytes([*content[:9999], content[9999] ^ 1, *content[10000:]]),
        "longer": content + b"\0",
    }
    library.unlink()  # this process has loaded it
    library.write_bytes(damaged[damage])
    library.chmod(0o700)
    with forked(build_in_a_process, [()]) as (process,):
        _, note = ended(process)
    assert process.returncode == 0, note
    assert note.startswith("built with")
    assert note.count("\n") == 1
    assert compiler.starts == 2
    assert builds().library is not None
    assert compiler.starts == 2
    (library,) = libraries(tmp_path / "cache")
    assert library.read_bytes() == content


@needs_kernels
@pytest.mark.parametrize("end", ["half", "abort"])
def test_a_library_that_would_end_the_process_is_not_loaded(
    builds: Builds,
    compiler: Compiler,
    whole: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    end: str,
) -> None:
    script = f"{whole}; {HALF}"
    if end == "abort":
        source, real = tmp_path / "abort.cpp", shlex.join(build_command())
        source.write_text(
            "#include <cstdlib>\n__attribute__((constructor)) void f() { abort(); }\n"
        )
        script = f'{real} -shared -fPIC {source} -o "$OUT"'
    monkeypatch.setenv("CXX", compiler.does(script))
    fails(builds, "the library that it made cannot be used (")
    assert not libraries(tmp_path)


def build_command() -> tuple[str, ...]:
    from cimsim.kernels.build import find_compiler

    return find_compiler()


def test_flags_that_do_not_work_here_are_left_out(
    builds: Builds, compiler: Compiler, whole: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f'case "$*" in *native*) echo error: no such processor; exit 1;; esac\n{whole}'
    monkeypatch.setenv("CXX", compiler.does(script))
    assert builds().library is not None
    assert "-fopenmp" in compiler.log.read_text().splitlines()[-1]


@needs_kernels
def test_it_says_that_there_is_one_thread_only(
    builds: Builds, compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shlex.join(build_command())
    without = 'case "$*" in *-fopenmp*) echo error: unsupported option; exit 1;; esac'
    monkeypatch.setenv("CXX", compiler.does(f'{without}\nexec {real} "$@" -O0'))
    built = builds()
    assert built.library is not None
    assert not built.threaded
    assert built.note.endswith(", for one thread: no OpenMP")


@pytest.mark.parametrize("cxx", ["{0} {1}", "'{0}' {1} -DX", "{1}", " {1} "])
def test_cxx_may_be_a_command(
    builds: Builds,
    compiler: Compiler,
    whole: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cxx: str,
) -> None:
    launcher = Compiler(tmp_path / "more programs" if "'" in cxx else tmp_path / "more", "ccache")
    monkeypatch.setenv("CXX", cxx.format(launcher.does('exec "$@"'), compiler.does(whole)))
    assert builds().library is not None
    assert compiler.starts == 1
    assert launcher.starts == ("{0}" in cxx)


def test_a_compiler_with_spaces_in_its_path(
    builds: Builds, whole: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", Compiler(tmp_path / "my programs").does(whole))
    assert builds().library is not None


@pytest.mark.parametrize(
    ("cxx", "said"),
    [
        ("/no/such/c++", "CXX is '/no/such/c++', which names no existing program"),
        ("nosuchcache g++", "CXX is 'nosuchcache g++', which names no existing program"),
        ("g++ 'x", 'CXX is "g++ \'x", which is not a command'),
        ("''", "which names no existing program"),
    ],
)
def test_a_wrong_cxx_is_said_once(
    builds: Builds, monkeypatch: pytest.MonkeyPatch, cxx: str, said: str
) -> None:
    monkeypatch.setenv("CXX", cxx)
    fails(builds, said)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cpu.build().library is None  # and nothing is said


def test_a_file_that_is_no_program(
    builds: Builds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c++").write_bytes(b"\x7fELF\0\0")
    (tmp_path / "c++").chmod(0o755)
    monkeypatch.setenv("CXX", str(tmp_path / "c++"))
    fails(builds, "could not be built with")


@pytest.mark.parametrize("rank", ["RANK", "SLURM_PROCID"])
def test_only_the_first_process_speaks(
    builds: Builds, monkeypatch: pytest.MonkeyPatch, rank: str
) -> None:
    monkeypatch.setenv("CXX", "/no/such/c++")
    monkeypatch.setenv(rank, "1")
    assert builds().library is None  # warnings are errors here
    monkeypatch.setenv(rank, "0")
    fails(builds, "/no/such/c++")


def test_they_are_left_out_on_windows(builds: Builds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    built = builds()
    assert built.library is None
    assert "Windows" in built.note


def test_many_first_users_at_once(
    builds: Builds, compiler: Compiler, whole: str, tmp_path: Path
) -> None:
    script = compiler.does(f'cp /dev/null "$OUT"; sleep 1; {whole}')
    with forked(build_in_a_process, [()] * 4, [{"CXX": script}] * 4) as processes:
        notes = all_ended(processes)
    assert notes == [f"built with {script}\n"] * 4
    assert compiler.starts == 1
    assert len(libraries(tmp_path / "cache")) == 1


class TestWhereTheyAreKept:
    """The user's cache; else a temporary folder of the user's; never where others write."""

    @pytest.mark.parametrize("obstacle", ["a file", "open to all", "a link", "nobody's"])
    def test_elsewhere_if_need_be(
        self,
        builds: Builds,
        compiler: Compiler,
        whole: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        obstacle: str,
    ) -> None:
        """And built once there."""
        monkeypatch.setenv("CXX", compiler.does(whole))
        wanted = tmp_path / "cache" / "cimsim" / "kernels"
        wanted.parent.mkdir(parents=True)
        if obstacle == "a file":
            wanted.touch()
        elif obstacle == "open to all":
            wanted.mkdir()
            wanted.chmod(0o777)
        elif obstacle == "a link":
            (tmp_path / "other").mkdir(mode=0o700)
            wanted.symlink_to(tmp_path / "other")
        else:
            if os.geteuid() != 0:
                pytest.skip("needs root")
            wanted.mkdir()
            os.chown(wanted, 12345, 12345)
        for _ in range(2):
            assert builds().folder == tmp_path / "temporary" / f"cimsim-{os.geteuid()}"
        assert compiler.starts == 1

    def test_what_others_may_have_put_there_is_not_loaded(
        self,
        builds: Builds,
        compiler: Compiler,
        whole: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("CXX", compiler.does(whole))
        trusted = builds().folder
        assert trusted is not None
        (library,) = libraries(trusted)
        assert cache.find(trusted, library.name.split("-")[1]) == library
        for place, mode in ((trusted, 0o777), (trusted.parent, 0o777), (library, 0o777)):
            before = place.stat().st_mode
            place.chmod(mode)
            assert cache.find(trusted, library.name.split("-")[1]) is None
            place.chmod(before)

    def test_a_full_disk_starts_no_compiler(
        self, builds: Builds, compiler: Compiler, whole: str, tmp_path: Path
    ) -> None:
        limited = (
            "import resource, sys, torch; resource.setrlimit(resource.RLIMIT_FSIZE, (9999, 9999));"
        )
        environment = os.environ | {"CXX": compiler.does(whole)}
        done = subprocess.run(
            [sys.executable, "-c", limited + PYTHON[-1]],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0
        assert f"{tmp_path / 'cache' / 'cimsim' / 'kernels'}: File too large; " in done.stdout
        assert done.stderr.count("CimsimWarning") == 1
        assert compiler.starts == 0
        assert not libraries(tmp_path)

    @needs_root
    def test_a_full_cache_gives_way_to_a_temporary_folder(
        self,
        builds: Builds,
        compiler: Compiler,
        whole: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        disk = str(tmp_path / "cache")
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", disk]
        if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("cannot mount a small disk")
        try:
            monkeypatch.setenv("CXX", compiler.does(whole))
            for _ in range(2):
                assert builds().folder == tmp_path / "temporary" / f"cimsim-{os.geteuid()}"
            assert compiler.starts == 1
        finally:
            subprocess.run(["umount", disk], check=True)

    def test_a_disk_that_fills_up_during_the_build(
        self,
        builds: Builds,
        compiler: Compiler,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """It is the disk's fault, not that of the flags: they are not tried one by one."""
        said = "error: No space left on device"
        monkeypatch.setenv("CXX", compiler.does(f"echo '{said}'; exit 1"))
        answers = iter([None, "No space left on device"])
        monkeypatch.setattr(cache, "problem_for_writing", lambda folder: _made(folder, answers))
        fails(builds, said)
        assert compiler.starts == 1
        assert not list(tmp_path.rglob("*.failed"))

    @pytest.mark.parametrize("variable", ["HOME", "XDG_CACHE_HOME"])
    def test_a_home_that_is_no_whole_path_is_none(
        self,
        builds: Builds,
        compiler: Compiler,
        whole: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        variable: str,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("CXX", compiler.does(whole))
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv(variable, "~")
        folder = builds().folder
        assert folder is not None
        assert (tmp_path / "home" in folder.parents) == (variable != "HOME")
        assert not (tmp_path / "~").exists()


def _made(folder: Path, answers: object) -> str | None:
    folder.mkdir(parents=True, exist_ok=True)
    return next(answers)  # type: ignore[call-overload, no-any-return]
