"""Low-rank and other adapters of the PEFT library: modules that it adds to a model.

``peft`` is not required, and not imported: a model that uses it has imported it already.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from torch import nn

from cimsim.errors import CimsimError

_BASE = "base_layer"  # the layer that an adapter is added to
_ORIGINAL, _COPIES = "original_module", "modules_to_save"  # a module, and copies that are trained


def check_adapters(adapters: str) -> None:
    """Check the argument of :func:`cimsim.convert`.

    Raises:
        CimsimError: if it is neither ``"digital"`` nor ``"analog"``.
    """
    if adapters not in ("digital", "analog"):
        raise CimsimError(f"adapters must be 'digital' or 'analog', not {adapters!r}")


def parts_of_adapters(model: nn.Module) -> set[nn.Module]:
    """All modules of PEFT's adapters in ``model``, such as low-rank layers and prompt encoders;
    empty without PEFT.

    The copies of whole layers that ``modules_to_save`` trains are not among them.
    """
    added: set[nn.Module] = set()
    for module in model.modules():
        for name, child in module.named_children():
            if _is_added(module, name):
                added.update(child.modules())
    return added


def has_adapters(model: nn.Module) -> bool:
    """Whether PEFT wraps a module of ``model``."""
    return any(_is_tuner(module) or _is_copied(module) for module in model.modules())


def bases_of_adapters(model: nn.Module) -> set[nn.Module]:
    """The modules of ``model`` that PEFT has added adapters to."""
    children = [(m, *child) for m in model.modules() for child in m.named_children()]
    return {base for m, name, base in children if name == _BASE and _is_tuner(m)}


def names_without_adapters(model: nn.Module) -> dict[str, str]:
    """The names of the modules of ``model``, and their names without PEFT.

    By these, a layer draws the same noise whether it was converted before or after PEFT wrapped
    it. A module and its copies have the same name; only one of them is used at a time.
    """
    return dict(_plain_names(model, "", ""))


def are_alternatives(model: nn.Module, first: str, second: str) -> bool:
    """Whether both names are of one layer and copies of it, only one of which is used at a time."""
    plain = names_without_adapters(model)
    return plain[first] == plain[second]


def _plain_names(module: nn.Module, name: str, plain: str) -> Iterator[tuple[str, str]]:
    yield name, plain
    for child_name, child in module.named_children():
        inner = plain if _is_around(module, child_name) else _joined(plain, child_name)
        if _is_copied(module) and child_name == _COPIES:
            for adapter, copy in child.named_children():
                yield from _plain_names(copy, f"{_joined(name, _COPIES)}.{adapter}", plain)
        else:
            yield from _plain_names(child, _joined(name, child_name), inner)


def _joined(name: str, child: str) -> str:
    return f"{name}.{child}" if name else child


def _is_around(module: nn.Module, child: str) -> bool:
    """Whether PEFT put ``module`` around its ``child``."""
    if child == _BASE:
        return _is_tuner(module)
    if child == _ORIGINAL:
        return _is_copied(module)
    if child == "base_model":
        return _is_peft_model(module)
    return child == "model" and _is_kind(module, "peft.tuners.tuners_utils", "BaseTuner")


def _is_added(module: nn.Module, child: str) -> bool:
    if _is_peft_model(module):
        return child != "base_model"
    return _is_tuner(module) and child != _BASE


def _is_peft_model(module: nn.Module) -> bool:
    return _is_kind(module, "peft.peft_model", "PeftModel")


def _is_tuner(module: nn.Module) -> bool:
    return _is_kind(module, "peft.tuners.tuners_utils", "BaseTunerLayer")


def _is_copied(module: nn.Module) -> bool:
    return _is_kind(module, "peft.utils.other", "AuxiliaryTrainingWrapper")


def _is_kind(module: nn.Module, place: str, name: str) -> bool:
    kind: Any = getattr(sys.modules.get(place), name, None)
    return kind is not None and isinstance(module, kind)
