"""The options of every command that writes a figure."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from cimsim.analysis.figures.look import Look
from cimsim.cli.options import configured, parameters_of, with_parameters
from cimsim.errors import CimsimError

Result = TypeVar("Result")
_PANEL = "Look of figures"


def look_parameters() -> Iterator[inspect.Parameter]:
    """Yield a parameter for each option of a figure."""
    return parameters_of(Look, panel=_PANEL)


def look_options(command: Callable[..., Result]) -> Callable[..., Result]:
    """Give a command the options of figures, which arrive in its ``**settings``."""
    own = inspect.signature(command, eval_str=True)
    fixed = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
    return with_parameters(command, [*fixed, *look_parameters()])


def refuse_look(given: Mapping[str, Any], what_to_do: str) -> None:
    """Refuse the options of a figure for a command that draws none.

    Raises:
        CimsimError: if there is one; it ends with ``what_to_do``.
    """
    usual, look = Look(), configured(Look, given)
    if names := [name for name in Look.model_fields if getattr(look, name) != getattr(usual, name)]:
        raise CimsimError(f"--{names[0]} applies to a figure, but none is drawn; {what_to_do}")


def look_from(given: Mapping[str, Any], out: Path | None = None, runs: Sequence[str] = ()) -> Look:
    """Make a look from the options of a command, before anything is computed.

    Args:
        given: the options; others are ignored.
        out: file of the figure, if one is given.
        runs: names of the runs in the figure, where it shows names.

    Raises:
        CimsimError: if an option cannot be used.
    """
    look = configured(Look, given)
    if look == Look() and out is None:
        return look
    from cimsim.analysis.figures import canvas, theme
    from cimsim.analysis.labels import require_names

    theme.check(look)
    if out is not None:
        canvas.files_of(out, look)
    if look.names:
        if not runs:
            raise CimsimError("labels: this figure does not show names of runs; leave out --labels")
        require_names(look.names, runs)
    return look
