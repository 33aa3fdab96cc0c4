"""Agreement of the CPU kernels between compilers, instruction sets and processors.

    python -m benchmarks.portability [--out benchmarks/results/portability.md]

Builds ``kernels.cpp``, ``wires.cpp`` and the program ``portability.cpp`` with every compiler found,
for several instruction sets, under sanitizers, and for aarch64 under emulation; runs every function
on fixed inputs and compares the results with ``g++ -march=native``. Random numbers, codes and masks
must agree bit for bit, the rest within ``TOLERANCE`` of the largest value. Lists builds that this
machine does not support as skipped. Exits with 1 if a result differs or a sanitizer reports an
error.

To run all builds on Debian and Ubuntu: apt install g++ clang g++-aarch64-linux-gnu qemu-user
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

import cimsim
from cimsim import kernels
from cimsim.files import write_text
from cimsim.profile import load_profile
from cimsim.profile.library import profile_names

RESULTS = Path(__file__).parent / "results"
SOURCE = Path(__file__).with_suffix(".cpp")  # includes the kernels
INCLUDE = Path(kernels.__file__).parent
TOLERANCE = 2e-6
_FUSED = ("normal",)
_FLAGS = (
    "-std=gnu++17",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-Wno-psabi",
    "-Wno-unknown-pragmas",
)
_SECONDS = 900
_SANITIZERS = {"ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "print_stacktrace=1"}

Result: TypeAlias = NDArray[np.float32] | bytes
"""Floats, which agree within the tolerance, or what must agree bit for bit."""


class Variant(NamedTuple):
    """One way to build and run the kernels."""

    name: str
    compiler: str
    flags: tuple[str, ...]
    runner: tuple[str, ...] = ()
    threads: int = 2
    fused: bool = True  # whether it multiplies and adds in one step, rounded once


REFERENCE = Variant("g++ -march=native", "g++", ("-O3", "-march=native", "-fopenmp"))
_SANITIZED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
# Instructions of the matrix unit, on processors without one.
_EMULATED = ("-O3", "-march=native", "-fopenmp", "-include", "amx.h")
_AARCH64 = ("-O3", "-static", "-fopenmp")
VARIANTS = (
    Variant("g++ -march=native, one thread", "g++", ("-O3", "-march=native"), threads=1),
    Variant("g++ -march=x86-64", "g++", ("-O3", "-march=x86-64", "-fopenmp"), fused=False),
    Variant("g++ -march=x86-64-v3", "g++", ("-O3", "-march=x86-64-v3", "-fopenmp")),
    Variant("g++ -march=x86-64-v4", "g++", ("-O3", "-march=x86-64-v4", "-fopenmp")),
    Variant("g++, matrix unit emulated", "g++", _EMULATED),
    Variant("g++ -O0", "g++", ("-O0",), threads=1, fused=False),
    Variant("clang++ -march=native", "clang++", ("-O3", "-march=native")),
    Variant("clang++ -march=x86-64", "clang++", ("-O3", "-march=x86-64"), fused=False),
    Variant("g++, address and undefined", "g++", (*_SANITIZED, "-march=native"), (), 1, False),
    Variant("clang++, address and undefined", "clang++", _SANITIZED, (), 1, False),
    Variant("aarch64, emulated", "aarch64-linux-gnu-g++", _AARCH64, ("qemu-aarch64",)),
    Variant(
        "aarch64 with bf16, emulated",
        "aarch64-linux-gnu-g++",
        (*_AARCH64, "-march=armv8.6-a"),
        ("qemu-aarch64", "-cpu", "max"),
    ),
)


class Skipped(Exception):
    """Why a variant cannot run here."""


def write_profiles(path: Path) -> list[str]:
    """Write all profiles that the kernels cover into ``path``; return their names."""
    content, names = b"", []
    for name in profile_names():
        packed = kernels.pack(load_profile(name))
        if packed is not None:
            names.append(name)
            lengths = (len(packed.numbers), len(packed.draws))
            counts = (*lengths, packed.reads, packed.drifts, len(packed.flicker))
            content += struct.pack("=5q", *map(int, counts))
            content += struct.pack(f"={len(packed.numbers)}f", *packed.numbers)
    path.write_bytes(struct.pack("=q", len(names)) + content)
    return names


def results_of(variant: Variant, profiles: Path, scratch: Path) -> dict[str, Result]:
    """The results of the program, built and run in this way.

    Raises:
        Skipped: if the compiler, the emulator or the instructions are not there.
        RuntimeError: if the program fails.
    """
    for program in (variant.compiler, *variant.runner[:1]):
        if shutil.which(program) is None:
            raise Skipped(f"{program} is not installed")
    program, out = scratch / "program", scratch / "results"
    compiled = _run(
        [
            *(variant.compiler, *_FLAGS, *variant.flags, f"-I{INCLUDE}", f"-I{SOURCE.parent}"),
            *(str(SOURCE), "-o", str(program)),
        ]
    )
    if compiled.returncode:
        raise Skipped(f"{variant.compiler} does not build it: {_first(compiled.stderr)}")
    done = _run([*variant.runner, str(program), str(profiles), str(out), str(variant.threads)])
    if done.returncode == -signal.SIGILL:
        raise Skipped("this processor lacks the instructions")
    if done.returncode:
        raise RuntimeError(f"ended with {done.returncode}: {_first(done.stderr)}")
    return read_results(out.read_bytes())


def read_results(content: bytes) -> dict[str, Result]:
    """The output of the program."""
    found: dict[str, Result] = {}
    at = 0
    while at < len(content):
        label, floats, size = struct.unpack_from("=32s2q", content, at)
        at += 48
        data = content[at : at + size]
        at += size
        name = label.rstrip(b"\0").decode()
        found[name] = np.frombuffer(data, dtype=np.float32) if floats else data
    return found


class Comparison(NamedTuple):
    """How results differ from the reference.

    Attributes:
        wrong: the results that differ by more than the tolerance.
        exact, bits: how many results agree bit for bit, and how many must.
        worst: the largest difference of the others, relative to the largest value of each.
        where: which result that is.
    """

    wrong: list[str]
    exact: int
    bits: int
    worst: float
    where: str


def compared(
    ours: Mapping[str, Result], reference: Mapping[str, Result], fused: bool
) -> Comparison:
    """Compare all results; without fused multiplication and addition, random numbers agree within
    the tolerance only."""
    if ours.keys() != reference.keys():
        raise RuntimeError("the program wrote different results")
    wrong, exact, bits, worst, where = [], 0, 0, 0.0, ""
    for name, expected in reference.items():
        found = ours[name]
        if isinstance(expected, bytes) and (fused or name not in _FUSED):
            same = isinstance(found, bytes) and found == expected
            bits, exact = bits + 1, exact + same
            if not same:
                wrong.append(name)
            continue
        one, other = _floats(found), _floats(expected)
        difference = float(np.abs(one - other).max() / max(np.abs(other).max(), 1e-30))
        if not difference <= TOLERANCE:
            wrong.append(name)
        if not difference <= worst:
            worst, where = difference, name
    return Comparison(wrong, exact, bits, worst, where)


def _floats(result: Result) -> NDArray[np.float32]:
    return np.frombuffer(result, np.float32) if isinstance(result, bytes) else result


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command; it and its children end after a time limit."""
    environment = {**os.environ, **_SANITIZERS, "LC_ALL": "C"}
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        _, said = process.communicate(timeout=_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, None, said)


def _first(text: str) -> str:
    return next(
        (line for line in text.splitlines() if "ERROR" in line or "error" in line), text[:200]
    )


def _version(program: str) -> str:
    if shutil.which(program) is None:
        return f"{program} is not installed"
    said = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    return said.splitlines()[0] if said else program


def _processor() -> str:
    with suppress(OSError):
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
        if found:
            return found[1]
    return platform.processor() or platform.machine()


def main() -> int:
    """Compare all variants, print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "portability.md")
    out: Path = parser.parse_args().out
    rows, failed = [], False
    with tempfile.TemporaryDirectory() as folder:
        profiles = Path(folder) / "profiles"
        names = write_profiles(profiles)
        reference = results_of(REFERENCE, profiles, Path(folder))
        for variant in VARIANTS:
            row = [variant.name, " ".join(variant.flags), "", "", ""]
            try:
                results = results_of(variant, profiles, Path(folder))
                found = compared(results, reference, variant.fused)
                row[2] = f"{found.exact} of {found.bits}"
                row[3] = f"{found.worst:.1e} ({found.where})" if found.where else "0"
                row[4] = f"**differs**: {', '.join(found.wrong)}" if found.wrong else "agrees"
                failed |= bool(found.wrong)
            except Skipped as reason:
                row[4] = f"skipped: {reason}"
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                row[4], failed = f"**fails**: {error}", True
            rows.append(row)
            print(" | ".join(row), flush=True)
    programs = dict.fromkeys(v.compiler for v in (REFERENCE, *VARIANTS))
    lines = [
        "# CPU kernels on other platforms",
        "",
        f"`python -m benchmarks.portability`: cimsim {cimsim.__version__} on {_processor()}, "
        f"{platform.system()}; {'; '.join(map(_version, (*programs, 'qemu-aarch64')))}.",
        "",
        "The benchmark runs every function on fixed inputs and compares the results with `g++ "
        "-O3 -march=native -fopenmp` on two threads. These results must agree bit for bit: codes "
        "and masks of the DAC and the ADC, gates, maxima of windows and their positions, and, if "
        "the build fuses multiplication and addition (all builds except x86-64, -O0 and the "
        f"sanitizers), random numbers. The other results may differ by {TOLERANCE:g} of the "
        "largest value: cells, their slopes, read noise and gradients, for the profiles "
        f"{', '.join(names)}; and sums of noisy conversions.",
        "",
        "| build | flags | bit for bit | largest difference | |",
        "|---|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    write_text(out, "\n".join(lines) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
