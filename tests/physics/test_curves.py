"""Curves of a profile on tensors, against numbers by hand."""

import math

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from cimsim.physics.curves import evaluate
from cimsim.profile import AnyCurve

READ_CURVE: TypeAdapter[AnyCurve] = TypeAdapter(AnyCurve)

CLIPPED_LOG = {"kind": "clipped-log", "slope": -0.5, "intercept": 1.0, "min": 0.2, "max": 2.0}
CAPPED_POWER = {"kind": "capped-power", "coefficient": 0.1, "exponent": -0.5, "max": 0.4}
TABLE = {"kind": "table", "r": [0.1, 0.5, 0.6], "values": [3.0, 1.0, 2.0]}
POLYNOMIAL = {"kind": "polynomial", "coefficients": [1.0, -2.0, 3.0]}
PIECEWISE = {"kind": "piecewise", "at": 0.5, "below": CAPPED_POWER, "above": POLYNOMIAL}
LOG_POLYNOMIAL = {"kind": "log-polynomial", "coefficients": [1.0, 2.0, 3.0]}
SATURATING = {"kind": "saturating", "amplitude": 2.0, "scale": 0.25}
STEEP = {"kind": "capped-power", "coefficient": 0.1, "exponent": -30.0, "max": 0.4}
CONSTANT = {"kind": "table", "r": [0.5], "values": [7.0]}
NOTHING = {"kind": "capped-power", "coefficient": 0.0, "exponent": -1.0, "max": 1.0}

VALUES = [
    (CLIPPED_LOG, 0.0, 2.0),
    (CLIPPED_LOG, 0.5, 1 - 0.5 * math.log(0.5)),
    (CLIPPED_LOG, 10.0, 0.2),
    (CAPPED_POWER, 0.0, 0.4),
    (CAPPED_POWER, 0.01, 0.4),
    (CAPPED_POWER, 0.25, 0.2),
    (STEEP, 0.0, 0.4),
    (STEEP, 1.0, 0.1),
    (NOTHING, 0.0, 0.0),
    (POLYNOMIAL, 0.0, 1.0),
    (POLYNOMIAL, 0.5, 0.75),
    (LOG_POLYNOMIAL, 0.0, 1 - 14 + 147),
    (LOG_POLYNOMIAL, 0.1, 1 - 2 + 3),
    (SATURATING, 0.0, 0.0),
    (SATURATING, 0.5, 2 * (1 - math.exp(-2.0))),
    (TABLE, 0.0, 3.0),
    (TABLE, 0.1, 3.0),
    (TABLE, 0.2, 2.5),
    (TABLE, 0.5, 1.0),
    (TABLE, 0.55, 1.5),
    (TABLE, 0.6, 2.0),
    (TABLE, 9.0, 2.0),
    (CONSTANT, 0.1, 7.0),
    (PIECEWISE, 0.25, 0.2),
    (PIECEWISE, 0.5, 0.75),
]
CURVES = [
    CLIPPED_LOG,
    CAPPED_POWER,
    STEEP,
    NOTHING,
    POLYNOMIAL,
    LOG_POLYNOMIAL,
    SATURATING,
    TABLE,
    CONSTANT,
    PIECEWISE,
]


@pytest.mark.parametrize(("curve", "r", "value"), VALUES)
def test_values(curve: dict[str, object], r: float, value: float) -> None:
    found = evaluate(READ_CURVE.validate_python(curve), torch.tensor(r, dtype=torch.float64))
    assert found.item() == pytest.approx(value, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("curve", CURVES)
def test_values_and_slopes_are_finite_from_zero_on(
    curve: dict[str, object], dtype: torch.dtype
) -> None:
    r = torch.tensor([0.0, 1e-12, 1e-3, 0.5, 1.0, 3.0], dtype=dtype, requires_grad=True)
    value = evaluate(READ_CURVE.validate_python(curve), r)
    assert value.dtype == dtype
    assert value.shape == r.shape
    assert value.isfinite().all()
    (value + r).sum().backward()
    assert r.grad is not None
    assert r.grad.isfinite().all()


def test_a_table_is_what_numpy_interpolates() -> None:
    r = torch.linspace(0.0, 1.0, 501, dtype=torch.float64)
    found = evaluate(READ_CURVE.validate_python(TABLE), r)
    expected = np.interp(r.numpy(), (0.1, 0.5, 0.6), (3.0, 1.0, 2.0))
    assert torch.allclose(found, torch.from_numpy(expected))


def test_the_slope_of_a_table_is_that_of_one_neighbor_at_a_point_and_zero_outside() -> None:
    r = torch.tensor([0.0, 0.3, 0.5, 0.55, 9.0], dtype=torch.float64, requires_grad=True)
    evaluate(READ_CURVE.validate_python(TABLE), r).sum().backward()
    assert r.grad is not None
    assert torch.allclose(r.grad, torch.tensor([0.0, -5.0, 10.0, 10.0, 0.0]).double())
