"""What calibration finds for a layer: ranges of groups, signs of inputs, values of codes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.checkpoint import checkpoint

import cimsim
from cimsim import CimsimError
from cimsim.nn.layer import AnalogLayer
from cimsim.nn.model_ops import digital
from cimsim.profile import load_profile

INPUTS, OUTPUTS = 96, 24


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def heavy_tailed(seed: int = 0) -> Tensor:
    """Most weights are small beside the largest of their column, as in a trained network."""
    return (
        draw(OUTPUTS, INPUTS, seed=seed).abs().pow(2) * draw(OUTPUTS, INPUTS, seed=seed + 1).sign()
    )


def layer(x: Tensor, weight: Tensor | None = None, **keys: Any) -> AnalogLayer:
    linear = nn.Linear(INPUTS, OUTPUTS, bias=False)
    with torch.no_grad():
        linear.weight.copy_(heavy_tailed() if weight is None else weight)
    chip: dict[str, Any] = {"dac.bits": 8, "adc.bits": 8, "array.rows": 512}
    chip |= {key.replace("__", "."): value for key, value in keys.items()}
    made = cimsim.calibrate(cimsim.convert(linear, load_profile("ideal", chip)), [x])
    assert isinstance(made, AnalogLayer)
    return made.eval()


def error(made: AnalogLayer, x: Tensor) -> float:
    with torch.no_grad(), digital(made):
        right = made(x)
    with torch.no_grad():
        return ((made(x) - right).norm() / right.norm()).item()


SLICED: dict[str, Any] = {"cell__levels": 4, "array__slices": 4}


def test_slices_with_one_range_lose_what_ranges_of_their_own_keep() -> None:
    """Four slices of 2 bits against 8 bits in one cell: worse with a common range, as Xiao et al.
    (Appl. Phys. Rev. 9, 031301, 2022) found for bit slicing, and no worse with one for each."""
    x = draw(4000, INPUTS)
    whole = error(layer(x, cell__levels=256), x)
    common = error(layer(x, **SLICED, adc__range_per="layer"), x)
    own = error(layer(x, **SLICED), x)
    assert common > 1.25 * whole
    assert own < 1.05 * whole
    assert error(layer(x, **SLICED, adc__range_per="column"), x) < 1.1 * own


@pytest.mark.parametrize(
    ("per", "shape", "columns"),
    [
        ("layer", (), 512),
        ("slice", (2,), 512),
        ("tile", (3,), 512),
        ("tile", (3 * 4,), 13),  # the fourth has nine of the 48 columns
        ("column", (3, 2 * OUTPUTS), 512),
    ],
)
def test_each_group_finds_the_range_of_its_own_currents(
    per: str, shape: tuple[int, ...], columns: int
) -> None:
    x = draw(500, INPUTS)
    keys = {
        "array__rows": 32,
        "array__columns": columns,
        "cell__levels": 4,
        "array__slices": 2,
    }
    made = layer(x, adc__range_per=per, adc__range={"kind": "max"}, **keys)
    assert made.adc_range.shape == shape
    array = made.array
    perfect = array.chip(made.weight.detach(), 0)
    z, _ = array.currents(x, perfect, torch.ones(()), None)
    groups = array.range_groups(2 * OUTPUTS)
    peaks = groups.gathered(array.tiling.by_column(z)).abs().amax(1).view(shape)
    assert torch.allclose(made.adc_range, peaks, rtol=1e-5)


def test_an_offset_before_the_adc_costs_the_signal_nothing() -> None:
    x = draw(2000, INPUTS).relu()
    cell = {"cell__g_min_uS": 9.0, "cell__g_max_uS": 88.2}
    found = {
        mapping: error(layer(x, array__mapping=mapping, **cell), x)
        for mapping in ("differential-pair", "single-device", "offset-current", "offset-column")
    }
    assert found["offset-current"] == pytest.approx(found["differential-pair"], rel=0.02)
    assert found["offset-column"] == pytest.approx(found["differential-pair"], rel=0.02)
    assert found["single-device"] > 3 * found["offset-current"]


class TestInputsWithoutASign:
    """``dac.sign: if-needed``."""

    def test_steps_are_half_as_large_behind_a_relu(self) -> None:
        x = draw(2000, INPUTS).relu()
        coarse: dict[str, Any] = {"dac__bits": 5, "adc__bits": None, "dac__range": {"kind": "max"}}
        always, needed = (layer(x, dac__sign=s, **coarse) for s in ("always", "if-needed"))
        assert always.dac_unsigned is None
        assert bool(needed.dac_unsigned)
        assert error(always, x) / error(needed, x) == pytest.approx(31 / 15, rel=0.05)

    def test_one_value_below_zero_needs_a_sign(self) -> None:
        x = draw(200, INPUTS).relu()
        x[7, 3] = -1e-3
        signed = layer(x, dac__bits=5, dac__sign="if-needed")
        assert not bool(signed.dac_unsigned)
        with torch.no_grad():
            assert torch.equal(signed(x), layer(x, dac__bits=5)(x))

    def test_an_input_below_zero_counts_as_zero_and_has_no_gradient(self) -> None:
        made = layer(draw(200, INPUTS).abs(), dac__sign="if-needed")
        x = draw(5, INPUTS).requires_grad_()
        y = made(x)
        assert torch.equal(y, made(x.relu()))
        (slope,) = torch.autograd.grad(y.sum(), x)
        assert (slope[x < 0] == 0).all()
        assert (slope[(x > 0) & (x < 2)] != 0).float().mean() > 0.9

    def test_bits_are_one_more_plane(self) -> None:
        x = draw(300, INPUTS).abs()
        keys = {"dac__bits": 4, "dac__sign": "if-needed", "adc__bits": None}
        whole, serial = (layer(x, dac__bit_serial=s, **keys) for s in (False, True))
        with torch.no_grad():
            assert torch.allclose(whole(x), serial(x), atol=1e-4)
        assert serial.array.planes == 4

    def test_other_data_may_bring_the_sign_back(self) -> None:
        x = draw(200, INPUTS)
        made = layer(x.relu(), dac__sign="if-needed")
        cimsim.calibrate(made, [x])
        assert not bool(made.dac_unsigned)
        assert not made.array.unsigned or not made.calibrated
        assert torch.equal(made(x), layer(x, dac__sign="if-needed")(x))

    def test_zeros_do_not_change_the_sign(self) -> None:
        for x in (draw(200, INPUTS), draw(200, INPUTS).abs()):
            made = layer(x, dac__sign="if-needed")
            before = made(x)
            cimsim.calibrate(made, [torch.zeros(3, INPUTS)])
            assert torch.equal(made(x), before)


class TestFittedCodes:
    """``adc.codes: {kind: lloyd-max}``."""

    @pytest.mark.parametrize("bits", [2, 3, 4])
    @pytest.mark.parametrize("per", ["layer", "column"])
    def test_they_lose_less_than_even_steps(self, bits: int, per: str) -> None:
        x = draw(4000, INPUTS)
        even, fitted = (
            error(layer(x, adc__bits=bits, adc__codes={"kind": kind}, adc__range_per=per), x)
            for kind in ("uniform", "lloyd-max")
        )
        assert fitted < 0.97 * even

    def test_a_comparator_gives_two_values(self) -> None:
        x = draw(500, INPUTS)
        made = layer(x, adc__bits=1, adc__range_per="column")
        with torch.no_grad():
            y = made(x)
        assert all(len(column.unique()) == 2 for column in y.T)
        assert 0.5 < error(made, x) < 0.7  # sqrt(1 - 2 / pi) = 0.60 for a normal distribution

    def test_zeros_do_not_change_the_values(self) -> None:
        x = draw(200, INPUTS)
        made = layer(x, adc__bits=3, adc__codes={"kind": "lloyd-max"})
        before = made(x)
        cimsim.calibrate(made, [torch.zeros(3, INPUTS)])
        assert torch.equal(made(x), before)

    @pytest.mark.parametrize("of_range", ["mse", "max"])
    def test_a_layer_that_met_only_zeros_has_even_codes(self, of_range: str) -> None:
        keys = {"adc__bits": 3, "adc__codes": {"kind": "lloyd-max"}}
        made = layer(torch.zeros(5, INPUTS), adc__range={"kind": of_range}, **keys)
        assert made.adc_range.item() == 1.0
        assert made.adc_values is not None
        assert torch.equal(made.adc_values, torch.linspace(-1, 1, 8))
        assert made(draw(3, INPUTS)).isfinite().all()

    def test_uncalibrated_is_said(self) -> None:
        linear = nn.Linear(INPUTS, OUTPUTS)
        profile = load_profile("ideal", {"adc.bits": 3, "adc.codes": {"kind": "lloyd-max"}})
        with pytest.raises(CimsimError, match="calibrate"):
            cimsim.convert(linear, profile)(draw(2, INPUTS))


KINDS: dict[str, dict[str, Any]] = {
    "unsigned": {"dac__sign": "if-needed"},
    "fitted": {"adc__bits": 3, "adc__codes": {"kind": "lloyd-max"}},
    "columns": {"adc__range_per": "column"},
    "slices": SLICED,
}


@pytest.mark.parametrize("kind", KINDS)
class TestWhatCalibrationFound:
    """It goes where the layer goes."""

    def test_with_its_state(self, kind: str) -> None:
        x = draw(300, INPUTS).abs()
        made = layer(x, **KINDS[kind])
        other = layer(-x * 0.1, draw(OUTPUTS, INPUTS, seed=5), **KINDS[kind])
        other.load_state_dict(made.state_dict())
        with torch.no_grad():
            assert torch.equal(other(x), made(x))

    def test_with_an_average(self, kind: str) -> None:
        x = draw(300, INPUTS).abs()
        made = layer(x, **KINDS[kind])
        averaged = AveragedModel(made, use_buffers=True)
        averaged.update_parameters(made)
        averaged.update_parameters(made)
        with torch.no_grad():
            assert torch.allclose(averaged.eval()(x), made(x), atol=1e-5)

    def test_with_a_copy(self, kind: str) -> None:
        x = draw(300, INPUTS).abs()
        made = layer(x, **KINDS[kind])
        with torch.no_grad():
            assert torch.equal(copy.deepcopy(made)(x), made(x))

    def test_through_half_precision_and_back(self, kind: str) -> None:
        x = draw(300, INPUTS).abs()
        made = layer(x, **KINDS[kind])
        before = {k: v.clone() for k, v in made.state_dict().items() if k != "weight"}
        made.half().float()
        for key, value in before.items():
            assert torch.equal(made.state_dict()[key], value), key

    def test_when_the_noise_changes(self, kind: str) -> None:
        x = draw(300, INPUTS).abs()
        made = layer(x, **KINDS[kind])
        before = made(x)
        made.profile = made.profile.scale_noise(2.0)
        assert torch.equal(made(x), before)

    def test_it_trains_compiled_as_uncompiled(self, kind: str) -> None:
        x = draw(64, INPUTS).abs()
        plain, made = (layer(x, **KINDS[kind]).train() for _ in range(2))
        compiled = torch.compile(made, backend="aot_eager", fullgraph=True)
        y = compiled(x)
        assert torch.allclose(y, plain(x), atol=1e-6)
        y.square().mean().backward()
        plain.draws = 0
        plain(x).square().mean().backward()
        assert torch.allclose(made.weight.grad, plain.weight.grad, atol=1e-6)


@pytest.mark.parametrize(
    "codes",
    [
        {"kind": "table", "values_of_range": [-1.0, -0.25, 0.25, 1.0]},
        {"kind": "lloyd-max"},
    ],
)
@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_values_beyond_the_outermost_code_pull_at_a_learned_range(
    codes: dict[str, Any], side: float
) -> None:
    """Beyond it the result is ``range * values[-1]``, on either side."""
    linear = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        linear.weight.fill_(1.0)
    keys = {"adc.bits": 2, "adc.codes": codes, "adc.range": {"kind": "learned"}}
    x = torch.linspace(-1, 1, 101).view(-1, 1)
    made = cimsim.calibrate(cimsim.convert(linear, load_profile("ideal", keys), rule="E"), [x])
    outermost = 1.0 if made.adc_values is None else made.adc_values.abs().max().item()
    beyond = (side * 1.7 * made.adc_range).detach().view(1, 1).requires_grad_()
    made(beyond).backward()
    assert made.adc_range.grad.item() == pytest.approx(side * outermost, rel=1e-3)
    assert beyond.grad.item() == 0


@pytest.mark.parametrize("per", ["slice", "tile", "column"])
@pytest.mark.parametrize("learned", [False, True])
def test_one_range_of_a_saved_layer_is_that_of_all_its_groups(per: str, learned: bool) -> None:
    """Sliced layers saved before slices had ranges of their own have a single one."""
    x = draw(300, INPUTS)
    keys = {**SLICED, "array__rows": 48, "adc__range": {"kind": "learned" if learned else "mse"}}
    saved = layer(x, **keys, adc__range_per="layer")
    state = saved.state_dict()
    for assign in (False, True):
        other = layer(x * 0.1, **keys, adc__range_per=per)
        other.load_state_dict(state, assign=assign)
        assert other.adc_range.dim() > 0
        assert state["adc_range"].dim() == 0
        with torch.no_grad():
            assert torch.equal(other(x), saved(x))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"array__sensing": "voltage"}),
        ({"array__sensing": "voltage"}, {"array__sensing": "voltage", "cell__g_min_uS": 5.0}),
        (
            {"array__mapping": "single-device"},
            {"array__mapping": "single-device", "cell__g_min_uS": 5.0},
        ),
    ],
)
def test_ranges_are_forgotten_where_other_signals_are_converted(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    x = draw(300, INPUTS)
    cells = {"cell__g_min_uS": 2.0, "cell__g_max_uS": 25.0}
    made, other = layer(x, **cells | before), layer(x, **cells | after)
    assert other.adc_range.item() / made.adc_range.item() != pytest.approx(1.0, rel=0.05)
    made.profile = other.profile
    assert not made.calibrated


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_that_is_resized_has_ranges_for_its_new_columns(kind: str) -> None:
    x = draw(300, INPUTS).abs()
    made = layer(x, **KINDS[kind])
    weight = draw(OUTPUTS + 3, INPUTS)
    made.weight = nn.Parameter(weight)
    if kind == "columns":
        with pytest.raises(CimsimError, match="calibrate the model with some training data"):
            made(x)
    cimsim.calibrate(made, [x])
    assert made(x).shape == (300, OUTPUTS + 3)
    assert error(made, x) < 0.3


@pytest.mark.parametrize("converter", ["dac", "adc"])
@pytest.mark.parametrize("per", ["layer", "column"])
def test_learned_ranges_and_activation_checkpointing(converter: str, per: str) -> None:
    """From the first step after calibration on."""
    x = draw(30, INPUTS)
    keys = {f"{converter}__range": {"kind": "learned"}, "adc__range_per": per}
    plain, saving = (layer(x, **keys).train() for _ in range(2))
    plain(x).square().mean().backward()
    checkpoint(saving, x, use_reentrant=False).square().mean().backward()
    for one, other in zip(plain.parameters(), saving.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_ranges_too_small_for_steps_count_as_the_smallest() -> None:
    x, outputs = draw(8, INPUTS), []
    for smallest in (1e-30, 1e-40):
        made = layer(x)
        state = {**made.state_dict(), "dac_range": torch.tensor(smallest)}
        made.load_state_dict(state)
        with torch.no_grad():
            outputs.append(made(x))
        assert made.train()(x).isfinite().all()
    assert outputs[0].isfinite().all()
    assert torch.equal(*outputs)


def test_tensors_of_the_caller_are_not_changed() -> None:
    x = draw(8, INPUTS)
    with torch.inference_mode():
        copied = copy.deepcopy(layer(x))
    with torch.no_grad():
        assert copied(x).isfinite().all()
    made, smallest = layer(x), torch.tensor(1e-35)
    made.load_state_dict({**made.state_dict(), "dac_range": smallest}, assign=True)
    with torch.no_grad():
        assert made(x).isfinite().all()
    assert smallest.item() == pytest.approx(1e-35)


@pytest.mark.parametrize(
    "keys",
    [
        {"adc__bits": 6},
        {"dac__bits": 6},
        {"array__rows": 48},
        {"array__mapping": "single-device", "cell__g_min_uS": 5.0},
        {"cell__levels": 4, "array__slices": 2},
        {"adc__range": {"kind": "fixed", "full_scale": 16}},
        {"adc__range": {"kind": "percentile", "percentile": 99}},
    ],
    ids=str,
)
@pytest.mark.parametrize("calibrated", [True, False])
def test_a_checkpoint_has_no_ranges_for_other_converters(
    keys: dict[str, Any], calibrated: bool
) -> None:
    x = draw(300, INPUTS)
    saved, made = layer(x), layer(x, **keys)
    other = made if calibrated else cimsim.convert(nn.Linear(INPUTS, OUTPUTS, False), made.profile)
    other.load_state_dict(saved.state_dict())
    assert torch.equal(other.weight, saved.weight)
    with pytest.raises(CimsimError, match="have no range yet"):
        other(x)
    cimsim.calibrate(other, [x])
    assert error(other, x) == error(layer(x, **keys), x)


def test_a_checkpoint_has_the_ranges_of_the_same_converters() -> None:
    """Whatever noise, cells and sources are, and in checkpoints that were cast or are older."""
    x = draw(300, INPUTS)
    saved = layer(x)
    noisy = {"cell__programming_noise": [{"kind": "gaussian", "sigma_of_g_max": 0.01}]}
    state = saved.state_dict()
    for extra in (state["_extra_state"], state["_extra_state"].bfloat16(), torch.tensor([0, 0])):
        other = layer(x * 0.1, **noisy, dac__source="another")
        other.load_state_dict({**state, "_extra_state": extra})
        assert torch.equal(other.adc_range, saved.adc_range)
        assert torch.equal(other.dac_range, saved.dac_range)


def test_a_learned_range_of_the_inputs_belongs_to_the_network() -> None:
    x, learned = draw(300, INPUTS), {"dac__range": {"kind": "learned"}}
    saved, other = layer(x, **learned), layer(x * 0.1, **learned, adc__bits=6)
    other.load_state_dict(saved.state_dict())
    assert torch.equal(other.dac_range, saved.dac_range)
    assert other.adc_range.isnan().all()


@pytest.mark.parametrize("mapping", ["differential-pair", "offset-column"])
def test_tiles_side_by_side_have_their_own_ranges_and_scales(mapping: str) -> None:
    """What small and large outputs share costs the small ones bits."""
    x = draw(500, INPUTS)
    digital = nn.Linear(INPUTS, 16, bias=False)
    with torch.no_grad():
        digital.weight[:8] *= 0.1
    keys = {"array.mapping": mapping, "adc.bits": 6, "adc.range_per": "tile"}
    keys |= {"array.weight_scale": "tile", "cell.levels": 16}
    found = {}
    for columns in (512, 8 + (mapping == "offset-column")):
        made = cimsim.convert(
            copy.deepcopy(digital), load_profile("ideal", keys | {"array.columns": columns})
        )
        made = cimsim.calibrate(made, [x])
        assert made.adc_range.numel() == (1 if columns == 512 else 2)
        wrong = made(x) - digital(x)
        found[columns] = (wrong[:, :8].norm() / digital(x)[:, :8].norm()).item()
    assert found.pop(512) > 5 * found.popitem()[1]


@pytest.mark.parametrize("per", ["layer", "tile", "column"])
def test_gradients_of_learned_ranges_are_those_of_their_columns(per: str) -> None:
    x = draw(50, INPUTS)
    keys = {"array__columns": 5, "adc__bits": 4, "adc__range": {"kind": "learned"}}
    made = layer(x, **keys, adc__range_per=per)
    by_column = layer(x, **keys, adc__range_per="column")
    groups = made.array.range_groups(OUTPUTS)
    with torch.no_grad():
        made.adc_range *= 0.5
        by_column.adc_range.copy_(groups.of_columns(made.adc_range))
    delta = draw(50, OUTPUTS, seed=9)
    for one in (made, by_column):
        one(x).backward(delta)
    each = by_column.adc_range.grad
    expected = groups.summed(each.unsqueeze(-1)).view(made.adc_range.shape)
    assert torch.allclose(made.adc_range.grad, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shared", ["adc.range_per", "array.weight_scale"])
def test_ranges_of_tiles_of_another_width_are_not_kept(shared: str) -> None:
    """Also where their number is the same."""
    x = draw(300, INPUTS)
    keys = {"adc.bits": 6, shared: "tile"}
    wide, narrow = (load_profile("ideal", keys | {"array.columns": n}) for n in (15, 13))
    made = cimsim.calibrate(cimsim.convert(nn.Linear(INPUTS, OUTPUTS), wide), [x])
    before = made.adc_range.shape
    cimsim.nn.set_profile(made, narrow)
    assert made.adc_range.shape == before
    assert not made.calibrated


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"adc__range_per": "tile", "array__columns": 15}, {"array__columns": 13}),
        ({"array__weight_scale": "tile", "array__columns": 15}, {"array__columns": 13}),
        ({"adc__range_per": "tile", "array__columns": 15}, {"adc__range_per": "layer"}),
        ({"adc__range_per": "tile", "array__columns": 15}, {"adc__range_per": "column"}),
        ({**SLICED, "adc__range_per": "slice"}, {"adc__range_per": "layer"}),
        ({**SLICED, "adc__range_per": "slice"}, {"adc__range_per": "tile"}),
        ({"adc__range_per": "column"}, {"adc__range_per": "layer"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("assign", [False, True])
def test_a_checkpoint_has_no_ranges_of_other_groups(
    before: dict[str, Any], after: dict[str, Any], assign: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where there are as many, or where torch would load the first one."""
    x = draw(300, INPUTS)
    saved, other = layer(x, **before), layer(x, **{**before, **after})
    other.load_state_dict(saved.state_dict(), assign=assign)
    assert "calibrate the model again" in caplog.text
    with pytest.raises(CimsimError, match="have no range yet"):
        other(x)
    cimsim.calibrate(other, [x])
    assert error(other, x) == error(layer(x, **{**before, **after}), x)


@pytest.mark.parametrize("per", ["layer", "slice", "tile", "column"])
@pytest.mark.parametrize("scale", ["layer", "tile", "column"])
@pytest.mark.parametrize("columns", [OUTPUTS, 15])
def test_a_checkpoint_of_an_older_version_has_its_ranges(
    per: str, scale: str, columns: int
) -> None:
    """Its marks depend neither on ``range_per`` nor on the width of tiles. Layers wider than a tile
    had another scale per tile."""
    x, keys = draw(300, INPUTS), {"array__weight_scale": scale, "array__columns": columns}
    saved, other = (layer(size * x, **keys, adc__range_per=per) for size in (1.0, 0.1))
    state = saved.state_dict()
    older = {"layer": [60, 234], "tile": [180, 228], "column": [146, 178]}[scale]
    for marks in (state["_extra_state"][2:].tolist(), older, []):
        other.load_state_dict({**state, "_extra_state": torch.tensor([0, 0, *marks])})
        forgotten = marks == older and scale == "tile" and columns < OUTPUTS
        expected = torch.full_like(saved.adc_range, torch.nan) if forgotten else saved.adc_range
        assert torch.equal(other.adc_range.nan_to_num(), expected.nan_to_num())


def test_the_range_of_tiles_side_by_side_is_that_of_each() -> None:
    """As saved when they had one."""
    x = draw(300, INPUTS)
    keys = {"array__rows": 48, "array__columns": 10, "adc__range_per": "tile"}
    made = layer(x, **keys)
    state = made.state_dict() | {"adc_range": torch.tensor([3.0, 4.0])}
    made.load_state_dict(state)
    assert made.adc_range.tolist() == [3.0, 3.0, 3.0, 4.0, 4.0, 4.0]
