"""The command line of a comparison, and its page with a table for each task and profile."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.fair import Comparison, Condition, Given, Scores, Where, name_of
from benchmarks.lines import versions
from cimsim.analysis import summary
from cimsim.analysis.figures import canvas, theme
from cimsim.files import write_text
from cimsim.training.data import TEST

RESULTS = Path(__file__).parent / "results"


def main(comparison: Comparison, description: str) -> None:
    """Train, evaluate, tabulate, as the command line says."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data-dir", type=Path, required=True)
    for option, choices in (
        ("--task", comparison.tasks),
        ("--profile", comparison.profiles),
        ("--method", comparison.methods),
    ):
        parser.add_argument(option, action="append", choices=choices, help="only this one")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--chips", type=int, default=10)
    parser.add_argument("--runs", type=Path, default=Path("runs") / comparison.name)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of page and scores")
    given = parser.parse_args()
    scores = Scores(comparison, given.results)
    where = Given(given.data_dir, given.runs, given.results, given.chips)
    for task in given.task or comparison.tasks:
        for seed in map(int, given.seeds.split(",")):
            for profile in given.profile or comparison.profiles:
                for settings in comparison.distinct(given.method or list(comparison.methods)):
                    if not scores.has(task, profile, name_of(settings), seed):
                        comparison.train_and_evaluate(task, profile, settings, seed, where)
    report(comparison, given.results)


def report(comparison: Comparison, results: Path) -> None:
    """Write the page and the figure of the scores in ``results``."""
    scores = Scores(comparison, results)
    pairs = [
        (task, profile)
        for task in comparison.tasks
        for profile in comparison.profiles
        if scores.seeds((task, profile), comparison.ours)
    ]
    lines = [
        f"# {comparison.title}",
        "",
        f"    python -m benchmarks.{comparison.name} --data-dir DIR",
        "",
        comparison.intro,
        "",
        "| task | settings |",
        "|---|---|",
        *(f"| {name} | {task.text} |" for name, task in comparison.tasks.items()),
        "",
        *summary_lines(scores, pairs),
    ]
    for task, profile in pairs:
        lines += ["", f"## {task} on {profile}", "", *table_lines(scores, task, profile)]
    page = results / f"{comparison.name}.md"
    days = sorted({score.day for score in scores.all})
    measured = f" Measured from {days[0]} to {days[-1]}." if days else ""
    for draw, file, text in (
        (curves, page.with_suffix(".png"), "score over noise or age"),
        (front, page.with_name(f"{page.stem}_front.png"), "mild and harsh conditions"),
    ):
        if pairs:
            canvas.save(figure_of(scores, pairs, draw), file)
            lines += ["", f"![{text}]({file.name})"]
    write_text(page, "\n".join([*lines, "", f"{versions()}{measured}", ""]))
    print(page.read_text(encoding="utf-8"))


class Gap(NamedTuple):
    """How far our method is behind the best other method under one condition, over seeds."""

    method: str
    behind: float
    error: float

    @property
    def loses(self) -> bool:
        """Whether it is behind by more than one standard error."""
        return self.behind > max(self.error, 1e-12)


def gap(scores: Scores, ours: str, where: Where, condition: Condition) -> Gap | None:
    """Compare ``ours`` with the best method that is not ours, by their differences of each seed;
    None if no other method has two seeds in common with ours."""
    comparison = scores.comparison
    sign = comparison.tasks[where[0]].sign
    own = scores.on_test(where, ours, condition) or {}
    gaps = []
    for method in comparison.others:
        other = scores.on_test(where, method, condition) or {}
        both = sorted(own.keys() & other.keys())
        if len(both) > 1:
            behind = summary(None, [sign * (other[seed] - own[seed]) for seed in both])
            gaps.append(Gap(method, behind.mean, behind.standard_error))
    return max(gaps, key=lambda gap: gap.behind, default=None)


def summary_lines(scores: Scores, pairs: Sequence[Where]) -> Iterator[str]:
    """Where our method is behind the best other method by more than one standard error."""
    comparison, losses = scores.comparison, []
    measured = {
        name: any(len(scores.seeds(where, name)) > 1 for where in pairs)
        for name in comparison.others
    }
    others, missing = (
        ", ".join(f"`{name}`" for name, is_measured in measured.items() if is_measured is wanted)
        for wanted in (True, False)
    )
    yield (
        f"For each condition, each of the following methods is compared with the best of {others}:"
    )
    yield ""
    for ours in comparison.own:
        gaps = {
            (*where, condition): of
            for where in pairs
            for condition in distinct_conditions(scores, where)
            if (of := gap(scores, ours, where, condition)) is not None
        }
        if not gaps:
            continue
        lost = {where: of for where, of in gaps.items() if of.loses}
        losses += [(ours, where, of) for where, of in lost.items()]
        yield (
            f"- `{ours}` is ahead, or behind by at most one standard error of the difference, "
            f"under {len(gaps) - len(lost)} of {len(gaps)} conditions; "
            f"{'; '.join(distances(comparison, gaps))}."
        )
    yield ""
    yield (
        "Only methods with at least two training seeds are compared, and ages with identical "
        "scores count once. The best method is chosen by the test scores of the tables below, so "
        "part of its lead is chance."
    )
    if missing:
        yield from ("", f"Not measured with two seeds yet: {missing}.")
    if not losses:
        return
    yield ""
    yield "Conditions under which a method is behind by more than one standard error:"
    yield ""
    yield "| | task | profile | age | noise | best other | behind by |"
    yield "|---|---|---|---|---|---|---|"
    for ours, (task, profile, (age, level)), of in losses:
        show = comparison.tasks[task].format
        yield (
            f"| {ours} | {task} | {profile} | {age} | {level:g} | {of.method} | "
            f"{show(of.behind)} ± {show(of.error)} |"
        )


def distinct_conditions(scores: Scores, where: Where) -> Iterator[Condition]:
    """The conditions, without ages at which all scores equal the scores of an earlier age."""
    seen = set()
    for age, level in scores.comparison.conditions:
        found = tuple(
            tuple((scores.on_test(where, method, (age, level)) or {}).items())
            for method in scores.comparison.methods
        )
        if (level, found) not in seen:
            seen.add((level, found))
            yield age, level


def distances(
    comparison: Comparison, gaps: Mapping[tuple[str, str, Condition], Gap]
) -> Iterator[str]:
    """State the mean and the largest distance to the best other method, for each measure."""
    for measure in dict.fromkeys(comparison.tasks[task].measure for task, _, _ in gaps):
        behind = [
            comparison.tasks[task].factor * of.behind
            for (task, _, _), of in gaps.items()
            if comparison.tasks[task].measure == measure
        ]
        mean = sum(behind) / len(behind)
        yield (
            f"{measure}: {abs(mean):.2f} {'behind' if mean >= 0 else 'ahead'} on average, "
            f"{max(behind):.2f} behind at most"
        )


def table_lines(scores: Scores, task: str, profile: str) -> Iterator[str]:
    """One row for each method, one column for each age and noise."""
    comparison, about = scores.comparison, scores.comparison.tasks[task]
    rows = {
        method: [
            summary(None, list(values.values()))
            for condition in comparison.conditions
            if (values := scores.on_test((task, profile), method, condition)) is not None
        ]
        for method in comparison.methods
    }
    rows = {method: row for method, row in rows.items() if row}
    best = [
        max(about.sign * of.mean for of in column) for column in zip(*rows.values(), strict=True)
    ]
    yield (
        f"Test {about.measure}: mean over training seeds ± standard error; the best mean of a "
        "column is bold. *s* is the duration of one training in seconds (for a tuned method, of "
        "all trainings that it chooses from), measured while other processes were running."
    )
    yield ""
    names = [f"noise {level:g}, {age}" for age, level in comparison.conditions]
    yield f"| method | seeds | s | {' | '.join(names)} |"
    yield "|---|---|---|" + "---|" * len(comparison.conditions)
    for method, row in rows.items():
        cells = []
        for of, top in zip(row, best, strict=True):
            text = about.format(of.mean)
            text = f"**{text}**" if about.sign * of.mean == top else text
            error = "" if math.isnan(of.standard_error) else f" ± {about.format(of.standard_error)}"
            cells.append(text + error)
        seeds = len(scores.seeds((task, profile), method))
        seconds = scores.seconds((task, profile), method)
        yield f"| {method} | {seeds} | {seconds:.0f} | {' | '.join(cells)} |"


Draw = Callable[[Axes, Scores, str, str], None]


def figure_of(scores: Scores, pairs: Sequence[tuple[str, str]], draw: Draw) -> Figure:
    """A panel for each task and profile."""
    tasks, profiles = (list(dict.fromkeys(names)) for names in zip(*pairs, strict=True))
    figure = canvas.new_figure(max(5.2, 2.9 * len(profiles) + 0.8), 2.4 * len(tasks) + 0.9)
    panels = figure.subplots(len(tasks), len(profiles), squeeze=False)
    labels: dict[str, Artist] = {}
    for row, task in zip(panels, tasks, strict=True):
        for axes, profile in zip(row, profiles, strict=True):
            axes.set_title(f"{task}\n{profile}", fontsize=8)
            axes.set_visible((task, profile) in pairs)
            if (task, profile) in pairs:
                draw(axes, scores, task, profile)
                canvas.style(axes)
                handles, names = axes.get_legend_handles_labels()
                labels.update(zip(names, handles, strict=True))
    figure.legend(
        *(labels.values(), labels.keys()),
        loc="outside lower center",
        ncols=min(4, 2 * len(profiles)),
        fontsize=8,
        frameon=False,
    )
    return figure


def front(axes: Axes, scores: Scores, task: str, profile: str) -> None:
    """Every training on new chips at the noise of the profile, and under the last condition. A line
    connects trainings that no other training surpasses under both."""
    comparison, about = scores.comparison, scores.comparison.tasks[task]
    mild, harsh = next(c for c in comparison.conditions if c[1] >= 1), comparison.conditions[-1]
    points: dict[str, tuple[float, float]] = {}
    for number, (method, every) in enumerate(comparison.methods.items()):
        for settings in every:
            name = name_of(settings)
            seeds = scores.seeds((task, profile), method)
            if name not in points and seeds:
                both = [scores.means((task, profile), name, TEST, c, seeds) for c in (mild, harsh)]
                x, y = (about.factor * summary(None, list(of.values())).mean for of in both)
                points[name] = x, y
                axes.plot(x, y, theme.marker(number), color=theme.color(number), label=method)
    best: list[tuple[float, float]] = []
    for x, y in sorted(points.values(), key=lambda point: -about.sign * point[0]):
        if not best or about.sign * y > about.sign * best[-1][1]:
            best.append((x, y))
    axes.plot(*zip(*best, strict=True), color="0.5", linewidth=0.8, zorder=0)
    axes.set_xlabel(f"{about.measure}, noise {mild[1]:g}, {mild[0]}", fontsize=8)
    axes.set_ylabel(f"noise {harsh[1]:g}, {harsh[0]}", fontsize=8)


def curves(axes: Axes, scores: Scores, task: str, profile: str) -> None:
    """The score over noise after the longest age, or over age if there is one level of noise."""
    comparison = scores.comparison
    about, levels, ages = comparison.tasks[task], comparison.axis.values, list(comparison.ages)
    over_age = len(levels) == 1
    conditions = [c for c in comparison.conditions if over_age or c[0] == ages[-1]]
    places = [ages.index(age) if over_age else level for age, level in conditions]
    for number, method in enumerate(comparison.drawn):
        values = [scores.on_test((task, profile), method, c) for c in conditions]
        each = [
            (x, summary(None, list(v.values())))
            for x, v in zip(places, values, strict=True)
            if v is not None
        ]
        if not each:
            continue
        axes.errorbar(
            [x for x, _ in each],
            [about.factor * of.mean for _, of in each],
            [about.factor * of.standard_error for _, of in each],
            color=theme.color(number),
            marker=theme.marker(number),
            capsize=2,
            label=method,
        )
    if over_age:
        axes.set_xticks(range(len(ages)), ages)
    axes.set_xlabel("age" if over_age else f"noise, {ages[-1]}")
    axes.set_ylabel(about.measure)
