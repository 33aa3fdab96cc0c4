"""Optimizers by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import nn

from cimsim.errors import CimsimError
from cimsim.nn import analog_layers, parameter_groups
from cimsim.training.optimizers.ternary_chain import TernaryChain

Share = Annotated[float, Field(ge=0, lt=1)]


class Optimizer(ABC):
    """Base class of optimizers.

    ``owns_weights`` marks an optimizer whose analog weights no other code may clip, average or
    quantize.
    """

    name: ClassVar[str]
    owns_weights: ClassVar[bool] = False

    @abstractmethod
    def build(
        self, model: nn.Module, lr: float, weight_decay: float = 0.0
    ) -> list[torch.optim.Optimizer]:
        """Build torch optimizers that together update all parameters of ``model``.

        A group with the key ``lr_factor`` has this multiple of the learning rate.
        """


class Adam(Optimizer):
    """Adam with decoupled weight decay (AdamW).

    Source: I. Loshchilov, F. Hutter, arXiv:1711.05101 (2017).
    """

    name: ClassVar[str] = "adam"

    def __init__(self, beta1: Share = 0.9, beta2: Share = 0.999) -> None:
        self.betas = beta1, beta2

    def build(
        self, model: nn.Module, lr: float, weight_decay: float = 0.0
    ) -> list[torch.optim.Optimizer]:
        """See :class:`Optimizer`."""
        return [torch.optim.AdamW(parameter_groups(model, lr, weight_decay), betas=self.betas)]


class Sgd(Optimizer):
    """Gradient descent with momentum; weight decay is added to the gradient.

    It uses the magnitude of a gradient in addition to its sign, so it suits measured gradients
    (FOGZO, n-SPSA) better than Adam.
    """

    name: ClassVar[str] = "sgd"

    def __init__(self, momentum: Share = 0.9) -> None:
        self.momentum = momentum

    def build(
        self, model: nn.Module, lr: float, weight_decay: float = 0.0
    ) -> list[torch.optim.Optimizer]:
        """See :class:`Optimizer`."""
        groups = parameter_groups(model, lr, weight_decay)
        return [torch.optim.SGD(groups, momentum=self.momentum)]


class LatentFree(Optimizer):
    """Ternary analog weights without latent weights; Adam for all other parameters.

    Each weight is a state of the chain ``-1 < -0 < +0 < +1`` (``-1 < 0 < +1`` with
    ``signed=False``) and has a counter of votes:

        votes <- votes - sign(g) where |g| exceeds the median of |g|
        where |votes| > patience: word <- its neighbor in that direction, votes <- 0

    Initial weights below ``threshold`` times the mean magnitude are zero. The learning rate applies
    to the other parameters. See :class:`TernaryChain`.

    Source of the idea: J. Uhlmann, "Signed-Zero Ternary", arXiv:2508.05905.
    """

    name: ClassVar[str] = "ternary-chain"
    owns_weights: ClassVar[bool] = True

    def __init__(
        self,
        patience: Annotated[int, Field(ge=1, le=126)] = 4,
        signed: bool = True,
        threshold: Annotated[float, Field(ge=0)] = 0.5,
    ) -> None:
        self.patience, self.signed, self.threshold = patience, signed, threshold

    def build(
        self, model: nn.Module, lr: float, weight_decay: float = 0.0
    ) -> list[torch.optim.Optimizer]:
        """See :class:`Optimizer`.

        Raises:
            CimsimError: if no layer of the model is analog.
        """
        weights = [layer.weight for layer in analog_layers(model).values()]
        if not weights:
            raise CimsimError("optimizer 'ternary-chain' needs an analog layer; the model has none")
        chosen = {id(weight) for weight in weights}
        groups = parameter_groups(model, lr, weight_decay, without=chosen)
        chain = TernaryChain(weights, self.patience, self.signed, self.threshold)
        return [chain, *([torch.optim.AdamW(groups)] if groups else [])]
