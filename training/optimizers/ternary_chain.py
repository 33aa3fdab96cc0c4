"""Optimizer of ternary weights without latent weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from cimsim.errors import CimsimError
from cimsim.quantizers.ternary import MINUS, MINUS_ZERO, PLUS, PLUS_ZERO, values, words


class TernaryChain(torch.optim.Optimizer):
    """Each weight is a state of the chain ``-1 < -0 < +0 < +1``; gradients vote for transitions.

        votes <- votes - sign(g) where |g| exceeds the median of |g|
        where |votes| > patience: word <- its neighbor in that direction, votes <- 0

    ``signed=False`` is plain ternary, ``-1 < 0 < +1``. A weight is ``scale`` times its word's
    value; ``scale`` is the mean magnitude of the initially nonzero weights. The state consists of
    the word and an int8 counter, without a full-precision weight, so constructing the optimizer
    changes the weights. The source does not specify the exact rule; this is one consistent
    interpretation.

    Source of the idea: J. Uhlmann, "Signed-Zero Ternary", arXiv:2508.05905.
    """

    def __init__(
        self,
        parameters: Iterable[Any],
        patience: int = 4,
        signed: bool = True,
        threshold: float = 0.5,
    ) -> None:
        if not 1 <= patience <= 126:
            raise CimsimError(
                f"patience must be 1 to 126, because votes are counted in a byte; got {patience}"
            )
        defaults = {"patience": patience, "signed": signed, "threshold": threshold}
        super().__init__(parameters, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group as in torch and convert its weights to words."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for parameter in group["params"]:
            self._begin(parameter, group)

    @torch.no_grad()
    def _begin(self, parameter: Tensor, group: dict[str, Any]) -> None:
        dead_zone = group["threshold"] * parameter.abs().mean()
        word = words(parameter, dead_zone)
        on = (word == MINUS) | (word == PLUS)
        scale = parameter.abs()[on].mean() if bool(on.any()) else parameter.new_ones(())
        if not group["signed"]:
            word = torch.where(word == MINUS_ZERO, PLUS_ZERO, word).to(torch.uint8)
        votes = torch.zeros_like(word, dtype=torch.int8)
        self.state[parameter] = {"word": word, "votes": votes, "scale": scale}
        parameter.copy_(values(word) * scale)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state as in torch, but keep the integer types of words and votes."""
        super().load_state_dict(state_dict)
        for state in self.state.values():
            state["word"] = state["word"].to(torch.uint8)
            state["votes"] = state["votes"].to(torch.int8)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Count the votes and change the words that have enough of them."""
        if closure is not None:
            with torch.enable_grad():
                closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, patience = self.state[parameter], group["patience"]
        word, votes = state["word"], state["votes"]
        loud = gradient.abs() > gradient.abs().median()
        votes -= (gradient.sign() * loud).to(torch.int8)
        move = (votes > patience).to(torch.int8) - (votes < -patience).to(torch.int8)
        moved = (word.to(torch.int8) + move).clamp(MINUS, PLUS)
        if not group["signed"]:  # a single zero: skip the other
            passed = torch.where(move > 0, PLUS, MINUS)
            moved = torch.where((moved == MINUS_ZERO) & (word == PLUS_ZERO), passed, moved)
            moved = torch.where(moved == MINUS_ZERO, PLUS_ZERO, moved)
        votes.masked_fill_(move != 0, 0)
        word.copy_(moved.to(torch.uint8))
        parameter.copy_(values(word) * state["scale"])
