"""Scores by a function of the user, or of batches; what a function may return."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Number
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from cimsim.analysis.sweeps.metric import METRICS, Scores
from cimsim.errors import CimsimError
from cimsim.named import described
from cimsim.nn import analog_layers
from cimsim.torch_private import times_written

ScoreFunction: TypeAlias = Callable[[nn.Module], "float | Mapping[str, float]"]
Labeled: TypeAlias = "Iterable[tuple[Any, Tensor]]"


class ScoreError(CimsimError):
    """A scoring function failed, or returned something else than scores."""


def call_score(function: ScoreFunction, model: nn.Module) -> Scores:
    """Score ``model``, which must not be changed, by a function of the user.

    Raises:
        ScoreError: if the function raises an error, changes the model, or returns no numbers.
    """
    before = _state(model)
    try:
        with torch.no_grad():
            returned = function(model)
    except ScoreError:
        raise
    except CimsimError as error:
        raise ScoreError(f"the scoring function failed: {error}") from error
    except Exception as error:
        raise ScoreError(f"the scoring function failed: {described(error)}") from error
    for what, now in _state(model).items():
        if now != before[what]:
            raise ScoreError(
                f"the scoring function changed {what} of the model, which is used again for the "
                "next chip; let it work on copy.deepcopy(model)"
            )
    return _numbers(returned)


def _state(model: nn.Module) -> dict[str, object]:
    """The state that a scoring function must not change."""
    weights = [(id(p), times_written(p)) for p in model.parameters()]
    layers = analog_layers(model).values()
    return {
        "the weights": weights,
        "the chip": [(x.chip_seed, x.cycle, x.age_s) for x in layers],
        "the profile": [id(x.profile) for x in layers],
        "the mode (training or evaluation)": [m.training for m in model.modules()],
    }


def _numbers(returned: object) -> Scores:
    named = returned if isinstance(returned, Mapping) else {"score": returned}
    if not named:
        raise ScoreError(f"{_MUST}, not an empty {type(returned).__name__}")
    scores = {str(name): _number(str(name), value) for name, value in named.items()}
    for name, value in scores.items():
        if name in METRICS and METRICS[name].unit == "%" and not 0 <= value <= 1:
            raise ScoreError(
                f"the scoring function returned {value:g} for '{name}', which is shown in % and is "
                "a fraction from 0 to 1; divide it by 100, or use another name"
            )
    return scores


_MUST = "the scoring function must return a number, or a mapping of names to numbers"


def _number(name: str, value: object) -> float:
    if isinstance(value, Tensor | np.ndarray):
        if math.prod(value.shape) != 1:
            kind = f"{type(value).__name__} of shape {list(value.shape)}"
            raise ScoreError(f"{_MUST}; '{name}' is a {kind}")
        value = value.item()
    if not isinstance(value, Number) or isinstance(value, complex):
        raise ScoreError(f"{_MUST}; '{name}' is {_described(value)}")
    number = float(value)  # type: ignore[arg-type]
    if math.isnan(number):
        raise ScoreError(
            f"the scoring function returned nan for '{name}'; return a bad score instead, such as "
            "float('inf') for a loss"
        )
    return number


def _described(value: object) -> str:
    if value is None:
        return "None"
    return f"the text {value!r}" if isinstance(value, str) else f"a {type(value).__name__}"


def require_finite(scores: Scores) -> None:
    """
    Raises:
        ScoreError: if one of the scores of a digital model is infinite.
    """
    for name, value in scores.items():
        if math.isinf(value):
            raise ScoreError(f"the scoring function returned {value} for '{name}'")
