"""The backward rules: gradients through an array.

The forward pass ``y = S(x, W; xi)`` simulates the array. The backward pass is the vector-Jacobian
product of a mean response ``m(x, W)``, as if ``y = m + stop_gradient(S - m)``. The rules differ in
``m`` only; ``delta`` is ``dL/dy``, ``s_adc`` and ``s_dac`` are the slopes of the saturating
converters (1 inside the range, 0 outside), ``W_prog(W)`` are the weights that the chip holds, and
``r(x, W)`` is the mean result of a read before saturation. A rule has a letter, which files
contain, and a name; both are accepted everywhere.

| rule                | dL/dW                      | dL/dx                             |
|---------------------|----------------------------|-----------------------------------|
| A (autograd)        | ``(delta x^T) dW_prog/dW`` | ``W_prog^T delta``                |
| B (weight-ste)      | ``delta x^T``              | ``W_prog^T delta``                |
| C (output-ste)      | ``delta x^T``              | ``W^T delta``                     |
| E (clipped-ste)     | ``(s_adc delta) x^T``      | ``s_dac W^T (s_adc delta)``       |
| F (programmed-mean) | ``(dr/dW)^T (s_adc delta)``| ``s_dac (dr/dx)^T (s_adc delta)`` |

For linear cells and exact converters ``r = W_prog(W) x``. Otherwise ``r`` contains every
deterministic part of a read: analog levels of the DAC, current-voltage law of the cells, loss in
the wires, gain, offset and nonlinearity of the readout. All rules go straight through rounding and
read noise, and the digital scale of a saturated column, its largest weight, counts as a constant.
``x`` is the input as coded by the DAC.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, TypeVar

from torch import Tensor

from cimsim.array import CellWeights
from cimsim.errors import CimsimError
from cimsim.rule_names import RULE_NAMES, described_rules, letter_of_rule

AtColumns = TypeVar("AtColumns")


class BackwardContext(Protocol[AtColumns]):
    """The operations that a backward rule combines.

    Gradients at the columns, ``dz``, are opaque: they are arguments of other operations. Results
    have the shapes of input and weight.
    """

    @property
    def weight(self) -> Tensor:
        """The digital weight, ``W``, in cells."""

    @property
    def programmed(self) -> CellWeights:
        """The weights that the chip held, ``W_prog``."""

    def delta(self) -> AtColumns:
        """``dL/dy`` at every tile."""

    def delta_through_adc(self) -> AtColumns:
        """``s_adc dL/dy`` at every tile."""

    def at_input(self, dz: AtColumns, weight: Tensor | CellWeights) -> Tensor | None:
        """``weight^T dz``; None if the input needs no gradient."""

    def through_dac(self, dx: Tensor | None) -> Tensor | None:
        """``s_dac dx``; may overwrite ``dx``."""

    def straight_through(self, dz: AtColumns) -> Tensor | None:
        """``dz x^T``; None if the weight needs no gradient."""

    def through_programming(self, dz: AtColumns) -> Tensor | None:
        """``(dz x^T) dW_prog/dW`` at the chip's own draws: the gradient of state-dependent noise,
        of drift, and of the noise that scales with a column's largest weight. The factor of drift
        compensation counts as a constant. None if the weight needs no gradient."""

    def through_response(self) -> Gradients:
        """``((dr/dx)^T (s_adc dL/dy), (dr/dW)^T (s_adc dL/dy))`` of the mean result ``r(x, W)`` of
        a read, at the chip's own draws; None for an input that needs no gradient."""


Gradients = tuple[Tensor | None, Tensor | None]


class BackwardRule(Protocol):
    """One choice of mean response. Stateless.

    Attributes:
        letter, name: names of the rule.
        needs_slopes: whether the forward pass saves masks of the saturated converters.
        needs_programmed: whether it uses the weights that the chip holds.
    """

    letter: ClassVar[str]
    name: ClassVar[str]
    needs_slopes: ClassVar[bool]
    needs_programmed: ClassVar[bool]

    def backward(self, context: BackwardContext[Any]) -> Gradients:
        """``(dL/dx, dL/dW)``."""


class Autograd:
    """Autograd through the programmed weights, the scale of their noise included."""

    letter: ClassVar[str] = "A"
    name: ClassVar[str] = RULE_NAMES[letter]
    needs_slopes: ClassVar[bool] = False
    needs_programmed: ClassVar[bool] = True

    def backward(self, context: BackwardContext[Any]) -> Gradients:
        """``(W_prog^T delta, (delta x^T) dW_prog/dW)``."""
        dz = context.delta()
        return context.at_input(dz, context.programmed), context.through_programming(dz)


class WeightStraightThrough:
    """Programmed weights for the input's gradient, identity for the weight's."""

    letter: ClassVar[str] = "B"
    name: ClassVar[str] = RULE_NAMES[letter]
    needs_slopes: ClassVar[bool] = False
    needs_programmed: ClassVar[bool] = True

    def backward(self, context: BackwardContext[Any]) -> Gradients:
        """``(W_prog^T delta, delta x^T)``."""
        dz = context.delta()
        return context.at_input(dz, context.programmed), context.straight_through(dz)


class OutputStraightThrough:
    """The array is replaced by its digital layer, ``m = W x``."""

    letter: ClassVar[str] = "C"
    name: ClassVar[str] = RULE_NAMES[letter]
    needs_slopes: ClassVar[bool] = False
    needs_programmed: ClassVar[bool] = False

    def backward(self, context: BackwardContext[Any]) -> Gradients:
        """``(W^T delta, delta x^T)``."""
        dz = context.delta()
        return context.at_input(dz, context.weight), context.straight_through(dz)


class ClippedStraightThrough:
    """Digital weights between saturating converters, ``m = clip(W clip(x))``."""

    letter: ClassVar[str] = "E"
    name: ClassVar[str] = RULE_NAMES[letter]
    needs_slopes: ClassVar[bool] = True
    needs_programmed: ClassVar[bool] = False

    def backward(self, context: BackwardContext[Any]) -> Gradients:
        """``(s_dac W^T (s_adc delta), (s_adc delta) x^T)``."""
        dz = context.delta_through_adc()
        dx = context.through_dac(context.at_input(dz, context.weight))
        return dx, context.straight_through(dz)


class ProgrammedMean:
    """The mean read of the programmed cells between saturating converters, ``m = clip(r(clip(x),
    W))``."""

    letter: ClassVar[str] = "F"
    name: ClassVar[str] = RULE_NAMES[letter]
    needs_slopes: ClassVar[bool] = True
    needs_programmed: ClassVar[bool] = True

    def backward(self, context: BackwardContext[Any]) -> Gradients:
        """``(s_dac (dr/dx)^T (s_adc delta), (dr/dW)^T (s_adc delta))``."""
        dx, dw = context.through_response()
        return context.through_dac(dx), dw


RULES: dict[str, BackwardRule] = {
    rule.letter: rule
    for rule in (
        Autograd(),
        WeightStraightThrough(),
        OutputStraightThrough(),
        ClippedStraightThrough(),
        ProgrammedMean(),
    )
}
"""The rules by their letters."""

DEFAULT_RULE = "F"


def backward_rule(rule: str) -> BackwardRule:
    """The rule with that letter or name.

    Raises:
        CimsimError: if there is none.

    >>> backward_rule("output-ste").letter
    'C'
    """
    try:
        return RULES[letter_of_rule(rule).upper()]
    except (KeyError, AttributeError):
        raise CimsimError(
            f"there is no backward rule '{rule}'; choose one of {described_rules()}"
        ) from None
