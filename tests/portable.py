"""Run a command as on a plain processor without a compiler: ``python -m tests.portable COMMAND``.

Torch uses no vector instructions beyond the oldest, MKL the sums that are alike on every processor,
and no C++ compiler is on the PATH, so that cimsim's kernels and ``torch.compile`` have none. Tests
that hang on the last bits of one processor fail here.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

SETTINGS = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"}
_COMPILER = re.compile(r"(.*-)?(c\+\+|g\+\+|gcc|cc|c89|c99|clang|clang\+\+|icpx|icx)(-[\d.]+)?")


def link_all_but_compilers(path: str, folder: Path) -> None:
    """Fill ``folder`` with a link to each program of the search path ``path``, save compilers."""
    for place in map(Path, path.split(os.pathsep)):
        for program in sorted(place.iterdir()) if place.is_dir() else ():
            link = folder / program.name
            if not _COMPILER.fullmatch(program.name) and not link.is_symlink():
                link.symlink_to(program.absolute())


def main(command: list[str]) -> int:
    """Run ``command`` and return its exit status."""
    with tempfile.TemporaryDirectory() as folder:
        link_all_but_compilers(os.environ["PATH"], Path(folder))
        kept = {name: value for name, value in os.environ.items() if name not in ("CC", "CXX")}
        env = kept | SETTINGS | {"PATH": folder}
        return subprocess.run(command, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
