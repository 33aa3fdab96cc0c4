"""Recover accuracy on one chip, whose errors are fixed: :func:`adapt`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import nn

from cimsim.adaptation.bench import Bench, Loss
from cimsim.adaptation.chip_in_the_loop import ChipInTheLoop
from cimsim.adaptation.fault_mapping import FaultMapping
from cimsim.adaptation.measured import BatchNormStatistics, GainOffset, Ranges
from cimsim.adaptation.outliers import Outliers
from cimsim.adaptation.part import CELLS, CONVERTERS, Cost, Part
from cimsim.adaptation.recipe import ALL, BUDGET, DIGITAL, Recipe, Teacher, split_parts
from cimsim.adaptation.rewrite import Rewrite
from cimsim.adaptation.trained import Affine, LowRank, Sparse
from cimsim.errors import CimsimError, applies_only
from cimsim.lasting import with_gradients
from cimsim.nn import analog_layers, use_chip
from cimsim.nn.batches import Batches, Forward
from cimsim.nn.forms import require_weights
from cimsim.nn.own_chip import Multiply
from cimsim.spec import Family

PARTS: Family[Part] = Family(
    "part of an adaptation",
    Outliers,
    FaultMapping,
    ChipInTheLoop,
    Rewrite,
    Ranges,
    GainOffset,
    BatchNormStatistics,
    LowRank,
    Sparse,
    Affine,
)
"""Every part, in the order in which they are applied: what is on the cells, the converters, digital
settings that are measured, and those that are trained."""

_NEEDS = {
    CELLS: "reads and writes single cells",
    CONVERTERS: "sets the ranges of the simulated converters",
}


@dataclass(frozen=True)
class Adaptation:
    """The result of an adaptation.

    Attributes:
        model: the adapted model, which is the same object.
        recipe: its parts and limits.
        costs: the cost of each part, in the order in which they were applied.
    """

    model: nn.Module
    recipe: Recipe
    costs: tuple[Cost, ...]

    @property
    def total(self) -> dict[str, float]:
        """The cost of all parts by name: ``batches``, ``vectors``, ``seconds``, ``added``,
        ``changed``, ``written``, ``read``."""
        costs, changes = self.costs, [cost.change for cost in self.costs]
        return {
            **{name: sum(getattr(c, name) for c in costs) for name in _OF_COST},
            **{name: sum(getattr(c, name) for c in changes) for name in _OF_CHANGE},
        }

    def __str__(self) -> str:
        """A table, one line for each part."""
        rows: list[tuple[str, ...]] = [("part", *_OF_COST, *_OF_CHANGE)]
        for cost in self.costs:
            numbers = [cost.batches, cost.vectors, f"{cost.seconds:.1f}"]
            numbers += [getattr(cost.change, name) for name in _OF_CHANGE]
            rows.append((cost.part, *map(str, numbers)))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(_line(row, widths) for row in rows)


_OF_COST, _OF_CHANGE = ("batches", "vectors", "seconds"), ("added", "changed", "written", "read")


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    name, *numbers = row
    cells = [text.rjust(width) for text, width in zip(numbers, widths[1:], strict=True)]
    return "  ".join([name.ljust(widths[0]), *cells])


@with_gradients()
def adapt(
    model: nn.Module,
    loader: Batches,
    parts: str | Iterable[str] = DIGITAL,
    *,
    chip: Multiply | None = None,
    budget: int = BUDGET,
    teacher: Teacher = "digital",
    loss: Loss | None = None,
    forward: Forward | None = None,
    seed: int = 0,
) -> Adaptation:
    """Recover accuracy on the chip that ``model`` is programmed on, at its current age.

    The errors of one chip are fixed, so they can be measured and corrected: by new converter
    ranges, by digital numbers beside the arrays, and, if cells can be written, by other weights or
    other places for them. ``cimsim methods`` lists the parts. They are applied in a fixed order,
    cells first and training last, each on top of the parts before it.

    Adapters, gains, offsets, placements and all other results are part of the model's state:
    ``state_dict`` and :func:`cimsim.save` contain them.

    Args:
        model: a converted and calibrated model, programmed on a chip. It is changed in place, and
            stays unchanged if an error occurs.
        loader: batches of training data, such as a data loader. The first ``budget`` of them are
            used; a few hundred inputs are enough for the parts that train nothing.
        parts: names with settings, such as ``"ranges, low-rank:rank=8"`` or a list of them;
            ``"digital"`` for all parts that write no cells, ``"all"`` for all parts.
        chip: your own chip, which the model also uses afterwards; see
            :func:`cimsim.nn.use_chip`. None for the simulated chip.
        budget: maximum number of batches that each part runs on the chip.
        teacher: targets of parts that train: the outputs of the digital model, or ``"labels"`` in
            the batches.
        loss: ``loss(outputs, labels)`` for ``teacher="labels"``; by default the loss that the model
            returns with labels, as Hugging Face's do, otherwise cross-entropy or squared error.
        forward: ``forward(model, batch)`` runs the model on a batch, as in
            :func:`cimsim.calibrate`.
        seed: seed of all random numbers in the parts; parts without random numbers ignore it.

    Returns:
        The model, and the cost of each part.

    Raises:
        CimsimError: if a part is unknown, has nothing to change, or needs something that the data
            or the chip lack; if no part uses the labels that are given as the teacher, or the loss;
            if the model is not converted or not calibrated, there is no batch, or the chip returns
            no product.

    >>> import torch, cimsim
    >>> x = torch.randn(64, 8)
    >>> model = cimsim.convert(torch.nn.Linear(8, 4), "pcm-ibm-2020")
    >>> model = cimsim.calibrate(model, [x])
    >>> result = cimsim.adapt(cimsim.program(model, seed=3), [x], "gain-offset")
    >>> result.total["added"], result.total["batches"]
    (8, 1)
    """
    analog_layers(model)
    require_weights(model)
    own = chip or next(
        (x.own_chip.multiply for x in analog_layers(model).values() if x.own_chip), None
    )
    chosen = chosen_parts(model, split_parts(parts), cells=own is None)
    recipe = Recipe(tuple(spec for spec, _ in chosen), budget, teacher, seed)
    if teacher == "labels":
        require_learning("teacher", [part for _, part in chosen])
    elif loss is not None:
        raise applies_only(["loss"], "labels", "add teacher='labels'")
    bench = Bench(model, loader, recipe, loss, forward)
    costs: list[Cost] = []
    with bench.ready():
        if chip is not None:
            use_chip(model, chip)
        for spec, part in chosen:
            batches, vectors = bench.counts.batches, bench.counts.vectors
            started = time.perf_counter()
            change = part.apply(bench)
            seconds = time.perf_counter() - started
            used = bench.counts.batches - batches, bench.counts.vectors - vectors
            costs.append(Cost(spec, *used, seconds, change))
    return Adaptation(model, recipe, tuple(costs))


def require_learning(option: str, parts: Iterable[Part]) -> None:
    """
    Raises:
        CimsimError: if none of ``parts`` uses the teacher that ``option`` sets.
    """
    if not any(part.learns for part in parts):
        raise applies_only([option], f"parts that learn ({_names('learns')})", "add one")


def require_draws(option: str, parts: Iterable[Part]) -> None:
    """
    Raises:
        CimsimError: if none of ``parts`` uses the seed that ``option`` sets.
    """
    if not any(part.draws for part in parts):
        raise applies_only([option], f"parts with random numbers ({_names('draws')})", "add one")


def _names(does: str) -> str:
    return ", ".join(part.name for part in PARTS if getattr(part, does))


def chosen_parts(
    model: nn.Module, specs: Sequence[str], cells: bool = True
) -> list[tuple[str, Part]]:
    """The parts that ``specs`` describe, in the order in which they are applied.

    Args:
        model: a converted model.
        specs: parts with their settings, or the names of several.
        cells: whether the chip is simulated, so that its cells and converters can be changed.

    Raises:
        CimsimError: if there is no such part or setting, a part occurs twice, or one has nothing to
            change.
    """
    made: dict[str, tuple[str, Part]] = {}
    for spec in specs:
        if spec in (DIGITAL, ALL):
            found = possible_parts(model, cells, writing=spec == ALL)
            made |= {name: (name, PARTS.make(name)) for name in found if name not in made}
            continue
        part = PARTS.make(spec)
        if part.name in made:
            raise CimsimError(f"the part '{part.name}' is given twice")
        _refuse_impossible(part, model, cells)
        made[part.name] = (spec, part)
    if not made:
        raise CimsimError(f"no part was given; choose some of {', '.join(PARTS.parts)}")
    return [made[name] for name in PARTS.parts if name in made]


def possible_parts(model: nn.Module, cells: bool = True, writing: bool = True) -> tuple[str, ...]:
    """The names of the parts that have something to change in ``model``.

    Args:
        model: a converted model.
        cells: whether the chip is simulated.
        writing: also parts that write cells.
    """
    return tuple(
        part.name
        for part in PARTS
        if PARTS.make(part.name).obstacle(model) is None
        and (cells or not part.needs)
        and (writing or CELLS not in part.needs)
    )


def _refuse_impossible(part: Part, model: nn.Module, cells: bool) -> None:
    if not cells and part.needs:
        (need, *_) = sorted(part.needs)
        raise CimsimError(
            f"the part '{part.name}' {_NEEDS[need]}, which your own chip does not support; leave "
            "it out"
        )
    obstacle = part.obstacle(model)
    if obstacle is not None:
        raise CimsimError(
            f"the part '{part.name}' has nothing to change in this {type(model).__name__}: "
            f"{obstacle}; leave it out"
        )
