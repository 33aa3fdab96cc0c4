"""Sweeps over chips, studies, their statistics and figures, costs and reports.

A :class:`ModelSubject` is a model with a function that scores it; a finished run is a
:class:`cimsim.runs.RunSubject`. :func:`sweep` evaluates subjects over an axis, and each study is a
function of a subject, an :class:`Evaluation` and its own arguments.

The public names are listed in ``__init__.pyi`` and imported on first use.
"""

if __name__ != "cimsim.analysis":  # an editable installation has the checkout on its path
    raise ImportError(f"no module named {__name__!r}; import cimsim.analysis")

import lazy_loader as _lazy_loader

from cimsim.folders import give_matplotlib_a_folder

give_matplotlib_a_folder()
__getattr__, __dir__, __all__ = _lazy_loader.attach_stub(__name__, __file__)
