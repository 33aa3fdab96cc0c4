"""Everything that is wrong with an ADC: what every kind promises, and each kind by itself."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from cimsim.circuits.adc import (
    adc_converter,
    distorted,
    draw_adc,
    looked_up,
    pipeline_edges,
    ramp_edges,
    sar_edges,
)
from cimsim.profile import ADC

KINDS: dict[str, dict[str, Any]] = {
    "gain": {"sigma": 0.05},
    "offset": {"sigma_of_range": 0.05},
    "bow": {"peak_of_range": 0.05},
    "compression": {"n": 0.1},
    "measured": {
        "ideal_of_range": (-1.0, 0.0, 0.5),
        "mean_error_of_range": (0.04, 0.0, -0.05),
        "spread_of_range": (0.0, 0.1, 0.2),
    },
    "sar": {"sigma_unit": 0.1},
    "ramp": {"sigma_step": 0.2},
    "pipeline": {"sigma_gain": 0.02},
    "temperature": {"reference_C": 25.0, "gain_per_K": -0.001, "offset_of_range_per_K": 0.0005},
}
TABLES = ("sar", "ramp", "pipeline")
RANDOM = ("gain", "offset", *TABLES)
HOT_C = 85.0


def error(kind: str, strength: float = 1.0, **numbers: Any) -> dict[str, Any]:
    given = numbers or KINDS[kind]
    return {"kind": kind, "strength": strength, "source": "a test", **given}


def adc(*errors: dict[str, Any], bits: int | None = 6, **keys: Any) -> ADC:
    return ADC.model_validate({"bits": bits, "errors": errors, "source": "a test", **keys})


def converted(z: Tensor, model: ADC, seed: int = 0, temperature_C: float = HOT_C) -> Tensor:
    """Codes of ``z [tiles, columns, vectors]`` in steps."""
    converter = adc_converter(model)
    assert converter is not None
    state = draw_adc(model, z.shape[1], seed, z[..., 0])
    gain, offset, thresholds = state if state is not None else (None, None, None)
    gain, offset = (None if v is None else v.unsqueeze(-1) for v in (gain, offset))
    z = distorted(z.clone(), model, converter.levels, gain, offset, temperature_C)
    if thresholds is not None:
        return looked_up(z, thresholds, converter.lowest)
    return converter.encode(z, want_inside=False)[0]


def sweep(
    bits: int, tiles: int = 1, columns: int = 1, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Inputs all over the range and a little beyond, none of them halfway between two codes."""
    half = 2 ** (bits - 1)
    line = torch.arange(-half - 2, half + 2, 1 / 16, dtype=dtype) + 1 / 37
    return line.expand(tiles, columns, -1).contiguous()


# What every kind promises.


@pytest.mark.parametrize("bits", range(2, 11))
@pytest.mark.parametrize("kind", [None, *TABLES])
def test_an_adc_of_b_bits_has_2_to_the_b_codes(bits: int, kind: str | None) -> None:
    model = adc(*([] if kind is None else [error(kind, strength=1e-3)]), bits=bits)
    codes = converted(sweep(bits), model).unique()
    assert torch.equal(codes, torch.arange(-(2 ** (bits - 1)), 2 ** (bits - 1)).double())


@pytest.mark.parametrize("kind", KINDS)
def test_at_strength_zero_it_is_absent(kind: str) -> None:
    model = adc(error(kind, strength=0.0))
    z = sweep(6, 2, 3)
    assert draw_adc(model, 3, 0, z[..., 0]) is None
    assert distorted(z, model, 31, None, None, HOT_C) is z
    assert torch.equal(converted(z, model), z.clamp(-32, 31).round())


@pytest.mark.parametrize("kind", KINDS)
def test_its_error_grows_with_strength(kind: str) -> None:
    z = sweep(6, 4, 16)
    z = z[..., (z[0, 0].abs() < 30)]  # clipping hides errors
    exact = converted(z, adc())
    rms = [
        (converted(z, adc(error(kind, strength=s))) - exact).square().mean().sqrt().item()
        for s in (0.0, 0.5, 1.0, 2.0)
    ]
    assert rms == sorted(rms)
    assert rms[0] == 0 < rms[1] < rms[3]


@pytest.mark.parametrize("kind", RANDOM)
def test_a_seed_is_a_chip(kind: str) -> None:
    model, z = adc(error(kind)), sweep(6, 2, 5)
    assert torch.equal(converted(z, model, seed=1), converted(z, model, seed=1))
    assert not torch.equal(converted(z, model, seed=1), converted(z, model, seed=2))
    codes = converted(z, model, seed=1)
    assert not torch.equal(codes[0], codes[1])
    assert not torch.equal(codes[:, 0], codes[:, 1])


@pytest.mark.parametrize("kind", RANDOM)
def test_neighbors_share_an_adc(kind: str) -> None:
    """10 columns on ADCs for 4: two full groups, and one of the 2 columns that are left."""
    z = sweep(6, 2, 10)
    codes = converted(z, adc(error(kind), columns_per_adc=4))
    for group in codes.split(4, dim=1):
        assert (group == group[:, :1]).all()
    assert not torch.equal(codes[:, 3], codes[:, 4])
    assert not torch.equal(codes[:, 7], codes[:, 8])


@pytest.mark.parametrize("kind", TABLES)
def test_shared_tables_are_the_same_whether_groups_are_equal_or_not(kind: str) -> None:
    model = adc(error(kind), columns_per_adc=4)
    full, cut = converted(sweep(6, 1, 8), model), converted(sweep(6, 1, 7), model)
    assert torch.equal(full[:, :7], cut)


@pytest.mark.parametrize("kind", RANDOM)
def test_its_draws_do_not_depend_on_other_effects(kind: str) -> None:
    other = "gain" if kind != "gain" else "offset"
    like = torch.zeros(())
    alone = draw_adc(adc(error(other, strength=0.0), error(kind)), 3, 7, like.new_zeros(2, 3))
    among = draw_adc(adc(error(other), error(kind)), 3, 7, like.new_zeros(2, 3))
    assert alone is not None
    assert among is not None
    (field,) = (name for name, drawn in alone._asdict().items() if drawn is not None)
    assert torch.equal(getattr(alone, field), getattr(among, field))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_dtype_and_shape_stay(kind: str, dtype: torch.dtype) -> None:
    z = sweep(4, 2, 3, dtype)
    codes = converted(z, adc(error(kind), bits=4))
    assert (codes.dtype, codes.device, codes.shape) == (dtype, z.device, z.shape)
    assert torch.equal(codes, codes.round())
    assert codes.min() >= -8
    assert codes.max() <= 7


@pytest.mark.parametrize("kind", KINDS)
def test_codes_never_fall_as_the_input_rises(kind: str) -> None:
    assert (converted(sweep(6, 2, 3), adc(error(kind))).diff() >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_one_sample_never_changes_its_neighbors(kind: str) -> None:
    z, model = sweep(6, 2, 3), adc(error(kind))
    for part in (slice(5, 6), slice(100, 300)):
        assert torch.equal(converted(z, model)[..., part], converted(z[..., part], model))


@pytest.mark.parametrize("kind", KINDS)
def test_nan_stays_and_infinity_saturates(kind: str) -> None:
    z = torch.tensor([[[torch.nan, torch.inf, -torch.inf, 1.0]]])
    codes = converted(z, adc(error(kind))).flatten()
    assert codes[0].isnan()
    assert not codes[3].isnan()
    if kind != "compression":  # infinity over infinity; what a product cannot be stays not a number
        assert codes[1:3].tolist() == [31.0, -32.0]


def test_errors_act_in_the_order_of_the_file() -> None:
    z = torch.tensor([10.0])
    one, two = error("offset", sigma_of_range=1.0), error("compression", n=1.0)
    offset = torch.tensor(0.5)
    added_first = distorted(z.clone(), adc(one, two), 20, None, offset, 25.0)
    assert added_first.item() == pytest.approx(20 / 2)
    added_last = distorted(z.clone(), adc(two, one), 20, None, offset, 25.0)
    assert added_last.item() == pytest.approx(10 / 1.5 + 10)


@pytest.mark.parametrize("kind", ["gain", "offset"])
def test_one_adc_has_one_gain_and_one_offset(kind: str) -> None:
    with pytest.raises(ValidationError, match=f"because an ADC has one {kind}"):
        adc(error(kind), error("bow"), error(kind))


def test_a_temperature_that_changes_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="has no temperature coefficient"):
        adc(error("temperature", reference_C=25.0))


def test_an_ideal_adc_has_no_converter() -> None:
    assert adc_converter(adc(bits=None)) is None
    assert draw_adc(adc(bits=None), 3, 0, torch.zeros(2, 3)) is None


# Each kind by itself.


def within_4_standard_errors(values: Tensor, mean: float, sigma: float) -> bool:
    n = values.numel()
    mean_is_right = abs(values.mean().item() - mean) < 4 * sigma / math.sqrt(n)
    sigma_is_right = abs(values.std().item() / sigma - 1) < 4 / math.sqrt(2 * n)
    return mean_is_right and sigma_is_right


def test_spread_of_gain_and_offset() -> None:
    model = adc(error("gain", 0.5, sigma=0.04), error("offset", 2.0, sigma_of_range=0.01))
    state = draw_adc(model, 200, 0, torch.zeros(100, 200, dtype=torch.float64))
    assert state is not None
    assert state.gain is not None
    assert state.offset is not None
    assert within_4_standard_errors(state.gain, 1.0, 0.02)
    assert within_4_standard_errors(state.offset, 0.0, 0.02)
    correlation = torch.corrcoef(torch.stack((state.gain.flatten(), state.offset.flatten())))[0, 1]
    assert abs(correlation) < 4 / math.sqrt(20_000)


def test_gain_multiplies_and_offset_is_a_fraction_of_the_range() -> None:
    model = adc(error("gain"), error("offset"))
    z = distorted(torch.tensor([10.0, -4.0]), model, 31, torch.tensor(1.5), torch.tensor(0.1), 25.0)
    assert z.tolist() == pytest.approx([18.1, -2.9])


def test_bow_is_the_closed_form() -> None:
    """u + 0.02 (3 sqrt 3 / 2)(u - u^3): 0.02 of the range at 1/sqrt 3, nothing at 0 and 1, and
    nothing where the ADC is going to clip anyway."""
    u = torch.tensor([0.0, 0.25, 1 / math.sqrt(3), 1.0, 3.0, -0.25, -9.0], dtype=torch.float64)
    inl = distorted(u * 127, adc(error("bow", peak_of_range=0.02), bits=8), 127, None, None, 25.0)
    quarter = 1.5 * math.sqrt(3) * (0.25 - 0.25**3)
    want = [0.0, quarter, 1.0, 0.0, 0.0, -quarter, 0.0]
    assert (inl / 127 - u).tolist() == pytest.approx([0.02 * v for v in want], abs=1e-12)


def test_compression_loses_a_share_at_full_scale() -> None:
    z = torch.tensor([0.0, 31.0, -31.0, 15.5], dtype=torch.float64)
    got = distorted(z.clone(), adc(error("compression", n=0.25)), 31, None, None, 25.0)
    assert got.tolist() == pytest.approx([0.0, 24.8, -24.8, 15.5 / 1.125])


def test_a_measured_table_is_linear_between_its_points() -> None:
    """At -1.2, -0.5, 0.25 and 0.9 of the range, and half the strength; its slope is the mean's."""
    model = adc(error("measured", 0.5, **KINDS["measured"]))
    u = torch.tensor([-1.2, -0.5, 0.25, 0.9], dtype=torch.float64, requires_grad=True)
    got = distorted(u * 31, model, 31, None, None, 25.0) / 31
    mean = torch.tensor([0.04, 0.02, -0.025, -0.05], dtype=torch.float64) / 2
    torch.testing.assert_close(got, u.detach() + mean)
    (slope,) = torch.autograd.grad(got.sum(), u)
    assert slope.tolist() == pytest.approx([1.0, 0.98, 0.95, 1.0])


def test_a_measured_spread_is_new_at_every_read() -> None:
    """Its size is that of the table, times both strengths, and each error has its own samples."""
    one = error("measured", 0.5, spread_strength=3.0, **KINDS["measured"])
    model = adc(one, error("measured", **KINDS["measured"]))
    seen = []

    def noise(index: int, like: Tensor) -> Tensor:
        seen.append(index)
        return torch.full_like(like, 1.0 if index == 0 else 0.0)

    z = torch.tensor([-31.0, 0.0, 15.5], dtype=torch.float64)
    quiet = distorted(z.clone(), adc(one), 31, None, None, 25.0)
    loud = distorted(z.clone(), adc(one), 31, None, None, 25.0, noise)
    assert ((loud - quiet) / 31).tolist() == pytest.approx([0.0, 0.15, 0.3])
    distorted(z.clone(), model, 31, None, None, 25.0, noise)
    assert seen == [0, 0, 1]


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"ideal_of_range": (0.0, 0.0, 1.0)}, "must be in ascending order"),
        ({"mean_error_of_range": (0.0, 0.1)}, "must have 3 values, as 'ideal_of_range' has; got 2"),
        ({"spread_of_range": (0.0, -0.1, 0.1)}, "greater than or equal to 0"),
    ],
)
def test_a_measured_table_is_whole(numbers: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        adc(error("measured", **{**KINDS["measured"], **numbers}))


def test_temperature_by_hand() -> None:
    """60 K above the reference at half the strength: gain 0.97, offset 0.015 of the range."""
    model = adc(error("temperature", 0.5, **KINDS["temperature"]))
    z = torch.tensor([10.0, -20.0])
    got = distorted(z.clone(), model, 31, None, None, HOT_C)
    assert got.tolist() == pytest.approx([9.7 + 0.465, -19.4 + 0.465])
    assert torch.equal(distorted(z.clone(), model, 31, None, None, 25.0), z)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def perfect(bits: int) -> dict[Callable[[Tensor], Tensor], Tensor]:
    return {
        sar_edges: torch.arange(bits).exp2(),
        ramp_edges: torch.ones(1 << bits),
        pipeline_edges: torch.full((bits - 1,), 2.0),
    }


@pytest.mark.parametrize("bits", range(2, 17))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_edges_of_perfect_parts_lie_half_way_between_codes(bits: int, dtype: torch.dtype) -> None:
    half_way = torch.arange(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, dtype=dtype) + 0.5
    for edges, parts in perfect(bits).items():
        assert torch.equal(edges(parts.to(dtype)), half_way)


@pytest.mark.parametrize("edges", [sar_edges, ramp_edges, pipeline_edges])
@given(seed=st.integers(0, 1000), bits=st.integers(2, 8), sigma=st.floats(0, 3))
def test_edges_ascend_however_bad_the_parts(
    edges: Callable[[Tensor], Tensor], seed: int, bits: int, sigma: float
) -> None:
    parts = perfect(bits)[edges].double()
    got = edges((parts * (1 + sigma * normal(7, len(parts), seed=seed))).clamp_min(0.02))
    assert got.shape == (7, 2**bits - 1)
    assert got.isfinite().all()
    assert (got.diff() >= 0).all()


def searched(z: Tensor, capacitors: Tensor) -> Tensor:
    """Successive approximation, trial by trial; ``z [vectors]``."""
    bits = len(capacitors)
    level = (z + 2 ** (bits - 1) + 0.5) / 2**bits * (capacitors.sum() + 1.0)
    held, code = torch.zeros_like(z), torch.zeros_like(z)
    for bit in reversed(range(bits)):
        kept = level >= held + capacitors[bit]
        held = held + kept * capacitors[bit]
        code = code + kept * 2.0**bit
    return code - 2.0 ** (bits - 1)


@pytest.mark.parametrize("sigma", [0.0, 0.05, 0.4])
@pytest.mark.parametrize("seed", range(4))
def test_a_sar_table_is_the_search(sigma: float, seed: int) -> None:
    """Also where mismatch is so large that the levels are out of order and codes are missing."""
    nominal = torch.arange(6).double().exp2()
    capacitors = (nominal + sigma * nominal.sqrt() * normal(6, seed=seed)).clamp_min(0)
    z = sweep(6)
    table = sar_edges(capacitors).view(1, 1, -1)
    assert torch.equal(looked_up(z, table, -32).flatten(), searched(z.flatten(), capacitors))


def test_mismatch_of_a_sar_is_largest_where_all_capacitors_change() -> None:
    """At mid-scale 2^b - 1 units change places: the code there is wide by N(0, (2^b - 1) sigma^2),
    so exactly (in steps) with a sum that is normalized to first order."""
    bits, sigma, n = 8, 0.01, 4000
    state = draw_adc(adc(error("sar", sigma_unit=sigma), bits=bits), n, 0, normal(1, n))
    assert state is not None
    assert state.thresholds is not None
    middle = 2 ** (bits - 1) - 1
    width = state.thresholds[..., middle] - state.thresholds[..., middle - 1]
    assert within_4_standard_errors(width, 1.0, math.sqrt(2**bits - 1) * sigma)


def test_errors_of_a_ramp_add_up_and_its_ends_are_held() -> None:
    """A random walk tied at both ends: variance k (N - k) / N steps after k of N."""
    bits, sigma, n = 5, 0.02, 4000
    state = draw_adc(adc(error("ramp", sigma_step=sigma), bits=bits), n, 0, normal(1, n))
    assert state is not None
    assert state.thresholds is not None
    for k in (1, 8, 16, 31):
        expected = sigma * math.sqrt(k * (32 - k) / 32)
        ideal = k - 16 - 0.5
        assert within_4_standard_errors(state.thresholds[..., k - 1], ideal, expected)


def piped(z: Tensor, gains: Tensor) -> Tensor:
    """A pipeline of 1.5-bit stages, stage by stage."""
    half = 2.0 ** len(gains)
    r, code = z / half, torch.zeros_like(z)
    for stage, gain in enumerate(gains):
        d = (r > 0.25).double() - (r < -0.25).double()
        code = code + d * half / 2 ** (stage + 1)
        r = gain * (r - d / 2)
    return (code + r.clamp(-1, 1).round()).clamp(-half, half - 1)


@pytest.mark.parametrize("seed", range(4))
def test_a_pipeline_table_is_the_pipeline(seed: int) -> None:
    """With weak gains, which leave codes out; there the stages are monotone as they are."""
    gains = 2.0 * (1 - 0.03 * normal(5, seed=seed).abs())
    z = sweep(6)
    table = pipeline_edges(gains).view(1, 1, -1)
    assert torch.equal(looked_up(z, table, -32).flatten(), piped(z.flatten(), gains))


@pytest.mark.parametrize("seed", range(4))
def test_a_pipeline_that_steps_back_keeps_the_density_of_its_codes(seed: int) -> None:
    gains = 2.0 * (1 + 0.03 * normal(5, seed=seed).abs())
    z = torch.linspace(-33, 32, 200_001, dtype=torch.float64)
    codes = piped(z, gains)
    assert (codes.diff() < 0).any()
    table = pipeline_edges(gains).view(1, 1, -1)
    monotone = looked_up(z.view(1, 1, -1), table, -32).flatten()
    # As often as the pipeline itself gives each code, up to one input at each of its edges.
    assert (codes.sort().values != monotone).double().mean() < 1e-3


def test_a_missing_code_is_never_given() -> None:
    """A largest capacitor that is too light comes before the codes below it are used up; one that
    is too heavy leaves a wide code, and none out."""

    def codes(largest: float) -> list[float]:
        table = sar_edges(torch.tensor([1.0, 2.0, 4.0, largest], dtype=torch.float64))
        seen: list[float] = looked_up(sweep(4), table.view(1, 1, -1), -8).unique().tolist()
        return seen

    everything = [float(code) for code in range(-8, 8)]
    assert codes(10.0) == everything
    assert codes(5.0) == [code for code in everything if code not in (-3, -2, -1)]


def test_a_value_on_a_threshold_takes_the_lower_code() -> None:
    table = torch.tensor([[[-0.5, 0.5, 0.5]]])
    z = torch.tensor([[[-0.5, -0.4, 0.5, 0.6]]])
    assert looked_up(z, table, -2).flatten().tolist() == [-2.0, -1.0, -1.0, 1.0]


@pytest.mark.parametrize("adcs", [1, 2, 6])
def test_columns_are_dealt_to_adcs_in_neighboring_groups(adcs: int) -> None:
    tables = normal(2, adcs, 15).sort(dim=-1).values * 4
    z = normal(2, 6, 40) * 5
    for column in range(6):
        alone = tables[:, column // (6 // adcs)].unsqueeze(1)
        want = looked_up(z[:, column : column + 1], alone, -8)
        assert torch.equal(looked_up(z, tables, -8)[:, column : column + 1], want)


def test_an_adc_reads_columns_of_one_tile_only() -> None:
    """Also where the number of columns of a tile is no multiple of those of an ADC."""
    model = adc(error("gain"), error("offset"), error("ramp"), columns_per_adc=4)
    state = draw_adc(model, 6, 0, torch.zeros(2, 15))
    assert state is not None
    assert state.gain is not None
    assert state.offset is not None
    assert state.thresholds is not None
    first = [0, 0, 0, 0, 4, 4, 6, 6, 6, 6, 10, 10, 12, 12, 12]  # of the columns of the same ADC
    for values in (state.gain, state.offset, *state.thresholds.unbind(-1)):
        assert torch.equal(values, values[:, first])
        assert values[0].unique().numel() > 1
    assert state.gain.unique().numel() == 2 * 5
