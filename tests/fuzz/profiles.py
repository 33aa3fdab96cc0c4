"""Damaged profiles, and everything that an accepted one must go through."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

import cimsim
from cimsim.analysis.cost import cost_of
from cimsim.cli import main
from cimsim.physics.characteristics import characteristics
from cimsim.profile import (
    Profile,
    ProfileError,
    dump_profile,
    load_profile,
    profile_names,
    profile_path,
)
from cimsim.profile.yaml_tree import parse
from tests.building import ADC_ERRORS, SOURCE, device
from tests.fuzz.judging import Unacceptable, refuse_unprintable
from tests.fuzz.values import (
    NUMBERS,
    YAML_FEATURES,
    Tree,
    anything,
    at,
    damage,
    mutate,
    number,
    places,
    scaled,
    text,
    written,
)
from tests.physics.kinds import KINDS, Family

FILE = "case.yaml"
_RANGES = (
    {"kind": "mse"},
    {"kind": "max"},
    {"kind": "percentile", "percentile": 99.0, "source": SOURCE},
    {"kind": "k-sigma", "k": 3.0, "source": SOURCE},
    {"kind": "fixed", "full_scale": 4.0, "source": SOURCE},
    {"kind": "learned"},
)


@cache
def _shipped() -> tuple[str, ...]:
    return tuple(profile_path(name).read_text(encoding="utf-8") for name in profile_names())


@cache
def _trees() -> tuple[str, ...]:
    """Every shipped profile, and one made up for every kind of effect, as JSON."""
    trees = []
    for source in _shipped():
        root, _ = parse(source, "")
        assert root is not None
        trees.append(json.dumps(root.plain()))
    for family, effects in KINDS.items():
        trees += [_made_up(family, effect) for effect in effects]
    for error in ADC_ERRORS:
        made = json.loads(device(dac=6, adc=6, adc_noise=0.01).model_dump_json())
        made["adc"]["errors"] = [{"source": SOURCE, **error}]
        trees.append(json.dumps(made))
    for which in _RANGES:
        made = json.loads(device(dac=6, adc=6).model_dump_json())
        made["adc"]["range"] = made["dac"]["range"] = which
        trees.append(json.dumps(made))
    return tuple(trees)


def _made_up(family: Family, effect: dict[str, Any]) -> str:
    held: Any = {"source": SOURCE, **effect}
    made = json.loads(device(dac=8, adc=8, rows=5, columns=3).model_dump_json())
    made["cell"][family.field] = held if family.field == "iv" else [held]
    return json.dumps(made)


@cache
def _pool() -> tuple[str, ...]:
    parts = set()
    for tree in _trees():
        whole = json.loads(tree)
        parts |= {json.dumps(at(whole, place)) for place in places(whole)}
    return tuple(sorted(part for part in parts if len(part) < 3000))


def write_case(rng: random.Random, folder: Path) -> str:
    """Put a damaged profile into ``folder`` as `FILE`; returns what was done to it."""
    name, way = rng.choice(_WAYS)
    way(rng, folder)
    return name


def check_case(rng: random.Random, folder: Path) -> str:
    """Use the profile in ``folder`` in every way.

    Raises:
        CimsimError: it is refused.
        Unacceptable: it is refused without its place, or gives what is not finite.
    """
    overrides = _overrides(rng) if rng.random() < 0.15 else []
    try:
        profile = load_profile(folder / FILE, overrides)
    except ProfileError as error:
        for issue in error.issues:
            unreadable = str(folder / FILE) == issue.file and "cannot read" in issue.message
            if issue.line == 0 and not unreadable and "=" not in issue.file:
                raise Unacceptable(f"no place: {str(issue)[:300]}") from None
        raise
    _shown(folder, profile)
    compute(profile, rng)
    return profile.name


def compute(profile: Profile, rng: random.Random) -> None:
    """Train and evaluate a layer on the device ``profile``.

    Raises:
        Unacceptable: if something of it is not finite.
    """
    torch.manual_seed(rng.randrange(100))
    inputs = torch.randn(6, 7)
    made = cimsim.convert(nn.Sequential(nn.Linear(7, 4), nn.ReLU(), nn.Linear(4, 3)), profile)
    model = cimsim.calibrate(made, [inputs])
    for age in (0.0, rng.choice((1e-6, 1.0, 3600.0, 3.2e7, 3.2e8))):
        cimsim.age(model, age)
        model.train()
        x = inputs.clone().requires_grad_()
        found = model(x)
        found.square().mean().backward()
        _finite("training output", found)
        _finite("gradient of the input", x.grad)
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                _finite(f"gradient of {name}", parameter.grad)
        model.zero_grad()
    model.eval()
    cimsim.program(model, rng.randrange(1000))
    for age in (0.0, 3600.0, 3.2e8):
        cimsim.age(model, age)
        _finite(f"evaluation output at {age:g} s", model(inputs))
    low, high = profile.cell.g_min_uS, profile.cell.g_max_uS
    for row in characteristics(profile, [low, (low + high) / 2, high], [0.0, 3600.0, 3.2e8]):
        for name, value in row._asdict().items():
            if value is not None and not math.isfinite(value):
                raise Unacceptable(f"{name} is {value} at {row.g_uS} µS, {row.t_s} s")
    cost = cost_of(model, inputs[:1])
    cost.sheet(), cost.rates()
    for row in cost.rows():
        for value in row:
            if isinstance(value, float) and not math.isfinite(value):
                raise Unacceptable(f"a cost is {value}: {row}")
    for name, value in cost.derived().items():
        if isinstance(value, float) and not math.isfinite(value):
            raise Unacceptable(f"a cost is {value}: {name}")


def _finite(what: str, tensor: torch.Tensor | None) -> None:
    if tensor is None or not tensor.isfinite().all():
        raise Unacceptable(f"{what} is not finite: {str(tensor)[:200]}")


def _shown(folder: Path, profile: Profile) -> None:
    """Print it, write it and read it again."""
    again = folder / "again.yaml"
    again.write_text(dump_profile(profile), encoding="utf-8")
    if load_profile(again) != profile:
        raise Unacceptable("it reads otherwise than it was written")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            main(["profiles", "show", str(folder / FILE)])
        except SystemExit as end:
            if end.code not in (0, 2):
                raise Unacceptable(f"`profiles show` ended with {end.code}") from None
    refuse_unprintable(printed.getvalue())
    profile._repr_html_()


def _overrides(rng: random.Random) -> list[str]:
    tree = json.loads(rng.choice(_trees()))
    everywhere = [place for place in places(tree) if place]
    chosen = [".".join(map(str, rng.choice(everywhere))) for _ in range(rng.choice((1, 1, 3)))]
    odd = (number, text, anything)
    return [
        f"{text(rng)[:300] if rng.random() < 0.1 else key}={written(rng.choice(odd)(rng))}"
        for key in chosen
    ]


def _as_tree(rng: random.Random, folder: Path) -> None:
    tree: Tree = json.loads(rng.choice(_trees()))
    pool = [json.loads(part) for part in rng.sample(_pool(), 8)]
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        tree = mutate(rng, tree, pool)
    _write(folder / FILE, written(tree))


def _with_numbers(rng: random.Random, folder: Path) -> None:
    """Only numbers change, so that many are accepted."""
    tree = json.loads(rng.choice(_trees()))
    everywhere = [
        place
        for place in places(tree)
        if place[:1]
        in (("cell",), ("array",), ("dac",), ("adc",), ("wires",), ("cost",), ("temperature_C",))
        and isinstance(at(tree, place), (int, float))
        and not isinstance(at(tree, place), bool)
    ]
    for place in rng.sample(everywhere, min(len(everywhere), rng.choice((1, 1, 1, 2, 4)))):
        parent, key = at(tree, place[:-1]), place[-1]
        value = parent[key]
        new = rng.choice(NUMBERS) if rng.random() < 0.4 else scaled(rng, value)
        if isinstance(value, int):
            with contextlib.suppress(OverflowError, ValueError):
                new = int(new)
        parent[key] = new
    _write(folder / FILE, written(tree))


def _with_more(rng: random.Random, folder: Path) -> None:
    """Effects of all kinds beside each other, so that what they have in common is tried."""
    tree = json.loads(rng.choice(_trees()))
    for family, effects in KINDS.items():
        if rng.random() < 0.5 and isinstance(tree.get("cell"), dict):
            effect = {"source": SOURCE, **json.loads(json.dumps(rng.choice(effects)))}
            effect["strength"] = rng.choice((0, 1, 1e-6, 1e3, 1e6, *NUMBERS))
            one = family.field == "iv"
            tree["cell"][family.field] = effect if one else [effect]
    if rng.random() < 0.5 and isinstance(tree.get("array"), dict):
        tree["array"]["mapping"] = rng.choice(
            ("differential-pair", "offset-column", "single-device", "offset-current")
        )
    _write(folder / FILE, written(tree))


def _as_lines(rng: random.Random, folder: Path) -> None:
    lines = rng.choice(_shipped()).splitlines()
    for _ in range(rng.choice((1, 1, 2, 4))):
        where = rng.randrange(len(lines))
        key, colon, _ = lines[where].partition(":")
        how = rng.randrange(7)
        if how < 3 and colon:
            lines[where] = f"{key}: {rng.choice(YAML_FEATURES)}"
        elif how == 3:
            lines[where] = rng.choice((" ", "  ", "\t", "    ")) + lines[where]
        elif how == 4:
            lines.insert(where, rng.choice(lines))
        elif how == 5:
            del lines[where : where + rng.choice((1, 5))]
            lines = lines or [""]
        else:
            indent = len(lines[where]) - len(lines[where].lstrip())
            lines.insert(where, " " * indent + rng.choice(YAML_FEATURES))
    _write(folder / FILE, "\n".join(lines))


def _as_bytes(rng: random.Random, folder: Path) -> None:
    content = rng.choice(_shipped()).encode()
    for _ in range(rng.choice((1, 1, 3, 20))):
        content = damage(rng, content)
    (folder / FILE).write_bytes(content[:1_500_000])


def _large(rng: random.Random, folder: Path) -> None:
    """As large as it may be, with as much as possible that is wrong."""
    size = rng.choice((1000, 100_000, 900_000))
    start = rng.choice(_shipped())
    line = rng.choice(
        (
            lambda i: f"k{i}: 1",
            lambda i: f"technologies{i}: 1",
            lambda i: "a",
            lambda i: f"? [{i}]",
            lambda i: "title: x",
            lambda i: f"- {i}",
            lambda i: "# c",
            lambda i: '"' + "k" * 500 + f'{i}": 1',
        )
    )
    many = "\n".join(line(i) for i in range(size // 8))[: size - 1]
    where = rng.randrange(4)
    if where == 0:
        whole = f"{start}\n{many}"
    elif where == 1:
        whole = start.replace("array:", "array:\n" + "\n".join(f"  {x}" for x in many.split("\n")))
    elif where == 2:
        whole = start.replace(
            "read_noise:", "read_noise: [" + "{kind: x}, " * (size // 11) + "]\n  x:"
        )
    else:
        whole = start.replace("sources:", f"sources:\n  many: {'x' * size}")
    _write(folder / FILE, whole[:1_100_000])


_EXTENDED = (
    "ideal", "pcm-ibm-2020", "nothing", FILE, ".", "missing.yaml", "pipe.yaml", "/dev/zero",
    "./zero.yaml", "~nosuchuser/x.yaml", "~/x.yaml", "a\0b.yaml", "", "x" * 300 + ".yaml",
    "wrong.yaml", "\ud800.yaml", "\x1b[31m", "[/red].yaml", "loop.yaml",
)  # fmt: skip


def _chain(rng: random.Random, folder: Path) -> None:
    """Profiles that extend each other."""
    length = rng.choice((1, 2, 5, 40, 700))
    last = rng.choice(_EXTENDED)
    os.mkfifo(folder / "pipe.yaml")
    (folder / "zero.yaml").symlink_to("/dev/zero")
    (folder / "loop.yaml").symlink_to("loop.yaml")
    (folder / "wrong.yaml").write_text(
        rng.choice(("dac: {bits: 99}", "a: [", "[]", "", "cell: 1", "extends: 3"))
    )
    for i in range(length):
        file = folder / (FILE if i == 0 else f"b{i}.yaml")
        target = last if i == length - 1 else f"b{i + 1}.yaml"
        own = rng.choice(
            ("", "dac: {bits: 4, source: x}", "title: t", "cell: {iv: null}", "dac: 3")
        )
        extends = rng.choice((json.dumps(target), json.dumps(target), target or "''"))
        content = f"schema_version: 1\nname: n{i}\nextends: {extends}\n{own}\n"
        file.write_bytes(content.encode("utf-8", "surrogatepass"))


def _fault_map(rng: random.Random, folder: Path) -> None:
    tree = json.loads(rng.choice(_trees()))
    os.mkfifo(folder / "pipe.csv")
    rows = ""
    for i in range(rng.choice((0, 1, 3, 30, 25_000))):
        row, device = rng.choice((i, number(rng))), rng.choice((0, 0, 1, text(rng)))
        rows += f"{row},{i % 3},{device},{rng.choice((1.5, number(rng)))}\n"
    header = rng.choice(
        (
            "row,column,device,g_uS",
            "row,column,device,g_S",
            "",
            "row;column",
            "\ufeffrow,column,device,g_uS",
        )
    )
    content = f"{header}\n{rows}".encode("utf-8", "surrogatepass")
    if rng.random() < 0.3:
        content = damage(rng, content)
    (folder / "map.csv").write_bytes(content)
    (folder / "big.csv").write_bytes(b'"' + b"x" * rng.choice((200_000, 10)))
    file = rng.choice(
        (
            "map.csv",
            "map.csv",
            "map.csv",
            "big.csv",
            "pipe.csv",
            "/dev/zero",
            "/dev/stdin",
            ".",
            "",
            "none.csv",
            "a\0b",
            "~nosuchuser/x.csv",
            "x" * 300,
            "\ud800",
            "\x1b[31m",
            3,
            None,
            [],
        )
    )
    if isinstance(tree.get("cell"), dict):
        tree["cell"]["faults"] = [{"kind": "map", "source": "x", "file": file}]
        tree["array"] = {"rows": 64, "columns": 64, "source": "x"}
    _write(folder / FILE, written(tree))


def _elsewhere(rng: random.Random, folder: Path) -> None:
    """No file at all, or none that could be read."""
    file = folder / FILE
    kind = rng.randrange(7)
    if kind == 0:
        os.mkfifo(file)
    elif kind == 1:
        file.mkdir()
    elif kind == 2:
        file.symlink_to("/dev/zero")
    elif kind == 3:
        file.symlink_to(FILE)
    elif kind == 4:
        file.write_bytes(b"")
    elif kind == 5:
        with file.open("wb") as sparse:
            sparse.truncate(10**11)


_WAYS: tuple[tuple[str, Callable[[random.Random, Path], None]], ...] = (
    *(("tree", _as_tree),) * 8,
    *(("numbers", _with_numbers),) * 8,
    *(("effects", _with_more),) * 3,
    *(("lines", _as_lines),) * 4,
    *(("bytes", _as_bytes),) * 3,
    ("large", _large),
    ("chain", _chain),
    ("fault map", _fault_map),
    ("elsewhere", _elsewhere),
)


def _write(path: Path, content: str) -> None:
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
