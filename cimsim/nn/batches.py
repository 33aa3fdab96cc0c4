"""Conversion of a data loader's batches to arguments of a model.

==========================================  =====================================================
batch                                       call
==========================================  =====================================================
a tensor, or a ``PackedSequence``           ``model(batch)``
a mapping (``dict``, ``BatchEncoding``, …)  ``model(**batch)``, without the keys that the model's
                                            ``forward`` does not take
a dataclass, or a named tuple one of whose  like a mapping of its fields
fields ``forward`` takes
any other tuple or list                     its first entry by these rules, as the others are
                                            labels; a first entry that is a tuple or a list contains
                                            positional arguments
==========================================  =====================================================

A label that looks like a mask of the inputs is ignored with a warning, if the model takes masks:
give a mapping, or the positional arguments as a tuple within the tuple.

Tensors are moved to the model's device. For all other batches, ``forward(model, batch)`` gets the
batch unchanged.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from cimsim.errors import CimsimError
from cimsim.nn.forms import inner_module
from cimsim.nn.modes import uncompiled

logger = logging.getLogger("cimsim")

Batches: TypeAlias = "Iterable[Any]"
Forward: TypeAlias = "Callable[[nn.Module, Any], object]"


def run_batches(
    model: nn.Module, batches: Batches, verb: str, forward: Forward | None = None
) -> None:
    """Run ``model`` on every one of ``batches``, see :mod:`cimsim.nn.batches`; ``verb`` begins
    error messages.

    Raises:
        CimsimError: if there is no batch, or one that the model cannot be run on.
    """
    reader = BatchReader(model, verb)
    number = -1
    with uncompiled():
        for number, batch in enumerate(each_batch(batches, verb)):
            reader.run(batch, number, forward)
    if number < 0:
        raise CimsimError(
            f"{verb}: got no batches; pass a few batches of training data (an iterator can be used "
            "only once: create a new one)"
        )


def each_batch(batches: Batches, verb: str) -> Batches:
    """``batches``, if it can be iterated over.

    Raises:
        CimsimError: if it cannot; the message begins with ``verb``.
    """
    if isinstance(batches, Mapping | str) or not hasattr(type(batches), "__iter__"):
        raise CimsimError(
            f"{verb}: batches is a {type(batches).__name__}, not an iterable of batches; pass a "
            "data loader or a list, [batch]"
        )
    return batches


class BatchReader:
    """Gives the batches of one data loader to one model."""

    def __init__(
        self, model: nn.Module, verb: str, otherwise: str = "pass forward=lambda model, batch: …"
    ) -> None:
        """
        Args:
            model: the model to run.
            verb: beginning of error messages.
            otherwise: what they advise for batches that are read in another way.
        """
        self.model, self.verb, self.otherwise = model, verb, otherwise
        tensors = (*model.parameters(), *model.buffers())
        self.device = next((t.device for t in tensors), torch.device("cpu"))
        self.names, self.takes_all = _parameters(model)
        self.left_out: set[str] = set()

    def run(self, batch: Any, number: int, forward: Forward | None = None) -> object:
        """The model's output for ``batch``; ``number`` is its position.

        Raises:
            CimsimError: if the batch cannot be read, or the model fails on it.
        """
        if forward is None:
            given, named = moved(self.arguments(batch, number), self.device)
        try:
            if forward is None:
                return self.model(*given, **named)
            return forward(self.model, batch)
        except CimsimError as error:
            where = f"{self.verb}: batch {number}, {_described(batch)}"
            raise CimsimError(f"{where}: {error}") from None
        except torch.OutOfMemoryError:
            raise
        except (TypeError, ValueError, RuntimeError, AttributeError, LookupError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise CimsimError(
                f"{self.verb}: the model failed on batch {number}, {_described(batch)} "
                f"({type(error).__name__}: {reason}); to run the model in another way, "
                f"{self.otherwise}"
            ) from error

    def arguments(self, batch: Any, number: int) -> tuple[list[Any], dict[str, Any]]:
        """Positional and named arguments of the model."""
        if isinstance(batch, Tensor | PackedSequence):
            return [batch], {}
        if isinstance(batch, Mapping):
            return [], self._taken(dict(batch), batch, number)
        named = _fields(batch)
        if named is not None and (is_dataclass(batch) or any(map(self._takes, named))):
            return [], self._taken(named, batch, number)
        if isinstance(batch, tuple | list) and batch:
            first = batch[0]
            self._warn_of_masks(first, batch[1:])
            if isinstance(first, tuple | list) and not isinstance(first, PackedSequence):
                if _fields(first) is None and any(isinstance(entry, Tensor) for entry in first):
                    return list(first), {}
            return self.arguments(first, number)
        raise CimsimError(
            f"{self.verb}: batch {number} is {_described(batch)}, which cimsim cannot pass to a "
            f"model; use tensors, mappings or tuples of them, or {self.otherwise}"
        )

    def _warn_of_masks(self, inputs: Any, labels: Iterable[Any]) -> None:
        """Warn once if one of ``labels`` may be a mask that the model takes."""
        taken = [name for name in self.names if "mask" in name]
        if not taken or not isinstance(inputs, Tensor) or taken[0] in self.left_out:
            return
        for number, label in enumerate(labels, start=1):
            if isinstance(label, Tensor) and _may_be_mask(label, inputs):
                self.left_out.add(taken[0])
                logger.warning(
                    "%s: entry %d of the batches is ignored as labels, but it contains only zeros "
                    "and ones and has the shape of the inputs; if it is '%s', pass a dict with "
                    "that key, or put positional arguments into a tuple, ((inputs, mask), labels)",
                    self.verb,
                    number,
                    taken[0],
                )

    def _takes(self, name: str) -> bool:
        return self.takes_all or name in self.names

    def _taken(self, named: dict[str, Any], batch: Any, number: int) -> dict[str, Any]:
        taken = {name: value for name, value in named.items() if self._takes(name)}
        if not taken:
            raise CimsimError(
                f"{self.verb}: batch {number}, {_described(batch)}, has no entry that this "
                f"{type(self.model).__name__} accepts ({', '.join(self.names) or 'nothing'}); "
                f"rename its entries, or {self.otherwise}"
            )
        for name in named:
            if name not in taken and name not in self.left_out:
                self.left_out.add(name)
                logger.warning(
                    "%s: '%s' of the batches is ignored; the model's forward does not accept it",
                    self.verb,
                    name,
                )
        return taken


def _parameters(model: nn.Module) -> tuple[list[str], bool]:
    """Names of the arguments of the model's ``forward``, and whether it takes any others."""
    parameters = inspect.signature(inner_module(model).forward).parameters.values()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return names, any(p.kind is p.VAR_KEYWORD for p in parameters)


def _may_be_mask(label: Tensor, inputs: Tensor) -> bool:
    """Whether ``label`` has zeros and ones for the positions of ``inputs``, which have others."""
    if label.shape != inputs.shape[: label.dim()] or label.dim() < min(inputs.dim(), 2):
        return False
    return _is_binary(label) and not _is_binary(inputs)


def _is_binary(values: Tensor) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _fields(batch: Any) -> dict[str, Any] | None:
    """The fields of a dataclass or a named tuple by name; None of anything else."""
    if is_dataclass(batch) and not isinstance(batch, type):
        return {field.name: getattr(batch, field.name) for field in fields(batch)}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return dict(zip(batch._fields, batch, strict=True))
    return None


def moved(batch: Any, device: torch.device) -> Any:
    """``batch`` with its tensors on ``device``, wherever they are in it."""
    if isinstance(batch, Tensor):
        return batch if batch.is_meta else batch.to(device)  # a meta tensor has only a shape
    if isinstance(batch, PackedSequence):
        return batch.to(device)  # type: ignore[arg-type] # its annotation leaves devices out
    if isinstance(batch, Mapping):
        return {name: moved(value, device) for name, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(moved(value, device) for value in batch))
    if isinstance(batch, tuple | list):
        return type(batch)(moved(value, device) for value in batch)
    if is_dataclass(batch) and not isinstance(batch, type):
        # A shallow copy, because __init__ may do anything.
        copied = object.__new__(type(batch))
        for field in fields(batch):
            object.__setattr__(copied, field.name, moved(getattr(batch, field.name), device))
        return copied
    return batch


def is_empty(batch: Any) -> bool:
    """Whether ``batch`` has tensors, all of them without an entry."""
    sizes = [tensor.numel() for tensor in _tensors(batch)]
    return bool(sizes) and not any(sizes)


def _tensors(batch: Any) -> Iterator[Tensor]:
    """The tensors of ``batch``, wherever they are in it."""
    named = _fields(batch)
    if isinstance(batch, Tensor):
        yield batch
    elif named is not None:
        for value in named.values():
            yield from _tensors(value)
    elif isinstance(batch, Mapping | tuple | list):
        for value in batch.values() if isinstance(batch, Mapping) else batch:
            yield from _tensors(value)


def _described(batch: Any) -> str:
    """A short description of a batch, for errors."""
    if isinstance(batch, Tensor):
        return f"a tensor of shape {list(batch.shape)}, {str(batch.dtype).removeprefix('torch.')}"
    entries = batch if isinstance(batch, Mapping) else _fields(batch)
    if entries is not None:
        kinds = ", ".join(f"{name}: {_shape(value)}" for name, value in entries.items())
        return f"a {type(batch).__name__} of {kinds}"
    if isinstance(batch, tuple | list):
        return f"a {type(batch).__name__} of {', '.join(map(_shape, batch)) or 'nothing'}"
    return f"a {type(batch).__name__}"


def _shape(value: Any) -> str:
    return str(list(value.shape)) if isinstance(value, Tensor) else type(value).__name__
