"""What the parts of an adaptation work with: a model on its chip, calibration data, a teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cimsim.adaptation.recipe import Recipe
from cimsim.dtypes import as_dtype
from cimsim.errors import CimsimError
from cimsim.nn import AnalogLayer, analog_layers, digital, evaluating
from cimsim.nn.batches import Batches, BatchReader, Forward, each_batch, is_empty, moved
from cimsim.nn.convert import copied
from cimsim.nn.converter_ranges import compute_dtype
from cimsim.nn.modes import uncompiled
from cimsim.nn.tallies import IGNORED, check_labels

Loss: TypeAlias = "Callable[[Any, Any], Tensor]"
"""``loss(outputs, labels)``, a scalar."""

VERB = "adapt"


class Bench:
    """A model on its chip, with the data to adapt it.

    Attributes:
        model: to be changed, in evaluation mode.
        original: a copy of the model before anything was changed.
        batches: calibration data, at most as many as the budget.
        recipe: parts and limits.
        counts: how often the chip was used.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Batches,
        recipe: Recipe,
        loss: Loss | None = None,
        forward: Forward | None = None,
    ) -> None:
        """
        Raises:
            CimsimError: if there is no batch with inputs, or no labels although they are the
                teacher.
        """
        self.model, self.recipe = model, recipe
        self.original = copied(model, "the teacher is a copy, so remove what cannot be copied")
        given = (batch for batch in each_batch(batches, VERB) if not is_empty(batch))
        self.batches = list(islice(given, recipe.budget))
        if not self.batches:
            raise CimsimError(
                f"{VERB}: got no batches; pass a few hundred inputs of the training data (an "
                "iterator can be used only once: create a new one)"
            )
        self.counts = Counts()
        self._forward = None if forward is None else self.counts.counted(forward)
        self._loss = loss
        self._readers = {id(each): BatchReader(each, VERB) for each in (model, self.original)}
        self._taught: dict[int, Tensor] = {}
        if recipe.teacher == "labels":
            for number in range(len(self.batches)):
                self._labels(number)

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Within the block, the model is in evaluation mode, its parameters are frozen, and its
        use of its chip is counted. An error restores the model."""
        trained = {name: p.requires_grad for name, p in self.model.named_parameters()}
        try:
            counts = self.counts.of(self.model, self._forward is None)
            with uncompiled(), evaluating(self.model), counts:
                self.model.requires_grad_(False)
                yield
        except BaseException:
            restore(self.model, self.original)
            raise
        finally:
            for name, parameter in self.model.named_parameters():
                parameter.requires_grad_(trained.get(name, True))

    def inputs(self, most: int) -> list[Any]:
        """The first batches, to measure with."""
        return self.batches[:most]

    @property
    def forward(self) -> Forward | None:
        """``forward(model, batch)`` of the user, which counts its batches, or None."""
        return self._forward

    def run(self, number: int) -> Any:
        """The outputs of the model on batch ``number``."""
        return self._run(self.model, number)

    def run_original(self, number: int) -> Any:
        """The outputs of the original model on batch ``number``."""
        return self._run(self.original, number)

    def loss(self, number: int) -> Tensor:
        """The loss of the model on batch ``number``, against the teacher."""
        return self.loss_of(self.run(number), number)

    def loss_of(self, outputs: Any, number: int) -> Tensor:
        """The loss of ``outputs`` for batch ``number``, against the teacher.

        Raises:
            CimsimError: if the outputs do not fit the labels, or the user's loss is no scalar.
        """
        if self.recipe.teacher == "digital":
            return relative_error(output_tensor(outputs), self.taught(number))
        labels = self._labels(number)
        if self._loss is not None:
            return checked_loss(self._loss(outputs, labels))
        own = getattr(outputs, "loss", None)
        if own is not None:  # Hugging Face's models with labels: for text, it is shifted by a token
            return checked_loss(own)
        try:
            return usual_loss(output_tensor(outputs), labels)
        except CimsimError as error:
            raise CimsimError(f"{VERB}: batch {number}: {error}") from None

    def taught(self, number: int) -> Tensor:
        """The outputs of the original model on batch ``number``, computed digitally.

        Raises:
            CimsimError: if they are not finite.
        """
        if number not in self._taught:
            with torch.no_grad(), evaluating(self.original), digital(self.original):
                taught = output_tensor(self.run_original(number)).detach()
            self.require_finite(taught, number)
            self._taught[number] = taught
        return self._taught[number]

    def require_finite(self, outputs: Tensor, number: int) -> None:
        """
        Raises:
            CimsimError: if ``outputs``, those of the digital model for batch ``number``, are not
                finite.
        """
        if not outputs.isfinite().all():
            raise CimsimError(
                f"{VERB}: the digital model's output for batch {number} is not finite; look for "
                "NaN or infinity in the data"
            )

    def _run(self, model: nn.Module, number: int) -> Any:
        return self._readers[id(model)].run(self.batches[number], number, self._forward)

    def _labels(self, number: int) -> Any:
        batch, device = self.batches[number], self._readers[id(self.model)].device
        if isinstance(batch, Mapping) and "labels" in batch:
            return moved(batch["labels"], device)
        if isinstance(batch, tuple | list) and len(batch) >= 2 and isinstance(batch[1], Tensor):
            return moved(batch[1], device)
        raise CimsimError(
            f"{VERB}: batch {number} has no labels to learn from; pass batches (inputs, labels), "
            "or leave out teacher='labels' to learn from the digital model's outputs"
        )


class Counts:
    """How often the chip was used: ``batches``, and ``vectors`` that its arrays multiplied."""

    def __init__(self) -> None:
        self.batches = self.vectors = 0
        self._used = False

    def counted(self, forward: Forward) -> Forward:
        """Return ``forward`` with a count of one batch for each call."""

        def run(model: nn.Module, batch: Any) -> object:
            outputs = forward(model, batch)
            self._batch_ends()
            return outputs

        return run

    @contextmanager
    def of(self, model: nn.Module, calls: bool) -> Iterator[None]:
        """Count within the block; ``calls``: each call of ``model`` is one batch."""

        def layer_starts(
            layer: AnalogLayer, given: Sequence[Any], named: Mapping[str, Any]
        ) -> None:
            inputs = [each for each in (*given, *named.values()) if isinstance(each, Tensor)]
            if inputs and not layer.digital:
                self.vectors += layer.count_vectors(inputs[0])
                self._used = True

        handles = [model.register_forward_hook(self._batch_ends)] if calls else []
        for layer in analog_layers(model).values():
            handles.append(layer.register_forward_pre_hook(layer_starts, with_kwargs=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _batch_ends(self, *_: object) -> None:
        self.batches += self._used
        self._used = False


def relative_error(outputs: Tensor, taught: Tensor) -> Tensor:
    """``|y - t|^2 / |t - mean t|^2``, summed over the batch; ``t`` are the teacher's outputs.

    Source: matching of logits, J. Ba and R. Caruana, "Do deep nets really need to be deep?"
    (arXiv:1312.6184).
    """
    outputs = as_dtype(outputs, compute_dtype(outputs))  # the sum of many squares overflows float16
    taught = taught.to(outputs)
    spread = (taught - taught.mean()).square().sum().clamp_min(torch.finfo(taught.dtype).tiny)
    return (outputs - taught).square().sum() / spread


def usual_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy for labels that are whole numbers, the mean squared error for others.

    Labels of -100 are ignored, even if a batch has no others.

    Raises:
        CimsimError: if the outputs do not fit the labels.
    """
    outputs = as_dtype(outputs, compute_dtype(outputs))
    if labels.is_floating_point():
        if outputs.shape == labels.shape:
            return F.mse_loss(outputs, labels.to(outputs.dtype))
    elif outputs.dim() and outputs.shape[:-1] == labels.shape:
        check_labels(outputs, labels)
        if bool((labels == IGNORED).all()):
            return 0.0 * outputs.sum()
        return F.cross_entropy(outputs.flatten(0, -2), labels.flatten().long())
    raise CimsimError(
        f"outputs of shape {list(outputs.shape)} do not fit labels of shape "
        f"{list(labels.shape)}; pass loss=lambda outputs, labels: …"
    )


def checked_loss(loss: object) -> Tensor:
    """Return ``loss``.

    Raises:
        CimsimError: if it is not a scalar tensor with a graph.
    """
    if isinstance(loss, Tensor) and loss.numel() == 1 and loss.requires_grad:
        return loss.reshape(())
    kind = f"the shape {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
    if isinstance(loss, Tensor) and loss.numel() == 1:
        kind = "a tensor without a gradient"
    raise CimsimError(
        f"{VERB}: loss(outputs, labels) returned {kind}; return a scalar tensor that is computed "
        "from the outputs"
    )


def restore(model: nn.Module, original: nn.Module) -> None:
    """Give ``model`` the state of ``original``, a copy of it from before an adaptation."""
    before = analog_layers(original)
    for name, layer in analog_layers(model).items():
        was = before[name]
        layer.denoiser, layer.adapters, layer.own_chip = was.denoiser, was.adapters, was.own_chip
        layer.digital, layer.reads = was.digital, was.reads
        layer.scale_inputs(was.input_gains)
        layer.place(was.placement)
        layer.rewrite(was.rewrites)
        layer.age(was.age_s)
    model.load_state_dict(original.state_dict())


def output_tensor(outputs: Any) -> Tensor:
    """The outputs of a model: a tensor, or the logits of Hugging Face's."""
    inner = getattr(outputs, "logits", outputs)
    if not isinstance(inner, Tensor):
        raise CimsimError(
            f"{VERB}: the model returns a {type(outputs).__name__}; wrap it in a module that "
            "returns one tensor, or pass forward=lambda model, batch: …"
        )
    return inner
