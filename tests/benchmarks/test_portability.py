"""What the comparison of the kernels' builds calls equal."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.portability import (
    REFERENCE,
    Skipped,
    compared,
    read_results,
    results_of,
    write_profiles,
)


def written(**results: np.ndarray) -> bytes:
    """A file of results as the program writes it; bytes must agree bit for bit."""
    content = b""
    for name, values in results.items():
        data = values.tobytes()
        head = struct.pack("=32s2q", name.encode(), values.dtype == np.float32, len(data))
        content += head + data
    return content


CURRENTS = np.array([1.0, -0.5, 0.25], dtype=np.float32)
NORMAL = CURRENTS.view(np.uint8)
CODES = np.array([1, 2, 255], dtype=np.uint8)


def test_small_differences_of_floats_are_allowed_and_no_others() -> None:
    reference = read_results(written(currents=CURRENTS, normal=NORMAL, codes=CODES))
    near = CURRENTS * np.float32(1 + 5e-7)
    ours = read_results(written(currents=near, normal=NORMAL, codes=CODES))
    found = compared(ours, reference, fused=True)
    assert (found.wrong, found.exact, found.bits, found.where) == ([], 2, 2, "currents")
    assert 4e-7 < found.worst < 7e-7

    ours = read_results(
        written(currents=CURRENTS * np.float32(1.001), normal=near.view(np.uint8), codes=CODES + 1)
    )
    assert compared(ours, reference, fused=True).wrong == ["currents", "normal", "codes"]
    assert compared(ours, reference, fused=False).wrong == ["currents", "codes"]

    nan = read_results(written(currents=CURRENTS * np.nan, normal=NORMAL, codes=CODES))
    assert compared(nan, reference, fused=True).wrong == ["currents"]
    with pytest.raises(RuntimeError, match="different results"):
        compared(read_results(written(codes=CODES)), reference, fused=True)


def test_what_is_missing_is_skipped(tmp_path: Path) -> None:
    profiles = tmp_path / "profiles"
    assert "pcm-ibm-2020" in write_profiles(profiles)
    present = REFERENCE._replace(compiler=sys.executable)  # a program that every machine has
    for variant in (
        present._replace(compiler="no-such-c++"),
        present._replace(runner=("no-such-emulator",)),
    ):
        with pytest.raises(Skipped, match=r"no-such-.* is not installed"):
            results_of(variant, profiles, tmp_path)
    with pytest.raises(Skipped, match="does not build it"):
        results_of(present._replace(flags=("-fno-such-flag",)), profiles, tmp_path)
