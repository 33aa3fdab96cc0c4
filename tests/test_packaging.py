"""What is installed is what stands in the tree, and the pinned versions belong to it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from cimsim import _checkout

ROOT = Path(__file__).parents[1]
FOLDERS = ("analysis", "benchmarks", "cimsim", "device_profiles", "docs", "tests", "training")
FILES = (
    *("CHANGELOG.md", "LICENSE", "MANIFEST.in", "Makefile", "README.md", "pyproject.toml"),
    *("CITATION.cff", "CONTRIBUTING.md"),
    *("constraints.txt", "constraints-minimum.txt", ".pre-commit-config.yaml"),
)
MADE = ("__pycache__", "generated")  # by Python, and by the documentation
SUFFIXES = {".py", ".pyi", ".yaml", ".json", ".typed", ".cpp", ".h", ".html", ".css", ".js"}
SUFFIXES |= {".safetensors", ".md"}
HASHES = "SHA256SUMS"  # of trained networks


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    tomllib = pytest.importorskip("tomllib", reason="pyproject.toml is read from Python 3.11 on")
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def read_pins(name: str) -> list[Requirement]:
    lines = (ROOT / name).read_text().splitlines()
    return [Requirement(line.partition("#")[0]) for line in lines if not line.startswith("#")]


@pytest.fixture(scope="module")
def pins() -> list[Requirement]:
    return read_pins("constraints.txt")


def test_every_folder_with_code_is_a_package() -> None:
    for folder in (ROOT / "cimsim", *linked().values()):
        for file in folder.rglob("*.py"):
            assert (file.parent / "__init__.py").is_file(), f"{file.parent} has no __init__.py"


def linked() -> dict[str, Path]:
    """The folders at the top that are packages within cimsim; copies in a source distribution."""
    return {name: (ROOT / "cimsim" / name).resolve() for name in _checkout.LINKS}


def test_nothing_else_of_the_repository_is_a_package_of_cimsim() -> None:
    for folder in FOLDERS:
        found = find_spec(f"cimsim.{folder}") is not None
        assert found == (folder in _checkout.LINKS)


def test_folders_are_found_without_links(tmp_path: Path) -> None:
    """As on Windows, where Git writes a link as a file that holds the path."""
    copy = copy_of_the_tree(tmp_path)
    for name in _checkout.LINKS:
        link = copy / "cimsim" / name
        if link.is_symlink():
            link.unlink()
            link.write_text(f"../{name}")
        else:  # a source distribution
            link.rename(copy / name)
            link.write_text(f"../{name}")
    look = (
        "import cimsim.training.data, cimsim.analysis, importlib.util\n"
        "print(cimsim.training.data.__file__, cimsim.load_profile('ideal').name)\n"
        "print(importlib.util.find_spec('cimsim.tests'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", look], cwd=copy, check=True, capture_output=True, text=True
    )
    data = copy / "training" / "data" / "__init__.py"
    assert done.stdout.splitlines() == [f"{data} ideal", "None"]


@pytest.mark.parametrize("name", ["training", "analysis"])
def test_packages_have_one_name(name: str) -> None:
    """An editable installation has the top of the checkout on its path."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {name}"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    if (ROOT / name).exists():  # not in a source distribution
        assert f"import cimsim.{name}" in done.stderr


def test_every_dependency_is_pinned_within_its_bounds(
    project: dict[str, Any], pins: list[Requirement]
) -> None:
    extras = project["project"]["optional-dependencies"]
    pinned = [extras[name] for name in ("test", "lint", "docs", "integrations", "onnx")]
    needed = [*project["project"]["dependencies"], *(line for lines in pinned for line in lines)]
    own = project["project"]["name"]  # with another extra
    for requirement in (r for r in map(Requirement, needed) if r.name != own):
        versions = [
            str(pin.specifier).removeprefix("==")
            for pin in pins
            if canonicalize_name(pin.name) == canonicalize_name(requirement.name)
        ]
        assert versions, f"{requirement.name} is not in constraints.txt"
        assert all(requirement.specifier.contains(version) for version in versions), requirement


def test_constraints_are_exact_versions_and_nothing_else(pins: list[Requirement]) -> None:
    for pin in pins:
        assert re.fullmatch(r"==[0-9][0-9A-Za-z.!]*", str(pin.specifier)), pin
        assert pin.url is None
        assert not pin.extras
    assert [str(pin) for pin in pins if pin.name == "torch"] == ["torch==2.13.0"]


@pytest.mark.parametrize("version", ["3.10.0", "3.11.7", "3.12.1", "3.13.0", "3.14.0"])
@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_every_python_gets_one_version_of_each(
    pins: list[Requirement], version: str, system: str
) -> None:
    environment = {
        "python_full_version": version,
        "python_version": version.rpartition(".")[0],
        "sys_platform": system,
    }
    names = [pin.name for pin in pins if not pin.marker or pin.marker.evaluate(environment)]
    assert len(names) == len(set(names))
    assert {"torch", "numpy", "scipy", "pytest", "ruff"} <= set(names)


def test_pre_commit_runs_the_pinned_ruff(pins: list[Requirement]) -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    (ruff,) = (repo["rev"] for repo in config["repos"] if repo["repo"].endswith("ruff-pre-commit"))
    assert [f"=={ruff.removeprefix('v')}"] == [str(p.specifier) for p in pins if p.name == "ruff"]


def bound_of(requirement: Requirement) -> Version:
    """The version after ``>=``."""
    (bound,) = (each.version for each in requirement.specifier if each.operator == ">=")
    return Version(bound)


def test_every_minimum_is_tested(project: dict[str, Any]) -> None:
    """``make test-minimum`` installs the versions that pyproject.toml calls the oldest."""
    minimums = {canonicalize_name(pin.name): pin for pin in read_pins("constraints-minimum.txt")}
    wanted = [*project["project"]["dependencies"]]
    wanted += project["project"]["optional-dependencies"]["test"]
    for requirement in map(Requirement, wanted):
        bound = bound_of(requirement).release
        pin = str(minimums[canonicalize_name(requirement.name)].specifier).removeprefix("==")
        assert Version(pin).release[: len(bound)] == bound, requirement  # 1.11.0 was withdrawn
        assert requirement.specifier.contains(pin)


def copy_of_the_tree(to: Path) -> Path:
    for folder in FOLDERS:
        if (ROOT / folder).exists():  # a source distribution has those of cimsim only there
            ignored = shutil.ignore_patterns(*MADE)
            shutil.copytree(ROOT / folder, to / folder, symlinks=True, ignore=ignored)
    for file in FILES:
        shutil.copy(ROOT / file, to)
    return to


def build(what: str, source: Path) -> None:
    """Build a ``wheel`` or ``sdist`` into the folder above ``source``."""
    code = f"from setuptools import build_meta; build_meta.build_{what}('..')"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("sdist")
    build("sdist", copy_of_the_tree(folder / "source"))
    (archive,) = folder.glob("*.tar.gz")
    shutil.unpack_archive(archive, folder / "unpacked")
    (unpacked,) = (folder / "unpacked").iterdir()
    return unpacked


def homes() -> dict[Path, Path]:
    """Where files are in a source distribution, and where in this tree."""
    packages = {Path("cimsim") / name: folder for name, folder in linked().items()}
    others = {Path(f): ROOT / f for f in FOLDERS if f not in _checkout.LINKS}
    return packages | others


@pytest.mark.slow
def test_the_source_distribution_holds_every_file(unpacked: Path) -> None:
    expected = {
        (inside / file.relative_to(folder)).as_posix()
        for inside, folder in homes().items()
        for file in folder.rglob("*")
        if file.is_file() and not set(MADE) & set(file.parts)
    }
    found = {f.relative_to(unpacked).as_posix() for f in unpacked.rglob("*") if f.is_file()}
    assert expected | set(FILES) <= found


@pytest.mark.long
def test_the_tests_of_the_source_distribution_are_collected(unpacked: Path) -> None:
    collect = [sys.executable, "-m", "pytest", "--collect-only", "-qq", "-p", "no:cacheprovider"]
    env = os.environ | {"PYTHONPATH": str(unpacked)}
    done = subprocess.run(
        collect, cwd=unpacked, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert str(ROOT) not in done.stdout


@pytest.mark.slow
def test_a_wheel_holds_every_module_and_works_away_from_the_tree(
    tmp_path: Path,
) -> None:
    pytest.importorskip("setuptools", minversion="77")
    build("wheel", copy_of_the_tree(tmp_path / "source"))
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith("cimsim_torch-")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    expected = {
        (*inside.parts, *file.relative_to(folder).parts)
        for inside, folder in homes().items()
        if inside.parts[0] == "cimsim"
        for file in folder.rglob("*")
        if file.suffix in SUFFIXES or file.name == HASHES
    }
    installed = tmp_path / "installed"
    got = {f.relative_to(installed).parts for f in installed.glob("cimsim/**/*") if f.is_file()}
    assert got == expected
    look = (
        "import cimsim, cimsim.training.data, cimsim.training.models, cimsim.analysis\n"
        "print(cimsim.__file__, cimsim.training.data.__file__, sep='\\n')\n"
        "print(cimsim.load_profile('ideal').name)"
    )
    run = subprocess.run(
        [sys.executable, "-c", look],
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert run.stdout.splitlines() == [
        str(installed / "cimsim" / "__init__.py"),
        str(installed / "cimsim" / "training" / "data" / "__init__.py"),
        "ideal",
    ]
