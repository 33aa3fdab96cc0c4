# Written by `python -m cimsim.analysis.stub`.
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cimsim.analysis.cost import Cost
from cimsim.analysis.evaluation import Progress
from cimsim.analysis.scoring import ScoreFunction
from cimsim.analysis.studies.adapt import Recovery
from cimsim.analysis.studies.advise import Advice
from cimsim.analysis.studies.budget import Budget
from cimsim.analysis.studies.chip_yield import ChipYield
from cimsim.analysis.studies.explore import Exploration
from cimsim.analysis.studies.heat_map import Map
from cimsim.analysis.studies.life import Life
from cimsim.analysis.studies.sensitivity import Sensitivity
from cimsim.analysis.studies.shapley import Attribution
from cimsim.analysis.studies.tolerance import Tolerance
from cimsim.analysis.studies.waterfall import Waterfall
from cimsim.analysis.study import Study
from cimsim.analysis.subjects import Subject
from cimsim.analysis.sweeps.axis import Axis
from cimsim.analysis.sweeps.result import SweepResult
from cimsim.layer_options import Layers
from cimsim.nn import Assignment
from cimsim.profile import Profile

FUNCTIONS: dict[str, Any]

def functions_of(studies: list[Study[Any]]) -> dict[str, Any]: ...
def sweep(
    model: nn.Module | Subject | Sequence[nn.Module | Subject] | Mapping[str, nn.Module | Subject],
    score: ScoreFunction | Iterable[Any] | None = None,
    *,
    over: str | Mapping[str, Iterable[Any]] | Axis,
    layers: Layers | None = None,
    chips: int = 10,
    age: str | float = "0s",
    noise: float = 1.0,
    profile: Profile | Assignment | Path | str | None = None,
    samples: int | None = None,
    metric: str | None = None,
    device: torch.device | str = "auto",
    workers: int = 1,
    first_chip: int = 0,
    progress: Progress | None = None,
    calibration: Iterable[Any] = (),
    inputs: Any = None,
    name: str | None = None,
    data: str = "",
    store: Path | str | None = None,
) -> SweepResult: ...
def tolerance(
    model: nn.Module | Subject | Sequence[nn.Module | Subject] | Mapping[str, nn.Module | Subject],
    score: ScoreFunction | Iterable[Any] | None = None,
    *,
    over: str,
    within: float = 1.0,
    start: str | None = None,
    stop: str | None = None,
    chips: int = 10,
    age: str | float = "0s",
    noise: float = 1.0,
    profile: Profile | Assignment | Path | str | None = None,
    samples: int | None = None,
    metric: str | None = None,
    device: torch.device | str = "auto",
    workers: int = 1,
    first_chip: int = 0,
    progress: Progress | None = None,
    calibration: Iterable[Any] = (),
    inputs: Any = None,
    name: str | None = None,
    data: str = "",
    store: Path | str | None = None,
) -> Tolerance: ...
def heat_map(
    model: nn.Module | Subject | Sequence[nn.Module | Subject] | Mapping[str, nn.Module | Subject],
    score: ScoreFunction | Iterable[Any] | None = None,
    *,
    x: str | Mapping[str, Iterable[Any]],
    y: str | Mapping[str, Iterable[Any]],
    lines: str | None = None,
    chips: int = 10,
    age: str | float = "0s",
    noise: float = 1.0,
    profile: Profile | Assignment | Path | str | None = None,
    samples: int | None = None,
    metric: str | None = None,
    device: torch.device | str = "auto",
    workers: int = 1,
    first_chip: int = 0,
    progress: Progress | None = None,
    calibration: Iterable[Any] = (),
    inputs: Any = None,
    name: str | None = None,
    data: str = "",
    store: Path | str | None = None,
) -> Map: ...
def budget(
    model: nn.Module | Subject | Sequence[nn.Module | Subject] | Mapping[str, nn.Module | Subject],
    score: ScoreFunction | Iterable[Any] | None = None,
    *,
    waterfall: bool = False,
    shapley: bool = False,
    orders: int | None = None,
    chips: int = 10,
    age: str | float = "1d",
    noise: float = 1.0,
    profile: Profile | Assignment | Path | str | None = None,
    samples: int | None = None,
    metric: str | None = None,
    device: torch.device | str = "auto",
    workers: int = 1,
    first_chip: int = 0,
    progress: Progress | None = None,
    calibration: Iterable[Any] = (),
    inputs: Any = None,
    name: str | None = None,
    data: str = "",
    store: Path | str | None = None,
) -> Budget | Waterfall | Attribution: ...
def sensitivity(
    model: nn.Module | Subject | Sequence[nn.Module | Subject] | Mapping[str, nn.Module | Subject],
    score: ScoreFunction | Iterable[Any] | None = None,
    *,
    chips: int = 10,
    age: str | float = "0s",
    noise: float = 1.0,
    profile: Profile | Assignment | Path | str | None = None,
    samples: int | None = None,
    metric: str | None = None,
    device: torch.device | str = "auto",
    workers: int = 1,
    first_chip: int = 0,
    progress: Progress | None = None,
    calibration: Iterable[Any] = (),
    inputs: Any = None,
    name: str | None = None,
    data: str = "",
    store: Path | str | None = None,
) -> Sensitivity: ...
def advise(
    model: nn.Module | Subject | Sequence[nn.Module | Subject] | Mapping[str, nn.Module | Subject],
    score: ScoreFunction | Iterable[Any] | None = None,
    *,
    within: float = 1.0,
    bits: int = 2,
    better: str | None = None,
    by: str = "macs",
    chips: int = 10,
    age: str | float = "0s",
    noise: float = 1.0,
    profile: Profile | Assignment | Path | str | None = None,
    samples: int | None = None,
    metric: str | None = None,
    device: torch.device | str = "auto",
    workers: int = 1,
    first_chip: int = 0,
    progress: Progress | None = None,
    calibration: Iterable[Any] = (),
    inputs: Any = None,
    name: str | None = None,
    data: str = "",
    store: Path | str | None = None,
) -> Advice: ...
def life(
    model: nn.Module | Subject | Sequence[nn.Module | Subject] | Mapping[str, nn.Module | Subject],
    score: ScoreFunction | Iterable[Any] | None = None,
    *,
    start: str = "1s",
    stop: str = "10y",
    points: int = 10,
    care: str | Sequence[str] = (),
    budget: int | None = None,
    chips: int = 10,
    age: str | float = "0s",
    noise: float = 1.0,
    profile: Profile | Assignment | Path | str | None = None,
    samples: int | None = None,
    metric: str | None = None,
    device: torch.device | str = "auto",
    workers: int = 1,
    first_chip: int = 0,
    progress: Progress | None = None,
    calibration: Iterable[Any] = (),
    inputs: Any = None,
    name: str | None = None,
    data: str = "",
    store: Path | str | None = None,
) -> Life: ...
def recovery(
    model: nn.Module | Subject | Sequence[nn.Module | Subject] | Mapping[str, nn.Module | Subject],
    score: ScoreFunction | Iterable[Any] | None = None,
    *,
    parts: str = "digital",
    budget: int = 100,
    teacher: str = "digital",
    overrides: str | Sequence[str] = (),
    seed: int = 0,
    chips: int = 10,
    age: str | float = "0s",
    noise: float = 1.0,
    profile: Profile | Assignment | Path | str | None = None,
    samples: int | None = None,
    metric: str | None = None,
    device: torch.device | str = "auto",
    workers: int = 1,
    first_chip: int = 0,
    progress: Progress | None = None,
    calibration: Iterable[Any] = (),
    inputs: Any = None,
    name: str | None = None,
    data: str = "",
    store: Path | str | None = None,
) -> Recovery: ...
def chip_yield(
    model: nn.Module | Subject | Sequence[nn.Module | Subject] | Mapping[str, nn.Module | Subject],
    score: ScoreFunction | Iterable[Any] | None = None,
    *,
    above: float | None = None,
    below: float | None = None,
    chips: int = 100,
    age: str | float = "0s",
    noise: float = 1.0,
    profile: Profile | Assignment | Path | str | None = None,
    samples: int | None = None,
    metric: str | None = None,
    device: torch.device | str = "auto",
    workers: int = 1,
    first_chip: int = 0,
    progress: Progress | None = None,
    calibration: Iterable[Any] = (),
    inputs: Any = None,
    name: str | None = None,
    data: str = "",
    store: Path | str | None = None,
) -> ChipYield: ...
def explore(
    model: nn.Module | Subject | Sequence[nn.Module | Subject] | Mapping[str, nn.Module | Subject],
    score: ScoreFunction | Iterable[Any] | None = None,
    *,
    over: str | Mapping[str, Iterable[Any]] | Sequence[str | Mapping[str, Iterable[Any]]],
    profile: str | Sequence[str] = (),
    budget: int = 40,
    chips: int = 3,
    final_chips: int = 10,
    cost: str = "energy",
    one_front: bool = False,
    seed: int = 0,
    age: str | float = "0s",
    noise: float = 1.0,
    samples: int | None = None,
    metric: str | None = None,
    device: torch.device | str = "auto",
    workers: int = 1,
    first_chip: int = 0,
    progress: Progress | None = None,
    calibration: Iterable[Any] = (),
    inputs: Any = None,
    name: str | None = None,
    data: str = "",
    store: Path | str | None = None,
) -> Exploration: ...
def cost(
    model: nn.Module | Subject,
    inputs: Any = None,
    *,
    profile: Profile | Path | str | None = None,
) -> Cost: ...
