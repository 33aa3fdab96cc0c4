"""Profiles are read without the numeric libraries."""

from __future__ import annotations

import subprocess
import sys

READ_EVERYTHING = """
import sys
from cimsim.profile import describe, dump_profile, load_profile, profile_names, profile_schema
for name in profile_names():
    describe(load_profile(name, ["adc.bits=4"]))
    dump_profile(load_profile(name))
profile_schema()
heavy = {"torch", "numpy", "scipy", "sklearn", "matplotlib"} & set(sys.modules)
sys.exit(f"imported {sorted(heavy)}" if heavy else 0)
"""


def test_reading_profiles_imports_no_numeric_library() -> None:
    done = subprocess.run(
        [sys.executable, "-c", READ_EVERYTHING], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
