"""What the sweeps of a run say on the first screen of a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from cimsim.analysis.figures.curves import Curve
from cimsim.analysis.headline import AGE, CHIP, Headline, brief
from cimsim.analysis.report.blocks import ReportRun
from cimsim.analysis.report.per_run import UNFIT
from cimsim.analysis.study import Facts, facts_of
from cimsim.analysis.sweeps.align_runs import align_runs
from cimsim.analysis.sweeps.axis import Level
from cimsim.analysis.sweeps.metric import Metric
from cimsim.analysis.sweeps.stats import Summary
from cimsim.analysis.sweeps.store import read_sweep, sweep_folder, swept_axes
from cimsim.units import format_duration, parse_duration

_PROFILE_NOISE, _YEAR_S = 1.0, parse_duration("1y")


def headlines(run: ReportRun) -> Iterator[Headline]:
    """The metric on new chips and on old ones, if a sweep of the run contains them."""
    for axis in swept_axes(run.folder):
        with suppress(*UNFIT):
            aligned = align_runs([run.folder], [run.subject.fingerprint], axis)
            facts = facts_of(read_sweep(sweep_folder(run.folder, axis)).plan)
            (curve,) = aligned.curves
            points = {point.level: point for point in curve.points}
            if axis == "noise" and _PROFILE_NOISE in points and not facts.age_s:
                yield _on_new_chips(points[_PROFILE_NOISE], curve, facts)
            elif axis == "time":
                yield from _on_old_chips(points, facts)


def _on_new_chips(point: Summary, curve: Curve, facts: Facts) -> Headline:
    metric, mean = facts.measured, brief(facts.measured, point.mean)
    sentence = (
        f"On a just-programmed chip it {_reaches(metric, mean)} (digital "
        f"{brief(metric, curve.digital)}; mean of {facts.in_words})."
    )
    return Headline(CHIP, sentence, mean, f"{metric.title.lower()} on a new chip", facts.weight)


def _on_old_chips(points: Mapping[Level, Summary], facts: Facts) -> Iterator[Headline]:
    """The metric at the last age of at most a year."""
    ages = [age for age in points if isinstance(age, int | float) and 0 < age <= _YEAR_S]
    if not ages:
        return
    oldest, metric = max(ages), facts.measured
    mean, age = brief(metric, points[oldest].mean), format_duration(oldest)
    sentence = f"After {age} it {_reaches(metric, mean)} (mean of {facts.in_words})."
    what = f"{metric.title.lower()} {age} after programming"
    yield Headline(AGE, sentence, mean, what, facts.weight)


def _reaches(metric: Metric, number: str) -> str:
    """Part of a sentence: ``reaches 97.40 % test accuracy``, ``has 1.30 test loss``."""
    return f"{'has' if metric.falls else 'reaches'} {number} {metric.title.lower()}"
