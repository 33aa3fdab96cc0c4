"""``cimsim doctor``: check this machine, and print how to fix problems."""

from __future__ import annotations

import os
import platform
import sys
import sysconfig
import tempfile
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module, metadata
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import cimsim
from cimsim.analysis.sheet import Column, Sheet, columns_of
from cimsim.cli import console
from cimsim.cli.tables import Look
from cimsim.errors import CimsimError, CimsimWarning

_NEEDED = (
    "torch",
    "numpy",
    "scipy",
    "pydantic",
    "PyYAML",
    "matplotlib",
    "jinja2",
    "typer",
    "rich",
    "scikit-learn",
    "safetensors",
    "packaging",
    "lazy-loader",
    "cloudpickle",
)
_DISTRIBUTION = "cimsim-torch"
_OPTIONAL = ("triton", "tensorboard", "pytest", "hypothesis", "ruff", "mypy")
_GIB = 2**30
_STYLES = {"ok": "green", "note": "yellow", "problem": "bold red"}
# By the name of the unit that multiplies; see cimsim.kernels.cpu.
_PRODUCTS = {
    "MATRIX": "large products use the matrix unit of this processor (AMX)",
    "VECTOR": "large products with codes use 16-bit integers (AVX-512 VNNI)",
}
_LOOK = Look(borders=False, headings=False, styles=_STYLES)


class Finding(NamedTuple):
    """The result of a check: ``state`` is ``ok``, ``note`` or ``problem``."""

    what: str
    state: str
    text: str


def doctor(
    data_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder to look for data in.",
            show_default="$CIMSIM_DATA or ~/.cache/cimsim",
        ),
    ] = None,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Build the CPU kernels again, even after a failure."),
    ] = False,
) -> None:
    """Check versions, devices, compiler, kernels, data and write access."""
    checks: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("cimsim", _versions),
        ("torch", _devices),
        ("compiler", _compiler),
        ("kernels", lambda: _kernels(rebuild)),
        ("profiles", _coverage),
        ("torchvision", _torchvision),
        ("data", lambda: _data(data_dir)),
        ("writing", _write_access),
    )
    findings = [finding for what, check in checks for finding in _all_of(what, check)]
    columns = (Column("check", (), kind="name"), Column("state", (), kind="name"))
    text = Column("result", (), kind="text")
    sheet = Sheet("", columns_of((*columns, text), findings))
    console.show_sheet(sheet, look=_LOOK)


def _all_of(what: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Yield the findings of ``check``; an exception is a finding too."""
    try:
        yield from check()
    except Exception as error:
        yield Finding(what, "problem", f"{type(error).__name__}: {error}")


def _versions() -> Iterator[Finding]:
    here = f"{cimsim.__version__} in {Path(cimsim.__file__).parent}"
    yield Finding("cimsim", "ok", here)
    python = f"{platform.python_version()}, {sys.executable}, {platform.platform()}"
    yield Finding("Python", "ok", python)
    required = _requirements()
    for name in _NEEDED:
        yield _needed(name, required.get(canonicalize_name(name), SpecifierSet()))
    installed = [f"{name} {version}" for name in _OPTIONAL if (version := _version(name))]
    missing = [name for name in _OPTIONAL if not _version(name)]
    both = [*installed, *(f"no {name}" for name in missing)]
    yield Finding("optional", "ok", ", ".join(both))


def _needed(name: str, required: SpecifierSet) -> Finding:
    version = _version(name)
    if version is None:
        remedy = "is not installed; install cimsim again, in its checkout: pip install -e ."
        return Finding(name, "problem", remedy)
    if not required.contains(version, prereleases=True):
        remedy = f"cimsim needs {name}{required}: pip install --upgrade '{name}{required}'"
        return Finding(name, "problem", f"{version} does not work; {remedy}")
    return Finding(name, "ok", version)


def _requirements() -> dict[str, SpecifierSet]:
    """The versions that cimsim needs, by package; empty if cimsim is not installed."""
    try:
        lines = metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return {}
    needed = [line for line in map(Requirement, lines) if "extra" not in str(line.marker)]
    return {canonicalize_name(each.name): each.specifier for each in needed}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _devices() -> Iterator[Finding]:
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} of them used by torch"
    yield Finding("CPU", "ok", f"{cores}, {capability}")
    if not torch.cuda.is_available():
        built = f"torch is built for CUDA {torch.version.cuda}, but finds no device"
        text = built if torch.version.cuda else "torch is built without it"
        yield Finding("CUDA", "note", f"{text}; everything runs on the CPU")
    for i in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(i)
        yield Finding(f"cuda:{i}", "ok", f"{device.name}, {device.total_memory / _GIB:.0f} GiB")


def _compiler() -> Iterator[Finding]:
    from cimsim.torch_private import cpp_compiler

    try:
        found = cpp_compiler()
    except Exception:
        # torch raises errors of several private classes here.
        remedy = "install g++: the CPU kernels, several times faster, and torch.compile need it"
        yield Finding("compiler", "note", f"no C++ compiler; {remedy}")
        return
    headers = Path(sysconfig.get_path("include"))
    if (headers / "Python.h").exists():
        yield Finding("compiler", "ok", found)
    else:
        remedy = "install Python's headers (python3-dev on Debian and Ubuntu)"
        text = f"{found}, but {headers} has no Python.h, which torch.compile needs; {remedy}"
        yield Finding("compiler", "note", text)


def _kernels(rebuild: bool) -> Iterator[Finding]:
    from cimsim.kernels import build, cpu, wires

    if rebuild:
        build.forget()
    folder = None
    for name, make in (("kernels", cpu.build), ("wire kernels", wires.build)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CimsimWarning)  # the next line reports it
            built = make()
        if built.library is None:
            yield Finding(name, "note", built.note)
            break
        folder = built.folder
        threads = "" if built.threaded else "; with OpenMP (g++, or libomp with clang) it uses all"
        yield Finding(name, "ok" if built.threaded else "note", f"{built.note}{threads}")
    if folder is not None:
        yield Finding("kernel cache", "ok", str(folder))
    unit = cpu.unit()
    products = "torch computes all products" if unit is None else _PRODUCTS[unit.name]
    yield Finding("products", "ok", products)


def _coverage() -> Iterator[Finding]:
    """Report the shipped profiles that run in plain torch, and the settings that cause it."""
    from cimsim.array.circuit import not_fused
    from cimsim.profile import load_profile, profile_names

    slow = {
        name: settings for name in profile_names() if (settings := not_fused(load_profile(name)))
    }
    fast = [name for name in profile_names() if name not in slow]
    yield Finding("fast profiles", "ok", f"the kernels compute all of {', '.join(fast)}")
    for name, settings in slow.items():
        yield Finding(name, "note", f"runs in plain torch because of {', '.join(settings)}")


def _torchvision() -> Iterator[Finding]:
    version = _version("torchvision")
    if version is None:
        yield Finding("torchvision", "ok", "not installed, and not needed")
        return
    try:
        import_module("torchvision")
        yield Finding("torchvision", "ok", f"{version}, not needed")
    except (ImportError, RuntimeError, OSError) as error:
        remedy = "it is incompatible with this torch, and not needed: pip uninstall torchvision"
        yield Finding("torchvision", "problem", f"{version} fails ({_first_line(error)}); {remedy}")


def _data(data_dir: Path | None) -> Iterator[Finding]:
    from cimsim.training.data import DATASETS, load_data
    from cimsim.training.data.layout import data_folder

    try:
        folder = data_folder(data_dir)
    except CimsimError as error:
        yield Finding("data folder", "note", str(error))
    else:
        there = "" if folder.is_dir() else " (not there)"
        yield Finding("data folder", "ok", f"{folder}{there}")
    for name in DATASETS:
        try:
            data = load_data(name, data_dir)
        except CimsimError as error:
            yield Finding(name, "note", str(error))
        else:
            sizes = f"{len(data.train_y)} images to train, {len(data.test_y)} to test"
            yield Finding(name, "ok", sizes)


def _write_access() -> Iterator[Finding]:
    for what, folder in (("this folder", Path.cwd()), ("temporary", Path(tempfile.gettempdir()))):
        try:
            with tempfile.TemporaryFile(dir=folder):
                yield Finding(what, "ok", f"{folder} can be written to")
        except OSError as error:
            remedy = "choose another place with --out"
            yield Finding(what, "problem", f"{folder}: {error.strerror}; {remedy}")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
