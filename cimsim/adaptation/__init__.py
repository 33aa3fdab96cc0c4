"""Recovery of accuracy on one programmed chip: measured settings, adapters, and new placements.

Depends on layers only. A chip is the simulated one, or any function that multiplies
(:func:`cimsim.nn.use_chip`). The function :func:`cimsim.adapt` has the name of the command; this
package has another, because a package would hide a function of its name.

The public names are listed in ``__init__.pyi`` and imported on first use, since commands are
described with :mod:`cimsim.adaptation.recipe`.
"""

import lazy_loader as _lazy_loader

__getattr__, __dir__, __all__ = _lazy_loader.attach_stub(__name__, __file__)
