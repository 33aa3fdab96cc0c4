"""Styles of matplotlib, read so that a file from someone else can do nothing but style.

A style sheet is lines ``key: value``. Only settings of looks are taken from it: none that names a
program, a folder or a back end. matplotlib before 3.11 evaluates ``axes.prop_cycle`` as Python, so
that value is parsed here.
"""

from __future__ import annotations

import ast
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.rcsetup import cycler

from cimsim.errors import CimsimError
from cimsim.reading import read_text
from cimsim.suggest import shortened, unknown

if TYPE_CHECKING:
    from cycler import Cycler

_LOOKS = (
    "axes. errorbar. figure. font. grid. hatch. image.cmap legend. lines. markers. mathtext. "
    "patch. savefig.dpi scatter. text.color text.usetex xaxis. xtick. yaxis. ytick."
).split()
_CYCLE = "axes.prop_cycle"
_COMMENT = re.compile(r"""("[^"]*"|'[^']*')|\s*#.*""")
_LARGEST = 2**20
_MOST_ENTRIES = 10_000


def read_style(style: str) -> dict[str, Any]:
    """Return the settings of an installed style or of a style sheet's file.

    Args:
        style: a name that matplotlib lists in ``matplotlib.style.available``, or a path.

    Raises:
        CimsimError: if there is no such style, or it cannot be read.
    """
    from matplotlib import style as styles

    path = Path(style)
    if style in styles.library:
        return {key: value for key, value in styles.library[style].items() if _is_look(key)}
    if path.suffix != ".mplstyle" and not path.exists():
        raise CimsimError(f"{unknown('style', style, styles.available)}, or use a file")
    try:
        text = read_text(path, _LARGEST)
    except UnicodeDecodeError:
        raise CimsimError(f"{style}: is not a matplotlib style: it is not text") from None
    except OSError as error:
        raise CimsimError(f"{style}: cannot be read ({error.strerror})") from None
    settings: dict[str, Any] = {}
    for number, line in enumerate(text.splitlines(), 1):
        settings.update(_setting(line, f"{style}:{number}"))
    return settings


def _is_look(key: str) -> bool:
    return any(key.startswith(part) for part in _LOOKS)


def _setting(line: str, place: str) -> dict[str, Any]:
    """The setting of one line; empty for comments, and settings that concern no look."""
    from matplotlib import RcParams, rcParams

    line = _COMMENT.sub(lambda match: match[1] or "", line).strip()
    key, colon, value = (part.strip() for part in line.partition(":"))
    if not line:
        return {}
    if not colon:
        raise CimsimError(f"{place}: '{shortened(line)}' is not a line 'key: value'")
    if key not in rcParams:
        raise CimsimError(f"{place}: {unknown('setting', key, filter(_is_look, rcParams))}")
    if not _is_look(key):
        return {}
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1]
    try:
        given = _cycle(value) if key == _CYCLE else value
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of deprecated settings
            return {str(name): chosen for name, chosen in RcParams({key: given}).items()}
    except Exception:  # its validators raise errors of many kinds
        raise CimsimError(f"{place}: '{shortened(value)}' is not a value of {key}") from None


def _cycle(text: str) -> Cycler[str, Any]:
    """Read ``cycler(color=[…])`` or ``cycler('color', […])``, and sums and products of them.

    Raises:
        ValueError: if it is something else.
    """
    return _part(ast.parse(text, mode="eval").body)


def _part(node: ast.expr) -> Cycler[str, Any]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mult):
        left, right = _part(node.left), _part(node.right)
        if len(left) * len(right) > _MOST_ENTRIES:
            raise ValueError("too long")
        return left + right if isinstance(node.op, ast.Add) else left * right
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "cycler":
        words = [ast.literal_eval(value) for value in node.args]
        named = {str(word.arg): ast.literal_eval(word.value) for word in node.keywords}
        made: Cycler[str, Any] = cycler(*words, **named)
        return made
    raise ValueError("no cycler")
