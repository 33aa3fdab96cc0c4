"""A training step solves the wires of a chip once, and once more with their gradient."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim.array import plain
from cimsim.circuits import wires
from cimsim.estimators import RULES
from cimsim.nn.layer import AnalogLayer
from cimsim.profile import Profile, override_profile
from cimsim.profile.wires import Wires
from tests.building import device, gaussian

DRIFT = {
    "kind": "power-law",
    "t0_s": 20.0,
    "g_ref_uS": 25.0,
    "nu_mean": {"kind": "polynomial", "coefficients": [0.05]},
    "nu_std": {"kind": "polynomial", "coefficients": [0.01]},
}
IV = {"kind": "sinh", "v_read_V": 0.5, "k_per_V": 4.0, "source": "made up for a test"}
USES_PROGRAMMED = [letter for letter, rule in RULES.items() if rule.needs_programmed]


def wired(**keys: object) -> Profile:
    """Small tiles of cells with noise and drift, and of lines that matter."""
    profile = device(
        programming=[gaussian(0.02)],
        drift=[DRIFT],
        compensation="global",
        dac=8,
        adc=8,
        rows=6,
        columns=4,
        g_min_uS=1.0,
    )
    lines = {"kind": "nodal", "r_word_ohm": 40.0, "r_bit_ohm": 60.0, "source": "a test"}
    named = {name.replace("__", "."): value for name, value in keys.items()}
    return override_profile(profile, {"wires": lines, **named})


def layer_of(profile: Profile, rule: str = "F") -> AnalogLayer:
    torch.manual_seed(0)
    model = cimsim.convert(nn.Linear(10, 9), profile, rule=rule)
    model = cimsim.calibrate(model, [torch.randn(20, 10)])
    assert isinstance(model, AnalogLayer)
    return model.train()


def step(layer: AnalogLayer, backend: str | None = None) -> tuple[Tensor, ...]:
    """The output of the next training step of a copy of ``layer``, and the gradients."""
    layer = copy.deepcopy(layer)
    x = torch.randn(7, 10, generator=torch.Generator().manual_seed(1)).requires_grad_()
    model = layer if backend is None else torch.compile(layer, backend=backend, fullgraph=True)
    y = model(x)
    y.square().sum().backward()
    assert layer.weight.grad is not None
    assert x.grad is not None
    return y.detach(), layer.weight.grad, x.grad


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Crossbars whose wires are solved without and with a gradient, in plain torch."""
    counts = {"solved": 0, "differentiated": 0}
    solution, vjp = wires._solution, wires._vjp

    def counted_solution(g_S: Tensor, *others: object) -> Tensor:
        counts["solved"] += len(g_S)
        return solution(g_S, *others)

    def counted_vjp(g_S: Tensor, *others: object) -> Tensor:
        counts["differentiated"] += len(g_S)
        counts["solved"] -= len(g_S)  # what a gradient computes again is a part of it
        return vjp(g_S, *others)

    with monkeypatch.context() as patch, cimsim.kernels.use("torch"):
        patch.setattr(wires, "_solution", counted_solution)
        patch.setattr(wires, "_vjp", counted_vjp)
        yield counts


CROSSBARS = 2 * 2 * 3  # devices, tiles of 5 rows, crossbars of 4, 4 and 1 columns


@pytest.mark.parametrize("rule", list(RULES))
def test_a_step_solves_every_crossbar_once(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = layer_of(wired(), rule)
    with counted(monkeypatch) as counts:
        step(layer)
    through_cells = CROSSBARS if rule in ("A", "F") else 0
    assert counts == {"solved": CROSSBARS, "differentiated": through_cells}


def test_an_aged_chip_is_also_solved_as_it_was_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = layer_of(wired())
    cimsim.age(layer, 1e5)
    with counted(monkeypatch) as counts:
        step(layer)
    assert counts == {"solved": 2 * CROSSBARS, "differentiated": CROSSBARS}


def test_cells_of_a_bent_response_are_solved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = layer_of(wired(cell__iv=IV))
    with counted(monkeypatch) as counts:
        step(layer)
    assert counts == {"solved": CROSSBARS, "differentiated": CROSSBARS}


CASES = {
    "apart": {},
    "columns": {"wires.pairs": "columns"},
    "rows": {"wires.pairs": "rows"},
    "single": {"array.mapping": "single-device"},
    "reference": {"array.mapping": "offset-column"},
    "slices": {"cell.levels": 5, "array.slices": 2},
    "bent": {"cell.iv": IV},
    "voltage": {"array.sensing": "voltage"},
}


@pytest.mark.parametrize("age_s", [0.0, 1e5])
@pytest.mark.parametrize("rule", USES_PROGRAMMED)
@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_wires_that_are_solved_again(
    case: str, rule: str, age_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = layer_of(wired(**CASES[case]), rule)
    cimsim.age(layer, age_s)
    got = step(layer)
    make_chip = plain.make_chip

    def forgetful(*arguments: object, **options: object) -> object:
        return make_chip(*arguments, **options)._replace(wired_uS=None)

    monkeypatch.setattr(plain, "make_chip", forgetful)
    expected = step(layer)
    exact = age_s == 0.0  # the factor of drift compensation comes from the scale
    for ours, reference in zip(got, expected, strict=True):
        if exact:
            assert torch.equal(ours, reference)
        else:
            torch.testing.assert_close(ours, reference, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_a_chip_keeps_its_solution_unless_it_has_a_reference_column(case: str) -> None:
    layer = layer_of(wired(**CASES[case]))
    chip = layer.array.chip(layer.weight.detach(), 3)
    shape = (layer.array.mapping.devices, *chip.relative.shape)
    assert layer.array.keeps_wired == (chip.wired_uS is not None) == (case != "reference")
    assert chip.wired_uS is None or chip.wired_uS.shape == shape


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_a_compiled_step_is_the_same(strength: float) -> None:
    layer = layer_of(wired(wires__strength=strength))
    torch.compiler.reset()  # other tests compile the same code
    for ours, reference in zip(step(layer, "aot_eager"), step(layer), strict=True):
        assert torch.equal(ours, reference)


def test_gated_cells_have_no_such_solution() -> None:
    layer = layer_of(wired(wires=None))
    assert not layer.array.keeps_wired
    lines = Wires(cells="gated", r_bit_ohm=1.0, source="a test")
    profile = layer.profile.model_copy(update={"wires": lines})
    assert not layer_of(override_profile(profile, {"dac.bit_serial": True})).array.keeps_wired
