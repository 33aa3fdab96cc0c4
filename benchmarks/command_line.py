"""Commands of cimsim as other processes."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys


def run_cimsim(*words: str) -> None:
    """Print a command and run it on one thread.

    Raises:
        subprocess.CalledProcessError: if it fails.
    """
    print(shlex.join(["cimsim", *words]), flush=True)
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "cimsim", *words], check=True, env=one_thread)
