"""Sums over the outputs of a model, and the scores that follow from them."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from cimsim.errors import CimsimError

_TOP = 5
IGNORED = -100
"""The label that :func:`torch.nn.functional.cross_entropy` ignores by default."""


class Tally(ABC):
    """Sums over batches of outputs and labels.

    Attributes:
        count: number of labels so far.
    """

    count: int = 0

    @abstractmethod
    def add(self, outputs: Tensor, labels: Tensor) -> None:
        """Add one batch.

        Raises:
            CimsimError: if the outputs do not fit the labels.
        """

    @abstractmethod
    def scores(self) -> dict[str, float]:
        """Return the scores of all batches by name."""


class ClassTally(Tally):
    """Accuracy and mean cross-entropy of logits [N, ..., classes] with labels [N, ...].

    Labels of -100 are ignored, as in :func:`torch.nn.functional.cross_entropy`.

    With ``per_class``, the scores include:

    * ``balanced_accuracy``: mean over the classes with labels of ``right_c / labels_c``
    * ``f1``: mean over the classes with labels or predictions of
      ``2 right_c / (labels_c + predictions_c)``
    * ``top5``: share of labels among the five largest logits, for more than five classes
    """

    def __init__(self, per_class: bool = False) -> None:
        self.per_class = per_class
        self._right: Tensor | int = 0
        self._near: Tensor | int = 0
        self._loss: Tensor | float = 0.0
        self._of_classes: Tensor | int = 0  # [3, classes]: labels, predictions, right ones
        self._classes = 0

    def add(self, outputs: Tensor, labels: Tensor) -> None:
        """See :class:`Tally`."""
        check_labels(outputs, labels)
        flat, labels = outputs.flatten(0, -2), labels.flatten().long()
        counted = labels != IGNORED
        predictions = flat.argmax(dim=-1)
        self._right += (predictions == labels).sum()
        self._loss += F.cross_entropy(flat.double(), labels, reduction="sum", ignore_index=IGNORED)
        self.count += int(counted.sum())
        if self.per_class:
            self._add_classes(flat[counted], predictions[counted], labels[counted])

    def _add_classes(self, outputs: Tensor, predictions: Tensor, labels: Tensor) -> None:
        self._classes = classes = outputs.shape[-1]
        counted = (labels, predictions, labels[labels == predictions])
        self._of_classes += torch.stack([each.bincount(minlength=classes) for each in counted])
        if classes > _TOP:
            best = outputs.topk(_TOP, dim=-1).indices
            self._near += (best == labels[:, None]).sum()

    def scores(self) -> dict[str, float]:
        """See :class:`Tally`."""
        scores = {
            "accuracy": float(self._right) / self.count,
            "loss": float(self._loss) / self.count,
        }
        if self.per_class:
            assert isinstance(self._of_classes, Tensor)
            labels, predictions, right = self._of_classes.double()
            scores["balanced_accuracy"] = float((right / labels)[labels > 0].mean())
            both = labels + predictions
            scores["f1"] = float((2 * right / both)[both > 0].mean())
            if self._classes > _TOP:
                scores["top5"] = float(self._near) / self.count
        return scores


def check_labels(outputs: Tensor, labels: Tensor) -> None:
    """
    Raises:
        CimsimError: if ``labels`` are not classes of the logits ``outputs``.
    """
    if outputs.shape[:-1] != labels.shape or not outputs.dim():
        raise CimsimError(
            f"the model returns {list(outputs.shape)} for labels {list(labels.shape)}; logits must "
            "have the shape of the labels, followed by an axis of classes"
        )
    if labels.is_floating_point() or labels.is_complex():
        raise CimsimError(
            f"labels must be class numbers, not {str(labels.dtype).removeprefix('torch.')}; to "
            "score other targets, pass a function of the model"
        )
    classes = outputs.shape[-1]
    wrong = labels[(labels != IGNORED) & ((labels < 0) | (labels >= classes))]
    if len(wrong):
        raise CimsimError(
            f"label {int(wrong[0])} is not a class of a model with {classes} outputs; labels must "
            f"be 0 to {classes - 1}, or {IGNORED} to be ignored"
        )


class TargetTally(Tally):
    """Errors of outputs [N, K] for numeric targets [N, K], in units of ``scale`` [K].

    * ``rmse``: root of the mean squared error over all samples and targets
    * ``mae``: mean absolute error
    * ``r2``: mean over targets of ``1 - sum (y - output)^2 / sum (y - mean y)^2``
    """

    def __init__(self, scale: Tensor) -> None:
        self.scale = scale.double()
        self._sums: Tensor | int = 0  # [5, K]: samples, y, y^2, squared and absolute errors

    def add(self, outputs: Tensor, labels: Tensor) -> None:
        """See :class:`Tally`."""
        if outputs.shape != labels.shape:
            raise CimsimError(
                f"the model returns {list(outputs.shape)} for targets {list(labels.shape)}; it "
                "must return one number for each target"
            )
        y, scale = labels.double(), self.scale.to(labels.device)
        error = (outputs.double() - y) * scale
        self._sums += torch.stack(
            [
                each.sum(0)
                for each in (y.new_ones(y.shape), y, y.square(), error.square(), error.abs())
            ]
        )
        self.count += labels.numel()

    def scores(self) -> dict[str, float]:
        """See :class:`Tally`."""
        assert isinstance(self._sums, Tensor)
        n, y, squares, error, absolute = self._sums.cpu()
        spread = (squares - y.square() / n) * self.scale.cpu().square()
        # scikit-learn's definition for equal targets.
        constant = torch.where(error > 0, 0.0, 1.0).double()
        r2 = torch.where(spread > 1e-12 * squares, 1 - error / spread, constant)
        return {
            "rmse": float((error.sum() / self.count).sqrt()),
            "mae": float(absolute.sum() / self.count),
            "r2": float(r2.mean()),
        }
