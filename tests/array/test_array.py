"""The array against the digital product, and its noise against a sampler of single cells."""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from cimsim.array import Array, ConverterRanges, LinearTiling
from cimsim.profile import Profile
from tests.building import ONE_OVER_F, POLYNOMIAL, POWER_LAW, device, gaussian

RANGES = ConverterRanges(torch.tensor(3.0).double(), torch.tensor(20.0).double())


def draw(*shape: int, seed: int = 0) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=draws, dtype=torch.float64)


def linear(profile: Profile, in_features: int) -> Array:
    return Array(profile, LinearTiling(in_features, profile.array.rows))


def outputs(profile: Profile, x: Tensor, w: Tensor, chip: int = 1, read: int = 1) -> Tensor:
    array = linear(profile, w.shape[1])
    return array.mvm(x, array.chip(w, chip), RANGES, read).y


@pytest.mark.parametrize("rows", [64, 10, 3])
@pytest.mark.parametrize("g_min_uS", [0.0, 5.0])
def test_without_effects_it_is_the_product(rows: int, g_min_uS: float) -> None:
    x, w = draw(7, 20), draw(5, 20, seed=1)
    assert torch.allclose(outputs(device(rows=rows, g_min_uS=g_min_uS), x, w), x @ w.T)


def test_effects_of_strength_zero_are_exactly_absent() -> None:
    def off(effect: dict[str, object]) -> dict[str, object]:
        return {**effect, "strength": 0.0}

    silent = device(programming=[off(POLYNOMIAL)], drift=[off(POWER_LAW)], read=[off(ONE_OVER_F)])
    x, w = draw(7, 20), draw(5, 20, seed=1)
    assert torch.equal(outputs(silent, x, w), outputs(device(), x, w))


def test_converters_at_work() -> None:
    """One row, one column, by hand: DAC step 3/7, ADC step 20/7 in units of x times w/max|w|."""
    array = linear(device(dac=4, adc=4), 1)
    w = torch.tensor([[2.0]], dtype=torch.float64)
    x = torch.tensor([[0.1], [1.3], [2.9], [40.0], [-40.0]], dtype=torch.float64)
    read = array.mvm(x, array.chip(w, 0), RANGES, 0)
    assert read.codes.flatten().tolist() == [0, 3, 7, 7, -7]
    assert read.dac_inside is not None
    assert read.dac_inside.unpack().flatten().tolist() == [True, True, True, False, False]
    # 3 codes are 9/7, that is 0.45 ADC steps: 0; 7 codes are 3, that is 1.05 steps: 1.
    assert torch.allclose(read.y.flatten(), torch.tensor([0, 0, 1, 1, -1]).double() * 20 / 7 * 2)


def test_the_adc_saturates_tile_by_tile() -> None:
    array = linear(device(adc=8, rows=2), 4)
    w = torch.ones(1, 4, dtype=torch.float64)
    x = torch.tensor([[30.0, 30.0, -30.0, -25.0]], dtype=torch.float64)
    read = array.mvm(x, array.chip(w, 0), RANGES, 0)
    # +60 and -55 both clip at 20, and one step lower on the negative side, where -55+60 would not.
    assert read.y.item() == pytest.approx(-20.0 / 127)
    assert read.adc_inside is not None
    assert read.adc_inside.unpack().sum() == 0


def test_same_seeds_same_bits_other_seeds_other_bits() -> None:
    profile = device(programming=[POLYNOMIAL], read=[ONE_OVER_F], dac=8, adc=8)
    x, w = draw(7, 20), draw(5, 20, seed=1)
    one = outputs(profile, x, w, chip=1, read=1)
    assert torch.equal(one, outputs(profile, x, w, chip=1, read=1))
    assert not torch.equal(one, outputs(profile, x, w, chip=2, read=1))
    assert not torch.equal(one, outputs(profile, x, w, chip=1, read=2))


def test_one_vector_never_changes_its_neighbors() -> None:
    profile = device(programming=[POLYNOMIAL], read=[ONE_OVER_F], dac=8, adc=8)
    x, w = draw(7, 20), draw(5, 20, seed=1)
    changed = x.clone()
    changed[3] *= 100
    same = [0, 1, 2, 4, 5, 6]
    assert torch.equal(outputs(profile, x, w)[same], outputs(profile, changed, w)[same])


def test_read_noise_is_new_for_every_vector() -> None:
    profile = device(read=[gaussian(0.05)])
    x, w = draw(1, 20).expand(2000, 20).contiguous(), draw(5, 20, seed=1)
    y = outputs(profile, x, w)
    # std per output: 0.05 * sqrt(2) cells * max|w| * |x|
    expected = 0.05 * math.sqrt(2) * w.abs().amax(1) * x[0].norm()
    assert torch.allclose(y.std(0), expected, rtol=4 / math.sqrt(2 * 2000))
    correlation = torch.corrcoef(torch.stack((y[:-1, 0], y[1:, 0])))[0, 1]
    assert correlation.abs() < 4 / math.sqrt(2000)


def test_column_noise_has_the_distribution_of_noisy_cells() -> None:
    """The slow reference: every cell of every pair drawn for every read (KS test, fixed seed)."""
    profile = device(read=[{**ONE_OVER_F, "t_session_s": 1e9}])  # all of it new for every read
    array = linear(profile, 20)
    x, w = draw(1, 20), draw(5, 20, seed=1)
    n = 4000
    fast = outputs(profile, x.expand(n, 20).contiguous(), w)
    scale = w.abs().amax(1, keepdim=True)
    target = array.mapping.conductances(w / scale)
    relative = (target / 25.0).clamp_min(1e-7)
    sigma = target * (0.0088 * relative**-0.65).clamp_max(0.2) * math.sqrt(math.log(20 / 5e-7))
    cells = target + sigma * draw(n, *target.shape, seed=9)
    slow = torch.einsum("noi,i->no", (cells[:, 0] - cells[:, 1]) / 25.0 * scale, x[0])
    for column in range(5):
        p = stats.ks_2samp(fast[:, column].numpy(), slow[:, column].numpy()).pvalue
        assert p > 1e-3


def test_adc_noise_is_relative_to_the_range() -> None:
    profile = device(adc=12, adc_noise=0.01)
    w = torch.ones(3, 4, dtype=torch.float64)
    y = outputs(profile, torch.zeros(20_000, 4, dtype=torch.float64), w)
    assert y.std().item() == pytest.approx(0.01 * 20.0, rel=0.02)


def test_an_idle_input_is_quiet() -> None:
    """Cells whose row is not driven add no noise."""
    x, w = torch.zeros(5, 20, dtype=torch.float64), draw(5, 20, seed=1)
    profile = device(programming=[POLYNOMIAL], read=[ONE_OVER_F])
    assert torch.equal(outputs(profile, x, w), torch.zeros(5, 5, dtype=torch.float64))


@pytest.mark.parametrize("rows", [64, 7])
def test_drift_compensation_undoes_the_mean_loss(rows: int) -> None:
    w = draw(50, 64, seed=1)
    mean_drift = {
        **POWER_LAW,
        "spread_strength": 0.0,
        "nu_mean": {**POWER_LAW["nu_mean"], "max": 0.049},
    }
    for compensation, loss in (("none", 0.049), ("global", 0.0)):
        array = linear(device(drift=[mean_drift], rows=rows, compensation=compensation), 64)
        held = array.tiling.from_cells(array.effective_weight(w, 0, age_s=86400.0))
        assert torch.allclose(held, w * (1 + 86400 / 20) ** -loss)


def test_programming_leaves_the_weights_alone() -> None:
    w = draw(5, 20, seed=1)
    before = w.clone()
    linear(device(programming=[POLYNOMIAL], drift=[POWER_LAW]), 20).chip(w, 0, 1e5)
    assert torch.equal(w, before)


def test_float32_stays_float32() -> None:
    profile = device(programming=[POLYNOMIAL], drift=[POWER_LAW], read=[ONE_OVER_F], dac=8, adc=8)
    array = linear(profile, 20)
    chip = array.chip(draw(5, 20).float(), 0, 3600.0)
    ranges = ConverterRanges(RANGES.dac.float(), RANGES.adc.float())
    assert array.mvm(draw(3, 20).float(), chip, ranges, 0).y.dtype == torch.float32
