"""Damaged tables of measurements, fitted by `cimsim profiles new --from-csv`."""

from __future__ import annotations

import csv
import io
import math
import os
import random
from functools import cache
from pathlib import Path

from cimsim.errors import CimsimError
from cimsim.profile import load_profile
from tests.fuzz import runs
from tests.fuzz.judging import Unacceptable, refuse_unclear, refuse_unprintable
from tests.fuzz.values import NUMBERS, RAW_NUMBERS, damage, text

_NUL = "\ue000"  # stands for it

FILE = "measured.csv"


@cache
def _rows() -> tuple[tuple[str, ...], ...]:
    """What an instrument may write of 12 cells at 4 targets and 3 ages, two reads each."""
    rng = random.Random(0)
    rows: list[tuple[str, ...]] = [("g_target_uS", "g_measured_uS", "time_s", "cell", "read")]
    for target in (2.0, 8.0, 16.0, 25.0):
        for cell in range(12):
            programmed = target + rng.gauss(0, 0.5)
            for age in (1.0, 100.0, 10_000.0):
                for read in range(2):
                    measured = programmed * math.pow(age, -0.02) + rng.gauss(0, 0.1)
                    facts = (target, round(measured, 5), age, f"{target}-{cell}", read)
                    rows.append(tuple(map(str, facts)))
    return tuple(rows)


def write_case(rng: random.Random, folder: Path) -> str:
    """Put a damaged table into ``folder``; returns what was done to it."""
    rows = [list(row) for row in _rows()]
    how = rng.choice(("cells", "cells", "columns", "rows", "form", "bytes", "file"))
    if how == "cells":
        odd = (*map(str, NUMBERS), *RAW_NUMBERS, "", "NA", "#N/A", "-", "1,5", "0.001", "1e6")
        for _ in range(rng.choice((1, 1, 3, 30, 300))):
            row = rng.choice(rows)
            row[rng.randrange(len(row))] = text(rng) if rng.random() < 0.2 else rng.choice(odd)
    elif how == "columns":
        which = rng.randrange(5)
        for row in rows:
            if rng.random() < 0.98:
                row[which : which + 1] = rng.choice(([], [row[which]], ["0"], [row[which]] * 2))
    elif how == "rows":
        rows = [rows[0], *rng.choices(rows[1:], k=rng.choice((0, 1, 2, 5, 50, 500)))]
        rows.insert(rng.randrange(len(rows) + 1), rng.choice(([], ["uS"] * 5, rows[0], [""] * 5)))
    table = io.StringIO()
    delimiter = rng.choice((",", ";", "\t", "|", " ")) if how == "form" else ","
    csv.writer(table, delimiter=delimiter).writerows(  # Python 3.10 writes no NUL
        [[cell.replace("\0", _NUL) for cell in row] for row in rows]
    )
    content = table.getvalue().replace(_NUL, "\0").encode("utf-8", "surrogatepass")
    if how == "form":
        content = rng.choice((b"", b"sep=;\n", b"\xef\xbb\xbf", b"# note\n", b"\n\n")) + content
        content = content.decode("utf-8", "replace").encode(
            rng.choice(("utf-16", "latin-1", "utf-8")), "replace"
        )
    if how == "bytes":
        content = damage(rng, content)
    path = folder / FILE
    if how == "file" and rng.random() < 0.5:
        os.mkfifo(path)
    elif how == "file":
        path.symlink_to(rng.choice(("/dev/zero", "/dev/null", "/nonexistent", ".")))
    else:
        path.write_bytes(content)
    return how


def check_case(rng: random.Random, folder: Path) -> str:
    """Fit a device, and load it.

    Raises:
        CimsimError: the table is refused.
        Unacceptable: it is refused without words, or the device cannot be loaded.
    """
    made = folder / "made.yaml"
    words = f"profiles new made --from-csv {folder / FILE} --out {made} --json"
    code, out = runs.typed(words, folder, folder)
    refuse_unprintable(out)
    if code == 0:
        profile = load_profile(made)
        if not math.isfinite(profile.cell.g_max_uS) or "NaN" in out:
            raise Unacceptable(f"not finite: {out[:300]}")
        return profile.name
    if code != 2 or "cimsim: error: " not in out:
        raise Unacceptable(f"ended with {code}: {out[-300:]!a}")
    if made.exists():
        raise Unacceptable("a refused table left a profile")
    message = out[out.index("cimsim: error: ") :].strip()
    refuse_unclear(message)
    raise CimsimError(message)
