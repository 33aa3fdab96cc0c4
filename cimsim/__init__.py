"""cimsim: simulation of analog compute-in-memory hardware, and training of networks for it.

>>> import cimsim
>>> profile = cimsim.load_profile("pcm-ibm-2020")
>>> profile.cell.g_max_uS
25.0

The public names are listed in ``__init__.pyi`` and imported on first use, so that ``import cimsim``
imports neither torch nor other large packages.
"""

import lazy_loader as _lazy_loader

import cimsim._checkout  # noqa: F401  # must come before the first import of a linked folder

__version__ = "0.1.0"
__getattr__, __dir__, _names = _lazy_loader.attach_stub(__name__, __file__)
__all__ = ["__version__", *_names]
