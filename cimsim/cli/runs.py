"""The subjects that a command is given: finished runs, and the user's own models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from cimsim.analysis.subjects import ModelSubject, Subject
from cimsim.errors import CimsimError, applies_only
from cimsim.named import FAULTS, described, is_name, object_named
from cimsim.runs import open_run

if TYPE_CHECKING:
    from cimsim.training.data import Split

_WHAT = "own model"


def open_subjects(
    names: Sequence[Path],
    trust: bool = False,
    data_dir: Path | None = None,
    download: bool = False,
    store: Path | None = None,
    split: str = "test",
) -> list[Subject]:
    """Open every subject of the list once, under whichever names it is repeated.

    Args:
        names: folders of runs, or names of functions, ``package.module:function``.
        trust, data_dir, download: of runs, see :func:`cimsim.runs.open_run`.
        split: samples that runs are evaluated on, test or held-out.
        store: folder for the results of functions; by default ``runs/package.module.function``.

    Raises:
        CimsimError: if a folder is not a finished run, a function returns no subject, or what
            applies to runs or to functions only is given without any.
    """
    different: dict[Path, Path] = {}
    for name in names:
        different.setdefault(name.resolve(), name)
    functions = [str(name) for name in different.values() if names_function(name)]
    if store is not None and not functions:
        raise CimsimError(
            "--store applies to models named package.module:function; a run keeps its results in "
            "its own folder"
        )
    if split != "test" and functions:
        raise CimsimError(
            f"--split applies to runs; '{functions[0]}' defines its data itself, leave it out"
        )
    if data_dir is not None and len(functions) == len(different):
        raise applies_only(["--data-dir"], "runs", "name one")
    folders = {name: _folder(name, store, len(functions) > 1) for name in functions}
    return [
        own_subject(str(name), folders[str(name)])
        if names_function(name)
        else open_run(
            name,
            trust=trust,
            data_dir=data_dir,
            download=download,
            split=cast("Split", split),
        )
        for name in different.values()
    ]


def names_function(name: Path) -> bool:
    """Whether an argument is ``package.module:function`` and no folder."""
    return is_name(str(name)) and not name.exists()


def _folder(name: str, store: Path | None, several: bool) -> Path:
    own = name.replace(":", ".")
    if store is None:
        return Path("runs") / own
    return store / own if several else store


def own_subject(name: str, folder: Path) -> Subject:
    """The subject that the function or object ``name`` returns or is; results go to ``folder``
    unless it has its own.

    Raises:
        CimsimError: if it cannot be imported, fails, or returns something else.
    """
    found = object_named(name, _WHAT)
    if isinstance(found, type) or (callable(found) and not hasattr(found, "parameters")):
        try:
            found = found()
        except FAULTS as error:
            raise CimsimError(f"{_WHAT} '{name}' could not be made: {described(error)}") from error
    try:
        if isinstance(found, tuple) and len(found) == 2:
            found = ModelSubject(*found)
        if not isinstance(found, Subject):
            raise CimsimError(
                f"it is or returns a {type(found).__name__}, but must be a converted model with "
                "its score, (model, score), or a cimsim.analysis.ModelSubject"
            )
        if found.folder is None:
            found.keep_in(folder)
    except CimsimError as error:
        raise CimsimError(f"{_WHAT} '{name}': {error}") from None
    found.argument = name
    return found
