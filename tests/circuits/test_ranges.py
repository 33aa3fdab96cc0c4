import pytest
import torch

from cimsim.circuits.ranges import RangeObserver


def observed(v: torch.Tensor) -> RangeObserver:
    observer = RangeObserver()
    for batch in v.chunk(4):
        observer.observe(batch)
    return observer


def mse(v: torch.Tensor, full_scale: float, levels: int) -> float:
    step = full_scale / levels
    return ((v / step).round().clamp(-levels, levels) * step - v).square().mean().item()


@pytest.mark.parametrize("levels", [3, 7, 127])
def test_no_other_range_is_much_better(levels: int) -> None:
    v = torch.randn(30_000, generator=torch.Generator().manual_seed(0))
    chosen = observed(v).full_scale(levels)
    best = min(mse(v, r, levels) for r in torch.linspace(0.3, 5, 200).tolist())
    assert mse(v, chosen, levels) <= 1.03 * best


def test_known_optimum_of_a_gaussian() -> None:
    # Loading factor of the optimal uniform quantiser (Max 1960, table II): for 8 levels the
    # outermost output lies at 3.5 steps of 0.586 sigma; mid-tread with 7 outputs: about 2.06 sigma.
    v = torch.randn(30_000, generator=torch.Generator().manual_seed(1))
    assert 1.9 < observed(v).full_scale(3) < 2.2


def test_uniform_signal_uses_its_peak() -> None:
    v = torch.rand(20_000, generator=torch.Generator().manual_seed(2)) * 2 - 1
    assert observed(v).full_scale(127) == pytest.approx(1.0, rel=0.05)


def test_noise_that_grows_with_the_range_makes_it_smaller() -> None:
    v = torch.randn(20_000, generator=torch.Generator().manual_seed(3))
    assert observed(v).full_scale(127, noise_of_range=0.2) < observed(v).full_scale(127)


def test_silence_gets_a_range() -> None:
    assert observed(torch.zeros(10)).full_scale(127) == 1.0
    assert RangeObserver().full_scale(127) == 1.0


@pytest.mark.parametrize("shape", [(128, 64, 13, 13), (8192, 256), (128, 1, 1, 64, 25, 25)])
def test_every_place_of_a_structured_signal_is_seen(shape: tuple[int, ...]) -> None:
    """Images are dark at the rim; a regular pick of samples once saw nothing else."""
    v = torch.zeros(shape)
    v[..., 1:] = 1.0
    seen = RangeObserver()
    seen.observe(v)
    mean = torch.cat(seen._samples).mean().item()
    assert mean == pytest.approx(v.mean().item(), abs=0.02)


def test_samples_do_not_pile_up() -> None:
    observer = RangeObserver()
    for batch in range(300):
        observer.observe(torch.full((20_000,), float(batch)))
    kept = torch.cat(observer._samples)
    assert len(kept) <= 1 << 20
    assert kept.mean().item() == pytest.approx(
        149.5, rel=0.02
    )  # early and late batches weigh the same
