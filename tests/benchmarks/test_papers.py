"""Published numbers that cimsim must keep agreeing with, each by the command of its paper."""

from __future__ import annotations

import importlib
import inspect
import math
import re
from pathlib import Path

import pytest
import torch

import cimsim
from benchmarks.papers import (
    badcrossbar_2020,
    cost_error,
    crosssim_mnist,
    golden_devices,
    hermes_core_2021,
    joksas_2022,
    le_gallo_2023,
    siox_fit,
    xiao_2022,
)
from benchmarks.papers.record import RESULTS, Measured, Paper, Published, Row, read, read_all
from benchmarks.papers.trials import Trials
from cimsim.array.chip import program_and_age
from cimsim.physics import iv_terms

FILES = sorted(RESULTS.glob("*.json"))


def row(published: Published, cimsim_: Measured, why: str = "") -> Row:
    return Row("key", "quantity", "unit", published, cimsim_, why)


# Results.

COMPUTED = {"xiao_2022"}  # some of whose rows are computed, not read from the trials


@pytest.mark.parametrize(
    "name",
    [file.stem for file in sorted(RESULTS.glob("*.csv")) if file.stem not in COMPUTED],
)
def test_the_committed_result_is_made_of_the_committed_trials(name: str) -> None:
    stored = read(RESULTS / f"{name}.json")
    make = importlib.import_module(f"benchmarks.papers.{name}").paper
    given: dict[str, object] = {"trials": Trials(RESULTS / f"{name}.csv")}
    for option, text in re.findall(r"--([\w-]*seeds) (\S+)", stored.command):
        given[option.replace("-", "_")] = [int(seed) for seed in text.split(",")]
    made = make(**{key: given[key] for key in inspect.signature(make).parameters})
    assert made.rows == stored.rows
    assert made.notes == stored.notes
    assert (made.title, made.citation, made.command) == (
        stored.title,
        stored.citation,
        stored.command,
    )


# The record.


def test_a_difference_combines_both_standard_errors() -> None:
    apart = row(Published(10.0, "p. 1", 3.0), Measured(20.0, 4.0))
    assert apart.difference == pytest.approx(2.0)
    assert apart.agrees
    assert not row(Published(10.0, "p. 1", 3.0), Measured(20.1, 4.0)).agrees
    assert row(Published(10.0, "p. 1", 3.0), Measured(0.0, 4.0)).difference == pytest.approx(-2.0)


def test_numbers_without_errors_must_be_equal() -> None:
    assert row(Published(33, "p. 1"), Measured(33)).difference == 0
    assert row(Published(33, "p. 1"), Measured(32)).difference == -math.inf


def test_a_range_contains_its_ends() -> None:
    inside = Published(3.0, "p. 1", high=4.0)
    assert [row(inside, Measured(v)).difference for v in (3.0, 3.5, 4.0)] == [0, 0, 0]
    assert row(inside, Measured(4.5, 0.1)).difference == pytest.approx(5.0)
    assert row(inside, Measured(2.5, 0.1)).difference == pytest.approx(-5.0)


def test_means_and_their_errors() -> None:
    assert Measured.mean([1.0, 2.0, 3.0], "chips") == Measured(2.0, 3**-0.5, 3, "chips")
    assert Measured.mean([1.0], "chips").standard_error == 0
    groups = Measured.mean_of_means([[1.0, 3.0], [4.0]], "trainings")
    assert groups == Measured(3.0, 1.0, 2, "trainings")
    assert Published.over(5.0, 2.0, 4, "p. 1", "chips").standard_error == 1.0
    assert Published.printed(1.286, 0.001, "p. 1").standard_error == pytest.approx(
        2.89e-4, rel=1e-2
    )


def test_a_difference_without_a_reason_is_refused() -> None:
    far = row(Published(1.0, "p. 1", 0.1), Measured(2.0, 0.1))
    with pytest.raises(ValueError, match="no reason"):
        Paper("name", "title", "citation", "command", (far,))
    with pytest.raises(ValueError, match="same key"):
        Paper("name", "title", "citation", "command", (row(Published(1, ""), Measured(1)),) * 2)


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    paper = badcrossbar_2020.paper()
    paper.write(tmp_path)
    assert read(tmp_path / f"{paper.name}.json") == paper
    assert (tmp_path / f"{paper.name}.md").read_text(encoding="utf-8") == paper.page()


def test_trials_go_on_where_they_were_stopped(tmp_path: Path) -> None:
    first = Trials(tmp_path / "trials.csv")
    first.add("arm", "accuracy", 0, 1, 97.5, 2.0)
    again = Trials(tmp_path / "trials.csv")
    assert again.has("arm", "accuracy", 0, 1)
    assert again.measure("arm", "accuracy", 0, 1, lambda: 0.0) == 97.5
    assert again.measure("arm", "accuracy", 1, 0, lambda: 96.0) == 96.0
    assert again.groups("arm", "accuracy") == [[97.5], [96.0]]
    assert again.seconds >= 2.0


# The committed results.


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_committed_page_is_that_of_its_result_and_names_its_command(file: Path) -> None:
    paper = read(file)
    assert file.stem == paper.name
    assert file.with_suffix(".md").read_text(encoding="utf-8") == paper.page()
    module = paper.command.split()[2]
    assert importlib.import_module(module).__name__ == f"benchmarks.papers.{paper.name}"


def test_every_paper_has_a_committed_result() -> None:
    folder = Path(xiao_2022.__file__).parent
    texts = {file.stem: file.read_text(encoding="utf-8") for file in folder.glob("*.py")}
    commands = {name for name, text in texts.items() if "-> Paper:" in text} - {"record"}
    assert {paper.name for paper in read_all()} == commands


# The key numbers, computed again.


def test_circuits_of_qucs() -> None:
    paper = badcrossbar_2020.paper()
    assert paper.row("equal").cimsim.value == 33
    assert paper.row("deviation").cimsim.value < 1e-14


@pytest.mark.parametrize("key", ["slicing gain", "slicing limit", "unit column"])
def test_dot_products_of_xiao(key: str) -> None:
    (found,) = (each for each in xiao_2022.dot_product_rows() if each.key == key)
    assert abs(found.difference) < 4


def test_precision_of_hermes() -> None:
    """One device is close to 3 bits, two are between 3 and 4."""
    weight = le_gallo_2023.sparse_uniform((256, 256), 0)
    x = le_gallo_2023.sparse_uniform((500, 256), 1)
    digital = {bits: le_gallo_2023.digital_error(bits, weight, x) for bits in range(2, 6)}
    # Labels of Fig. 2d: 3 bits at about 17 %, 4 bits at about 7 %.
    assert digital[3] == pytest.approx(0.167, abs=0.005)
    assert digital[4] == pytest.approx(0.072, abs=0.005)
    for profile, low, high in ((le_gallo_2023.ONE, 2.8, 3.2), (le_gallo_2023.TWO, 3.3, 3.8)):
        error = le_gallo_2023.chip_error(profile, weight, x, 0, 1000.0)
        assert low < le_gallo_2023.equivalent_bits(error, digital) < high


def test_the_hermes_core() -> None:
    paper = hermes_core_2021.paper()
    assert paper.row("throughput").cimsim.value == pytest.approx(1.008, rel=0.03)
    assert paper.row("efficiency").cimsim.value == pytest.approx(10.5, rel=0.08)


def test_layers_of_hermes() -> None:
    lstm = le_gallo_2023.layer_cost(1008, 2016)
    assert lstm.tops == pytest.approx(30.6, rel=0.01)
    assert lstm.tops_per_W == pytest.approx(9.34, rel=0.05)


def test_the_error_of_the_cost_model_is_read_from_its_page() -> None:
    text = "| a | 1 | 2 | +10 % | predicted |\n| b | 1 | 2 | −5, +3 % | predicted by x |\n"  # noqa: RUF001
    assert cost_error.deviations(text) == [10, -5, 3]
    assert cost_error.deviations("| a | 1 | 2 | 0 % | counting only |") == []
    assert 0.05 < cost_error.model_error() < 0.25


def test_the_weights_of_crosssims_device() -> None:
    """Errors of all weights over the largest: that of CrossSim for uniform weights, by its formula
    g (1 + 0.3 xi) of both cells."""
    layer = torch.nn.Linear(200, 200, bias=False)
    with torch.no_grad():
        layer.weight.uniform_(-1, 1)
        layer.weight[0, 0] = 1.0
    analog = cimsim.convert(layer, crosssim_mnist.chip_profile()).eval()
    cimsim.program(analog, 1)
    found = (analog.programmed_weight() - layer.weight).std().item()
    w = torch.linspace(0, 1, 10_001)
    expected = (0.3 * ((0.1 + 0.9 * w) ** 2 + 0.1**2).mean().sqrt() / 0.9).item()
    assert found == pytest.approx(expected, rel=0.02)
    assert crosssim_mnist.as_the_notebook_counts(97.96) == pytest.approx(98.98)


def test_the_windows_of_the_siox_cells() -> None:
    """Table S1 of Joksas et al.: conductances of both windows, in uS."""
    windows = {"low": (690.1, 3451.0), "high": (0.5248, 2.624)}
    for kind, (low, high) in windows.items():
        cell = cimsim.load_profile(joksas_2022.CELLS[kind]).cell
        assert (cell.g_min_uS, cell.g_max_uS) == pytest.approx((low, high), rel=5e-4)


def test_the_nonlinearity_of_the_siox_cells() -> None:
    """Fig. 2 of Joksas et al.: the conductance at V over that at V / 2 is up to about 1.1 in the
    low-resistance states and between 1.1 and 1.5 in the others."""
    ratios = {}
    for kind, path in joksas_2022.CELLS.items():
        cell = cimsim.load_profile(path).cell
        assert cell.iv is not None
        g = torch.full((1000,), cell.g_max_uS, dtype=torch.float64)
        at = [
            sum((f(torch.tensor(u).double()) * part for f, part in iv_terms(cell.iv, g, 1)), 0 * g)
            for u in (1.0, 0.5)
        ]
        ratios[kind] = (at[0] / (2 * at[1])).median().item()
    assert 1.0 < ratios["low"] < 1.1
    assert 1.2 < ratios["high"] < 1.6


def test_a_poole_frenkel_sweep_is_fitted_exactly() -> None:
    voltage = torch.linspace(0, 0.5, 101, dtype=torch.float64).numpy()
    slope = siox_fit.slope_per_root_V(math.exp(-36.8))
    current = 1e-6 * voltage * torch.exp(slope * torch.from_numpy(voltage).sqrt()).numpy()
    ln_c, ln_d = siox_fit.poole_frenkel(voltage, current)
    assert ln_c == pytest.approx(math.log(1e-6), abs=1e-4)
    assert ln_d == pytest.approx(-36.8, abs=1e-3)


def test_the_power_of_ohmic_cells() -> None:
    """Two operations of each of n weights in 50 ns, and V^2 G of every cell."""
    profile = cimsim.load_profile(joksas_2022.CELLS["high"], {"cell.iv.strength": 1e-12})
    model = cimsim.convert(joksas_2022.network(0), profile).eval()
    images = joksas_2022.Digits(torch.ones(2, 1, 28, 28), torch.zeros(2, dtype=torch.long))
    power = joksas_2022.power_W(model, profile, images, 0)
    cells = [layer for layer in model if isinstance(layer, torch.nn.Linear)]
    lowest = 0.25 * 0.52484e-6 * 2 * 785 * 25
    assert power > lowest
    relative = cells[0].weight.abs() / cells[0].weight.abs().max()
    first = 0.25e-6 * (2 * 0.52484 * relative.numel() + (2.6242 - 0.52484) * relative.sum().item())
    assert power == pytest.approx(first, rel=0.05)  # the second layer has 1 % of the cells


def test_double_weights_are_one_cell_each() -> None:
    """G = g_min + (g_max - g_min) w / max w of every non-negative weight, in uS, and the product is
    that of the differences."""
    model = joksas_2022.double_network(0)
    first = next(each for each in model if isinstance(each, torch.nn.Linear))
    raw = first.parametrizations.weight.original.detach()
    with torch.no_grad():
        raw[0, 0] = 0.0
    profile = joksas_2022.double_cells()
    cells = program_and_age(first.weight.detach()[None], profile, 0, 0.0).g_uS
    expected = 0.52484 + (2.6242 - 0.52484) * raw / raw.max()
    torch.testing.assert_close(cells.view_as(raw), expected, rtol=1e-4, atol=1e-4)
    x = torch.rand(5, 785)
    exact = x @ (raw[:25] - raw[25:]).T
    torch.testing.assert_close(joksas_2022.Difference()(first(x)), exact, rtol=1e-3, atol=1e-4)


def test_double_weights_stay_non_negative() -> None:
    images = joksas_2022.Digits(torch.rand(64, 1, 28, 28), torch.arange(64) % 10)
    budget = joksas_2022.Budget(1, 16, 2e-3, trainings=1, chips=1)
    model = joksas_2022.aware(0, images, joksas_2022.PENALTY, budget)
    weights = list(model.parameters())
    assert len(weights) == 2
    assert all((weight >= 0).all() for weight in weights)


def test_golden_devices_are_named_in_their_tests() -> None:
    node = "tests/test_golden_devices.py::test_what_a_chip_holds[0.25-pcm-hermes-2023-single]"
    assert golden_devices.device_of(node) == "pcm-hermes-2023-single"
    assert golden_devices.device_of("tests/test_golden_devices.py::test_bits") == "all devices"
