"""Functions that return their model keep its type."""

from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from cimsim.nn import convert, forms, model_ops, to_digital
from cimsim.nn.modes import evaluating

FUNCTIONS: list[Callable[..., Any]] = [
    *(convert, to_digital, evaluating, model_ops.program, model_ops.age, model_ops.calibrate),
    *(model_ops.recalibrate, model_ops.denoise, model_ops.reestimate, model_ops.set_profile),
    *(model_ops.digital, model_ops.perturbed),
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_the_type_of_the_model_is_that_of_the_result(function: Callable[..., Any]) -> None:
    given, returned = (function.__annotations__[name] for name in ("model", "return"))
    assert given == "Model"
    assert returned in ("Model", "Iterator[Model]")
    assert forms.Model.__bound__ is nn.Module
