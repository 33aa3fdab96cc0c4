"""Unpacking of torch's modules that contain the weights of several layers, and packing them again.

Each layer of an unpacked module can be put on an array. The class of the module changes; its name,
hooks and settings stay. The unpacked module loads checkpoints of the packed module.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.nn.computed import cast
from cimsim.nn.layer import AnalogLayer


class Ties:
    """Parameters that are replaced in one conversion, and their replacements: modules that shared a
    parameter share its replacements. What is replaced back becomes the first parameter again."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, ...], tuple[Sequence[nn.Parameter], ...]] = {}

    def replaced(
        self, given: Sequence[nn.Parameter], make: Callable[[], Sequence[nn.Parameter]]
    ) -> Sequence[nn.Parameter]:
        """The replacements of ``given``, which ``make`` makes at the first call."""
        name = tuple(map(id, given))
        if name not in self._made:
            made = make()
            self._made[name] = given, made  # kept, because ids of freed tensors are used again
            self._made.setdefault(tuple(map(id, made)), (made, given))
        return self._made[name][1]


class UnpackedError(CimsimError, AttributeError):
    """A parameter of the packed module that the unpacked module does not have."""


class Unpacked(nn.Module):
    """An unpacked module: its layers are children, which have its weights."""

    torch_class: ClassVar[type[nn.Module]]

    @classmethod
    def unpack(cls, module: nn.Module, ties: Ties) -> None:
        """Turn ``module``, of the class :attr:`torch_class`, into this, in place."""
        names = cls.places(module)
        packed = {name: module._parameters[name] for name in names if name in module._parameters}
        for name in packed:
            del module._parameters[name]
        cast(module, cls)
        assert isinstance(module, cls)
        module.make_layers(packed, ties)
        for layer in module.children():
            layer.train(module.training)

    @abstractmethod
    def pack(self, ties: Ties) -> None:
        """Turn this back into :attr:`torch_class`, in place, with the layers' weights."""

    def replaced_by_packing(self) -> list[nn.Parameter]:
        """The layers' parameters that :meth:`pack` replaces by others; none by default."""
        return []

    @staticmethod
    @abstractmethod
    def places(module: nn.Module) -> list[str]:
        """Names of the packed module's own parameters."""

    @abstractmethod
    def make_layers(self, packed: dict[str, Any], ties: Ties) -> None:
        """Make the children with these parameters."""

    @abstractmethod
    def split(self, packed: dict[str, Tensor]) -> dict[str, Tensor]:
        """The state of the children that a packed state holds; names without prefix."""

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in self.places(self):
            raise self._unpacked_error(name)
        return super().__getattr__(name)

    def __delattr__(self, name: str) -> None:
        if name in self.places(self) and name not in self._parameters:
            raise self._unpacked_error(name)
        super().__delattr__(name)

    def _unpacked_error(self, name: str) -> UnpackedError:
        layers = ", ".join(f"'{child}'" for child, _ in self.named_children())
        return UnpackedError(
            f"this {self.torch_class.__name__} has no '{name}', because cimsim.convert has "
            f"unpacked it; its weights are in its layers {layers}"
        )

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        places = [prefix + name for name in self.places(self)]
        packed = {
            name[len(prefix) :]: state_dict.pop(name) for name in places if name in state_dict
        }
        for name, tensor in self.split(packed).items():
            state_dict[prefix + name] = tensor
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def linear(weight: nn.Parameter, bias: nn.Parameter | None) -> nn.Linear:
    """An ``nn.Linear`` with these parameters."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = weight
    layer.register_parameter("bias", bias)
    return layer


def packable(model: nn.Module) -> list[Unpacked]:
    """The unpacked modules of ``model`` without an analog layer.

    One that shares parameters with a module that is not packed is left out, because packed it would
    have parameters of its own.
    """
    packing = [
        module
        for module in model.modules()
        if isinstance(module, Unpacked)
        and not any(isinstance(part, AnalogLayer) for part in module.modules())
    ]
    while True:
        inside = {part for module in packing for part in module.modules()}
        others = [module for module in model.modules() if module not in inside]
        held = {parameter for each in others for parameter in each.parameters(recurse=False)}
        free = [each for each in packing if held.isdisjoint(each.replaced_by_packing())]
        if len(free) == len(packing):
            return packing
        packing = free
