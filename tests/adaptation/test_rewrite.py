"""Selective write-verify: only chosen cells have new errors, and sensitivities are closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim.adaptation.bench import Bench
from cimsim.adaptation.recipe import Recipe
from cimsim.adaptation.rewrite import dearest, relative_error, sensitivities
from cimsim.errors import CimsimError
from cimsim.nn.rewrites import Rewrites
from cimsim.profile import Profile, override_profile
from cimsim.seeds import attempt_cycle
from tests.adaptation.examples import STUCK, error, inputs, network, programmed
from tests.building import device, gaussian


def noisy(noise: float = 0.05, **others: object) -> Profile:
    return device(programming=[gaussian(noise)], **others)  # type: ignore[arg-type]


def rewritten(model: nn.Module, number: int = 1, seed: int = 0) -> dict[str, Tensor]:
    """Write half of the weights again, ``number`` times; return which ones."""
    draws, marked = torch.Generator().manual_seed(seed), {}
    for name, layer in cimsim.analog_layers(model).items():
        rewrites = Rewrites(layer.written_weight())
        marked[name] = torch.rand(rewrites.attempts.shape, generator=draws) < 0.5
        rewrites.attempts[marked[name]] = number
        layer.rewrite(rewrites)
    return marked


PROFILES = {
    "pairs": noisy(),
    "offset column": override_profile(noisy(), {"array.mapping": "offset-column"}),
    "slices": override_profile(noisy(), {"cell.levels": 4, "array.slices": 2}),
    "several tiles": noisy(rows=5),
    "pcm": cimsim.load_profile("pcm-ibm-2020"),
    "stuck": noisy(faults=STUCK),
}


@pytest.mark.parametrize("age", [0.0, 3.0e7])
@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_only_chosen_weights_have_new_errors(profile: Profile, age: float) -> None:
    """They are those of the chip whose cells are all written again; others stay as they were."""
    profile = override_profile(profile, {"array.drift_compensation": "none"})
    model, again = programmed(profile), programmed(profile)
    before = {
        n: x.programmed_weight() for n, x in cimsim.analog_layers(cimsim.age(model, age)).items()
    }
    marked = rewritten(model, 2)
    cimsim.age(again, age)
    for name, layer in cimsim.analog_layers(again).items():
        layer.cycle = attempt_cycle(0, 2)
        held = cimsim.analog_layers(model)[name].programmed_weight()
        if profile.array.mapping == "offset-column":  # its reference is written once
            kept = ~marked[name]
            torch.testing.assert_close(held[kept], before[name][kept], atol=1e-5, rtol=0)
            assert not torch.allclose(held[marked[name]], before[name][marked[name]], atol=1e-3)
            continue
        expected = torch.where(marked[name], layer.programmed_weight(), before[name])
        torch.testing.assert_close(held, expected, atol=1e-5, rtol=0)
        assert (held != before[name]).float().mean() > 0.2  # others are stuck, or were not written


def test_drift_compensation_measures_the_rewritten_cells() -> None:
    """Its factor is the sum over fresh cells divided by the sum over aged cells."""
    model = programmed("pcm-ibm-2020", nn.Sequential(nn.Linear(12, 6)))
    rewritten(model)
    layer = model[0]
    exact = {"array.drift_compensation": "global", "array.drift_probe": "exact"}
    cimsim.nn.set_profile(model, override_profile(layer.profile, exact))
    cimsim.age(model, 0.0)
    fresh = layer.programmed_weight() / layer.full_weight(layer.weight.detach())
    cimsim.age(model, "1 year")
    chip = layer._programmed()
    aged = chip.relative[0]
    factor = (chip.scale / layer.full_weight(layer.weight.detach())[:, 0]).mean()
    assert factor == pytest.approx(float(fresh.abs().sum() / aged.abs().sum()), rel=0.05)


def test_stuck_cells_stay_stuck() -> None:
    model = programmed(noisy(faults=STUCK))
    before = {n: x.known_faults()[0] for n, x in cimsim.analog_layers(model).items()}
    held = {n: x.programmed_weight() for n, x in cimsim.analog_layers(model).items()}
    cimsim.adapt(model, [inputs()], "rewrite:share=1")
    for name, layer in cimsim.analog_layers(model).items():
        after, _ = layer.known_faults()
        assert torch.equal(after.nan_to_num(-1.0), before[name].nan_to_num(-1.0))
        faulty = (~after.isnan()).any(0)
        assert not layer.attempts[faulty].any()
        assert torch.equal(layer.programmed_weight()[faulty], held[name][faulty])


@pytest.mark.parametrize("teacher", ["digital", "labels"])
def test_sensitivities_of_one_layer(teacher: str) -> None:
    """``sum x_j^2`` for every output; with labels, ``sum x_j^2 (p_i - t_i)^2`` for the mean over
    the inputs of cross-entropy."""
    linear, x = nn.Linear(12, 5), inputs(64)
    labels = torch.arange(64) % 5
    model = programmed(noisy(), nn.Sequential(linear))
    bench = Bench(model, [(x, labels)], Recipe(("rewrite",), teacher=teacher))
    with bench.ready():
        found = sensitivities(bench, cimsim.analog_layers(model), 1, 4000)
    slope = torch.ones(64, 5)
    if teacher == "labels":
        slope = (linear(x).softmax(1) - nn.functional.one_hot(labels, 5)).detach() / 64
    expected = slope.square().T @ x.square()
    torch.testing.assert_close(found["0"], expected, rtol=0.15, atol=0.0)


def test_the_share_that_costs_most_is_written() -> None:
    costs = {"a": torch.tensor([[3.0, 0.0], [7.0, 0.0]]), "b": torch.tensor([1.0, 5.0])}
    chosen = dearest(costs, 0.5)
    assert chosen["a"].tolist() == [[True, False], [True, False]]
    assert chosen["b"].tolist() == [False, True]
    assert sum(int(each.sum()) for each in dearest(costs, 1.0).values()) == 4


def test_weights_end_within_the_tolerance() -> None:
    """With a probability of q for each attempt, ``(1 - q)^n`` of the weights stay outside."""
    profile, tolerance = noisy(0.02), 0.02
    model = programmed(profile, nn.Sequential(nn.Linear(128, 64)), x=inputs(64, 128))
    layer = model[0]
    inside = float((relative_error(layer) <= tolerance).float().mean())
    result = cimsim.adapt(
        model, [inputs(64, 128)], f"rewrite:share=1,tolerance={tolerance},attempts=3"
    )
    outside = float((relative_error(layer) > tolerance).float().mean())
    assert outside == pytest.approx((1 - inside) ** 4, rel=0.15)
    count, change = layer.weight.numel(), result.costs[0].change
    expected = sum((1 - inside) ** n for n in (1, 2, 3))
    assert change.written == pytest.approx(2 * count * expected, rel=0.05)
    assert change.read == 2 * count + change.written
    assert result.total["read"] == change.read


def test_the_best_attempt_is_never_worse() -> None:
    last, best = programmed(noisy()), programmed(noisy())
    before = {name: relative_error(x) for name, x in cimsim.analog_layers(best).items()}
    cimsim.adapt(best, [inputs()], "rewrite:share=1,tolerance=0,attempts=4,keep=best")
    cimsim.adapt(last, [inputs()], "rewrite:share=1,tolerance=0,attempts=4")
    for name, layer in cimsim.analog_layers(best).items():
        tried = torch.stack([before[name], *(relative_error(layer, n) for n in range(1, 5))])
        torch.testing.assert_close(relative_error(layer), tried.amin(0), atol=1e-6, rtol=0)
        other = cimsim.analog_layers(last)[name]
        torch.testing.assert_close(relative_error(other), tried[-1], atol=1e-6, rtol=0)


def test_writing_more_weights_is_better() -> None:
    """Of all weights of ten chips; by luck, errors of one chip may cancel each other."""
    reference, squares = network(), []
    for part in (None, "rewrite:share=0.1", "rewrite:share=1"):
        squares.append(0.0)
        for seed in range(10):
            model = programmed(noisy(), seed=seed)
            if part is not None:
                cimsim.adapt(model, [inputs()], part)
            squares[-1] += error(model, reference, inputs()) ** 2
    assert squares[1] < 0.8 * squares[0]
    assert squares[2] < 0.5 * squares[0]


def test_a_tenth_chosen_by_cost_is_better_than_at_random() -> None:
    reference, chosen = network(), programmed(noisy())
    cimsim.adapt(chosen, [inputs()], "rewrite:share=0.1,keep=best")
    by_cost, at_random = error(chosen, reference, inputs()), []
    for seed in range(5):
        draws, model = torch.Generator().manual_seed(seed), programmed(noisy())
        full = programmed(noisy())
        cimsim.adapt(full, [inputs()], "rewrite:share=1,keep=best")
        for name, layer in cimsim.analog_layers(model).items():
            rewrites = Rewrites(layer.written_weight())
            some = torch.rand(rewrites.attempts.shape, generator=draws) < 0.1
            rewrites.attempts[some] = cimsim.analog_layers(full)[name].attempts[some]
            layer.rewrite(rewrites)
        at_random.append(error(model, reference, inputs()))
    assert by_cost < min(at_random)


def test_it_goes_on_from_the_attempts_before() -> None:
    model = programmed(noisy())
    cimsim.adapt(model, [inputs()], "rewrite:share=1,tolerance=0,attempts=2")
    cimsim.adapt(model, [inputs()], "rewrite:share=1,tolerance=0,attempts=3")
    assert all((layer.attempts == 5).all() for layer in cimsim.analog_layers(model).values())


@pytest.mark.parametrize("rule", ["C", "F"])
def test_gradients_are_those_of_the_rewritten_chip(rule: str) -> None:
    """Rule F multiplies by the weights on the cells."""
    model = cimsim.convert(nn.Sequential(nn.Linear(12, 6)), noisy(), rule=rule).eval()
    rewritten(cimsim.program(model, seed=3))
    x = inputs(4).requires_grad_()
    model(x).sum().backward()
    layer = model[0]
    held = layer.programmed_weight() if rule == "F" else layer.weight.detach()
    torch.testing.assert_close(x.grad, held.sum(0).expand(4, -1), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        layer.weight.grad,
        x.detach().sum(0).expand(6, -1),
        atol=1e-4,
        rtol=1.0 if rule == "F" else 0,
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("share=0", "share must be above 0"),
        ("tolerance=-1", "tolerance must be 0 or more"),
        ("attempts=256", "attempts must be 1 to 255"),
        ("keep=all", "keep must be 'last' or 'best'"),
        ("probes=0", "probes must be 1 or more"),
    ],
)
def test_settings_are_checked(settings: str, message: str) -> None:
    with pytest.raises(CimsimError, match=message):
        cimsim.adapt(programmed(noisy()), [inputs()], f"rewrite:{settings}")


def test_cells_without_errors_are_refused() -> None:
    with pytest.raises(CimsimError, match="no error that another write changes"):
        cimsim.adapt(programmed("ideal"), [inputs()], "rewrite")
