"""Advice: which layers to compute digitally, and which to give more bits or another profile.

An assignment is built from the remedies that help most for their cost, one after the other, until
the model is as close to its digital self as requested; then every remedy that turns out not to be
needed is removed. The assignment is verified on chips that it was not chosen on.
"""

from __future__ import annotations

import math
import shlex
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cimsim
from cimsim.analysis import figures
from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.sheet import Column, Sheet
from cimsim.analysis.shown import write_result
from cimsim.analysis.studies.effects import EVERYTHING, NOTHING
from cimsim.analysis.studies.remedies import (
    ADVICE,
    AdviceRequest,
    By,
    RemedySearch,
    TriedMix,
    loss_of,
    offered,
    settings_of,
    shares_of_layers,
)
from cimsim.analysis.studies.sensitivity import Sensitivity, old_facts, sensitivity
from cimsim.analysis.study import (
    Facts,
    Options,
    Study,
    StudyResult,
    option,
    short_number,
)
from cimsim.analysis.sweeps.stats import Summary, means
from cimsim.analysis.sweeps.store import read_sweep
from cimsim.errors import CimsimError
from cimsim.layer_options import Layers, format_layer

if TYPE_CHECKING:
    from cimsim.analysis.figures.canvas import Layout, Panels
    from cimsim.analysis.subjects import Subject

NAME = ADVICE
_AS_IT_IS = "all analog, unchanged"
_LONGEST = 48  # characters of an assignment in one line of the figure


class AdviseOptions(Options):
    """Propose a mixed assignment: which layers to compute digitally or to give more bits.

    The assignment brings the run as close to the digital model as requested, at low cost, and is
    verified on other chips than those it was chosen on. Results are written to RUN/sensitivity/
    and RUN/advice/. Finished trials are kept: run the same command again to resume.
    """

    within: float = option(
        1.0,
        "Allowed distance from the digital model: points of accuracy, or percent of another "
        "metric.",
        ge=0,
    )
    bits: int = option(
        2, "Number of bits to add to a layer's converters as a remedy; 0 for none.", ge=0
    )
    better: str | None = option(
        None,
        "Another profile to try for layers: a name or a file.",
        metavar="PROFILE",
        default_text="none",
    )
    by: str = option(
        "macs",
        "Cost of computing a layer digitally: its share of MACs or of parameters.",
        metavar="macs|parameters",
    )


@dataclass(frozen=True)
class Advice(StudyResult):
    """A mixed assignment, and whether it fulfills the request.

    Attributes:
        layers: settings of the layers that change, as :func:`cimsim.convert` takes them.
        cost: their cost, as a share of computing everything digitally (see :data:`PRICES`).
        digital_share: the share of the MACs (or parameters) that becomes digital.
        steps: the assignments that were tried, in order.
        chosen: how much worse than digital it is on the chips that it was chosen on.
        verified: the same on as many other chips.
        before: how much worse than digital the model is on these chips without any remedy.
        python: the call of :func:`cimsim.convert` that converts a model to this assignment.
    """

    facts: Facts
    request: AdviceRequest
    layers: Layers
    cost: float
    digital_share: float
    steps: tuple[TriedMix, ...]
    chosen: Summary
    verified: Summary
    before: Summary
    python: str = ""

    stem = "advice/advice"

    @property
    def reached(self) -> bool:
        """Whether an assignment with an analog layer fulfills the request on the chips used to
        choose it."""
        return self.request.allows(self.chosen.mean)

    @property
    def holds(self) -> bool:
        """Whether the other chips confirm it."""
        return self.reached and self.request.allows(self.verified.mean)

    @property
    def layer_options(self) -> list[str]:
        """The values of the option ``--layer``."""
        return [format_layer(name, settings) for name, settings in self.layers.items()]

    @property
    def answer(self) -> str:
        """The result in words."""
        metric, request = self.facts.measured, self.request
        target = metric.difference_with_unit(request.within)
        chosen, verified = (
            metric.difference_with_unit(lost.format(metric))
            for lost in (self.chosen, self.verified)
        )
        if not self.reached:
            return (
                "NOT REACHED: none of the tried assignments with an analog layer is within "
                f"{target} of digital; the nearest loses {chosen} on the chips it was chosen on, "
                f"{verified} on others. Train with more noise, adapt each chip (`cimsim adapt`), "
                "or allow a larger --within."
            )
        if not self.holds:
            return (
                f"NOT CONFIRMED: it is within {target} of digital on the chips it was chosen on, "
                f"and loses {verified} on others; use a smaller --within, or choose on more "
                "--chips."
            )
        share = "MACs" if request.by == "macs" else "parameters"
        cost = f"{100 * self.digital_share:.1f} % of the analog layers' {share} become digital"
        sure = request.allows(self.verified.mean + self.verified.half_width)
        unsure = "" if sure else "; the interval is wider than that, use more --chips"
        if self.verified.chips == 1:
            unsure = "; one chip has no interval, use more --chips"
        return f"Reached: {verified} lost on other chips, {target} allowed; {cost}{unsure}."

    def tried(self) -> Iterator[tuple[str, Summary]]:
        """Every assignment in words with its loss, in order; the chosen one again at the end, on
        the chips it was chosen on and on others."""
        yield _AS_IT_IS, self.before
        for step in self.steps:
            if step.layers:
                yield _words(step.layers), step.lost
        yield f"chosen: {_words(self.layers)}", self.chosen
        yield "the same on other chips", self.verified

    def derived(self) -> dict[str, Any]:
        """See :class:`Result`."""
        return {"found": self.reached, "holds": self.holds}

    def rows(self) -> Iterator[Sequence[object]]:
        """Yield one row for each assignment, the heading first."""
        yield ["assignment", "chips", "lost", "std", "half_width", "worst"]
        for name, lost in self.tried():
            yield [name, lost.chips, lost.mean, lost.std, lost.half_width, lost.worst]

    def sheet(self) -> Sheet:
        """One row for each assignment."""
        metric, (names, losses) = self.facts.measured, zip(*self.tried(), strict=True)
        columns = (
            Column("assignment", names, kind="text"),
            means("lost", losses, metric, lost=True),
        )
        return Sheet(f"{metric.title} lost to digital{self.facts.plus_minus}", columns)

    def listings(self) -> dict[str, str]:
        """See :class:`Result`."""
        if not self.layers:
            return {}
        options = shlex.join(w for option in self.layer_options for w in ("--layer", option))
        texts = {"As options of `cimsim sweep` and `cimsim train`:": options}
        return texts | ({"In Python:": self.python} if self.python else {})

    def options(self) -> AdviseOptions:
        """See :class:`Result`."""
        request = self.request
        given = {"better": request.better} if request.better is not None else {}
        factor = self.facts.measured.loss_factor(self.facts.digital)
        within = 0.0 if math.isinf(factor) else short_number(request.within, factor)
        return AdviseOptions(within=within, bits=request.bits, by=request.by, **given)

    def hover(self) -> dict[str, list[str]]:
        """See :class:`Result`."""
        metric = self.facts.measured
        return {NAME: [f"{name}\nlost: {lost.format(metric)}" for name, lost in self.tried()]}

    @property
    def layout(self) -> Layout:
        """See :class:`Shown`."""
        return figures.canvas.row_layout(len(list(self.tried())), 0.4, 1.7)

    def draw(self, panels: Panels) -> None:
        """Draw the loss of every assignment with its 95 % interval, and the allowed one; the points
        are named (``gid``) ``advice``."""
        metric, tried = self.facts.measured, list(self.tried())
        canvas, theme = figures.canvas, figures.theme
        (axes,) = panels.axes
        places = canvas.row_places(len(tried))
        kinds = [0] * (len(tried) - 2) + [1] * 2
        losses = [metric.factor * lost.mean for _, lost in tried]
        for place, kind, x, (_, lost) in zip(places, kinds, losses, tried, strict=True):
            look: dict[str, Any] = {"fmt": theme.marker(kind), "color": theme.color(kind)}
            axes.errorbar(x, place, xerr=lost.error(metric), capsize=3, markersize=6, **look)
        canvas.name_points(axes, losses, places, NAME)
        limit, gray = metric.factor * self.request.within, theme.quiet()
        axes.axvline(limit, color=gray, linewidth=1.2, linestyle="--", label="allowed")
        axes.axvline(0, color=gray, linewidth=1.1, linestyle=":", label="digital")
        names = ["\n".join(textwrap.wrap(name, _LONGEST)) for name, _ in tried]
        canvas.name_rows(axes, places, names)
        axes.set_xlabel(metric.loss_label)
        canvas.style(axes, "x")
        panels.legend(columns=2)
        panels.title(
            f"{self.facts.where}{self.facts.aged}\n"
            f"loss of each assignment, mean of {self.facts.counted}{self.facts.interval}"
        )

    @classmethod
    def upgrade(cls, fields: dict[str, Any], path: Path) -> dict[str, Any]:
        """See :class:`Result`."""
        if "facts" in fields:
            return fields
        old = fields["asked"]
        request = {name: old[name] for name in ("within", "bits", "better")}
        request["by"] = "macs" if old["by"] == "products" else old["by"]
        facts = old_facts(fields, old, path.parent, read_sweep(path.parent).plan.digital)
        return {**fields, "facts": facts, "request": request}


def _words(layers: Layers) -> str:
    return " ".join(format_layer(*item) for item in layers.items()) or _AS_IT_IS


def advise(
    subject: Subject,
    evaluation: Evaluation = Evaluation(),  # noqa: B008
    *,
    within: float,
    bits: int = 2,
    better: str | None = None,
    by: By = "macs",
    measured: Sensitivity | None = None,
) -> Advice:
    """Propose a mixed assignment for ``subject``.

    It is chosen on the chips of ``evaluation``, and verified on as many others.

    Args:
        subject: what to evaluate.
        evaluation: on which chips.
        within: allowed distance from digital, in the metric (0.01 is one point of accuracy).
        bits: number of bits that may be added to a layer's converters; 0 for none.
        better: another profile that layers may be assigned to: a name or a file.
        by: whether a layer's share of the MACs or of the parameters is the cost of computing it
            digitally.
        measured: the sensitivity of the layers, if it was measured with the same evaluation.

    Raises:
        CimsimError: if a setting is out of range, the other profile cannot be used, or as
            :func:`cimsim.analysis.studies.sensitivity.sensitivity`.
    """
    from cimsim.analysis.subjects import assignment_on

    metric = evaluation.metric_of(subject)
    metric.require_loss(metric.factor * within, "the distance from digital")
    if bits < 0:
        raise CimsimError(f"the number of added bits must be 0 or more, not {bits}")
    if by not in ("macs", "parameters"):
        raise CimsimError(f"--by must be macs or parameters, not '{by}'")
    other = (
        None
        if better is None
        else cimsim.profile.load_profile(better).scale_noise(evaluation.noise)
    )
    result = measured or sensitivity(subject, evaluation)
    request, shares = AdviceRequest(within, bits, better, by), shares_of_layers(result, by)
    search = RemedySearch(subject, evaluation, request, other)
    search.measure(offered(evaluation.assignment(subject), shares, request))
    taken = search.mix({layer.name: layer.lost.mean for layer in result.layers})
    layers = settings_of(taken)
    name = search.name(layers)
    mixes = {
        EVERYTHING: evaluation.assignment(subject),
        NOTHING: search.digital(),
        name: search.assignment(layers),
    }
    fresh = search.scores(mixes, evaluation.first_chip + evaluation.chips)
    return Advice(
        facts=result.facts,
        request=request,
        layers=layers,
        cost=sum(remedy.cost for remedy in taken.values()),
        digital_share=sum(shares[n] for n, r in taken.items() if r.kind == "digital"),
        steps=tuple(search.steps),
        chosen=search.lost(layers),
        verified=loss_of(fresh, name, metric),
        before=loss_of(fresh, EVERYTHING, metric),
        python=subject.convert_call(
            layers,
            None if evaluation.profile is None else assignment_on(subject, evaluation.profile),
        ),
    )


def _run(subjects: Sequence[Subject], evaluation: Evaluation, options: AdviseOptions) -> Advice:
    (subject,) = subjects
    if options.by not in ("macs", "parameters"):
        raise CimsimError(f"--by must be macs or parameters, not '{options.by}'")
    if options.better is not None:
        cimsim.profile.load_profile(options.better)  # an error occurs before anything is evaluated
    metric = evaluation.metric_of(subject)
    metric.require_loss(options.within, "the distance from digital")
    measured = sensitivity(subject, evaluation)
    if subject.folder is not None:
        write_result(subject.folder, measured)
    return advise(
        subject,
        evaluation,
        within=options.within / metric.loss_factor(measured.facts.digital),
        bits=options.bits,
        better=options.better,
        by="macs" if options.by == "macs" else "parameters",
        measured=measured,
    )


STUDY = Study(
    NAME,
    Advice,
    "What to change",
    "Loss of mixed assignments",
    options=AdviseOptions,
    run=_run,
    command="advise",
)
