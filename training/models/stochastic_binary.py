"""Stochastic binary network, and the path sample-analytic gradient of its expected loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.nn import AnalogLayer
from cimsim.quantizers import StochasticSign

HIDDEN = (100, 100)
_EVALUATION_SAMPLES = 10


class StochasticBinary(nn.Module):
    """Dense layers with stochastic signs between them: ``[N, ...]`` to logits ``[N, classes]``.

    A sign is 1 with probability ``sigmoid(a)``, where ``a`` is the layer's output. In evaluation
    mode, the logits are the logarithm of the mean softmax over ten samples.
    """

    def __init__(self, sizes: Sequence[int], gradient: Literal["st", "hardtanh"] = "st") -> None:
        super().__init__()
        pairs = list(pairwise(sizes))
        if len(pairs) < 2:
            raise CimsimError(f"a stochastic binary network needs a hidden layer, got {sizes}")
        self.hidden = nn.ModuleList(nn.Linear(i, o) for i, o in pairs[:-1])
        self.classifier = nn.Linear(*pairs[-1])
        self.comparators = nn.ModuleList(
            StochasticSign(noise=1.0, gradient=gradient, relative=False, sure=False)
            for _ in self.hidden
        )
        for number, comparators in enumerate(self.comparators):
            assert isinstance(comparators, StochasticSign)
            comparators.name_draws(number)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of one sample of the signs; of the mean of ten in evaluation."""
        if self.training:
            return self._sample(x)
        each = [F.log_softmax(self._sample(x), dim=-1) for _ in range(_EVALUATION_SAMPLES)]
        return torch.logsumexp(torch.stack(each), dim=0) - math.log(_EVALUATION_SAMPLES)

    def _sample(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer, comparators in zip(self.hidden, self.comparators, strict=True):
            x = comparators(layer(x))
        logits: Tensor = self.classifier(x)
        return logits

    def path_sample_analytic(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the cross-entropy of the labels ``y [N]``, with the gradient of its expectation.

        One sample of the signs is drawn. The gradient of the expected loss follows from the
        probabilities of single flips, which are propagated through the layers, linearized, in ``q``
        (zero in value):

            first layer:   q_j = D_j - sg D_j,   D_j = -x_j sigmoid(a_j)
            other layers:  q_j = v_j - sg v_j,   v_j = D_j + sum_i sg(D_ij - D_j) q_i
                           D_ij = -x_j sigmoid(a_j - 2 W_ji x_i)
            output:        p_j = sg(1 - P(x_j)) / n + q_j
            loss = f(x) (1 - sum_j p_j) + sum_j f(x with sign j flipped) p_j

        ``D_ij`` needs [N, out, in] numbers in each layer.

        Source: A. Shekhovtsov, V. Yanush, B. Flach, "Path Sample-Analytic Gradient Estimators for
        Stochastic Binary Networks", NeurIPS 2020, arXiv:2006.03143, and its code.
        """
        signs, q = x.flatten(1), None
        for layer, comparators in zip(self.hidden, self.comparators, strict=True):
            before, a = signs, layer(signs)
            signs = comparators(a.detach())
            flipped = -signs * torch.sigmoid(a)
            if q is None:
                q = flipped - flipped.detach()
                continue
            with torch.no_grad():
                weight = _weight(layer)
                turned = a.unsqueeze(2) - 2 * weight * before.unsqueeze(1)
                effect = -signs.unsqueeze(2) * torch.sigmoid(turned) - flipped.unsqueeze(2)
            q = flipped + (effect * q.unsqueeze(1)).sum(2)
            q = q - q.detach()
        assert q is not None
        logits = self.classifier(signs)
        turned_logits = logits.unsqueeze(1) - 2 * signs.unsqueeze(2) * _weight(self.classifier).T
        loss = F.cross_entropy(logits, y, reduction="none")
        count = signs.shape[1]
        labels = y.unsqueeze(1).expand(-1, count)
        turned_loss = F.cross_entropy(turned_logits.transpose(1, 2), labels, reduction="none")
        p = (1 - torch.sigmoid(signs * a).detach()) / count + q
        expected: Tensor = (loss * (1 - p.sum(1)) + (turned_loss * p).sum(1)).mean()
        return expected


def _weight(layer: nn.Module) -> Tensor:
    """Return the weight that a layer computes with, after its quantizer if it has one."""
    weight = layer.effective_weight() if isinstance(layer, AnalogLayer) else layer.weight
    assert isinstance(weight, Tensor)
    return weight


def stochastic_binary(input_shape: tuple[int, ...], classes: int) -> StochasticBinary:
    """Build a network with two hidden layers of 100 comparators."""
    return StochasticBinary((math.prod(input_shape), *HIDDEN, classes))
