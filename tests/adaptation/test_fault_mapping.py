"""Placement around faults: costs by hand, assignments by brute force, and pairs."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim.adaptation.bench import Bench
from cimsim.adaptation.fault_costs import Intervals, Weights, costs
from cimsim.adaptation.fault_mapping import _weights
from cimsim.adaptation.inputs import observed_inputs
from cimsim.adaptation.recipe import Recipe
from cimsim.nn.placement import Placement
from cimsim.profile import override_profile
from tests.adaptation.examples import STUCK, error, faulty, inputs, network, programmed
from tests.building import device

NAN = float("nan")


def pair(first: float, second: float, factor: float = 1.0) -> Intervals:
    return Intervals.of(torch.tensor([[[first]], [[second]]]), factor)


@pytest.mark.parametrize(
    ("cells", "interval"),
    [
        (pair(NAN, NAN), (-1.0, 1.0)),
        (pair(1.0, NAN), (0.0, 1.0)),  # full conductance, minus up to one
        (pair(0.0, NAN), (-1.0, 0.0)),
        (pair(NAN, 1.0), (-1.0, 0.0)),
        (pair(NAN, 0.25), (-0.25, 0.75)),
        (pair(1.0, 0.25), (0.75, 0.75)),
        (pair(1.0, NAN, factor=2.0), (1.0, 2.0)),
        (Intervals.of(torch.tensor([[[0.3]]]), 1.0), (0.3, 0.3)),
    ],
)
def test_what_cells_can_hold(cells: Intervals, interval: tuple[float, float]) -> None:
    assert (cells.low.item(), cells.high.item()) == pytest.approx(interval)
    for wanted in (-1.0, -0.2, 0.0, 0.5, 1.0):
        held = cells.held(torch.full((1, 1), wanted)).item()
        assert held == pytest.approx(min(max(wanted, interval[0]), interval[1]))


def random_case() -> tuple[Weights, Intervals]:
    draws = torch.Generator().manual_seed(1)
    relative = torch.rand(4, 3, 2, generator=draws) * 2 - 1
    held = torch.rand(2, 4, 3, 2, generator=draws)
    held[torch.rand(held.shape, generator=draws) < 0.5] = NAN
    importance = torch.rand(4, 3, 2, generator=draws)
    return Weights(relative, importance), Intervals.of(held, 1.0)


def test_costs_are_those_of_each_place() -> None:
    weights, cells = random_case()
    errors, signs = costs(weights, cells, signs=True)
    for column, output in itertools.product(range(4), range(4)):
        alone = Intervals(*(t[column] for t in vars(cells).values()))
        both = []
        for sign in (1, -1):
            r = sign * weights.relative[output]
            lost = alone.held(r) - r
            both.append(float((lost.square() * weights.importance[output]).sum()))
        assert errors[column, output].item() == pytest.approx(min(both))
        assert signs[column, output] == (1 if both[0] <= both[1] else -1)
    rows, _ = costs(weights.turned(), cells.turned(), signs=False)
    assert rows.diagonal().sum().item() == pytest.approx(weights.error(cells))


def without_noise(mapping: str = "differential-pair") -> nn.Module:
    return programmed(override_profile(device(faults=STUCK), {"array.mapping": mapping}))


def test_faults_of_a_reference_column_are_not_considered() -> None:
    model, reference = without_noise("offset-column"), network()
    before = error(model, reference, inputs())
    cimsim.adapt(model, [inputs()], "fault-mapping")
    assert error(model, reference, inputs()) < before


@pytest.mark.parametrize("mapping", ["differential-pair", "single-device", "offset-current"])
def test_it_computes_the_same_but_for_faults(mapping: str) -> None:
    """The error on the chip is exactly the one that the costs add up."""
    model, reference = without_noise(mapping), network()
    before = error(model, reference, inputs())
    cimsim.adapt(model, [inputs()], "fault-mapping")
    after = error(model, reference, inputs())
    assert after < (0.35 if mapping == "differential-pair" else 0.9) * before
    for layer in cimsim.analog_layers(model).values():
        held, _ = layer.known_faults()
        cells, placement = Intervals.of(held, 1.0), layer.placement
        placed = placement.placed(layer.weight.detach())
        scale = layer.full_weight(placed)
        expected = placement.read_back(cells.held(placed / scale) * scale)
        torch.testing.assert_close(layer.programmed_weight(), expected, atol=1e-5, rtol=0)


def test_perfect_cells_compute_the_same_in_any_order() -> None:
    for build, x in (
        (lambda: nn.Linear(6, 4), torch.rand(3, 6)),
        (lambda: nn.Conv2d(6, 4, 3), torch.rand(3, 6, 5, 5)),
        (lambda: nn.ConvTranspose1d(6, 2, 2), torch.rand(3, 6, 5)),
    ):
        model = cimsim.convert(build(), "ideal").eval()
        expected = model(x)
        matrix = model.to_matrix(model.weight.detach())
        placement = Placement(matrix)
        placement.columns = torch.randperm(len(matrix))
        placement.rows = torch.randperm(6)
        placement.signs = torch.where(torch.rand(len(matrix)) < 0.5, -1, 1).to(torch.int8)
        model.place(placement)
        torch.testing.assert_close(model(x), expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(model.programmed_weight(), model.weight.detach())
        torch.testing.assert_close(placement.unwritten(placement.written(matrix)), matrix)


def test_columns_are_assigned_as_well_as_by_trying_all() -> None:
    torch.manual_seed(2)
    layer = nn.Linear(12, 4)
    single = override_profile(device(faults=STUCK), {"array.mapping": "single-device"})
    model = programmed(single, nn.Sequential(layer))
    held, _ = model[0].known_faults()
    cells = Intervals.of(held, 1.0)
    weight = layer.weight.detach()
    power = inputs().square().mean(0)

    def lost(placed: Tensor) -> float:
        scale = model[0].full_weight(placed)
        return Weights(placed / scale, scale.square() * power).error(cells)

    best = min(
        lost(weight[list(order)] * torch.tensor(signs).view(-1, 1))
        for order in itertools.permutations(range(4))
        for signs in itertools.product((1.0, -1.0), repeat=4)
    )
    cimsim.adapt(model, [inputs()], "fault-mapping:rounds=1")
    placement = model[0].placement
    by_columns = Placement(weight)
    by_columns.columns, by_columns.signs = placement.columns, placement.signs
    assert lost(by_columns.placed(weight)) == pytest.approx(best)
    placed = placement.placed(weight)
    full = model[0].full_weight(placed)
    final = Weights(placed / full, full.square() * power[placement.rows])
    assert final.error(cells) <= best


def test_groups_keep_their_columns() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.Flatten())
    x = torch.rand(16, 4, 5, 5)
    adapted = programmed(device(faults=STUCK), model, x=x)
    before = error(adapted, model, x)
    cimsim.adapt(adapted, [x], "fault-mapping")
    assert error(adapted, model, x) < before
    assert set(adapted[0].placement.columns[:3].tolist()) == {0, 1, 2}


def test_ranges_by_column_follow_their_columns() -> None:
    profile = override_profile(device(faults=STUCK, adc=8, dac=8), {"adc.range_per": "column"})
    model, reference = programmed(profile), network()
    before = error(model, reference, inputs())
    cimsim.adapt(model, [inputs()], "fault-mapping")
    assert error(model, reference, inputs()) < 0.5 * before


def test_dead_lines_get_the_inputs_that_matter_least() -> None:
    """One input has no power: it gets the dead row."""
    lines = [{"kind": "dead-lines", "row_rate": 0.1, "source": "made up for a test"}]
    x = inputs().clone()
    x[:, 5] = 0.0
    model = programmed(device(faults=lines), nn.Sequential(nn.Linear(12, 6)), x=x, seed=4)
    held, _ = model[0].known_faults()
    dead = (~held.isnan()).all(0).all(0).nonzero().flatten().tolist()
    if len(dead) != 1:
        pytest.fail(f"choose another seed: rows {dead} are dead")
    cimsim.adapt(model, [x], "fault-mapping")
    assert model[0].placement.rows[dead[0]] == 5
    assert error(model, nn.Sequential(nn.Linear(12, 6)), x) >= 0  # it runs


def test_the_largest_weight_keeps_the_scale() -> None:
    model = without_noise()
    cimsim.adapt(model, [inputs()], "fault-mapping")
    for layer in cimsim.analog_layers(model).values():
        placed = layer.placement.placed(layer.weight.detach())
        written = layer.placement.written(layer.weight.detach())
        torch.testing.assert_close(layer.full_weight(written), layer.full_weight(placed))


def test_the_age_at_which_stuck_cells_weigh_more() -> None:
    """Drift compensation multiplies the currents of stuck cells, too."""
    model = programmed("pcm-ibm-2020")
    _, fresh = model[0].known_faults()
    _, old = cimsim.age(model, "1 year")[0].known_faults()
    assert fresh == pytest.approx(1.0, rel=1e-4)
    assert old > 1.5


def test_faulty_profile_is_faulty() -> None:
    held, _ = programmed(faulty())[0].known_faults()
    share = float((~held.isnan()).float().mean())
    assert share == pytest.approx(0.1, abs=0.04)


def test_dead_columns_are_replaced_by_spare_ones() -> None:
    """As many spare columns as needed: nothing is lost."""
    lines = [{"kind": "dead-lines", "column_rate": 0.15, "source": "made up for a test"}]
    layer, x = nn.Linear(12, 16), inputs()
    lost = {}
    for spares in (0, 16):
        profile = override_profile(device(faults=lines), {"array.spare_columns": spares})
        model = programmed(profile, nn.Sequential(layer), x=x)
        before = error(model, nn.Sequential(layer), x)
        cimsim.adapt(model, [x], "fault-mapping")
        lost[spares] = error(model, nn.Sequential(layer), x)
        assert before > 0.05
    assert lost[0] > 0.01
    assert lost[16] < 1e-5
    held, _ = model[0].known_faults()
    dead = (~held.isnan()).any(0).all(1)
    assert dead[:16].any()
    assert (model[0].placement.columns[dead] >= 16).all()


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_the_costs_of_inputs_belong_to_their_group(groups: int) -> None:
    """Without noise, the error of the outputs is the one that the costs add up, group by group."""
    torch.manual_seed(0)
    layer = nn.Conv1d(8, 8, 1, groups=groups, bias=False)
    x = torch.randn(4096, 8, 1) * torch.linspace(0.1, 3.0, 8).view(-1, 1)
    many = [{**each, "rate": 0.25} for each in STUCK]
    model = programmed(device(faults=many), nn.Sequential(layer), x=x)
    cimsim.adapt(model, [x], "fault-mapping")
    power = x.square().mean((0, 2))
    with torch.no_grad():
        weights, _ = _weights(model[0], model[0].placement, power)
    cells = Intervals.of(model[0].known_faults()[0], 1.0)
    with torch.no_grad():
        measured = (model(x) - layer(x)).square().sum((1, 2)).mean().item()
    assert measured > 1e-4
    assert measured == pytest.approx(weights.error(cells), rel=0.1)


def test_inputs_are_observed_as_the_chip_clips_them() -> None:
    x = 3 * torch.randn(256, 12, generator=torch.Generator().manual_seed(0))
    model = cimsim.convert(
        nn.Sequential(nn.Linear(12, 6)), device(dac=8, faults=STUCK), learn_ranges="dac"
    )
    cimsim.program(cimsim.calibrate(model, [x]).eval(), 3)
    with torch.no_grad():
        model[0].dac_range.fill_(1.0)
    bench = Bench(model, [x], Recipe(("fault-mapping",)))
    seen = observed_inputs(bench, cimsim.analog_layers(model), 1)["0"]
    torch.testing.assert_close(seen.power.float(), x.clamp(-1, 1).square().mean(0))
    assert (seen.largest == 1.0).all()
