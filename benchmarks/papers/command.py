"""The command line of a paper that is measured."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch


def arguments(doc: str | None, *, weights: bool = False, **defaults: object) -> argparse.Namespace:
    """Read the command line, and compute on one thread.

    Args:
        doc: docstring of the module, whose first line describes the command.
        weights: whether ``--weights``, the folder of published weights, is required, as
            ``--data-dir`` is.
        defaults: other options with their default values, such as ``chips=10``.
    """
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    for required in ("--weights", "--data-dir") if weights else ("--data-dir",):
        parser.add_argument(required, type=Path, required=True)
    for name, default in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    torch.set_num_threads(1)
    return parser.parse_args()
