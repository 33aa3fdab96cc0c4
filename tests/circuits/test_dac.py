"""What the codes of a DAC drive, and inputs that come bit by bit."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cimsim.circuits.dac import (
    analog_levels,
    bit_planes,
    dac_converter,
    shift_add,
    spread_planes,
)
from cimsim.profile import DAC


def dac(bits: int | None, *peaks: float, strength: float = 1.0, **keys: Any) -> DAC:
    errors = [
        {"kind": "bow", "peak_of_range": peak, "strength": strength, "source": "a test"}
        for peak in peaks
    ]
    return DAC.model_validate({"bits": bits, "errors": errors, "source": "a test", **keys})


def driven(model: DAC, codes: torch.Tensor) -> torch.Tensor:
    converter = dac_converter(model)
    return analog_levels(model, codes, 1 if converter is None else converter.levels)


def every_code(bits: int) -> torch.Tensor:
    most = 2 ** (bits - 1) - 1
    return torch.arange(-most, most + 1, dtype=torch.float32)


@pytest.mark.parametrize("bits", range(2, 11))
def test_number_of_codes(bits: int) -> None:
    converter = dac_converter(dac(bits))
    assert converter is not None
    codes, _ = converter.encode(torch.linspace(-2, 2, 20001) * converter.levels)
    assert torch.equal(codes.unique(), every_code(bits))


@pytest.mark.parametrize("bits", range(2, 11))
def test_without_a_sign_all_codes_are_positive(bits: int) -> None:
    converter = dac_converter(dac(bits), unsigned=True)
    assert converter is not None
    steps = torch.linspace(-2, 2, 20001) * converter.levels
    codes, inside = converter.encode(steps.clone())
    assert torch.equal(codes.unique(), torch.arange(0.0, 2**bits))
    assert inside is not None
    assert torch.equal(inside, (steps >= 0) & (steps <= converter.levels))
    assert torch.equal(codes.to(converter.storage).float(), codes)
    assert converter.planes == bits


def test_an_ideal_dac_has_no_converter() -> None:
    assert dac_converter(dac(None)) is None
    x = torch.randn(5)
    assert driven(dac(None), x) is x


def test_without_errors_a_code_drives_its_own_value() -> None:
    codes = every_code(8)
    assert driven(dac(8), codes) is codes
    assert driven(dac(8, 0.1, strength=0.0), codes) is codes


def test_bow_by_hand() -> None:
    """8 bits, so 127 steps to full scale; (3 sqrt 3 / 2)(u - u^3) at 0, 1/2, 1/sqrt 3 and 1."""
    codes = torch.tensor([0.0, 63.5, 127 / 3**0.5, 127.0, -63.5], dtype=torch.float64)
    moved = driven(dac(8, 0.02, strength=0.5), codes) - codes
    shape = torch.tensor([0.0, 2.598076211353316 * 0.375, 1.0, 0.0, -2.598076211353316 * 0.375])
    assert torch.allclose(moved, 127 * 0.01 * shape.double(), atol=1e-7)


def test_bows_act_one_after_the_other_and_leave_the_codes_alone() -> None:
    codes = every_code(5)
    before = codes.clone()
    both = driven(dac(5, 0.02, -0.05), codes)
    assert torch.equal(both, driven(dac(5, -0.05), driven(dac(5, 0.02), codes)))
    assert torch.equal(codes, before)


def test_error_grows_with_strength() -> None:
    codes, strengths = every_code(6), (0.0, 0.5, 1.0, 2.0)
    errors = [(driven(dac(6, 0.03, strength=s), codes) - codes).norm() for s in strengths]
    assert errors == sorted(errors)
    assert errors[0] == 0 < errors[1]


@pytest.mark.parametrize(("bits", "bit_serial"), [(2, False), (8, True)])
def test_a_bow_that_could_do_nothing_is_refused(bits: int, bit_serial: bool) -> None:
    with pytest.raises(ValidationError, match="only 0 and full scale"):
        dac(bits, 0.1, bit_serial=bit_serial)
    assert dac(bits, 0.1, strength=0.0, bit_serial=bit_serial).errors


@pytest.mark.parametrize("bits", range(2, 17))
def test_planes_add_up_to_the_codes_exactly(bits: int) -> None:
    codes = every_code(bits).view(-1, 1)
    planes = bit_planes(codes, bits - 1)
    assert planes.shape == ((bits - 1) * len(codes), 1)
    assert set(planes.unique().tolist()) <= {-1.0, 0.0, 1.0}
    assert torch.equal(shift_add(planes, bits - 1), codes)


def test_planes_by_hand() -> None:
    """-5 is -(101), 3 is 011; least significant bits of all vectors come first."""
    planes = bit_planes(torch.tensor([[-5.0], [3.0]]), planes=3)
    assert planes.flatten().tolist() == [-1, 1, 0, 1, -1, 0]


@given(st.integers(2, 9), st.lists(st.floats(-1, 1), min_size=1, max_size=20))
def test_a_product_bit_by_bit_is_the_product(bits: int, inputs: list[float]) -> None:
    converter = dac_converter(dac(bits))
    assert converter is not None
    steps = torch.tensor([inputs], dtype=torch.float64) * converter.levels
    codes, _ = converter.encode(steps)
    weight = torch.randn(len(inputs), 3, generator=torch.Generator().manual_seed(0)).double()
    assert torch.allclose(shift_add(bit_planes(codes, bits - 1) @ weight, bits - 1), codes @ weight)


@pytest.mark.parametrize("shape", [(3,), (2, 5), (2, 3, 4, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_spreading_is_the_transpose_of_adding(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    bits = 5
    draws = torch.Generator().manual_seed(0)
    dy = torch.randn(shape, generator=draws, dtype=dtype)
    y = torch.randn((bits - 1) * shape[0], *shape[1:], generator=draws, dtype=dtype)
    spread = spread_planes(dy, bits - 1)
    assert spread.dtype == dtype
    assert spread.shape == y.shape
    assert torch.allclose((spread * y).sum(), (dy * shift_add(y, bits - 1)).sum(), rtol=1e-4)


def test_nan_is_not_lost_in_its_bits() -> None:
    codes = torch.tensor([torch.nan, 3.0])
    back = shift_add(bit_planes(codes, 3), 3)
    assert back[0].isnan()
    assert back[1] == 3.0


def test_one_vector_does_not_change_another() -> None:
    codes = every_code(4).view(-1, 1)
    alone = shift_add(bit_planes(codes[3:4], 3), 3)
    assert torch.equal(alone, shift_add(bit_planes(codes, 3), 3)[3:4])


def test_can_be_compiled() -> None:
    model = dac(6, 0.05)

    def there_and_back(codes: torch.Tensor) -> torch.Tensor:
        return shift_add(bit_planes(codes, 5), 5) + driven(model, codes)

    compiled = torch.compile(there_and_back, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(every_code(6)), there_and_back(every_code(6)))
