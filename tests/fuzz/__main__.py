"""`python -m tests.fuzz --count 10000`: many damaged files; prints how many crash something."""

from __future__ import annotations

import argparse
import sys

from tests.fuzz.cases import KINDS, run_cases

SHARES = {"profiles": 85, "measurements": 10, "runs": 5}
"""Of a hundred cases; a command on a run takes as long as dozens of profiles."""


def main() -> int:
    """Try cases of every kind; the exit code is 1 if one crashed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="cases, over all kinds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=sorted(KINDS), action="append")
    parser.add_argument("--case", type=int, help="try only the case of this number, and show it")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--keep", metavar="FOLDER", help="keep the files of --case there")
    options = parser.parse_args()
    kinds = options.kind or sorted(KINDS)
    crashed = 0
    for kind in kinds:
        count = round(options.count * SHARES[kind] / sum(SHARES[name] for name in kinds))
        numbers = range(count) if options.case is None else range(options.case, options.case + 1)
        tally = run_cases(kind, options.seed, numbers, options.workers, options.keep)
        crashed += len(tally.crashes)
        print(tally, flush=True)
        if options.case is not None:
            print(tally.last)
    return 1 if crashed else 0


if __name__ == "__main__":
    sys.exit(main())
