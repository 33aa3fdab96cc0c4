"""The result of a search for the noise of a training."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from cimsim.analysis.sheet import Column, Sheet
from cimsim.analysis.shown import plain
from cimsim.analysis.sweeps.metric import Metric, metric_named, rounding
from cimsim.analysis.sweeps.stats import summary
from cimsim.analysis.table import table_csv
from cimsim.errors import CimsimError
from cimsim.files import write_text
from cimsim.reading import parse_json, read_text
from cimsim.sealing import sealed, unsealed
from cimsim.training.candidates import USUAL
from cimsim.training.config import TrainConfig, make_config
from cimsim.training.data import HELD_OUT
from cimsim.training.methods import without_unused_ranges

JSON, CSV = "search.json", "search.csv"

_REST = "standard_error lost lost_standard_error seconds chosen"


@dataclass(frozen=True)
class Scored:
    """A training of the search.

    Attributes:
        candidate: name of the candidate.
        settings: the settings of the candidate.
        round: 1 for the short trainings, 2 for the longer ones of the better half.
        epochs: epochs of the training.
        values: for each chip, the mean of the metric over the conditions.
        seconds: duration of the training.
    """

    candidate: str
    settings: Mapping[str, Any]
    round: int
    epochs: int
    values: tuple[float, ...]
    seconds: float

    @property
    def mean(self) -> float:
        """Mean over the chips."""
        return sum(self.values) / len(self.values)


@dataclass(frozen=True)
class SearchResult:
    """The scores of all candidates, and which one was chosen.

    Attributes:
        optimize_for: the conditions, see :func:`cimsim.training.optimize_for.conditions`.
        metric, token: metric of the scores, see
            :func:`cimsim.analysis.sweeps.metric.metric_named`.
        samples: number of held-out samples.
        trainings: the trainings in the order of candidates, those of the first round first.
        chosen: name of the chosen candidate.
    """

    optimize_for: str
    metric: str
    token: str
    samples: int
    trainings: tuple[Scored, ...]
    chosen: str

    @property
    def measured(self) -> Metric:
        """The metric of the scores."""
        return metric_named(self.metric, self.token, split=HELD_OUT)

    @property
    def last_round(self) -> tuple[Scored, ...]:
        """The trainings that the choice was made from."""
        last = max(one.round for one in self.trainings)
        return tuple(one for one in self.trainings if one.round == last)

    def config_for(self, config: TrainConfig) -> TrainConfig:
        """Return ``config``, which has ``noise="auto"``, with the chosen settings instead."""
        (settings,) = (one.settings for one in self.last_round if one.candidate == self.chosen)
        count = len({one.candidate for one in self.trainings})
        said = f"{self.chosen}, from {count} candidates for {self.optimize_for}"
        own = {"optimize_for": None, "search_epochs": None, "chosen": said}
        return without_unused_ranges(make_config(**{**config.model_dump(), **own, **settings}))

    def rows(self) -> Iterator[Sequence[object]]:
        """Yield one row for each training, the heading first."""
        heading = "candidate round epochs", self.measured.name, _REST, " ".join(USUAL)
        yield " ".join(heading).split()
        for one in self.trainings:
            chosen = one in self.last_round and one.candidate == self.chosen
            numbers = one.mean, _error(one.values), *self._lost(one), one.seconds, chosen
            settings = (one.settings.get(name, "") for name in USUAL)
            yield one.candidate, one.round, one.epochs, *numbers, *settings

    def _lost(self, one: Scored) -> tuple[float, float]:
        """By how much a training is worse than the best of its round, and the standard error."""
        (top,) = best_of([t for t in self.trainings if t.round == one.round], 1, self.measured)
        return lost(one, top, self.measured)

    def sheet(self) -> Sheet:
        """One row for each candidate."""
        metric, last = self.measured, {one.candidate: one for one in self.last_round}
        first = [one for one in self.trainings if one.round == 1]
        columns = [
            Column("candidate", tuple(one.candidate for one in first), kind="name"),
            *(
                Column(_after(ones[0].epochs), _means(first, ones, metric), metric.unit)
                for ones in ([first, list(self.last_round)] if len(last) < len(first) else [first])
            ),
        ]
        differences = []
        for one in first:
            if (final := last.get(one.candidate)) is None:
                differences.append("-")
                continue
            mean, error = self._lost(final)
            differences.append(f"{metric.format(mean)} ± {metric.format(error)}")
        seconds = {one.candidate: 0.0 for one in first}
        for one in self.trainings:
            seconds[one.candidate] += one.seconds
        columns += [
            Column("behind the best", tuple(differences), metric.loss_unit),
            Column("training", tuple(f"{s:.1f}" for s in seconds.values()), "s", essential=False),
            Column("", tuple("chosen" * (c == self.chosen) for c in seconds), kind="text"),
        ]
        caption = (
            f"{metric.heading} for {self.optimize_for}, {len(first[0].values)} chips, "
            f"{self.samples} samples; ± is the standard error over chips"
        )
        return Sheet(caption, tuple(columns))

    def __str__(self) -> str:
        return str(self.sheet())

    def write(self, folder: Path) -> None:
        """Write ``search.csv`` and ``search.json`` to ``folder``; the JSON marks the end."""
        write_text(folder / CSV, table_csv(self.rows()))
        fields = json.loads(json.dumps(plain(asdict(self))))
        write_text(folder / JSON, json.dumps(sealed(fields), indent=2) + "\n")


def read_search(folder: Path) -> SearchResult:
    """Read the result of the search in ``folder``.

    Raises:
        CimsimError: if there is none, or it is damaged.
    """
    path = folder / JSON
    try:
        fields = dict(unsealed(parse_json(read_text(path))))
        result = TypeAdapter(SearchResult).validate_python(fields)
        if not all(one.values and one.settings.keys() <= USUAL.keys() for one in result.trainings):
            raise ValueError("no settings of a candidate")
        if result.chosen not in {one.candidate for one in result.last_round}:
            raise ValueError("the chosen candidate is missing")
        result.sheet()
        return result
    except FileNotFoundError:
        raise CimsimError(f"{path}: there is no finished search") from None
    except OSError as error:
        raise CimsimError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, LookupError, OverflowError):
        raise CimsimError(
            f"{path}: is damaged; delete it and run the same `cimsim train` with --resume, "
            "finished trainings are kept"
        ) from None


def best_of(trainings: Sequence[Scored], count: int, metric: Metric) -> list[Scored]:
    """Return the ``count`` best trainings, in their order."""
    ranked = sorted(trainings, key=lambda one: _loss(one.mean, metric))[:count]
    return [one for one in trainings if one in ranked]


def lost(one: Scored, other: Scored, metric: Metric) -> tuple[float, float]:
    """Return by how much ``one`` is worse than ``other``, chip by chip: mean and standard error."""
    pairs = zip(one.values, other.values, strict=True)
    differences = [metric.lost(before, after) for after, before in pairs]
    return sum(differences) / len(differences), _error(differences)


def choose(trainings: Sequence[Scored], metric: Metric) -> Scored:
    """Return the first training that is within one standard error of the best.

    The difference to the best one is taken chip by chip.

    Raises:
        CimsimError: if no training has a finite score.
    """
    (top,) = best_of(trainings, 1, metric)
    if not math.isfinite(top.mean):
        raise CimsimError(
            "no candidate of the search has a finite score; try a smaller --lr, or check the data"
        )
    for one in trainings:
        difference, error = lost(one, top, metric)
        if difference <= error + rounding(error):
            return one
    return top


def _loss(value: float, metric: Metric) -> float:
    """A number that is less for a better ``value``, and infinite for NaN."""
    return math.inf if math.isnan(value) else (value if metric.falls else -value)


def _error(values: Sequence[float]) -> float:
    """Standard error of the mean."""
    return summary(None, values).standard_error


def _after(epochs: int) -> str:
    return "after 1 epoch" if epochs == 1 else f"after {epochs} epochs"


def _means(first: Sequence[Scored], ones: Sequence[Scored], metric: Metric) -> tuple[str, ...]:
    texts = {
        one.candidate: f"{metric.format(one.mean)} ± {metric.format(_error(one.values))}"
        for one in ones
    }
    return tuple(texts.get(one.candidate, "-") for one in first)
