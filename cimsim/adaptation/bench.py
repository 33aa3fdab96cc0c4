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
from cimsim.nn.batches import Batches, BatchReader, Forward, each_batch
from cimsim.nn.convert import copied
from cimsim.nn.converter_ranges import compute_dtype

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
            CimsimError: if there is no batch, or no labels although they are the teacher.
        """
        self.model, self.recipe = model, recipe
        self.original = copied(model, "the teacher is a copy, so remove what cannot be copied")
        self.batches = list(islice(iter(each_batch(batches, VERB)), recipe.budget))
        if not self.batches:
            raise CimsimError(
                f"{VERB}: got no batches; pass a few hundred inputs of the training data (an "
                "iterator can be used only once: create a new one)"
            )
        self._forward, self._loss = forward, loss
        self._readers = {id(each): BatchReader(each, VERB) for each in (model, self.original)}
        self._taught: dict[int, Tensor] = {}
        self.counts = Counts()
        if recipe.teacher == "labels":
            for number in range(len(self.batches)):
                self._labels(number)

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Within the block, the model is in evaluation mode, its parameters are frozen, and its
        use of its chip is counted. An error restores the model."""
        trained = {name: p.requires_grad for name, p in self.model.named_parameters()}
        try:
            with evaluating(self.model), self.counts.of(self.model):
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
        """``forward(model, batch)`` of the user, or None."""
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
        """The loss of ``outputs`` for batch ``number``, against the teacher."""
        if self.recipe.teacher == "digital":
            return relative_error(output_tensor(outputs), self.taught(number))
        labels = self._labels(number)
        if self._loss is not None:
            return self._loss(outputs, labels)
        return usual_loss(output_tensor(outputs), labels.to(output_tensor(outputs).device))

    def taught(self, number: int) -> Tensor:
        """The outputs of the original model on batch ``number``, computed digitally."""
        if number not in self._taught:
            with torch.no_grad(), evaluating(self.original), digital(self.original):
                self._taught[number] = output_tensor(self.run_original(number)).detach()
        return self._taught[number]

    def _run(self, model: nn.Module, number: int) -> Any:
        return self._readers[id(model)].run(self.batches[number], number, self._forward)

    def _labels(self, number: int) -> Any:
        batch = self.batches[number]
        if isinstance(batch, Mapping) and "labels" in batch:
            return batch["labels"]
        if isinstance(batch, tuple | list) and len(batch) >= 2 and isinstance(batch[1], Tensor):
            return batch[1]
        raise CimsimError(
            f"{VERB}: batch {number} has no labels to learn from; pass batches (inputs, labels), "
            "or leave out teacher='labels' to learn from the digital model's outputs"
        )


class Counts:
    """How often the chip was used: ``batches``, and ``vectors`` that its arrays multiplied."""

    def __init__(self) -> None:
        self.batches = self.vectors = 0
        self._used = False

    @contextmanager
    def of(self, model: nn.Module) -> Iterator[None]:
        """Count within the block."""

        def layer_starts(
            layer: AnalogLayer, given: Sequence[Any], named: Mapping[str, Any]
        ) -> None:
            if not layer.digital:
                x = next(each for each in (*given, *named.values()) if isinstance(each, Tensor))
                self.vectors += layer.count_vectors(x)
                self._used = True

        def model_ends(*_: object) -> None:
            self.batches += self._used
            self._used = False

        handles = [model.register_forward_hook(model_ends)]
        for layer in analog_layers(model).values():
            handles.append(layer.register_forward_pre_hook(layer_starts, with_kwargs=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


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

    Raises:
        CimsimError: if the outputs do not fit the labels.
    """
    outputs = as_dtype(outputs, compute_dtype(outputs))
    if labels.is_floating_point():
        if outputs.shape == labels.shape:
            return F.mse_loss(outputs, labels.to(outputs.dtype))
    elif outputs.dim() and outputs.shape[:-1] == labels.shape:
        return F.cross_entropy(outputs.flatten(0, -2), labels.flatten())
    raise CimsimError(
        f"{VERB}: outputs of shape {list(outputs.shape)} do not fit labels of shape "
        f"{list(labels.shape)}; pass loss=lambda outputs, labels: …"
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
