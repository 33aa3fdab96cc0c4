"""Data that cannot be learned from end in one sentence."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from cimsim.errors import CimsimError
from cimsim.training.data import load_data
from cimsim.training.data.own import reader

Make = Callable[[Path], str]
"""Writes data to a folder and returns their spec."""

X = np.arange(40.0).reshape(20, 2)
Y = np.arange(20) % 2


def table(text: str, settings: str = "") -> Make:
    def make(folder: Path) -> str:
        (folder / "t.csv").write_text(text, encoding="utf-8")
        return f"{folder / 't.csv'}{settings}"

    return make


def arrays(settings: str = "", **named: Any) -> Make:
    def make(folder: Path) -> str:
        np.savez(folder / "a.npz", **named)
        return f"{folder / 'a.npz'}{settings}"

    return make


def saved(value: Any) -> Make:
    def make(folder: Path) -> str:
        torch.save(value, folder / "a.pt")
        return str(folder / "a.pt")

    return make


def written(name: str, content: bytes) -> Make:
    def make(folder: Path) -> str:
        (folder / name).write_bytes(content)
        return str(folder / name)

    return make


def images(*names: str, settings: str = "", size: tuple[int, int] = (4, 4), **more: bytes) -> Make:
    """Gray images of these names; ``more`` are the contents of other files."""

    def make(folder: Path) -> str:
        for number, name in enumerate(names):
            file = folder / "photos" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", size, 10 * number).save(file)
        for name, content in more.items():
            (folder / "photos" / "cat" / name).with_suffix(".png").write_bytes(content)
        return f"{folder / 'photos'}{settings}"

    return make


def animated(folder: Path) -> str:
    spec = images("cat/1.png", "dog/1.png")(folder)
    frames = [Image.new("L", (4, 4), level) for level in (0, 99)]
    frames[0].save(folder / "photos" / "cat" / "2.gif", save_all=True, append_images=frames[1:])
    return spec


def sizes(folder: Path) -> str:
    spec = images("cat/1.png", "dog/1.png")(folder)
    Image.new("L", (5, 4)).save(folder / "photos" / "dog" / "2.png")
    return spec


def looping(folder: Path) -> str:
    """Links that lead to themselves are neither folders nor images."""
    (folder / "photos" / "cat").mkdir(parents=True)
    os.symlink(folder / "photos" / "loop", folder / "photos" / "loop")
    os.symlink(folder / "photos" / "cat" / "1.png", folder / "photos" / "cat" / "1.png")
    return str(folder / "photos")


def piped(folder: Path) -> str:
    spec = images("cat/1.png", "dog/1.png")(folder)
    os.mkfifo(folder / "photos" / "cat" / "2.png")
    return spec


def empty(folder: Path) -> str:
    (folder / "photos").mkdir()
    return str(folder / "photos")


def bomb(folder: Path) -> str:
    """A file of a few bytes that says that it unpacks to more than fits into memory."""
    with zipfile.ZipFile(folder / "a.npz", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("x.npy", bytes(1000))
    return str(folder / "a.npz")


class Code:
    """Ends the process when it is unpickled."""

    def __reduce__(self) -> Any:
        return (os._exit, (3,))


RAGGED = np.array([np.zeros(1), np.zeros(2)], dtype=object)
BROKEN: dict[str, tuple[Make, str]] = {
    # folders of images
    "no such folder": (lambda folder: f"{folder}/nothing", "no such file or folder of data"),
    "an empty folder": (empty, "has no images in folders of classes"),
    "images without classes": (images("1.png"), "has images, but no classes"),
    "one class": (images("cat/1.png", "cat/2.png"), "all training samples are of one class, 'cat'"),
    "a class in the test only": (
        images("train/a/1.png", "train/b/1.png", "test/a/1.png", "test/c/1.png"),
        "test samples have classes without training samples: c",
    ),
    "a class without images": (
        images("a/1.png", "b/1.png", "train/1.png", "c/notes.png.gz/1.png"),
        "has classes without images: c",
    ),
    "a damaged image": (
        images("cat/1.png", "dog/1.png", cut=b"\x89PNG\r\n"),
        "cut.png cannot be read as an image: it is damaged, or not an image",
    ),
    "an animation": (animated, "2.gif has 2 frames"),
    "images of two sizes": (sizes, "2.png has 4x5 pixels, but .* has 4x4; resize all images"),
    "links in a circle": (looping, "cannot read .*1.png: "),
    "a pipe": (piped, "2.png: it is not a regular file"),
    "an unknown setting": (
        images("a/1.png", "b/1.png", settings=":sise=3"),
        "unknown setting 'sise'.*size",
    ),
    "a size that is none": (images("a/1.png", settings=":size=big"), "size: .*got 'big'"),
    "two images": (images("a/1.png", "b/1.png"), "2 samples are too few to set a test part aside"),
    # tables
    "an empty table": (table(""), "t.csv is empty"),
    "a header alone": (table("a,b\n"), "there are no rows below the header"),
    "one column": (table("a\n1\n2\n"), "no column besides the label"),
    "NaN": (table("a,b\n1,0\nnan,1\n"), "line 3, column 'a': nan is not a finite number"),
    "an empty cell": (table("a,b\n1,0\n,1\n"), "line 3, column 'a': the cell is empty"),
    "text in a column of numbers": (
        table("a,b\n1,0\nred,1\n"),
        "line 3, column 'a': 'red' is not a number; drop the column",
    ),
    "no label": (table("a,b\n1,0\n2,\n"), "line 3, column 'b': there is no label"),
    "rows of different lengths": (table("a,b\n1,0\n1,2,3\n"), "line 3 has 3 cells, but others 2"),
    "an unknown column": (table("a,bc\n1,0\n", ":label=bd"), "column 'bd'.*bc"),
    "a label that is not the last column": (
        table("label,a,b\n1,0,3\n0,1,4\n"),
        "last column, 'b', is the label by default, but there is a column 'label'; choose one",
    ),
    "numbered columns of pandas": (
        table("0,1,2\n5,6,0\n7,8,1\n"),
        "the first row is 0,1,2,…, as pandas names columns; write :header=yes if these are names",
    ),
    "row numbers and numbered columns of pandas": (
        table(",0,1\n0,6,0\n1,8,1\n"),
        "the first row is ,0,1,…, as pandas names columns",
    ),
    "row numbers that no setting names": (
        table(",0,1\n0,6,0\n1,8,1\n", ":header=yes"),
        "column 1 has no name, as the numbers of rows that pandas writes unless index=False; name",
    ),
    "row numbers of pandas": (
        table(",a,label\n0,1,0\n1,2,1\n"),
        "column 1 has no name, .* leave it out with :drop=1, or name it",
    ),
    "a number that is too large": (
        table("a,b\n1e300,0\n-1e300,1\n" + "1,0\n2,1\n" * 9),
        "some inputs are too large: they do not fit float32",
    ),
    "a target that is too large": (
        arrays(x=X, y=np.where(X[:, 0] == 4, 1e300, 0.5)),
        "some targets are too large: they do not fit float32",
    ),
    "a name twice": (table("a,a,b\n1,1,0\n", ":label=a"), "2 columns 'a'; use a number"),
    "a label that is dropped": (table("a,b\n1,0\n", ":drop=b"), "both the label and dropped"),
    "an unclosed quote": (table('a,b\n"1,0\n'), "is not a readable table"),
    "a table in Latin-1": (written("t.csv", b"a,b\n\xe9,1\n"), "is not text in UTF-8"),
    "text as numbers": (
        table("a,b\n1,x\n2,y\n", ":task=regression"),
        "the labels are text, which are classes",
    ),
    "a share of all": (table("a,b\n1,0\n", ":test=1"), "test: .*less than 1"),
    "two samples": (table("a,b\n1,0\n2,1\n"), "2 samples are too few to set a test part aside"),
    # arrays
    "objects": (arrays(x=RAGGED, y=[0, 1]), "contains Python objects, which can run code"),
    "other names": (arrays(a=X, y=Y), "no array 'x' among a, y; expected x and y"),
    "lengths that differ": (arrays(x=X, y=Y[:5]), "there are 20 inputs, but 5 labels"),
    "no samples": (arrays(x=X[:0], y=Y[:0]), "there are no training samples"),
    "one axis": (arrays(x=Y, y=Y), "inputs must be vectors"),
    "complex inputs": (arrays(x=X * 1j, y=Y), "inputs must be numbers, not complex128"),
    "a single number": (arrays(x=X, y=3), "the array 'y' is a single number"),
    "infinity": (arrays(x=np.where(X == 4, np.inf, X), y=Y), "inputs are NaN or infinite"),
    "a label of NaN": (arrays(x=X, y=X[:, 0] * np.nan), "20 labels are NaN or infinite"),
    "equal inputs": (arrays(x=np.ones((20, 2)), y=Y), "all training inputs are equal"),
    "equal targets": (arrays(x=X, y=np.full(20, 0.5)), "target 0 is 0.5 in all training samples"),
    "several labels": (
        arrays(":task=classification", x=X, y=np.eye(20, dtype=int)),
        "classes must be one label for each sample",
    ),
    "fractions as classes": (
        arrays(":task=classification", x=X, y=X[:, 0] / 3),
        "classes must be whole numbers or text",
    ),
    "other shapes to test on": (
        arrays(train_x=X, train_y=Y, test_x=X[:, :1], test_y=Y),
        r"training samples have the shape \[2\], but test samples \[1\]",
    ),
    "a damaged .npz": (written("a.npz", b"PK\3\4 nothing"), "is not a readable .npz file"),
    "arrays that are too large": (bomb, "is larger than 0 GiB"),
    "a single array": (written("a.npy", b""), "is not data of a known kind"),
    "code in a .pt": (saved({"x": Code()}), "Python objects other than tensors, which can run"),
    "a .pt of one tensor": (saved(torch.ones(3)), "must contain a dictionary of tensors"),
    "a damaged .pt": (written("a.pt", b"PK\3\4"), "is not a readable .pt file"),
    "a damaged .safetensors": (
        written("a.safetensors", b"12345678"),
        "not a readable .safetensors",
    ),
    # text
    "an empty text": (written("a.txt", b" \n"), "a.txt is empty"),
    "a short text": (written("a.txt", b"To be or not"), "must have at least 660 characters"),
    "text that is none": (written("a.txt", b"\xff" * 900), "is not text in UTF-8"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_one_sentence(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, message = BROKEN[kind]
    if kind == "arrays that are too large":
        monkeypatch.setattr("cimsim.training.data.own.arrays.LARGEST", 100)
        monkeypatch.setattr(reader, "LARGEST", 1000)
    spec = make(tmp_path)
    with pytest.raises(CimsimError, match=message) as error:
        load_data(spec)
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    spec = images("a/1.png", "b/1.png")(tmp_path)
    (tmp_path / "photos").chmod(0)
    with pytest.raises(CimsimError, match=r"cannot (read|list)"):
        load_data(spec)
    (tmp_path / "photos").chmod(0o700)


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "LARGEST", 10)
    with pytest.raises(CimsimError, match=r"is larger than 0 GiB, and data are loaded into memory"):
        load_data(table("a,b\n1,2\n3,4\n")(tmp_path))


FUNCTIONS = {
    "failing": r"own_data.py:\d+: ZeroDivisionError",
    "nothing": "must return .train, test. or a cimsim.training.data.DataSet, not int",
    "uneven": "the inputs have different shapes",
    "absent": "has no function 'absent'",
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_that_returns_no_data(name: str) -> None:
    with pytest.raises(CimsimError, match=FUNCTIONS[name]):
        load_data(f"tests.training.own_data:{name}")


def test_names_that_are_misspelled() -> None:
    with pytest.raises(CimsimError, match=r"unknown data set 'digit'.*digits"):
        load_data("digit")
    with pytest.raises(CimsimError, match=r"data 'no_such_module:data': no module"):
        load_data("no_such_module:data")


def test_a_safetensors_file_of_another_kind(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(3)}, tmp_path / "model.safetensors")
    with pytest.raises(CimsimError, match=r"no array 'x' among weight"):
        load_data(str(tmp_path / "model.safetensors"))


def test_a_hugging_face_folder_without_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train"]}')
    monkeypatch.setattr("cimsim.training.data.own.hugging_face.find_spec", lambda name: None)
    with pytest.raises(CimsimError, match=r"needs the library datasets; install it with pip"):
        load_data(str(tmp_path))
