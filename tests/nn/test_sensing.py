"""Voltages instead of currents, durations instead of amplitudes, and pairs on shared lines."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim.nn.layer import AnalogLayer
from cimsim.profile import ProfileError, load_profile

ROWS, COLUMNS = 24, 10
BASE: dict[str, Any] = {
    "dac.bits": 8,
    "adc.bits": None,
    "cell.g_min_uS": 2.0,
    "cell.g_max_uS": 25.0,
}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layer(x: Tensor, **keys: Any) -> AnalogLayer:
    linear = nn.Linear(ROWS, COLUMNS, bias=False, dtype=torch.float64)
    with torch.no_grad():
        linear.weight.copy_(draw(COLUMNS, ROWS, seed=1))
    chip = {**BASE, **{key.replace("__", "."): value for key, value in keys.items()}}
    made = cimsim.calibrate(cimsim.convert(linear, load_profile("ideal", chip)), [x])
    assert isinstance(made, AnalogLayer)
    return made.eval()


def output(x: Tensor, age: str = "0 s", **keys: Any) -> Tensor:
    made = cimsim.age(layer(x, **keys), age)
    with torch.no_grad():
        return made(x)


def gaussian(sigma: float) -> dict[str, Any]:
    return {"kind": "gaussian", "sigma_of_g_max": sigma, "source": "a test"}


DRIFT = {"kind": "power-law", "t0_s": 20.0, "g_ref_uS": 25.0, "source": "a test"}
DRIFT |= {"nu_mean": {"kind": "polynomial", "coefficients": [0.06]}}
DRIFT |= {"nu_std": {"kind": "polynomial", "coefficients": [0.0]}}


class TestVoltage:
    """``array.sensing: voltage``."""

    def test_exact_cells_give_the_product(self) -> None:
        x = draw(50, ROWS)
        assert torch.allclose(output(x, array__sensing="voltage"), output(x), rtol=1e-9, atol=1e-9)

    def test_the_adc_sees_the_mean_of_the_inputs_by_conductance(self) -> None:
        x = draw(400, ROWS)
        made = layer(x, array__sensing="voltage", adc__bits=8, adc__range={"kind": "max"})
        w = made.weight / made.weight.abs().amax(1, keepdim=True)
        on, rest = 2.0 + 23.0 * w.clamp_min(0), 2.0 + 23.0 * (-w).clamp_min(0)
        volts = x @ (on - rest).T / (on + rest).sum(1)
        assert made.adc_range.item() == pytest.approx(volts.abs().max().item(), rel=0.02)

    def test_a_drift_that_all_cells_share_cancels(self) -> None:
        x = draw(50, ROWS)
        fresh, drifted = (
            output(x, age="1 day", cell__drift=[DRIFT], array__sensing=sensing)
            for sensing in ("voltage", "current")
        )
        whole = output(x)
        assert torch.allclose(fresh, whole, rtol=1e-9, atol=1e-9)
        left = ((86400 + 20) / 20) ** -0.06
        assert torch.allclose(drifted, whole * left, rtol=1e-9, atol=1e-9)

    def test_a_column_with_wrong_cells_divides_by_their_sum(self) -> None:
        """Against the definition, with the conductances that the chip holds as currents."""
        x = draw(50, ROWS)
        noise = {"cell__programming_noise": [gaussian(0.05)]}
        by_current, by_voltage = (
            layer(x, array__sensing=sensing, **noise) for sensing in ("current", "voltage")
        )
        found = by_voltage.programmed_weight()
        plain = by_current.programmed_weight()
        ratio = found / plain
        assert torch.allclose(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-9)
        spread = math.sqrt(2 * ROWS) * 0.05 * 25  # of a column's sum of conductances
        target = 4.0 * ROWS + 23.0 * by_current.weight.abs().sum(1) / by_current.weight.abs().amax(
            1
        )
        pull = (1 / ratio[:, 0] - 1) / (spread / target)
        assert pull.abs().max() < 4
        assert 0.4 < pull.square().mean().sqrt() < 1.8

    def test_read_noise_is_divided_as_the_signal_is(self) -> None:
        x = draw(1, ROWS).expand(20_000, ROWS).contiguous()
        spreads = [
            output(x, array__sensing=s, cell__read_noise=[gaussian(0.03)]).std(0)
            for s in ("current", "voltage")
        ]
        assert torch.allclose(*spreads, rtol=0.03)

    @pytest.mark.parametrize(
        ("keys", "words"),
        [
            ({"array.mapping": "offset-column"}, "requires the mapping 'differential-pair'"),
            (
                {
                    "dac.bit_serial": True,
                    "wires": {"kind": "nodal", "cells": "gated", "r_bit_ohm": 1, "source": "x"},
                },
                "cells: passive",
            ),
        ],
    )
    def test_elsewhere_it_is_refused(self, keys: dict[str, Any], words: str) -> None:
        with pytest.raises(ProfileError, match=words):
            load_profile("ideal", {**BASE, "array.sensing": "voltage", **keys})


class TestDuration:
    """``dac.coding: duration``."""

    SINH: ClassVar[dict[str, Any]] = {
        "kind": "sinh",
        "v_read_V": 0.2,
        "k_per_V": 10.0,
        "source": "a test",
    }

    def test_a_bent_law_scales_and_does_not_bend(self) -> None:
        x = draw(50, ROWS)
        whole = output(x)
        found = output(x, dac__coding="duration", cell__iv=self.SINH)
        assert torch.allclose(found, whole * math.sinh(2) / 2, rtol=1e-9, atol=1e-9)
        bent = output(x, cell__iv=self.SINH)
        straight = bent / (bent * whole).sum() * whole.square().sum()
        assert (straight - whole).norm() > 0.05 * whole.norm()

    def test_the_drop_changes_while_rows_switch_off(self) -> None:
        """One column of two cells and a resistance at its end, by hand: both rows are on for one
        step of three, then the first alone for two."""
        linear = nn.Linear(2, 1, bias=False, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor([[1.0, 1.0]]))
        ohm = 2e4
        keys = {
            "dac.bits": 3,
            "dac.coding": "duration",
            "dac.range": {"kind": "fixed", "full_scale": 3.0, "source": "a test"},
            "adc.bits": None,
            "cell.g_min_uS": 0.0,
            "cell.g_max_uS": 25.0,
            "wires": {"kind": "nodal", "cells": "gated", "r_sink_ohm": ohm, "source": "a test"},
        }
        made = cimsim.calibrate(
            cimsim.convert(linear, load_profile("ideal", keys)), [torch.ones(1, 2).double()]
        ).eval()
        with torch.no_grad():
            y = made(torch.tensor([[3.0, 1.0], [-3.0, 2.0], [0.0, 0.0]]).double()).flatten()
        g = 25e-6

        def current(cells: int) -> float:
            return cells * g / (1 + cells * g * ohm) / g

        expected = [current(2) + 2 * current(1), -3 * current(1) + 2 * current(1), 0.0]
        assert y.tolist() == pytest.approx(expected, rel=1e-6, abs=1e-9)

    def test_it_trains(self) -> None:
        x = draw(16, ROWS).float()
        wires = {"kind": "nodal", "cells": "gated", "r_bit_ohm": 50.0, "source": "a test"}
        keys = {**BASE, "dac.bits": 4, "dac.coding": "duration", "wires": wires}
        made = cimsim.convert(nn.Linear(ROWS, COLUMNS), load_profile("ideal", keys))
        cimsim.calibrate(made, [x])
        made(x).square().mean().backward()
        assert made.weight.grad is not None
        assert made.weight.grad.isfinite().all()

    @pytest.mark.parametrize("keys", [{"dac.bit_serial": True}, {"dac.bits": None}])
    def test_elsewhere_it_is_refused(self, keys: dict[str, Any]) -> None:
        with pytest.raises(ProfileError, match=r"cannot be combined with 'bit_serial|ideal DAC"):
            load_profile("ideal", {**BASE, "dac.coding": "duration", **keys})


def nodal(**ohms: Any) -> dict[str, Any]:
    return {"kind": "nodal", "source": "a test", **ohms}


class TestPairsOnSharedLines:
    """``wires.pairs``."""

    @pytest.mark.parametrize(
        ("pairs", "ohms"), [("columns", {"r_bit_ohm": 200.0}), ("rows", {"r_word_ohm": 200.0})]
    )
    def test_lines_that_they_do_not_share_drop_as_before(
        self, pairs: str, ohms: dict[str, float]
    ) -> None:
        x = draw(20, ROWS)
        apart, beside = (output(x, wires=nodal(pairs=p, **ohms)) for p in ("apart", pairs))
        assert not torch.allclose(apart, output(x), rtol=1e-3)
        assert torch.allclose(apart, beside, rtol=1e-9, atol=1e-9)

    def test_a_word_line_of_both_drops_more(self) -> None:
        x = draw(200, ROWS)
        whole = output(x)
        apart, beside = (
            (output(x, wires=nodal(pairs=p, r_word_ohm=100.0)) - whole).norm()
            for p in ("apart", "columns")
        )
        assert beside > 1.5 * apart

    def test_two_cells_on_one_bit_line_by_hand(self) -> None:
        """Nodes a and b of the line at the positive and at the negative cell, ground behind b."""
        linear = nn.Linear(1, 1, bias=False, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.fill_(0.7)
        ohm, plus, minus = 2e4, 25e-6, 2e-6
        keys = {**BASE, "dac.bits": None, "wires": nodal(pairs="rows", r_bit_ohm=ohm)}
        made = cimsim.convert(linear, load_profile("ideal", keys)).eval()
        a = torch.tensor([[plus + 1 / ohm, -1 / ohm], [-1 / ohm, minus + 2 / ohm]])
        at_a_and_b = torch.linalg.solve(a.double(), torch.tensor([plus, -minus]).double())
        expected = 0.7 * at_a_and_b[1] / ohm / (plus - minus)
        with torch.no_grad():
            y = made(torch.ones(1, 1).double())
        assert y.item() == pytest.approx(expected.item(), rel=1e-6)

    @pytest.mark.parametrize(
        ("keys", "words"),
        [
            ({"array.mapping": "offset-column", "wires": nodal(pairs="rows")}, "requires the map"),
            (
                {"dac.bit_serial": True, "wires": nodal(pairs="rows", cells="gated")},
                "columns have separate lines",
            ),
        ],
    )
    def test_elsewhere_it_is_refused(self, keys: dict[str, Any], words: str) -> None:
        with pytest.raises(ProfileError, match=words):
            load_profile("ideal", {**BASE, **keys})
