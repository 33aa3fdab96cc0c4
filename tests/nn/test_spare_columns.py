"""Spare columns: nothing changes where cells are perfect, and they are drawn like all others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import cimsim
from cimsim import kernels
from cimsim.array import add_spares, drop_spares
from cimsim.errors import CimsimError
from cimsim.nn import analog_layers
from cimsim.nn.placement import Placement
from cimsim.profile import Profile, override_profile
from tests.building import device, gaussian
from tests.nn.layer_kinds import LAYERS, assert_same_function

CLOSE = {"rtol": 1e-4, "atol": 1e-4}
SPARES = {"array.spare_columns": 3}


def spared(**settings: object) -> Profile:
    return override_profile(device(**settings), SPARES)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("case", LAYERS.values(), ids=list(LAYERS))
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("back_end", ["fused", "torch"])
def test_ideal_layers_compute_the_same(
    case: tuple[Callable[[], nn.Module], tuple[int, ...]], training: bool, back_end: str
) -> None:
    make, shape = case
    torch.manual_seed(0)
    plain = make().train(training)
    analog = cimsim.convert(plain, spared(rows=15))
    with kernels.use(back_end):
        assert_same_function(analog, plain, torch.randn(shape), **CLOSE)
    ours = dict(analog.named_parameters())
    for name, parameter in plain.named_parameters():
        if name in ours:  # the others belong to layers that are unpacked
            torch.testing.assert_close(ours[name].grad, parameter.grad, **CLOSE)


@pytest.mark.parametrize("groups", [1, 2])
def test_they_are_added_and_dropped_by_group(groups: int) -> None:
    t = torch.arange(12.0).view(4, 3)
    wide = add_spares(t, groups, 2)
    assert len(wide) == 4 + 2 * groups
    assert not wide.view(groups, -1, 3)[:, -2:].any()
    torch.testing.assert_close(drop_spares(wide, groups, 2, 0), t)
    torch.testing.assert_close(drop_spares(wide.t(), groups, 2, 1), t.t())


@pytest.mark.parametrize("per", ["layer", "tile", "column", "slice"])
@pytest.mark.parametrize("kind", ["k-sigma", "max", "percentile", "mse"])
@pytest.mark.parametrize("slices", [1, 2])
def test_they_do_not_change_a_range(per: str, kind: str, slices: int) -> None:
    """The currents of columns that are not converted are not observed."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.Flatten(), nn.Linear(54, 4))
    x = torch.rand(16, 4, 5, 5)
    rule = {"k-sigma": {"k": 2.0}, "percentile": {"percentile": 99.0}}.get(kind, {})
    settings = {"adc.range_per": per, "adc.range": {"kind": kind, **rule}, "array.slices": slices}
    if slices > 1:
        settings |= {"cell.levels": 4}
    base = override_profile(device(dac=8, adc=8, rows=18), settings)
    models = [
        cimsim.calibrate(cimsim.convert(network, profile), [x])
        for profile in (base, override_profile(base, SPARES))
    ]
    for one, other in zip(*(analog_layers(m).values() for m in models), strict=True):
        torch.testing.assert_close(other.dac_range, one.dac_range)
        wide = other.adc_range
        if per == "column":
            tiles, columns = one.adc_range.shape
            wide = wide.view(tiles, slices, -1)[..., : columns // slices].flatten(1)
        torch.testing.assert_close(wide, one.adc_range)


def test_a_placed_layer_observes_the_columns_in_use() -> None:
    torch.manual_seed(0)
    base = override_profile(device(dac=8, adc=8), {"adc.range": {"kind": "k-sigma", "k": 2.0}})
    x = torch.rand(64, 6)
    plain = cimsim.calibrate(cimsim.convert(nn.Linear(6, 4), base), [x])
    moved = cimsim.convert(nn.Linear(6, 4), override_profile(base, SPARES))
    with torch.no_grad():
        moved.weight.copy_(plain.weight)
    placement = Placement(moved.with_spares(moved.weight))
    placement.columns = torch.tensor([4, 5, 0, 6, 1, 3, 2])
    moved.place(placement)
    cimsim.calibrate(moved, [x])
    torch.testing.assert_close(moved.adc_range, plain.adc_range)
    assert torch.equal(moved.dac_range, plain.dac_range)


def test_chips_with_them_have_other_draws_and_as_many_outputs() -> None:
    torch.manual_seed(0)
    x = torch.rand(32, 6)
    model = cimsim.convert(nn.Linear(6, 4), spared(programming=[gaussian(0.05)])).eval()
    y = cimsim.program(model, 3)(x)
    assert y.shape == (32, 4)
    assert model.programmed_weight().shape == (4, 6)
    assert cimsim.nn.matrices(model)[""].shape == (7, 6)
    assert torch.equal(y, cimsim.program(model, 3)(x))


def test_a_placement_of_other_columns_is_refused() -> None:
    model = cimsim.convert(nn.Linear(6, 4), spared())
    model.place(Placement(model.with_spares(model.weight.detach())))
    with pytest.raises(CimsimError, match=r"placed on 7 columns.*has 4"):
        model.profile = device()
    assert model.profile.array.spare_columns == 3


def test_they_cost_area_and_reads_but_no_conversions() -> None:
    costs = [
        cimsim.cost(cimsim.convert(nn.Linear(512, 512), profile), torch.rand(4, 512))
        for profile in (device(), spared())
    ]
    one, other = (cost.layers[0].counts for cost in costs)
    assert (one.tiles, other.tiles) == (1, 2)
    assert other.adc_conversions == one.adc_conversions
    assert other.macs == one.macs
    assert other.cells - one.cells == 3 * 512 * 2
    summaries = [
        cimsim.summary(cimsim.convert(nn.Linear(16, 4), profile)).layers[0].occupancy
        for profile in (device(), spared())
    ]
    assert summaries[0].used_cells == summaries[1].used_cells
