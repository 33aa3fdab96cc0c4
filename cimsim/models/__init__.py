"""Small trained networks that are shipped with cimsim.

:func:`names` lists them, :func:`card` describes one, and :func:`load` returns it, converted and
calibrated for its chip. ``python -m benchmarks.zoo`` trains them.
"""

import lazy_loader as _lazy_loader

__getattr__, __dir__, __all__ = _lazy_loader.attach_stub(__name__, __file__)
