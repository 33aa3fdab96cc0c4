"""``cimsim.sweep``, ``cimsim.budget`` and so on, of any model with a score."""

from __future__ import annotations

import copy
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import cimsim
from cimsim.analysis import STUDIES, ModelSubject
from cimsim.analysis.functions import FUNCTIONS
from cimsim.analysis.signatures import is_axis, made
from cimsim.analysis.stub import STUB, stub_text
from cimsim.analysis.study import Options
from cimsim.analysis.sweeps.store import read_sweep, sweep_folder
from cimsim.cli import main
from cimsim.errors import CimsimError
from cimsim.quantizers import make_quantizer
from cimsim.runs import open_run

X = torch.randn(300, 16, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)).requires_grad_(False)
    return cimsim.calibrate(cimsim.convert(net, "pcm-ibm-2020"), [X[200:]])


@pytest.fixture(scope="module")
def labels(model: nn.Module) -> Tensor:
    return cimsim.to_digital(model).eval()(X[:200]).argmax(-1)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def loader(labels: Tensor) -> DataLoader[Any]:
    return DataLoader(TensorDataset(X[:200], labels), 50)


@pytest.fixture(autouse=True)
def no_window() -> Iterator[None]:
    from matplotlib import pyplot

    matplotlib.use("agg")
    yield
    pyplot.close("all")


def test_the_stub_is_written_by_its_program() -> None:
    assert STUB.read_text() == stub_text(), "run `python -m cimsim.analysis.stub`"
    listed = (Path(cimsim.__file__).parent / "__init__.pyi").read_text()
    for name in FUNCTIONS:
        assert f"from .analysis.functions import {name} as {name}\n" in listed
        assert getattr(cimsim, name) is FUNCTIONS[name]
        assert "Args:" in FUNCTIONS[name].__doc__
        assert "Raises:" in FUNCTIONS[name].__doc__
        assert "--" not in FUNCTIONS[name].__doc__


def test_every_command_of_a_study_has_a_function() -> None:
    assert {s.function for s in STUDIES if s.run} | {"sweep", "cost"} == set(FUNCTIONS)


def test_a_run_and_its_model_with_a_loader_give_the_numbers_of_the_command(
    trained: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(trained, tmp_path / "run")  # other tests expect a run without sweeps
    with pytest.raises(SystemExit, match="0"):
        main(["sweep", str(folder), "--over", "noise=0,4", "--chips", "2"])
    expected = read_sweep(sweep_folder(folder, "noise"))
    run = open_run(folder)
    calls: list[int] = []
    again = cimsim.sweep(
        run, over="noise=0,4", chips=2, progress=lambda done, *_: calls.append(done)
    )
    assert again.sweeps == (expected,)
    assert calls == [4]  # it is resumed from the run's folder
    data = run.test_data
    batches = DataLoader(TensorDataset(data.test_x, data.test_y), 1000)
    mine = cimsim.sweep(run.model(), batches, over="noise=0,4", chips=2, store=tmp_path / "mine")
    assert mine.sweeps[0].values() == expected.values()
    assert mine.sweeps[0].plan.digital == expected.plan.digital
    assert read_sweep(sweep_folder(tmp_path / "mine", "noise")) == mine.sweeps[0]


def test_every_study_takes_a_model_and_a_score(model: nn.Module, loader: DataLoader[Any]) -> None:
    few: dict[str, Any] = {"chips": 1, "calibration": [X[200:]]}
    results = [
        cimsim.budget(model, loader, **few),
        cimsim.budget(model, loader, waterfall=True, **few),
        cimsim.budget(model, loader, shapley=True, orders=2, **few),
        cimsim.life(model, loader, points=2, **few),
        cimsim.tolerance(model, loader, over="adc.bits", within=5.0, start="2", stop="6", **few),
        cimsim.sensitivity(model, loader, **few),
        cimsim.advise(model, loader, within=5.0, bits=0, **few),
        cimsim.chip_yield(model, loader, above=50, chips=3),
        cimsim.heat_map(model, loader, x={"noise": [0, 4]}, y={"adc.bits": [None, 4]}, **few),
        cimsim.explore(model, loader, over={"adc.bits": (4, 6)}, budget=2, final_chips=1, **few),
        cimsim.cost(model, X[:4]),
    ]
    for result in results:
        assert len(repr(result)) < 300
        assert type(result).__name__ in repr(result)
        assert len(result.table()) == len(list(result.rows())) - 1
        assert str(result.sheet().rows[0][0]) in str(result)
    assert results[0].facts.age_s == 86400.0  # as on the command line
    assert {type(result) for result in results[:3]} == {
        study.result for study in STUDIES if study.command == "budget"
    }


@pytest.mark.parametrize(
    ("offset", "metric", "limit", "lines"),
    [
        (100.0, "score:max", 97.0, [99.0, 95.0]),
        (-100.0, "score:max", -103.0, [-101.0, -105.0]),
        (100.0, "score:min", 103.0, [110.0, 200.0]),
        (-100.0, "score:min", -97.0, [-90.0, 0.0]),
    ],
)
def test_a_loss_of_a_score_of_any_size_and_sign_is_in_percent_of_it(
    model: nn.Module, offset: float, metric: str, limit: float, lines: list[float]
) -> None:
    """The digital score is ``offset``, and that of a chip is worse by its output's mean error."""
    ideal = cimsim.to_digital(model).eval()(X[:50])
    worse = -1.0 if metric.endswith("max") else 1.0

    def score(net: nn.Module) -> float:
        with torch.no_grad():
            return offset + worse * float((net(X[:50]) - ideal).abs().mean())

    found = cimsim.tolerance(
        model, score, metric=metric, over="noise", within=3.0, stop="1", chips=1
    )
    assert found.limit == pytest.approx(limit)
    assert found.holds
    assert f"stays within 3 % of the digital {offset:g} from" in found.answer
    seen = cimsim.heat_map(model, score, metric=metric, x="noise=0,1", y="time=1s,1h", chips=1)
    assert [line.value for line in seen.lines] == pytest.approx(lines, abs=1e-9)


@pytest.mark.parametrize("metric", ["score:max", "score:min"])
def test_advice_for_a_score_is_within_a_percentage_of_it(model: nn.Module, metric: str) -> None:
    """The digital score is 70, and that of a chip is worse by its output's mean error."""
    ideal = cimsim.to_digital(model).eval()(X[:50])
    worse = -1.0 if metric.endswith("max") else 1.0

    def score(net: nn.Module) -> float:
        with torch.no_grad():
            return 70.0 + worse * float((net(X[:50]) - ideal).abs().mean())

    found = cimsim.advise(model, score, metric=metric, within=3.0, bits=0, chips=1, calibration=[X])
    assert found.request.within == pytest.approx(2.1)
    assert "2.1 allowed" in found.answer
    assert found.options().within == 3.0


def test_several_models_have_names_and_curves(
    model: nn.Module, loader: DataLoader[Any], tmp_path: Path
) -> None:
    found = cimsim.sweep({"a": model, "b": model}, loader, over="noise=0,4", chips=2)
    assert found.plot().has_data()
    assert found.names == ("a", "b")
    assert found.points["a"] == found.points["b"]
    assert cimsim.sweep([model, model], loader, over="noise=1", chips=1).names == (
        "Sequential 1", "Sequential 2",
    )  # fmt: skip
    figure, (left, right) = matplotlib.pyplot.subplots(1, 2)
    assert found.plot(left) is left
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["a", "b"]
    assert len(left.get_lines()) == 6
    with pytest.raises(CimsimError, match="is drawn on one axes"):
        found.plot([left, right])
    with pytest.raises(CimsimError, match="but ax is Figure"):
        found.plot(figure)
    cimsim.sweep([model, model], loader, over="noise=1", chips=1, store=tmp_path)
    assert read_sweep(sweep_folder(tmp_path / "Sequential-2", "noise")).missing == 0
    with pytest.raises(CimsimError, match="life expects one model, but got 2"):
        cimsim.life([model, model], loader)


def test_a_budget_is_drawn_on_two_axes_of_the_user(
    model: nn.Module, loader: DataLoader[Any]
) -> None:
    found = cimsim.sensitivity(model, loader, chips=1)
    _, axes = matplotlib.pyplot.subplots(1, 2)
    assert list(found.plot(axes)) == list(axes)
    assert axes[0].get_ylim() == axes[1].get_ylim()
    with pytest.raises(CimsimError, match="is drawn on 2 axes side by side"):
        found.plot(axes[0])


def test_results_are_saved_by_the_end_of_the_name(
    model: nn.Module, loader: DataLoader[Any], tmp_path: Path
) -> None:
    found = cimsim.sweep(model, loader, over="noise=0,4", chips=2)
    for name, start in (
        ("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF"), ("a.csv", b"run,profile"),
        ("deep/a.json", b"{"),
    ):  # fmt: skip
        assert found.save(tmp_path / name) == [tmp_path / name]
        assert (tmp_path / name).read_bytes().startswith(start)
    assert {path.suffix for path in found.save(tmp_path / "all")} == {
        ".json", ".csv", ".png", ".svg",
    }  # fmt: skip
    life = cimsim.life(model, loader, points=2, chips=1)
    life.save(tmp_path / "all")
    assert repr(STUDIES[7].read(tmp_path / "all")) == repr(life)
    with pytest.raises(CimsimError, match=r"a\.xls: a result is saved as \.png"):
        found.save(tmp_path / "a.xls")


def test_a_table_is_a_data_frame_if_there_is_pandas(
    model: nn.Module, loader: DataLoader[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = cimsim.sweep(model, loader, over="noise=0,4", chips=2)
    monkeypatch.setattr("cimsim.analysis.shown.find_spec", lambda name: None)
    rows = found.table()
    assert [(row["level"], row["chip"]) for row in rows] == [(0, 0), (0, 1), (4, 0), (4, 1)]
    monkeypatch.setattr("cimsim.analysis.shown.find_spec", lambda name: name)
    frame = SimpleNamespace(DataFrame=lambda rows, columns: (rows, columns))
    monkeypatch.setitem(sys.modules, "pandas", frame)
    values, columns = found.table()
    assert [dict(zip(columns, row, strict=True)) for row in values] == rows


def test_the_cost_of_a_large_model_is_printed_in_one_line() -> None:
    layers = [nn.Linear(768, 768, device="meta") for _ in range(72)]
    model = cimsim.convert(nn.Sequential(*layers), "pcm-hermes-2023", inplace=True)
    found = cimsim.cost(model, torch.zeros(1, 768, device="meta"))
    assert len(repr(found)) < 200
    assert "µJ" in repr(found)


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 4)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        y: Tensor = self.linear(x)
        return y if mask is None else y * mask


def test_the_cost_takes_every_form_of_a_batch() -> None:
    model = cimsim.convert(Named(), "pcm-hermes-2023")
    whole = cimsim.cost(model, X[:8])
    assert cimsim.cost(model, {"x": X[:8], "mask": torch.ones(8, 1)}).layers == whole.layers
    assert cimsim.cost(model, (X[:8], torch.zeros(8))).layers == whole.layers
    assert whole.inputs == 8
    with pytest.raises(CimsimError, match="needs inputs; pass a batch"):
        cimsim.cost(model)


def test_a_page_about_results_and_models(
    model: nn.Module, loader: DataLoader[Any], trained: Path, tmp_path: Path
) -> None:
    swept = cimsim.sweep(model, loader, over="noise=0,4", chips=2, store=tmp_path / "mine")
    life = cimsim.life(model, loader, points=2, chips=1)
    subject = ModelSubject(model, loader, folder=tmp_path / "mine")
    page = cimsim.report([open_run(trained), subject, swept, life], tmp_path / "deep" / "r.html")
    text = page.read_text()
    for words in (
        "What was trained",
        "Test accuracy over noise",
        life.about,
        "without compensation",
    ):
        assert words in text
    assert "cannot be shown" not in text
    only = cimsim.report(life, tmp_path / "r.html").read_text()
    assert "without compensation" in only
    with pytest.raises(CimsimError, match="not str"):
        cimsim.report(["runs/a"])
    with pytest.raises(CimsimError, match="a name ending in"):
        cimsim.report([life], tmp_path / "r.pdf")


def test_workers_give_the_same_numbers_with_their_share_of_threads(
    model: nn.Module, labels: Tensor
) -> None:
    def score(on_chip: nn.Module) -> dict[str, float]:
        threads = {"threads": torch.get_num_threads(), "omp": int(os.environ["OMP_NUM_THREADS"])}
        return {"right": float((on_chip(X[:200]).argmax(-1) == labels).double().mean()), **threads}

    before = torch.get_num_threads()
    os.environ.setdefault("OMP_NUM_THREADS", str(before))
    torch.set_num_threads(4)
    try:
        none, one, two = (
            cimsim.sweep(model, score, over="noise=0,4", chips=3, workers=workers)
            for workers in (0, 1, 2)
        )
    finally:
        torch.set_num_threads(before)
    values = [
        [trial.scores["right"] for trial in found.sweeps[0].trials] for found in (none, one, two)
    ]
    assert values[0] == values[1] == values[2]
    assert len(set(values[0])) > 2
    assert {t.scores["threads"] for t in none.sweeps[0].trials} == {4}
    assert {(t.scores["threads"], t.scores["omp"]) for t in two.sweeps[0].trials} == {(2, 2)}


def once(number: float) -> Callable[[nn.Module], float]:
    """A score that is a number without the chip, and another on it."""

    def score(on_chip: nn.Module) -> float:
        return 1.0 if next(iter(cimsim.analog_layers(on_chip).values())).digital else number

    return score


def train(on_chip: nn.Module) -> float:
    with torch.no_grad():
        next(on_chip.parameters()).mul_(2)
    return 1.0


def switch(on_chip: nn.Module) -> float:
    on_chip.train()
    return 1.0


def move(on_chip: nn.Module) -> float:
    cimsim.program(on_chip, 77)
    return 1.0


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (lambda m: float("nan"), r"returned nan for 'score'.*\(without the chip\)"),
        (lambda m: {"ppl": float("inf")}, r"returned inf for 'ppl' \(without the chip\)"),
        (once(float("nan")), r"Sequential: .* returned nan .*\(chip 0, noise=4\)"),
        (lambda m: "0.5", "'score' is the text '0.5'"),
        (lambda m: None, "'score' is None"),
        (lambda m: {}, "not an empty dict"),
        (lambda m: torch.ones(2), r"'score' is a Tensor of shape \[2\]"),
        (lambda m: m(X[:2]), r"'score' is a Tensor of shape \[2, 4\]"),
        (lambda m: {"a": 1.0, "b": []}, "'b' is a list"),
        (lambda m: 1 / 0, r"failed: .*test_functions.py:\d+: ZeroDivisionError: division by zero"),
        (lambda m: m(X[:2, :3]), r"failed: .*\(without the chip\)"),
        (train, "changed the weights of the model"),
        (switch, "changed the mode"),
        (move, "changed the chip of the model"),
        ([], "score has no batches"),
        (iter([]), "score has no batches"),
        ("accuracy", "score is a str"),
        (3, "score is a int"),
        (None, "Sequential has no score"),
        ([(X[:4], X[:4], X[:4])], r"batch 0 must be a pair"),
    ],
)  # fmt: skip
def test_a_bad_score_is_one_clear_sentence(model: nn.Module, score: Any, message: str) -> None:
    with pytest.raises(CimsimError, match=message) as error:
        cimsim.sweep(model, score, over="noise=4", chips=1)
    assert "\n" not in str(error.value)


def test_bad_arguments_are_one_clear_sentence(
    model: nn.Module, loader: DataLoader[Any], labels: Tensor, tmp_path: Path
) -> None:
    shuffled = DataLoader(TensorDataset(X[:200], labels), 50, shuffle=True)
    plain = nn.Sequential(nn.Linear(16, 4))
    over: dict[str, Any] = {"over": "noise=4", "chips": 1}

    def function(on_chip: nn.Module) -> dict[str, float]:
        return {"right": 0.5}

    def locked(on_chip: nn.Module, lock: Any = threading.Lock()) -> float:  # noqa: B008
        return 1.0

    subject = ModelSubject(model, function)
    for message, call in (
        ("not calibrated; call cimsim.calibrate", lambda: cimsim.sweep(
            cimsim.convert(plain, "pcm-ibm-2020"), loader, **over)),
        ("needs new converter ranges on this profile", lambda: cimsim.budget(
            model, loader, chips=1)),
        ("has no analog layers", lambda: cimsim.sweep(plain, loader, **over)),
        ("model is a str", lambda: cimsim.sweep("runs/a", loader, **over)),
        ("there is no model", lambda: cimsim.sweep([], loader, **over)),
        ("needs the score 'accuracy'", lambda: cimsim.sweep(
            model, function, metric="accuracy", **over)),
        ("unknown metric 'ppl'", lambda: cimsim.sweep(model, function, metric="ppl", **over)),
        ("needs the score 'ppl'", lambda: cimsim.sweep(model, function, metric="ppl:min", **over)),
        ("unknown metric 'score:foo'", lambda: cimsim.sweep(
            model, function, metric="score:foo", **over)),
        ("'accuracy', .* a fraction from 0 to 1", lambda: cimsim.sweep(
            model, lambda m: {"accuracy": 93.0}, **over)),
        ("an axis is NAME=LEVELS .*(got 3)", lambda: cimsim.sweep(
            model, loader, over=3)),
        ("on the device 'meta'", lambda: cimsim.sweep(
            copy.deepcopy(model).to("meta"), loader, **over)),
        ("shows results, .* not NoneType", lambda: cimsim.report(None)),  # type: ignore[arg-type]
        ("pass data='…'", lambda: cimsim.sweep(model, function, store=tmp_path, **over)),
        ("the name of a folder is empty", lambda: cimsim.sweep(model, loader, store="", **over)),
        ("create it with shuffle=False", lambda: cimsim.sweep(
            model, shuffled, store=tmp_path, **over)),
        ("the first samples are evaluated", lambda: cimsim.sweep(
            model, shuffled, samples=5, **over)),
        ("each worker would evaluate others", lambda: cimsim.sweep(
            model, shuffled, workers=2, **over)),
        ("cannot be sent to worker processes .*lock", lambda: cimsim.sweep(
            model, locked, workers=2, **over)),
        ("chips: input should be greater than or equal to 1, not 0", lambda: cimsim.life(
            model, loader, chips=0)),
        ("device 'tpu' is not available", lambda: cimsim.life(model, loader, device="tpu")),
        ("profile is a int", lambda: cimsim.life(model, loader, profile=3)),
        ("no threshold: use above, such as above=90", lambda: cimsim.chip_yield(model, loader)),
        ("two thresholds: use above", lambda: cimsim.chip_yield(
            model, loader, above=5, below=9)),
        ("between two levels: use 'noise' with start=LEVEL stop=LEVEL", lambda: cimsim.tolerance(
            model, loader, over="noise=0:4")),
        ("orders applies to shapley only", lambda: cimsim.budget(model, loader, orders=4)),
        ("budget applies to care only; add it, or leave budget out", lambda: cimsim.life(
            model, loader, budget=5)),
        ("defines its score itself", lambda: cimsim.sweep(subject, function, **over)),
        ("leave samples out", lambda: cimsim.sweep(model, function, samples=3, **over)),
    ):  # fmt: skip
        with pytest.raises(CimsimError, match=message) as error:
            call()
        assert "\n" not in str(error.value)
    with pytest.raises(TypeError, match=r"life\(\) got an unexpected keyword argument 'chip'"):
        cimsim.life(model, loader, chip=3)  # type: ignore[call-arg]
    assert list(tmp_path.iterdir()) == []


def test_results_of_a_loader_are_used_again_for_the_same_data_only(
    model: nn.Module, labels: Tensor, tmp_path: Path
) -> None:
    calls: list[int] = []

    def sweep(x: Tensor) -> None:
        calls.clear()
        cimsim.sweep(
            model, DataLoader(TensorDataset(x, labels), 50), over="noise=0,4", chips=1,
            store=tmp_path / "kept", progress=lambda done, total, doing: calls.append(done),
        )  # fmt: skip

    sweep(X[:200])
    assert calls == [0, 1, 2]
    sweep(X[:200].clone())
    assert calls == [2]
    sweep(X[:200] * 1.01)
    assert calls == [0, 1, 2]


@pytest.mark.parametrize("change", ["activation", "quantizer"])
def test_stored_results_are_those_of_the_same_modules(
    model: nn.Module, labels: Tensor, tmp_path: Path, change: str
) -> None:
    """Two models with the same weights and converter ranges."""
    other = copy.deepcopy(model)
    if change == "activation":
        other[1] = nn.LeakyReLU(0.5)  # type: ignore[operator]
    else:
        other[2].input_quantizer = make_quantizer("uniform:bits=2")  # type: ignore[operator]
    calls: list[float] = []

    def score(net: nn.Module) -> float:
        calls.append(float((net(X[:200]).argmax(-1) == labels).double().mean()))
        return calls[-1]

    def trials(net: nn.Module) -> int:
        calls.clear()
        cimsim.sweep(net, score, over="noise=0,1", chips=1, store=tmp_path, data="X")
        return len(calls) - 1  # the digital model is scored at each call

    assert trials(model) == 2
    assert trials(copy.deepcopy(model)) == 0
    assert trials(other) == 2


def test_stored_results_are_those_of_the_same_calibration(
    model: nn.Module, loader: DataLoader[Any], tmp_path: Path
) -> None:
    """Other training inputs give other ranges, on profiles that need new ones."""

    def evaluated(calibration: Any, over: str = "adc.bits=3,4") -> int:
        counts: list[int] = []
        cimsim.sweep(
            model,
            loader,
            over=over,
            chips=1,
            store=tmp_path,
            calibration=calibration,
            progress=lambda done, *_: counts.append(done),
        )
        return counts[-1] - counts[0]

    shuffled = DataLoader(X[200:], 50, shuffle=True)
    assert [evaluated([X[200:]]), evaluated([X[200:]]), evaluated([X[200:] / 5])] == [2, 0, 2]
    assert [evaluated(shuffled), evaluated(shuffled)] == [2, 0]
    assert evaluated([X[200:]], "noise=0,1") == 2
    assert evaluated([X[200:] / 5], "noise=0,1") == 0  # the ranges are those of the model


def test_an_iterator_is_iterated_once_and_evaluated_on_each_chip(
    model: nn.Module, loader: DataLoader[Any]
) -> None:
    found = cimsim.sweep(model, iter(loader), over="noise=0,4", chips=2)
    again = cimsim.sweep(model, loader, over="noise=0,4", chips=2)
    assert found.sweeps[0].values() == again.sweeps[0].values()


SCRIPT = """
import cimsim, torch
torch.manual_seed(0)
x = torch.randn(50, 8)
model = cimsim.calibrate(cimsim.convert(torch.nn.Linear(8, 4), "pcm-ibm-2020"), [x])
def score(on_chip):
    return helper(on_chip).mean()
def helper(on_chip):
    return on_chip(x)
print(cimsim.sweep(model, score, over="noise=0,4", chips=2, workers=2))
"""


@pytest.mark.long
def test_a_script_without_a_main_guard_may_use_workers(tmp_path: Path) -> None:
    import subprocess

    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300,
        check=False, env={**os.environ, "PYTHONPATH": str(Path(cimsim.__file__).parents[1])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Linear") == 1


def test_scores_have_the_same_names_on_each_chip(model: nn.Module, tmp_path: Path) -> None:
    count = iter(range(9))
    with pytest.raises(CimsimError, match=r"returned k0 before, and k1 now; .* \(chip 0, noise=0"):
        cimsim.sweep(model, lambda m: {f"k{next(count)}": 1.0}, over="noise=0,1", chips=1)
    kept: dict[str, Any] = {"over": "noise=0,1", "chips": 1, "store": tmp_path, "data": "d"}
    cimsim.sweep(model, lambda m: {"old": 1.0}, **kept)
    with pytest.raises(
        CimsimError, match=r"have the scores old, but not 'new'; .* change the text"
    ):
        cimsim.sweep(model, lambda m: {"new": 1.0}, **kept)


def test_designs_of_a_model_that_takes_a_dictionary(labels: Tensor) -> None:
    net = nn.Sequential(nn.Linear(16, 4)).requires_grad_(False)
    model = cimsim.calibrate(cimsim.convert(net, "pcm-ibm-2020"), [X[200:]])
    batches = [({"input": X[:50]}, labels[:50])]
    found = cimsim.explore(model, batches, over=["noise=0,1"], chips=1)
    plain = cimsim.explore(model, [(X[:50], labels[:50])], over=["noise=0,1"], chips=1)
    assert str(found) == str(plain)


AXES = [
    pytest.param(study.options, name, id=f"{study.name}-{name}")
    for study in STUDIES
    for name, field in study.options.model_fields.items()
    if is_axis(field)
]


@pytest.mark.parametrize(("options", "name"), AXES)
def test_an_axis_is_a_text_or_levels_from_python(options: type[Options], name: str) -> None:
    others = {field: "noise=0,1" for field in options.model_fields if field in ("x", "y")}
    levels = made(options, {**others, name: {"adc.bits": [None, 6]}})
    assert levels == made(options, {**others, name: "adc.bits=ideal,6"})
    with pytest.raises(CimsimError, match=r"an axis is .*\(got 3\)"):
        made(options, {**others, name: 3})


def test_more_samples_than_there_are_are_all_of_them(
    model: nn.Module, loader: DataLoader[Any]
) -> None:
    with pytest.warns(cimsim.errors.CimsimWarning, match="all 200 test samples are used"):
        more = cimsim.sweep(model, loader, over="noise=1", chips=1, samples=201)
    assert [sweep.plan.samples for sweep in more.sweeps] == [None]
    few = cimsim.sweep(model, loader, over="noise=1", chips=1, samples=200)
    assert [sweep.plan.samples for sweep in few.sweeps] == [200]
    assert few.sweeps[0].values() == more.sweeps[0].values()
