import pytest
import torch

from cimsim.circuits.ranges import RangeObserver, even_steps
from cimsim.profile import (
    FixedRange,
    MinimumErrorRange,
    PeakRange,
    PercentileRange,
    Range,
    SigmaRange,
)

MSE = MinimumErrorRange()


def observed(v: torch.Tensor) -> RangeObserver:
    observer = RangeObserver()
    for batch in v.chunk(4):
        observer.observe(batch)
    return observer


def full_scale(seen: RangeObserver, rule: Range, levels: int, noise_of_range: float = 0.0) -> float:
    return seen.full_scales(rule, even_steps(levels), noise_of_range).item()


def mse(v: torch.Tensor, full_scale: float, levels: int) -> float:
    step = full_scale / levels
    return ((v / step).round().clamp(-levels, levels) * step - v).square().mean().item()


@pytest.mark.parametrize("levels", [3, 7, 127])
def test_no_other_range_is_much_better(levels: int) -> None:
    v = torch.randn(30_000, generator=torch.Generator().manual_seed(0))
    chosen = full_scale(observed(v), MSE, levels)
    best = min(mse(v, r, levels) for r in torch.linspace(0.3, 5, 200).tolist())
    assert mse(v, chosen, levels) <= 1.03 * best


def test_known_optimum_of_a_gaussian() -> None:
    # Loading factor of the optimal uniform quantizer (Max 1960, table II): for 8 levels the
    # outermost output lies at 3.5 steps of 0.586 sigma; mid-tread with 7 outputs: about 2.06 sigma.
    v = torch.randn(30_000, generator=torch.Generator().manual_seed(1))
    assert 1.9 < full_scale(observed(v), MSE, 3) < 2.2


def test_uniform_signal_uses_its_peak() -> None:
    v = torch.rand(20_000, generator=torch.Generator().manual_seed(2)) * 2 - 1
    assert full_scale(observed(v), MSE, 127) == pytest.approx(1.0, rel=0.05)


def test_noise_that_grows_with_the_range_makes_it_smaller() -> None:
    v = torch.randn(20_000, generator=torch.Generator().manual_seed(3))
    assert full_scale(observed(v), MSE, 127, noise_of_range=0.2) < full_scale(observed(v), MSE, 127)


@pytest.mark.parametrize(
    "rule", [MSE, PeakRange(), PercentileRange(percentile=99.0), SigmaRange(k=4.0)]
)
def test_silence_gets_a_range(rule: Range) -> None:
    assert full_scale(observed(torch.zeros(10)), rule, 127) == 1.0
    assert full_scale(RangeObserver(), rule, 127) == 1.0


def test_nan_is_the_peak_and_stays_it() -> None:
    seen = RangeObserver()
    for v in (1.0, torch.nan, 2.0):
        seen.observe(torch.tensor([v, 0.5]))
    assert seen.peaks.isnan().all()


def test_root_mean_square_is_of_all_values_and_not_of_the_samples() -> None:
    """A million values in batches of very different sizes, of which far fewer are kept."""
    draws = torch.Generator().manual_seed(5)
    batches = [torch.randn(n, generator=draws) * n for n in (1_000_000, 100, 30_000, 1)]
    seen = RangeObserver()
    for batch in batches:
        seen.observe(batch)
    exact = torch.cat(batches).double().square().mean().sqrt().item()
    assert seen.rms.item() == pytest.approx(exact, rel=1e-6)
    assert full_scale(seen, SigmaRange(k=2.5), 7) == pytest.approx(2.5 * exact, rel=1e-6)


@pytest.mark.parametrize("shape", [(128, 64, 13, 13), (8192, 256), (128, 1, 1, 64, 25, 25)])
def test_every_place_of_a_structured_signal_is_seen(shape: tuple[int, ...]) -> None:
    """Images are dark at the rim; a regular pick of samples once saw nothing else."""
    v = torch.zeros(shape)
    v[..., 1:] = 1.0
    seen = RangeObserver()
    seen.observe(v)
    mean = seen.samples.mean().item()
    assert mean == pytest.approx(v.mean().item(), abs=0.02)


def test_samples_do_not_pile_up() -> None:
    observer = RangeObserver()
    for batch in range(300):
        observer.observe(torch.full((20_000,), float(batch)))
    kept = observer.samples
    assert kept.numel() <= 1 << 20
    assert kept.mean().item() == pytest.approx(
        149.5, rel=0.02
    )  # early and late batches weigh the same


def test_ranges_by_rule() -> None:
    v = torch.randn(200_000, generator=torch.Generator().manual_seed(4))
    seen = observed(v)
    assert full_scale(seen, PeakRange(), 127) == pytest.approx(v.abs().max().item())
    assert full_scale(seen, SigmaRange(k=3.0), 127) == pytest.approx(
        3 * v.square().mean().sqrt().item(), rel=1e-6
    )
    # 99.73 % of a Gaussian lie within three standard deviations
    assert full_scale(seen, PercentileRange(percentile=99.73), 127) == pytest.approx(3.0, rel=0.03)
    fixed = FixedRange(full_scale=2.5, source="assumption: a test")
    assert full_scale(seen, fixed, 127) == 2.5
    assert full_scale(RangeObserver(), fixed, 127) == 2.5


def test_a_percentile_of_a_mostly_silent_signal_is_not_zero() -> None:
    v = torch.zeros(10_000)
    v[17] = 4.0
    assert full_scale(observed(v), PercentileRange(percentile=50.0), 127) == 4.0


@pytest.mark.parametrize(
    "rule", [MSE, PeakRange(), PercentileRange(percentile=90.0), SigmaRange(k=3.0)]
)
def test_each_group_has_the_range_that_it_has_alone(rule: Range) -> None:
    v = torch.randn(3, 4000, generator=torch.Generator().manual_seed(6))
    v[1] *= 1e-9
    v[2] = 0.0
    together = RangeObserver(groups=3)
    together.observe(v)
    alone = []
    for group in v:
        one = RangeObserver()
        one.observe(group)
        alone.append(full_scale(one, rule, 7))
    found = together.full_scales(rule, even_steps(7))
    assert found.tolist() == pytest.approx(alone, rel=1e-6)
    assert alone[2] == 1.0


def test_many_groups_keep_few_samples_each() -> None:
    observer = RangeObserver(groups=1024)
    for _ in range(4):
        observer.observe(torch.ones(1024, 3000))
    assert observer.samples.shape[1] <= 4096
