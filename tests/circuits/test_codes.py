"""Codes that are no even steps."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cimsim.circuits.codes import CodeTable, fixed_table, lloyd_max
from cimsim.profile import ADC, override_profile
from tests.building import device


def adc(**keys: object) -> ADC:
    return override_profile(device(adc=2), {f"adc.{key}": keys[key] for key in keys}).adc


# J. Max, IRE Trans. Inf. Theory 6, 7 (1960), table I: outputs above zero and mean squared error of
# the best quantizer of a normal distribution.
MAX_1960 = {
    1: ([0.7980], 0.3634),
    2: ([0.4528, 1.510], 0.1175),
    3: ([0.2451, 0.7560, 1.344, 2.152], 0.03454),
}


@pytest.mark.parametrize("bits", MAX_1960)
def test_the_table_of_max_for_a_normal_distribution(bits: int) -> None:
    outputs, error = MAX_1960[bits]
    places = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    samples = torch.special.ndtri(places)
    values = lloyd_max(samples, bits)
    half = 1 << (bits - 1)
    assert values[half:].tolist() == pytest.approx(outputs, rel=2e-3)
    assert (-values.flip(0)).tolist() == pytest.approx(values.tolist(), abs=1e-4)
    coded = CodeTable.nearest(values).coded(samples)
    assert (coded - samples).square().mean().item() == pytest.approx(error, rel=2e-3)


@pytest.mark.parametrize("bits", [2, 4, 6])
def test_even_values_suit_an_even_distribution(bits: int) -> None:
    values = lloyd_max(torch.linspace(-1, 1, 50_001), bits)
    steps = values.diff()
    assert steps.tolist() == pytest.approx([2 / (1 << bits)] * len(steps), rel=0.02)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=40), st.integers(1, 5))
def test_it_is_never_worse_than_the_quantiles_it_begins_at(numbers: list[float], bits: int) -> None:
    samples = torch.tensor(numbers, dtype=torch.float64)
    values = lloyd_max(samples, bits)
    assert (values.diff() >= 0).all()
    assert values.min() >= samples.min() - 1e-12
    assert values.max() <= samples.max() + 1e-12

    def error(of: torch.Tensor) -> float:
        return (CodeTable.nearest(of).coded(samples) - samples).square().mean().item()

    quantiles = samples.sort().values[
        ((torch.arange(1 << bits) + 0.5) * len(samples) / (1 << bits)).long()
    ]
    assert error(values) <= error(quantiles) + 1e-12  # where it began


def test_few_samples_for_many_codes() -> None:
    values = lloyd_max(torch.tensor([0.5, -0.25]), 4)
    assert set(values.tolist()) == {0.5, -0.25}


def test_a_comparator_has_two_values() -> None:
    table = fixed_table(adc(bits=1), torch.empty(0))
    assert table is not None
    u = torch.tensor([-3.0, -0.1, 0.2, 5.0, torch.nan])
    assert table.coded(u)[:4].tolist() == [-1.0, -1.0, 1.0, 1.0]
    assert table.coded(u)[4].isnan()


def test_thresholds_may_lie_anywhere() -> None:
    codes = {
        "kind": "table",
        "values_of_range": [-1.0, 0.0, 0.25, 1.0],
        "thresholds_of_range": [-0.9, 0.2, 0.3],
        "source": "assumption: a test",
    }
    table = fixed_table(adc(codes=codes), torch.empty(0))
    assert table is not None
    u = torch.tensor([-0.95, -0.9, -0.5, 0.2, 0.21, 0.31])
    assert table.coded(u).tolist() == [-1.0, -1.0, 0.0, 0.0, 0.25, 1.0]


def test_without_thresholds_results_are_the_nearest_values() -> None:
    codes = {"kind": "table", "values_of_range": [-1.0, -0.2, 0.1, 0.7], "source": "a test"}
    table = fixed_table(adc(codes=codes), torch.empty(0))
    assert table is not None
    u = torch.linspace(-1.5, 1.5, 301)
    nearest = table.values[(u.unsqueeze(1) - table.values).abs().argmin(1)]
    assert (table.coded(u) == nearest).float().mean() > 0.98  # a tie may go either way


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"codes": {"kind": "table", "values_of_range": [0.0, 1.0]}}, "has 4 values"),
        (
            {"codes": {"kind": "table", "values_of_range": [0.0, 1.0, 0.5, 2.0]}},
            "must be in ascending order",
        ),
        ({"bits": None, "codes": {"kind": "lloyd-max"}}, "ideal ADC has no codes"),
        (
            {"bits": 1, "errors": [{"kind": "sar", "sigma_unit": 0.1}]},
            "a comparator has none",
        ),
        (
            {"codes": {"kind": "lloyd-max"}, "errors": [{"kind": "ramp", "sigma_step": 0.1}]},
            "'lloyd-max' has none",
        ),
    ],
)
def test_what_does_not_go_together(keys: dict[str, object], words: str) -> None:
    def sourced(value: object) -> object:
        if isinstance(value, list):
            return [sourced(item) for item in value]
        return {**value, "source": "a test"} if isinstance(value, dict) else value

    with pytest.raises(Exception, match=words):
        adc(**{key: sourced(value) for key, value in keys.items()})
