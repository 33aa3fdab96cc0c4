"""One line in the log for each load of a state whose converter ranges do not fit the model."""

from __future__ import annotations

import logging
from typing import Any

from torch import nn

from cimsim.nn.layer import AnalogLayer
from cimsim.torch_private import load_hooks

logger = logging.getLogger("cimsim")
_NAMED = 3


def watch_loads(model: nn.Module) -> None:
    """From now on, log after each ``load_state_dict`` of ``model`` if ranges were left out."""
    if _report not in load_hooks(model).values():
        model.register_load_state_dict_post_hook(_report)


def unwatch_loads(model: nn.Module) -> None:
    """Undo :func:`watch_loads` for all modules in ``model``."""
    for module in model.modules():
        hooks = load_hooks(module)
        for number in [number for number, hook in hooks.items() if hook is _report]:
            del hooks[number]


def _report(model: nn.Module, keys: Any) -> None:
    """Log how many layers need a calibration because of the load that ends here."""
    layers = [module for module in model.modules() if isinstance(module, AnalogLayer)]
    left_out = [layer for layer in layers if layer.ranges_left_out]
    for layer in left_out:
        layer.ranges_left_out = False
    names = [f"'{layer.name}'" for layer in left_out if not layer.calibrated]
    if not names:
        return
    shown = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
    logger.warning(
        "load_state_dict: the converter ranges of %d layer%s (%s) were not loaded, because they "
        "belong to other converters; calibrate the model again: cimsim.calibrate(model, batches)",
        *(len(names), "" if len(names) == 1 else "s", shown),
    )
