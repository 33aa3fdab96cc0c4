"""Own data are read as they are, and models learn from them as well as others' do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_diabetes, load_wine
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import (
    f1_score,
    mean_absolute_error,
    r2_score,
    recall_score,
    root_mean_squared_error,
    top_k_accuracy_score,
)

from cimsim.errors import CimsimError
from cimsim.nn import digital
from cimsim.nn.tallies import ClassTally, TargetTally
from cimsim.runs import open_run
from cimsim.training.config import make_config
from cimsim.training.data import DATASETS, DataSet, catalog, load_data
from cimsim.training.data.dataset import Images, normalized
from cimsim.training.data.digits import read_digits
from cimsim.training.data.own.image_folder import read_image
from cimsim.training.fit import fit
from cimsim.training.run import Run

FEW = 200  # images of each part


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first digits as PNG files."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    for part, images in zip(("train", "test"), read_digits(), strict=True):
        few = zip(images.pixels[:FEW], images.labels[:FEW], strict=True)
        for number, (pixels, label) in enumerate(few):
            file = folder / part / str(label) / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[0]).save(file)
    return folder


@pytest.fixture
def wine_csv(tmp_path: Path) -> Path:
    data = load_wine()
    rows = [",".join([*data.feature_names, "cultivar"])]
    for x, y in zip(data.data, data.target, strict=True):
        rows.append(",".join([*map(str, x), str(data.target_names[y])]))
    (tmp_path / "wine.csv").write_text("\n".join(rows), encoding="utf-8")
    return tmp_path / "wine.csv"


def trained(spec: Any, out: Path, **settings: Any) -> Run:
    usual = {"profile": "pcm-ibm-2020", "batch_size": 32, "epochs": 10}
    return fit(make_config(**{**usual, **settings, "data": str(spec)}), out)


def rows_of(x: torch.Tensor, y: torch.Tensor) -> list[tuple[float, ...]]:
    return sorted(map(tuple, torch.cat([x.flatten(1), y[:, None].float()], 1).tolist()))


def test_every_shipped_name_has_a_reader() -> None:
    assert set(DATASETS) == {*catalog._READERS, *catalog._TEXTS}


def test_a_folder_of_digits_is_digits(photos: Path, tmp_path: Path) -> None:
    train, test = (Images(each.pixels[:FEW], each.labels[:FEW]) for each in read_digits())
    own, shipped = load_data(str(photos)), normalized("digits", train, test, 10)
    assert own.labels == tuple("0123456789")
    for part in ("train", "test"):
        ours, theirs = (
            rows_of(getattr(data, f"{part}_x"), getattr(data, f"{part}_y"))
            for data in (own, shipped)
        )
        assert ours == theirs
    # Shuffled, since files are sorted by class, and --limit takes the first.
    assert len(own.train_y[:100].unique()) == 10
    run = trained(photos, tmp_path / "run", epochs=8)
    assert run.scores("chip")["accuracy"] > 0.6
    assert run.scores("chip")["top5"] > run.scores("chip")["accuracy"]


def test_arrays_of_a_shipped_data_set_give_the_same_run(tmp_path: Path) -> None:
    train, test = read_digits()
    np.savez(
        tmp_path / "digits.npz",
        x_train=train.pixels[:, 0],
        y_train=train.labels,
        x_test=test.pixels[:, 0],
        y_test=test.labels,
    )
    few = {"epochs": 1, "limit": 200, "calibration_batches": 2}
    own = trained(tmp_path / "digits.npz", tmp_path / "own", **few)
    shipped = trained("digits", tmp_path / "shipped", **few)
    assert own.checkpoint_sha256 == shipped.checkpoint_sha256
    assert own.result["data_fingerprint"] == shipped.result["data_fingerprint"]
    assert own.scores("chip")["accuracy"] == shipped.scores("chip")["accuracy"]


def test_a_table_is_learned_as_well_as_by_scikit_learn(wine_csv: Path, tmp_path: Path) -> None:
    data = load_data(str(wine_csv))
    assert data.labels == ("class_0", "class_1", "class_2")
    assert torch.allclose(data.train_x.mean(0), torch.zeros(13), atol=1e-5)
    theirs = LogisticRegression().fit(data.train_x.numpy(), data.train_y.numpy())
    reached = theirs.score(data.test_x.numpy(), data.test_y.numpy())
    run = trained(wine_csv, tmp_path / "run")
    assert run.scores("digital")["accuracy"] == pytest.approx(reached, abs=0.06)
    assert run.scores("chip")["accuracy"] > 0.9
    assert open_run(run.path).metric == "accuracy"
    assert len(data.test_y) == 36  # a fifth


def test_numbers_are_learned_as_well_as_by_scikit_learn(tmp_path: Path) -> None:
    x, y = load_diabetes(return_X_y=True)
    np.savez(tmp_path / "diabetes.npz", x=x, y=y)
    data = load_data(str(tmp_path / "diabetes.npz"))
    assert data.target_mean is not None
    assert data.target_scale is not None
    theirs = Ridge().fit(data.train_x.numpy(), data.train_y.numpy())
    reached = r2_score(data.test_y.numpy(), theirs.predict(data.test_x.numpy()))
    run = trained(tmp_path / "diabetes.npz", tmp_path / "run")
    assert run.scores("digital")["r2"] == pytest.approx(reached, abs=0.08)
    subject = open_run(run.path)
    assert subject.metric == "rmse"
    # The same numbers as scikit-learn's, in the units of the file.
    model = run.chip_model()
    with torch.no_grad(), digital(model):
        outputs = (model(data.test_x).double() * data.target_scale + data.target_mean).numpy()
    targets = (data.test_y.double() * data.target_scale + data.target_mean).numpy()
    assert set(targets[:, 0].round(3)) <= set(y)
    scores = run.scores("digital")
    assert scores["rmse"] == pytest.approx(root_mean_squared_error(targets, outputs), rel=1e-4)
    assert scores["mae"] == pytest.approx(mean_absolute_error(targets, outputs), rel=1e-4)
    assert scores["r2"] == pytest.approx(r2_score(targets, outputs), rel=1e-4)


def test_scores_are_those_of_scikit_learn() -> None:
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(400, 8, generator=rng)
    labels = (torch.rand(400, generator=rng) ** 3 * 7).long()  # uneven; no label is the last class
    assert len(labels.unique()) == 7
    logits[torch.arange(400), labels] += 1.5
    tally = ClassTally(per_class=True)
    for part in range(0, 400, 150):
        tally.add(logits[part : part + 150], labels[part : part + 150])
    scores, guess = tally.scores(), logits.argmax(1)
    assert scores["f1"] == pytest.approx(f1_score(labels, guess, average="macro"))
    assert scores["balanced_accuracy"] == pytest.approx(
        recall_score(labels, guess, average="macro", labels=range(7))
    )
    top = top_k_accuracy_score(labels, logits.numpy(), k=5, labels=range(8))
    assert scores["top5"] == pytest.approx(top)


@pytest.mark.parametrize("same", [False, True])
def test_errors_are_those_of_scikit_learn(same: bool) -> None:
    rng = torch.Generator().manual_seed(1)
    y, outputs = (torch.randn(50, 3, generator=rng) for _ in range(2))
    if same:
        y[:, 0] = 0.5
    scale = torch.tensor([1.0, 10.0, 100.0])
    tally = TargetTally(scale)
    tally.add(outputs[:20], y[:20])
    tally.add(outputs[20:], y[20:])
    scores, (theirs, ours) = tally.scores(), ((t * scale).numpy() for t in (y, outputs))
    assert scores["r2"] == pytest.approx(r2_score(theirs, ours), rel=1e-5)
    assert scores["mae"] == pytest.approx(mean_absolute_error(theirs, ours), rel=1e-5)
    assert scores["rmse"] == pytest.approx(float(np.sqrt(np.mean((theirs - ours) ** 2))), rel=1e-5)
    with pytest.raises(CimsimError, match=r"returns \[50, 3\] for targets \[50, 2\]"):
        tally.add(outputs, y[:, :2])


KINDS = [torch.float64, torch.float16, torch.bfloat16, torch.uint8, torch.bool, torch.int64]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_kind_of_number_is_an_input(kind: torch.dtype, tmp_path: Path) -> None:
    x = torch.arange(40).view(20, 2) % 7 % 2
    torch.save((x.to(kind), torch.arange(20) % 2), tmp_path / "a.pt")
    save_file({"x": x.to(kind), "y": torch.arange(20) % 2}, tmp_path / "a.safetensors")
    pair, named = (load_data(str(tmp_path / f"a.{end}")) for end in ("pt", "safetensors"))
    assert pair.train_x.dtype == torch.float32
    assert pair.input_shape == (2,)
    assert torch.equal(pair.train_x, named.train_x)
    assert pair.fingerprint == named.fingerprint


LABELS = {
    "text": (["b", "a"] * 10, "classification", ("a", "b")),
    "from 1": (list(range(1, 5)) * 5, "classification", ("1", "2", "3", "4")),
    "from 0": ([0, 1] * 10, "classification", ()),
    "truth": ([True, False] * 10, "classification", ("False", "True")),
    "fractions": ([0.5 * n for n in range(20)], "regression", ()),
    "many whole numbers": ([n * n + 30 for n in range(40)], "regression", ()),
    "many classes": (list(range(30)) * 2, "classification", ()),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_every_kind(kind: str, tmp_path: Path) -> None:
    y, task, names = LABELS[kind]
    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).normal(size=(len(y), 3)), y=y)
    data = load_data(str(tmp_path / "a.npz"))
    assert data.task.name == task
    assert data.labels == names
    assert data.classes == (len(set(y)) if task == "classification" else 1)
    assert len(data.train_y) + len(data.test_y) == len(y)


TABLES = {
    "a header": "size,color\n1.5,red\n2.5,blue\n1.6,red\n2.6,blue\n",
    "no header": "1.5,red\n2.5,blue\n1.6,red\n2.6,blue\n",
    "semicolons": "size;color\n1.5;red\n2.5;blue\n1.6;red\n2.6;blue\n",
    "tabs and a mark": "\ufeffsize\tcolor\r\n1.5\tred\r\n2.5\tblue\r\n1.6\tred\r\n2.6\tblue\r\n",
    "quotes and blanks": '"size", "color"\n\n1.5, red\n2.5, blue\n1.6, red\n2.6,blue\n\n',
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_of_every_kind(kind: str, tmp_path: Path) -> None:
    (tmp_path / "größe.csv").write_text(TABLES[kind], encoding="utf-8", newline="")
    data = load_data(f"{tmp_path / 'größe.csv'}:test=0.5")
    assert data.labels == ("blue", "red")
    assert (len(data.train_x), len(data.test_x)) == (2, 2)
    assert data.name == "größe"


def test_columns_are_chosen(tmp_path: Path) -> None:
    rows = "".join(f"n{i},{i % 2},{i},{i * i}\n" for i in range(20))
    (tmp_path / "t.csv").write_text(f"name,odd,a,b\n{rows}")
    data = load_data(f"{tmp_path / 't.csv'}:label=odd,drop=name,test=0.25,seed=3")
    assert data.input_shape == (2,)
    assert len(data.test_x) == 4  # two of each ten
    other = load_data(f"{tmp_path / 't.csv'}:label=odd,drop=name,test=0.25,seed=4")
    assert other.fingerprint != data.fingerprint


def image_of(mode: str) -> Image.Image:
    gray = np.arange(0, 256, 16, dtype=np.uint8).reshape(4, 4)
    if mode == "I;16":
        return Image.fromarray(gray.astype(np.uint16) * 257)
    return Image.fromarray(gray).convert(mode)


@pytest.mark.parametrize("mode", ["L", "LA", "I;16", "RGB", "RGBA", "P", "1"])
def test_images_of_every_mode(mode: str, tmp_path: Path) -> None:
    image_of(mode).save(tmp_path / "1.png")
    pixels = read_image(tmp_path / "1.png")
    assert pixels.shape == ((3, 4, 4) if mode in ("RGB", "RGBA", "P") else (1, 4, 4))
    if mode != "1":
        deep = 257 if mode == "I;16" else 1
        assert (pixels == deep * np.arange(0, 256, 16).reshape(1, 4, 4)).all()
    assert read_image(tmp_path / "1.png", "2x3", "gray").shape == (1, 2, 3)
    assert read_image(tmp_path / "1.png", color="rgb").shape == (3, 4, 4)


@pytest.mark.parametrize("bits", [12, 16])
def test_images_keep_levels_of_more_than_8_bits(bits: int, tmp_path: Path) -> None:
    generator = np.random.default_rng(bits)
    levels = generator.integers(0, 2**bits, (8, 4, 4), dtype=np.uint16)
    levels[::2] %= 200  # dark images, whose levels would fit into 8 bits
    for number, of_image in enumerate(levels):
        file = tmp_path / ("dark", "light")[number % 2] / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(of_image).save(file)
    data = load_data(f"{tmp_path}:test=0.5")
    x = torch.cat([data.train_x, data.test_x]).flatten().double()
    expected = torch.from_numpy(levels.astype(np.float64)).flatten()
    # The standardized levels are a line of the levels in the files.
    x, expected = (v.sort().values for v in (x, expected))
    correlation = torch.corrcoef(torch.stack([x, expected]))[0, 1]
    assert correlation > 1 - 1e-9


def test_training_and_test_images_of_different_types_are_an_error(tmp_path: Path) -> None:
    levels = np.arange(4 * 2 * 2).reshape(4, 1, 2, 2)
    parts = {"train_x": levels.astype(np.uint8), "test_x": levels.astype(np.float32)}
    np.savez(tmp_path / "a.npz", **parts, train_y=[0, 1, 0, 1], test_y=[0, 1, 0, 1])
    with pytest.raises(CimsimError, match="training images are uint8, but test images are not"):
        load_data(str(tmp_path / "a.npz"))


def test_images_of_different_depths_are_an_error(tmp_path: Path) -> None:
    for number, mode in enumerate(("L", "I;16")):
        file = tmp_path / "class" / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        image_of(mode).save(file)
    with pytest.raises(CimsimError, match=r"1\.png has more than 8 bits for each level, but .*0"):
        load_data(str(tmp_path))


def test_images_of_one_pixel_train_a_network_without_convolutions(tmp_path: Path) -> None:
    for label in ("dark", "light"):
        for number in range(10):
            file = tmp_path / "photos" / label / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (1, 1), (label == "light") * 200 + number).save(file)
    run = trained(tmp_path / "photos", tmp_path / "run", epochs=20)
    assert run.scores("chip")["accuracy"] == 1.0
    with pytest.raises(CimsimError, match=r"'cnn' needs images of at least 7x7 pixels, got 1x1"):
        trained(tmp_path / "photos", tmp_path / "other", model="cnn")


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("cnn", "'cnn' is for images, but the data are vectors; choose --model mlp"),
        ("gpt", "'gpt' is for text, but the data are vectors"),
    ],
)
def test_models_that_do_not_fit(model: str, sentence: str, wine_csv: Path, tmp_path: Path) -> None:
    with pytest.raises(CimsimError, match=sentence):
        trained(wine_csv, tmp_path / "run", model=model)
    with pytest.raises(
        CimsimError, match=r"objective 'mse' is for regression, but the data 'wine'"
    ):
        trained(wine_csv, tmp_path / "run", objective=("mse",))


@pytest.mark.parametrize("unit", ["character", "word"])
def test_a_text_is_learned_and_continued(
    unit: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from cimsim.cli import main

    line = "the cat sat on the mat and the dog lay on the rug\n"
    (tmp_path / "book.txt").write_text(line * 60)
    few = {"model": "lstm", "epochs": 1, "limit": 8, "profile": "ideal"}
    run = trained(f"{tmp_path / 'book.txt'}:unit={unit}", tmp_path / "run", **few)
    assert run.data.token == unit
    assert open_run(run.path).metric == "perplexity"
    with pytest.raises(SystemExit) as end:
        main(["generate", str(run.path), "--length", "5"])
    assert end.value.code == 0
    assert len(capsys.readouterr().out.strip()) > 5


def test_functions_return_data(tmp_path: Path) -> None:
    wine = load_data("tests.training.own_data:wine")
    assert (wine.input_shape, wine.classes, len(wine.test_x)) == ((13,), 3, 89)
    made = load_data("tests.training.own_data:made")
    assert isinstance(made, DataSet)
    assert len(made.fingerprint) == 64
    run = trained("tests.training.own_data:wine", tmp_path / "run", epochs=2)
    with pytest.raises(CimsimError, match=r"names the data '.*:wine'.*--trust"):
        _ = Run.open(run.path).data
    assert open_run(run.path, trust=True).digital_scores()["accuracy"] > 0.8


def test_data_may_move_but_not_change(wine_csv: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    run = trained("wine.csv:label=cultivar", tmp_path / "run", epochs=1)
    assert run.config.data == f"{wine_csv}:label=cultivar"
    monkeypatch.chdir(tmp_path.parent)
    before = open_run(run.path).digital_scores(20)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    os.rename(wine_csv, moved / "wine.csv")
    with pytest.raises(CimsimError, match=r"no such file or folder of data: .*--data-dir"):
        open_run(run.path).digital_scores(20)
    assert open_run(run.path, data_dir=moved).digital_scores(20) == before
    text = (moved / "wine.csv").read_text().splitlines()
    (moved / "wine.csv").write_text("\n".join(text[:-1]))
    with pytest.raises(CimsimError, match=r"was trained on other wine data"):
        open_run(run.path, data_dir=moved).digital_scores(20)
