"""Low-rank and other adapters of the PEFT library: modules that it adds to a model.

``peft`` is not required, and not imported: a model that uses it has imported it already.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from torch import nn

from cimsim.errors import CimsimError

_BASE = ("base_layer", "original_module")  # the layer that an adapter is added to


def check_adapters(adapters: str) -> None:
    """Check the argument of :func:`cimsim.convert`.

    Raises:
        CimsimError: if it is neither ``"digital"`` nor ``"analog"``.
    """
    if adapters not in ("digital", "analog"):
        raise CimsimError(f"adapters is 'digital' or 'analog', not {adapters!r}")


def parts_of_adapters(model: nn.Module) -> set[nn.Module]:
    """All modules that PEFT has added to ``model``: low-rank layers, prompt encoders, and the
    trained copies of modules; empty without PEFT."""
    added: set[nn.Module] = set()
    for module in model.modules():
        for name, child in module.named_children():
            if _is_added(module, name):
                added.update(child.modules())
    return added


def has_adapters(model: nn.Module) -> bool:
    """Whether a module of ``model`` is wrapped by PEFT."""
    return any(_wraps(module) for module in model.modules())


def names_without_adapters(model: nn.Module) -> dict[str, str]:
    """The names of the modules of ``model``, and their names without PEFT.

    A layer thus draws the same noise whether it was converted before or after PEFT wrapped it.
    """
    return dict(_plain_names(model, "", ""))


def _plain_names(module: nn.Module, name: str, plain: str) -> Iterator[tuple[str, str]]:
    yield name, plain
    for child_name, child in module.named_children():
        inner = plain if _is_transparent(module, child_name) else _joined(plain, child_name)
        yield from _plain_names(child, _joined(name, child_name), inner)


def _joined(name: str, child: str) -> str:
    return f"{name}.{child}" if name else child


def _is_transparent(module: nn.Module, child: str) -> bool:
    """Whether PEFT put ``module`` around its ``child``."""
    if child in _BASE:
        return _wraps(module)
    return (
        child == "base_model" and isinstance(module, _kinds("peft.peft_model", "PeftModel"))
    ) or (child == "model" and isinstance(module, _kinds("peft.tuners.tuners_utils", "BaseTuner")))


def _is_added(module: nn.Module, child: str) -> bool:
    if isinstance(module, _kinds("peft.peft_model", "PeftModel")):
        return child != "base_model"
    return child not in _BASE and _wraps(module)


def _wraps(module: nn.Module) -> bool:
    """Whether ``module`` is a layer of PEFT around another one."""
    return isinstance(
        module,
        (
            *_kinds("peft.tuners.tuners_utils", "BaseTunerLayer"),
            *_kinds("peft.utils.other", "AuxiliaryTrainingWrapper"),
        ),
    )


def _kinds(module: str, name: str) -> tuple[type[Any], ...]:
    kind = getattr(sys.modules.get(module), name, None)
    return () if kind is None else (kind,)
