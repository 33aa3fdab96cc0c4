"""Labeled batches that are iterated again for each trial: a data loader, or a list."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from cimsim.errors import CimsimError


class LabeledBatches:
    """Batches of inputs and labels.

    >>> pairs = [(torch.ones(4, 2), torch.zeros(4)), (torch.ones(4, 2), torch.zeros(4))]
    >>> [len(labels) for _, labels in LabeledBatches(pairs).first(6)]
    [4, 2]
    """

    def __init__(self, batches: Iterable[Any]) -> None:
        """
        Args:
            batches: a data loader, or another iterable of ``(inputs, labels)``.

        Raises:
            CimsimError: if it is not an iterable of batches, or is an empty list.
        """
        if isinstance(batches, Mapping | str | Tensor) or not hasattr(type(batches), "__iter__"):
            raise CimsimError(
                f"score is a {type(batches).__name__}; pass a function of the model that returns "
                "a number, or a data loader of inputs and labels"
            )
        self._batches = repeatable(batches)
        if isinstance(self._batches, list | tuple) and not self._batches:
            raise CimsimError(
                "score has no batches; an iterator can be used only once: pass the data loader, or "
                "a new iterator"
            )

    def __iter__(self) -> Iterator[Any]:
        return iter(self._batches)

    def first(self, samples: int | None, whole: bool = False) -> Iterator[Any]:
        """The batches with the first ``samples``; the last one cut unless ``whole``.

        Raises:
            CimsimError: if a batch must be cut and is not a tensor.
        """
        seen = 0
        for batch in self:
            if samples is not None and seen >= samples:
                return
            if samples is None or not _is_pair(batch):
                yield batch
                continue
            inputs, labels = batch
            seen += len(labels)
            if seen <= samples or whole:
                yield batch
            elif isinstance(inputs, Tensor):
                rest = len(labels) - (seen - samples)
                yield inputs[:rest], labels[:rest]
            else:
                raise CimsimError(
                    f"samples={samples} ends within a batch of {type(inputs).__name__}; use a "
                    "multiple of the batch size"
                )

    @property
    def name(self) -> str:
        """The class of the data set."""
        dataset = getattr(self._batches, "dataset", None)
        return "test data" if dataset is None else type(dataset).__name__

    @cached_property
    def samples(self) -> int | None:
        """Number of samples; None if a batch has no labels to count."""
        batches = list(self)
        return sum(len(labels) for _, labels in batches) if all(map(_is_pair, batches)) else None

    def require_order(self, why: str) -> None:
        """
        Raises:
            CimsimError: if the first batch is another one each time.
        """
        if not self._in_order:
            raise CimsimError(
                f"the data loader returns different batches each time, and {why}; create it with "
                "shuffle=False and without random transforms"
            )

    @cached_property
    def _in_order(self) -> bool:
        return _in_order(self._batches)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all batches.

        Raises:
            CimsimError: if they are other ones each time.
        """
        self.require_order("results in a folder are used again only for the same data")
        return _hash(self)


def fingerprint_of(batches: Iterable[Any]) -> str:
    """Return a hash of all batches; empty if they are other ones each time."""
    return _hash(batches) if _in_order(batches) else ""


def _in_order(batches: Iterable[Any]) -> bool:
    """Return whether the first batch is the same one each time."""
    firsts = [next(iter(batches), None) for _ in range(2)]
    return _hash(firsts[:1]) == _hash(firsts[1:])


def repeatable(batches: Iterable[Any]) -> Iterable[Any]:
    """``batches``, as a list if they can be iterated only once."""
    return list(batches) if iter(batches) is batches else batches


def _is_pair(batch: object) -> bool:
    return isinstance(batch, tuple | list) and len(batch) == 2 and hasattr(batch[1], "__len__")


def _hash(batches: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for batch in batches:
        for piece in _pieces(batch):
            digest.update(piece)
    return digest.hexdigest()


def _pieces(value: Any) -> Iterator[bytes]:
    """The bytes of everything in a batch, with its structure."""
    if isinstance(value, Tensor):
        yield f"{value.dtype}{list(value.shape)}".encode()
        yield value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield repr(key).encode()
            yield from _pieces(inner)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _pieces(getattr(value, field.name))
    elif isinstance(value, tuple | list):
        yield f"{len(value)} entries".encode()
        for inner in value:
            yield from _pieces(inner)
    else:
        yield repr(value).encode()
