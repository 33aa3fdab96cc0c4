from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import cimsim
from cimsim import computation
from cimsim.analysis.subjects import Subject
from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.analysis.sweeps.engine import LocalEngine, Task
from cimsim.analysis.sweeps.metric import Scores
from cimsim.analysis.sweeps.store import FileStore, Trial, read_sweep, sweep_folder
from cimsim.errors import CimsimError, CimsimWarning
from cimsim.nn.scoring import evaluate
from cimsim.profile import fingerprint, load_profile, override_profile
from cimsim.sealing import unsealed
from cimsim.training.run import Run, calibration_batches
from tests.subjects import scores, sweep


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Run:
    return Run.open(shutil.copytree(trained, tmp_path / "run"))


def test_a_cell_is_what_the_public_functions_give(run: Run) -> None:
    (swept,) = sweep([run], parse_axis("noise=0,3"), 2)
    model = run.chip_model(run.profile.scale_noise(3.0))
    cimsim.program(model, seed=1)
    expected = evaluate(model, run.data.test_x, run.data.test_y)
    assert scores(swept)[3.0, 1] == tuple(expected)
    assert swept.plan.digital_scores["accuracy"] == run.digital_accuracy


def test_time_ages_the_chips(run: Run) -> None:
    (swept,) = sweep([run], parse_axis("time=0,1y"), 2)
    model = run.chip_model(run.profile)
    cimsim.age(cimsim.program(model, seed=1), "1y")
    expected = evaluate(model, run.data.test_x, run.data.test_y)
    assert scores(swept)[31557600.0, 1] == tuple(expected)
    assert scores(swept)[0.0, 1] != scores(swept)[31557600.0, 1]


def test_cycles_write_the_same_chips_again(run: Run) -> None:
    (swept,) = sweep([run], parse_axis("cycle=0,2"), 2)
    model = run.chip_model(run.profile)
    for cycle in (0, 2):
        cimsim.program(model, seed=1, cycle=cycle)
        expected = evaluate(model, run.data.test_x, run.data.test_y)
        assert scores(swept)[cycle, 1] == tuple(expected)
    assert scores(swept)[0, 1] != scores(swept)[2, 1]
    again = read_sweep(sweep_folder(run.path, "cycle"))
    assert scores(again) == scores(swept)


def test_bits_change_the_converters(run: Run) -> None:
    (swept,) = sweep([run], parse_axis("adc.bits=ideal,2"), 2)
    mean = {level: sum(scores(swept)[level, chip][0] for chip in (0, 1)) for level in (None, 2)}
    assert mean[None] > mean[2]


def test_without_noise_all_chips_are_the_same(run: Run) -> None:
    (swept,) = sweep([run], parse_axis("noise=0,2"), 3)
    assert len({scores(swept)[0.0, chip] for chip in range(3)}) == 1
    assert len({scores(swept)[2.0, chip] for chip in range(3)}) == 3


def test_the_order_of_levels_does_not_change_a_cell(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    other = Run.open(shutil.copytree(trained, tmp_path / "other"))
    (forward,) = sweep([run], parse_axis("time=1s,1h,1y"), 2)
    (backward,) = sweep([other], parse_axis("time=1y,1h,1s"), 2)
    assert scores(forward) == scores(backward)


def test_finished_cells_are_not_evaluated_again(run: Run) -> None:
    calls: list[tuple[int, int]] = []

    def watch(done: int, total: int, doing: str) -> None:
        calls.append((done, total))

    sweep([run], parse_axis("noise=0,1"), 2, progress=watch)
    assert calls == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    calls.clear()
    (swept,) = sweep([run], parse_axis("noise=1,2"), 3, progress=watch)
    assert calls == [(2, 6), (3, 6), (4, 6), (5, 6), (6, 6)]
    assert [(cell.level, cell.chip) for cell in swept.trials] == [
        (level, chip) for level in (1.0, 2.0) for chip in range(3)
    ]


def test_what_operations_cost_changes_no_cell(run: Run) -> None:
    calls: list[tuple[int, int]] = []
    sweep([run], parse_axis("noise=0,1"), 2)
    run.profile = override_profile(run.profile, {"cost.node_nm": 7})
    sweep([run], parse_axis("noise=0,1"), 2, progress=lambda *call: calls.append(call[:2]))
    assert calls == [(4, 4)]


def test_an_interrupted_sweep_goes_on_to_the_same_table(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    def stop(done: int, total: int, doing: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    axis = parse_axis("noise=0,1,2")
    with pytest.raises(KeyboardInterrupt):
        sweep([run], axis, 2, progress=stop)
    assert len(read_sweep(sweep_folder(run.path, "noise")).trials) == 3
    (resumed,) = sweep([run], axis, 2)
    (straight,) = sweep([Run.open(shutil.copytree(trained, tmp_path / "x" / "run"))], axis, 2)
    assert resumed == straight
    tables = [folder / "sweeps/noise/results.csv" for folder in (run.path, tmp_path / "x" / "run")]
    assert tables[0].read_bytes() == tables[1].read_bytes()


def test_another_checkpoint_is_another_basis(run: Run) -> None:
    (before,) = sweep([run], parse_axis("noise=1"), 1)
    del run.checkpoint_sha256
    model = run.path / "model.safetensors"
    changed = bytearray(model.read_bytes())
    changed[-3] ^= 1
    model.write_bytes(changed)
    (run.path / "SHA256SUMS").unlink()  # as its owner removes it, who has changed the weights
    (after,) = sweep([run], parse_axis("noise=1"), 1)
    assert before.plan.basis != after.plan.basis
    lines = sweep_folder(run.path, "noise").joinpath("results.jsonl").read_text().splitlines()
    assert len(lines) == 2


def test_nothing_is_evaluated_if_any_level_is_refused(run: Run) -> None:
    with pytest.raises(CimsimError, match=r"adc\.bits=99"):
        sweep([run], parse_axis("adc.bits=8,99"), 1)
    assert not (run.path / "sweeps").exists()


def test_a_locked_run_stops_the_sweep_before_it_begins(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    axis = parse_axis("noise=1")
    (plan,) = (swept.plan for swept in sweep([run], axis, 1))
    other = Run.open(shutil.copytree(trained, tmp_path / "other"))
    with (
        FileStore(sweep_folder(run.path, "noise"), plan),
        pytest.raises(CimsimError, match="another `cimsim sweep`"),
    ):
        sweep([other, run], axis, 1)
    assert not sweep_folder(other.path, "noise").joinpath("sweep.json").exists()


def test_other_data_than_in_training_is_told(run: Run) -> None:
    result = json.loads((run.path / "result.json").read_text())
    (run.path / "SHA256SUMS").unlink()
    (run.path / "result.json").write_text(json.dumps({**result, "data_fingerprint": "0"}))
    with pytest.raises(CimsimError, match="trained on other digits data"):
        sweep([Run.open(run.path)], parse_axis("noise=1"), 1)


def test_no_chip_is_told(run: Run) -> None:
    with pytest.raises(CimsimError, match="at least 1 chip"):
        sweep([run], parse_axis("noise=1"), 0)


def test_cells_are_on_disk_before_the_next_begins(run: Run) -> None:
    seen: list[int] = []

    def watch(done: int, total: int, doing: str) -> None:
        if done:  # before the first result, the last sweep remains the last
            seen.append(len(read_sweep(sweep_folder(run.path, "noise")).trials))

    sweep([run], parse_axis("noise=0,1"), 2, progress=watch)
    assert seen == [1, 2, 3, 4]
    assert all(
        isinstance(cell, Trial) for cell in read_sweep(sweep_folder(run.path, "noise")).trials
    )


def test_layers_on_devices_of_their_own(run: Run) -> None:
    layers = {"hidden1": {"adc.bits": 4}, "classifier": {"digital": True}}
    (plain,) = sweep([run], parse_axis("noise=3"), 2)
    (swept,) = sweep([run], parse_axis("noise=3"), 2, layers=layers)
    model = run.chip_model(run.profile.scale_noise(3.0))
    own = load_profile("pcm-ibm-2020", ["adc.bits=4"]).scale_noise(3.0)
    model.hidden1.profile = own
    batches = calibration_batches(run.config, run.data, "cpu")
    cimsim.calibrate(model, batches, missing=True)
    model.classifier.digital = True
    cimsim.program(model, seed=1)
    expected = evaluate(model, run.data.test_x, run.data.test_y)
    assert scores(swept)[3.0, 1] == tuple(expected)
    assert swept.plan.profile == "pcm-ibm-2020 + digital"
    assert swept.plan.basis != plain.plan.basis
    (again,) = sweep([run], parse_axis("noise=3"), 2)
    assert again == plain  # the results of both lie beside each other


def test_only_what_changes_is_calibrated_anew(run: Run) -> None:
    before = run.chip_model()
    names = ["hidden1", "hidden2", "classifier"]
    changed = run.profiles.changed(names, {"hidden2": {"adc.bits": 5}})
    after = run.chip_model(changed)
    assert torch.equal(before.hidden1.adc_range, after.hidden1.adc_range)
    assert not torch.equal(before.hidden2.adc_range, after.hidden2.adc_range)


def test_the_basis_of_a_plain_sweep_is_what_it_always_was(run: Run) -> None:
    (swept,) = sweep([run], parse_axis("noise=1"), 1)
    facts = (
        run.checkpoint_sha256,
        fingerprint(run.profile),
        "noise",
        run.data.fingerprint,
        "cpu",
        computation.computed_by(),
        0.0,
    )
    assert swept.plan.basis == hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def test_a_plan_names_the_devices_that_are_not_those_of_training(run: Run) -> None:
    axis, own = parse_axis("noise=2"), load_profile("pcm-ibm-2020")
    other = own.model_copy(update={"name": "mine", "adc": own.adc.model_copy(update={"bits": 5})})
    layers = {"hidden1": {"profile": other}, "hidden2": {"adc.bits": 6}, "c*": {"digital": True}}
    (plain,) = sweep([run], axis, 1, profile=own)
    (swept,) = sweep([run], axis, 1, profile=other, layers=layers)
    assert (plain.plan.on, plain.plan.layers) == (None, ())
    assert swept.plan.on == "mine"
    assert swept.plan.layers == ("hidden1:profile=mine.yaml", "hidden2:adc.bits=6", "c*:digital")
    assert read_sweep(sweep_folder(run.path, "noise")).plan == swept.plan


def test_digital_is_of_the_same_samples(run: Run) -> None:
    ideal = load_profile("ideal")
    (few,) = sweep([run], parse_axis("noise=0"), 1, samples=7, profile=ideal)
    (cell,) = few.trials
    assert (few.plan.digital_scores["accuracy"] * 7) % 1 == pytest.approx(0.0)
    assert few.plan.digital_scores["accuracy"] == cell.scores["accuracy"]
    assert few.plan.digital_scores["loss"] == pytest.approx(cell.scores["loss"], rel=1e-5)
    (every,) = sweep([run], parse_axis("noise=0"), 1, profile=ideal)
    assert every.plan.digital_scores["accuracy"] == run.digital_accuracy
    assert few.plan.digital_scores["loss"] != every.plan.digital_scores["loss"]


def test_other_chips_and_fewer_samples(run: Run) -> None:
    (swept,) = sweep([run], parse_axis("noise=2"), 4)
    (late,) = sweep([run], parse_axis("noise=2"), 2, first_chip=2)
    assert late.trials == swept.trials[2:]
    (few,) = sweep([run], parse_axis("noise=2"), 1, samples=10)
    assert few.plan.basis != swept.plan.basis
    assert (few.trials[0].scores["accuracy"] * 10) % 1 == 0


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({"hidden1": {"adc.bits": 6}}, "layers 'hidden1': adc.bits is set, and adc.bits is swept"),
        ({"hiden1": {"digital": True}}, "unknown layer 'hiden1'; did you mean 'hidden1'"),
        ({"hidden1": {"rule": "C"}}, "rule belongs to training"),
        ({"hidden1": {"digitl": True}}, "did you mean 'digital'"),
        ({"*": {"digital": True}}, "every layer is digital"),
        ({"hidden1": {"profile": "sram-charge-jia-2020"}}, r"layer 'hidden1' on sram|adc\.bits=99"),
    ],
)
def test_layers_that_make_no_sense_with_the_axis_are_refused(
    run: Run, layers: dict[str, dict[str, Any]], message: str
) -> None:
    axis = "adc.bits=8,99" if "profile" in str(layers) else "adc.bits=8,6"
    with pytest.raises(CimsimError, match=message):
        sweep([run], parse_axis(axis), 1, layers=layers)
    assert not (run.path / "sweeps").exists()


def test_settings_of_a_layer_that_is_kept_digital_are_refused() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    model = cimsim.convert(net, "ideal", keep_digital="first")
    batch = torch.eye(4), torch.tensor([0, 1, 0, 1])
    for layer, message in (
        ("0", "layers: '0' matches only layers that are kept digital"),
        ("1", "layers: unknown layer '1'"),
    ):
        with pytest.raises(CimsimError, match=message):
            cimsim.sweep(model, [batch], over="noise=0", layers={layer: {"adc.bits": 4}})


class _Refusing(LocalEngine):
    """An engine that refuses what it is asked."""

    def scores(
        self, subjects: Sequence[Subject], tasks: Sequence[Task], device: torch.device
    ) -> Iterator[tuple[int, Scores]]:
        raise CimsimError("no workers")
        yield 0, {}


def test_a_refused_sweep_leaves_the_earlier_one_to_be_drawn(run: Run) -> None:
    (before,) = sweep([run], parse_axis("noise=0,3"), 2)
    for axis, chips in (("noise=0,5", 2), ("noise=0,3", 9)):
        with pytest.raises(CimsimError, match="no workers"):
            sweep([run], parse_axis(axis), chips, engine=_Refusing())
        assert read_sweep(sweep_folder(run.path, "noise")) == before
    (after,) = sweep([run], parse_axis("noise=3"), 1)
    assert read_sweep(sweep_folder(run.path, "noise")) == after


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("levels", []),
        ("levels", [[1]]),
        ("levels", ["x"]),
        ("levels", [-1.0]),
        ("levels", [1e999]),
        ("levels", 3),
        ("chips", 0),
        ("chips", "many"),
        ("chips", None),
        ("digital_accuracy", 3.0),
        ("digital_accuracy", "nan"),
        ("metric", "beauty"),
        ("age_s", -1),
        ("basis", 3),
        ("layers", 3),
        ("run", []),
    ],
)
def test_a_plan_with_a_field_that_no_sweep_has_is_damaged(
    run: Run, key: str, value: object
) -> None:
    sweep([run], parse_axis("noise=0"), 1)
    path = sweep_folder(run.path, "noise") / "sweep.json"
    plan = unsealed(json.loads(path.read_text()))
    path.write_text(json.dumps({**plan, key: value}))
    with pytest.raises(CimsimError, match=r"sweep\.json: is damaged; delete it"):
        read_sweep(path.parent)


def test_a_plan_of_a_thousand_million_chips_is_read_at_once(run: Run) -> None:
    sweep([run], parse_axis("noise=0"), 1)
    path = sweep_folder(run.path, "noise") / "sweep.json"
    plan = unsealed(json.loads(path.read_text()))
    path.write_text(json.dumps({**plan, "chips": 10**9}))
    found = read_sweep(path.parent)
    assert (len(found.trials), found.missing) == (1, 10**9 - 1)


def test_trials_from_before_a_change_of_the_computation_are_evaluated_again(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    axis = parse_axis("noise=0,1")
    monkeypatch.setattr(computation, "COMPUTATION", 0)
    (before,) = sweep([run], axis, 1)
    monkeypatch.setattr(computation, "COMPUTATION", 1)
    note = r"sweeps.noise: trials of cimsim \S+ are evaluated again, because \S+\+1 may compute"
    with pytest.warns(CimsimWarning, match=note):
        (after,) = sweep([run], axis, 1)
    assert after.plan.basis != before.plan.basis
    assert after.plan.cimsim == f"{cimsim.__version__}+1"
    (again,) = sweep([run], axis, 1)  # without a warning, which would be an error
    assert again == after
    lines = (sweep_folder(run.path, "noise") / "results.jsonl").read_text(encoding="utf-8")
    assert len(lines.splitlines()) == 4  # those from before are kept
