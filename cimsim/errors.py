"""Base classes of errors and warnings."""

from __future__ import annotations

from collections.abc import Sequence


class CimsimError(ValueError):
    """Invalid input, described in one sentence: what is wrong, where, and what to do.

    The command line prints the message without a traceback and exits with code 2.
    """


def applies_only(options: Sequence[str], where: str, remedy: str = "") -> CimsimError:
    """Return the error for options that have no effect in the current command.

    Args:
        options: their flags, such as ``--seed``.
        where: what they apply to.
        remedy: how to give them an effect.

    >>> applies_only(["--seed"], "a --temperature above 0", "set one").args[0]
    '--seed applies to a --temperature above 0 only; set one, or leave --seed out'
    """
    *before, last = options
    names = f"{', '.join(before)} and {last} apply" if before else f"{last} applies"
    advice = f"leave {'them' if before else last} out"
    return CimsimError(f"{names} to {where} only; {f'{remedy}, or ' if remedy else ''}{advice}")


class CimsimWarning(UserWarning):
    """A condition that does not stop the computation, described in one sentence.

    The command line prints it as a note.
    """
