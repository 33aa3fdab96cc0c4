import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cimsim.circuits.converters import Converter


def encode(bits: int, v: torch.Tensor, full_scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    converter = Converter(bits)
    codes, inside = converter.encode(v * (converter.levels / full_scale))
    assert inside is not None
    return codes, inside


@pytest.mark.parametrize("bits", range(2, 11))
def test_number_of_codes(bits: int) -> None:
    """Sign and magnitude has two zeros and so one code less than two's complement."""
    v = torch.linspace(-2, 2, 20001, dtype=torch.float64)
    codes, _ = encode(bits, v, 1.0)
    assert codes.unique().numel() == 2**bits - 1
    assert codes.max() == 2 ** (bits - 1) - 1 == -codes.min()
    adc = Converter(bits, twos_complement=True)
    codes, inside = adc.encode(v * adc.levels)
    assert codes.unique().numel() == 2**bits
    assert (codes.min(), codes.max()) == (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    assert inside is not None
    assert torch.equal(inside, (v * adc.levels <= adc.levels) & (v * adc.levels >= adc.lowest))


@given(
    st.integers(2, 12),
    st.lists(st.floats(-10, 10), min_size=1, max_size=50),
    st.floats(0.1, 5),
)
def test_error_is_half_a_step_inside_and_clipping_outside(
    bits: int, values: list[float], full_scale: float
) -> None:
    v = torch.tensor(values, dtype=torch.float64)
    codes, inside = encode(bits, v, full_scale)
    step = full_scale / Converter(bits).levels
    assert torch.equal(codes, codes.round())
    error = (codes * step - v.clamp(-full_scale, full_scale)).abs()
    assert (error <= step / 2 + 1e-9).all()
    clear = (v.abs() - full_scale).abs() > 1e-9  # on the edge itself either answer is right
    assert torch.equal(inside[clear], (v.abs() < full_scale)[clear])


@pytest.mark.parametrize(("bits", "dtype"), [(2, torch.int8), (8, torch.int8), (9, torch.int16)])
def test_storage_holds_every_code(bits: int, dtype: torch.dtype) -> None:
    converter = Converter(bits)
    assert converter.storage == dtype
    assert converter.levels <= torch.iinfo(dtype).max
    assert Converter(bits, twos_complement=True).lowest >= torch.iinfo(dtype).min


def test_nan_stays_and_counts_as_outside() -> None:
    codes, inside = encode(8, torch.tensor([0.4, torch.nan]), 1.0)
    assert codes[1].isnan()
    assert inside.tolist() == [True, False]


def test_codes_are_the_same_without_the_mask() -> None:
    v = torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 100
    codes, _ = Converter(8).encode(v.clone())
    bare, nothing = Converter(8).encode(v.clone(), want_inside=False)
    assert torch.equal(codes, bare)
    assert nothing is None
