"""Maps: cells, lines of equal metric where they are known, files, pictures."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure

from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.shown import write_result
from cimsim.analysis.studies.heat_map import (
    SQUARES,
    STUDY,
    Map,
    map_of,
    metric_map,
    positions_of_crossings,
)
from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.analysis.sweeps.grid_axis import grid, pair
from cimsim.analysis.sweeps.store import Plan, Sweep
from cimsim.errors import CimsimError
from cimsim.runs import RunSubject
from cimsim.training.run import Run
from tests.subjects import sweep, trial

SHIFTS = (-0.01, 0.0, 0.01)


def synthetic(
    x: str,
    y: str,
    accuracy: Callable[[object, object], float],
    lines: list[float] | None = None,
    metric: str = "accuracy",
) -> Map:
    """A map whose mean accuracy (of metrics that fall: loss) at each pair is given."""
    axes = parse_axis(x), parse_axis(y)
    both = grid(*axes, "maps/made")
    digital = {"accuracy": 0.95, "loss": 0.5}
    plan = Plan(
        *("made", "device", both.key, both.values, len(SHIFTS), digital, "b", "c", "d", "cpu", "0"),
        metric=metric,
    )
    cells = tuple(
        trial("b", level, chip, value, value)
        for level in both.values
        for chip, shift in enumerate(SHIFTS)
        for value in [accuracy(*pair(level)) + shift]
    )
    return map_of(Sweep(plan, cells), *axes, lines)


def falling(x: object, y: object) -> float:
    """Loses 0.1 for a unit of x, whatever y."""
    assert isinstance(x, float | int)
    return 0.9 - 0.1 * x


def test_cells_stand_in_the_order_of_numbers_and_ideal_is_last() -> None:
    found = synthetic("noise=4,0,1", "adc.bits=ideal,4,8", falling)
    assert found.x_levels == (0.0, 1.0, 4.0)
    assert found.y_levels == (4, 8, None)
    assert np.allclose(found.means, [[0.9, 0.8, 0.5]] * 3)
    assert {cell.chips for row in found.summaries for cell in row} == {3}


def test_a_line_stands_where_the_metric_is_known_to_be() -> None:
    """0.9 - 0.1 x is 0.65 at x = 2.5, on a grid that is not uniform."""
    found = synthetic("noise=0,1,4", "adc.bits=4,8", falling, [65, 85])
    assert [line.value for line in found.lines] == pytest.approx([0.65, 0.85])
    first, second = found.lines
    assert np.allclose(first.crossings, [[2.5], [2.5]])
    assert np.allclose(second.crossings, [[0.5], [0.5]])


def test_time_is_interpolated_in_its_logarithm() -> None:
    """0.9 - 0.1 log10(t) is 0.75 at t = 10^1.5."""
    found = synthetic(
        "time=1,10,10000", "noise=0,1", lambda t, _: 0.9 - 0.1 * math.log10(t), [75, 65]
    )
    assert np.allclose(found.lines[0].crossings, 10**1.5)
    assert np.allclose(found.lines[1].crossings, 10**2.5)


def test_there_is_no_number_between_eight_bits_and_ideal() -> None:
    found = synthetic("adc.bits=4,8,ideal", "noise=0,1", lambda b, _: 0.9 if b is None else 0.5)
    assert found.lines[1].crossings == ((), ())


def test_usual_lines_are_below_the_digital_model_or_above_it() -> None:
    assert [line.value for line in synthetic("noise=0,1", "adc.bits=4,8", falling).lines] == (
        pytest.approx([0.94, 0.90])
    )
    rising = synthetic("noise=0,1", "adc.bits=4,8", falling, metric="perplexity")
    assert rising.facts.digital == pytest.approx(math.exp(0.5))
    values = [line.value for line in rising.lines]
    assert values == pytest.approx([1.1 * math.exp(0.5), 2 * math.exp(0.5)])


@given(
    st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.7, 0.9]), min_size=2, max_size=6),
    st.sampled_from([0.2, 0.3, 0.5, 0.8]),
)
def test_crossings_are_where_the_interpolated_curve_has_the_value(
    values: list[float], line: float
) -> None:
    found = positions_of_crossings(values, line)
    places = np.arange(len(values))
    assert np.allclose(np.interp(found, places, values), line, atol=1e-9)
    changes = np.abs(np.diff(np.array(values) > line)).sum()
    assert len(found) >= (changes > 0)
    assert found == sorted(found)


def test_a_level_at_the_line_but_for_rounding_is_on_it() -> None:
    """93.9 / 100 is 0.9390000000000001, more than 939 / 1000."""
    line, at = 93.9 / 100, 939 / 1000
    assert line > at
    assert positions_of_crossings([0.95, at, at, 0.9], line) == [1.0, 2.0]
    flat = synthetic("noise=0,1,4", "adc.bits=4,8", lambda x, _: 0.939 if x else 0.95, [93.9])
    assert [set(row) for row in flat.lines[0].crossings] == [{1.0}] * 2
    assert not flat.crosses(line)
    assert len(flat.warnings) == 1


def test_the_contour_that_is_drawn_is_the_line() -> None:
    """Between the columns 1 (x = 1) and 2 (x = 4), half way."""
    figure = synthetic("noise=0,1,4", "adc.bits=4,8", falling, [65]).figure()
    (contour,) = (c for c in figure.axes[0].collections if isinstance(c, ContourSet))
    vertices = np.concatenate([path.vertices for path in contour.get_paths()])
    assert np.allclose(vertices[:, 0], 1.5)
    assert {0.0, 1.0} <= set(vertices[:, 1])


def drawn_lines(figure: Figure) -> list[Any]:
    """The data of every line but the middles of cells, which cannot be seen."""
    return [line.get_data() for line in figure.axes[0].lines if line.get_gid() != SQUARES]


def test_beside_words_a_line_crosses_the_cells_of_each_word() -> None:
    def accuracy(word: object, x: object) -> float:
        assert isinstance(x, float)
        return 0.9 - 0.1 * x - (0.1 if word == "none" else 0.0)

    words = "array.drift_compensation=none,global"
    along_y = synthetic(words, "noise=0,1,2", accuracy, [75]).figure()
    along_x = synthetic("noise=0,1,2", words, lambda x, w: accuracy(w, x), [75]).figure()
    for figure, turned in ((along_y, False), (along_x, True)):
        lines = [np.array(data) for data in drawn_lines(figure)]
        pieces = [line[::-1] if turned else line for line in lines]  # x: the word, y: noise
        assert np.allclose(pieces[0], [[-0.5, 0.5], [0.5, 0.5]])
        assert np.allclose(pieces[1], [[0.5, 1.5], [1.5, 1.5]])


def test_between_two_axes_of_words_lines_are_edges() -> None:
    figure = synthetic(
        "array.drift_compensation=none,global",
        "array.weight_scale=column,tile",
        lambda a, b: 0.9 if (a, b) == ("none", "column") else 0.5,
        [70],
    )
    pieces = sorted(np.array(data).tolist() for data in drawn_lines(figure.figure()))
    assert pieces == [[[-0.5, 0.5], [0.5, 0.5]], [[0.5, 0.5], [-0.5, 0.5]]]


def texts(found: Map) -> list[str]:
    figure = found.figure()
    figure.canvas.draw()
    legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return [*(text.get_text() for text in figure.axes[0].texts), *legends]


def test_every_cell_has_its_number_and_the_title_the_digital_value() -> None:
    found = synthetic("noise=0,1,4", "adc.bits=4,8", falling, [65])
    assert sorted(texts(found)) == sorted(["90.0", "80.0", "50.0"] * 2 + ["65 %"])
    assert "mean of 3 chips; digital 95.00 %" in found.figure().get_suptitle()


def test_a_line_that_no_cell_passes_is_not_in_the_legend() -> None:
    assert "40 %" not in texts(synthetic("noise=0,1", "adc.bits=4,8", falling, [40]))


def test_numbers_can_be_read_on_their_cells() -> None:
    figure = synthetic("noise=0,1,4", "adc.bits=4,8", falling).figure()
    figure.canvas.draw()
    mesh = figure.axes[0].collections[0]
    for text, cell in zip(figure.axes[0].texts, mesh.get_facecolors(), strict=True):  # type: ignore[attr-defined]
        dark, bright = sorted(
            0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in (to_rgb(text.get_color()), cell[:3])
        )
        assert bright - dark > 0.35


def test_bright_is_good_also_where_less_is_better() -> None:
    for metric, best in (("accuracy", 0), ("perplexity", -1)):
        figure = synthetic("noise=0,1,4", "adc.bits=4,8", falling, metric=metric).figure()
        figure.canvas.draw()
        colors = figure.axes[0].collections[0].get_facecolors()[:3]  # type: ignore[attr-defined]
        assert colors[:, :3].sum(1).argmax() == (best % 3)


def test_a_chip_that_gives_nonsense_is_shown() -> None:
    found = synthetic(
        "noise=0,1",
        "adc.bits=4,8",
        lambda x, y: 1000.0 if x and y == 4 else 0.5,
        metric="perplexity",
    )
    assert "inf" in texts(found)


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Run:
    return Run.open(shutil.copytree(trained, tmp_path / "run"))


def test_a_cell_is_that_of_a_sweep(run: Run) -> None:
    found = metric_map(
        RunSubject(run), parse_axis("noise=1,3"), parse_axis("time=1h,1y"), Evaluation(chips=2)
    )
    (swept,) = sweep([run], parse_axis("noise=3"), 2, age_s=3600.0)
    assert found.summaries[0][1].mean == pytest.approx(
        np.mean([t.scores["accuracy"] for t in swept.trials])
    )
    assert found.facts.age_s == 0.0
    assert found.y_levels == (3600.0, 31557600.0)


def test_it_goes_on_where_it_was(run: Run) -> None:
    axes = parse_axis("noise=1,3"), parse_axis("adc.bits=8,4")
    metric_map(RunSubject(run), *axes, Evaluation(chips=1))
    told: list[int] = []
    wider = parse_axis("noise=1,3,2"), axes[1]
    evaluation = Evaluation(chips=1, progress=lambda done, total, _: told.append(done))
    found = metric_map(RunSubject(run), *wider, evaluation)
    assert told == [4, 5, 6]
    assert found.x_levels == (1.0, 2.0, 3.0)
    assert not (run.path / "sweeps").exists()


def test_time_and_temperature(run: Run) -> None:
    law = {"kind": "arrhenius", "reference_C": 25.0, "activation_eV": 0.2, "source": "made up"}
    profile = run.profile.model_validate(
        {
            **run.profile.model_dump(),
            "cell": {**run.profile.cell.model_dump(), "temperature": [law]},
        }
    )
    axes = parse_axis("time=1s,1y"), parse_axis("temperature_C=25,85")
    evaluation = Evaluation(chips=1, profile=profile, metric="loss")
    found = metric_map(RunSubject(run), *axes, evaluation)
    assert found.y_levels == (25, 85)
    assert found.means[0] != found.means[1]
    with pytest.raises(CimsimError, match="nothing in this profile depends on temperature"):
        metric_map(RunSubject(run), *axes, replace(evaluation, profile=None))


def test_an_age_and_an_axis_of_ages_is_too_much(run: Run) -> None:
    with pytest.raises(CimsimError, match="levels of the time axis are ages"):
        metric_map(
            RunSubject(run),
            parse_axis("noise=0,1"),
            parse_axis("time=1s,1h"),
            Evaluation(age_s=3600.0),
        )


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    found = synthetic("noise=0,1", "adc.bits=4,ideal", falling)
    folder = tmp_path / "maps" / "noise-by-adc.bits"
    write_result(tmp_path, found)
    assert STUDY.read(tmp_path, "noise-by-adc.bits") == found
    assert STUDY.paths(tmp_path) == [folder / "map.json"]
    lines = (folder / "map.csv").read_text().splitlines()
    assert lines[0] == "noise,adc.bits,chips,mean,std,half_width,worst"
    assert lines[-1].startswith("1.0,ideal,3,0.8")
    assert json.loads((folder / "map.json").read_text())["y_levels"] == [4, None]


def test_without_a_map_it_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CimsimError, match=r"there is no such result; run `cimsim map .* --x noise"):
        STUDY.read(tmp_path, "a-by-b")
    (tmp_path / "maps" / "a-by-b").mkdir(parents=True)
    (tmp_path / "maps" / "a-by-b" / "map.json").write_text("{}")
    with pytest.raises(CimsimError, match="is damaged; run `cimsim map"):
        STUDY.read(tmp_path, "a-by-b")
