"""Figures, drawn with matplotlib, and their form in a page of HTML.

The modules are imported on first use, so that describing a study does not import matplotlib.
"""

import lazy_loader as _lazy_loader

__getattr__, __dir__, __all__ = _lazy_loader.attach_stub(__name__, __file__)
