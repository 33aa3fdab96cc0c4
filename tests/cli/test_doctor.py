from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from ctypes import CDLL
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

from cimsim.array.circuit import not_fused
from cimsim.cli import doctor
from cimsim.kernels import cpu
from cimsim.kernels.cpu import Unit
from cimsim.profile import load_profile, profile_names

ROOT = Path(__file__).parents[2]

Command = Callable[..., tuple[int, str, str]]


def test_the_doctor_sees_everything(
    cimsim: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIMSIM_DATA", str(tmp_path))
    code, out, err = cimsim("doctor")
    assert (code, err) == (0, "")
    for name in ("cimsim", "Python", "torch", "CPU", "compiler", "torchvision", "digits", "mnist"):
        assert f"\n{name} " in f"\n{out}"
    assert str(tmp_path) in out
    assert "1437 images to train, 360 to test" in out
    assert "no mnist data in" in out


def test_a_check_that_breaks_down_is_a_finding(
    cimsim: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = ModuleType("torch")
    monkeypatch.setitem(sys.modules, "torch", broken)
    code, out, _ = cimsim("doctor")
    assert code == 0
    assert "AttributeError" in out
    assert "can be written to" in out


def test_a_broken_torchvision_is_a_problem_with_a_remedy(
    cimsim: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator nms does not exist')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(doctor, "_version", lambda package: "0.28.0")
    _, out, _ = cimsim("doctor")
    assert "0.28.0 fails (operator nms does not exist)" in out
    assert "pip uninstall torchvision" in out


def test_a_missing_package_is_a_problem(cimsim: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_NEEDED", ("no-such-package-at-all",))
    _, out, _ = cimsim("doctor")
    assert "problem  is not installed" in out


def test_a_package_that_is_too_old_is_a_problem_with_a_remedy(
    cimsim: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = ["torch>=2.9", "PyYAML>=6.0.1", "torch>=99; extra == 'test'"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: needed)
    versions = {"torch": "2.8.0+cpu", "PyYAML": "6.0.3"}
    monkeypatch.setattr(doctor, "_version", versions.get)
    _, out, _ = cimsim("doctor")
    assert re.search(
        r"\ntorch +problem +2\.8\.0\+cpu does not work; cimsim needs torch>=2\.9: ", out
    )
    assert "pip install --upgrade 'torch>=2.9'" in " ".join(out.split())
    assert re.search(r"\nPyYAML +ok +6\.0\.3", out)


def test_it_looks_at_all_that_cimsim_needs() -> None:
    tomllib = pytest.importorskip("tomllib", reason="pyproject.toml is read from Python 3.11 on")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {Requirement(line).name.lower() for line in project["dependencies"]}
    assert {name.lower() for name in doctor._NEEDED} == needed
    assert project["name"] == doctor._DISTRIBUTION


def test_a_missing_compiler_is_a_note(cimsim: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", missing)
    code, out, _ = cimsim("doctor")
    assert code == 0
    assert "no C++ compiler; install g++" in out


def test_missing_headers_of_python_are_a_note(
    cimsim: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", lambda: "g++")
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    _, out, _ = cimsim("doctor")
    text = (
        f"g++, but {tmp_path} has no Python.h, which torch.compile needs; install Python's headers"
    )
    assert text in " ".join(out.split())


def test_each_shipped_profile_is_fast_or_says_why_not(cimsim: Command) -> None:
    _, out, _ = cimsim("doctor")
    (fast,) = [line for line in out.splitlines() if line.startswith("fast profiles")]
    for name in profile_names():
        (slow,) = [line for line in out.splitlines() if line.split()[:1] == [name]] or [""]
        settings = not_fused(load_profile(name))
        assert (name in fast.replace(",", "").split()) == (not settings)
        assert bool(slow) == bool(settings)
        assert all(setting in slow for setting in settings)


@pytest.fixture
def kernels_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Empty folders for kernels; the function given makes this process forget what it built."""
    for name in ("XDG_CACHE_HOME", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
        (tmp_path / name).mkdir()
    cpu.build.cache_clear()
    try:
        yield cpu.build.cache_clear
    finally:
        cpu.build.cache_clear()


def kernel_lines(out: str) -> list[str]:
    return [" ".join(line.split()) for line in out.splitlines() if line.startswith("kernel")]


def test_the_doctor_builds_the_kernels_again(
    cimsim: Command,
    kernels_anew: Callable[[], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiler, log = tmp_path / "c++", tmp_path / "log"
    compiler.write_text(f"#!/bin/sh\necho x >> '{log}'\necho 'error: no such header' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    failed = (
        f"kernels note could not be built with {compiler}, so everything is computed in plain "
        "torch, several times slower: error: no such header"
    )
    again = "; this was tried within the last day, and `cimsim doctor --rebuild` tries again"
    starts = 0
    for options, said, tries in (((), "", True), ((), again, False), (("--rebuild",), "", True)):
        kernels_anew()
        code, out, err = cimsim("doctor", *options)
        assert (code, err) == (0, "")
        assert kernel_lines(out) == [failed + said]
        assert (len(log.read_text()) > starts) == tries
        starts = len(log.read_text())


def test_the_doctor_names_compiler_and_folder_of_the_kernels(cimsim: Command) -> None:
    built = cpu.build()
    if built.library is None:
        pytest.skip(built.note)
    _, out, _ = cimsim("doctor")
    kernels, cache = kernel_lines(out)
    assert built.compiler in kernels
    assert cache == f"kernel cache ok {built.folder}"


def test_the_doctor_says_that_the_kernels_have_one_thread(
    cimsim: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = cpu.Build(cpu.build().library or CDLL(None), "built", "c++", Path("/x"), False)
    monkeypatch.setattr(cpu, "build", lambda: built)
    _, out, _ = cimsim("doctor")
    assert kernel_lines(out)[0].startswith("kernels note built; with OpenMP")


def test_the_doctor_has_a_sentence_for_each_unit() -> None:
    assert set(doctor._PRODUCTS) == {unit.name for unit in Unit}
