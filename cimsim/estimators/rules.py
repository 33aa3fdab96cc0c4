"""The backward rules: what gradient training sees through an array.

Forward, ``y = S(x, W; xi)`` is the array as it is. Backward is the vector-Jacobian product of a
mean response ``m(x, W)``, as if ``y = m + stop_gradient(S - m)``. The rules differ in ``m`` only;
``delta`` is ``dL/dy``, ``s_adc`` and ``s_dac`` are the slopes of the saturating converters (1
inside the range, 0 outside), ``W_prog(W)`` are the weights that the chip holds. The letters name
the rules in configurations and reports.

| rule | dL/dW                              | dL/dx                            |
|------|------------------------------------|----------------------------------|
| A    | ``(delta x^T) dW_prog/dW``         | ``W_prog^T delta``               |
| B    | ``delta x^T``                      | ``W_prog^T delta``               |
| C    | ``delta x^T``                      | ``W^T delta``                    |
| E    | ``(s_adc delta) x^T``              | ``s_dac W^T (s_adc delta)``      |
| F    | ``((s_adc delta) x^T) dW_prog/dW`` | ``s_dac W_prog^T (s_adc delta)`` |

Rounding and read noise are passed straight through by all of them. ``x`` is the input as the DAC
coded it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, TypeVar

from torch import Tensor

from cimsim.array import Programmed
from cimsim.errors import CimsimError

AtColumns = TypeVar("AtColumns")


class Seen(Protocol[AtColumns]):
    """What a forward left behind for its backward rule. Gradients at the columns, ``dz``, are for
    handing on only; results are in the shapes of input and weight."""

    @property
    def weight(self) -> Tensor:
        """The digital weight, ``W``, in cells."""

    @property
    def programmed(self) -> Programmed:
        """The weights that the chip held, ``W_prog``."""

    def delta(self) -> AtColumns:
        """``dL/dy`` at every tile."""

    def delta_through_adc(self) -> AtColumns:
        """``s_adc dL/dy`` at every tile."""

    def at_input(self, dz: AtColumns, weight: Tensor | Programmed) -> Tensor | None:
        """``weight^T dz``; None if the input wants no gradient."""

    def through_dac(self, dx: Tensor | None) -> Tensor | None:
        """``s_dac dx``; may overwrite ``dx``."""

    def straight(self, dz: AtColumns) -> Tensor:
        """``dz x^T``."""

    def through_programming(self, dz: AtColumns) -> Tensor:
        """``(dz x^T) dW_prog/dW`` at the chip's own draws: the gradient of state-dependent noise,
        of drift, and of the noise that scales with a column's largest weight. The factor of drift
        compensation counts as a constant."""


Gradients = tuple[Tensor | None, Tensor]


class BackwardRule(Protocol):
    """One choice of mean response. Stateless; ``needs_slopes`` asks the forward to keep masks."""

    letter: ClassVar[str]
    needs_slopes: ClassVar[bool]

    def backward(self, seen: Seen[Any]) -> Gradients:
        """``(dL/dx, dL/dW)``."""


class FullReparameterized:
    """A: autograd through the programmed weights, the scale of their noise included."""

    letter: ClassVar[str] = "A"
    needs_slopes: ClassVar[bool] = False

    def backward(self, seen: Seen[Any]) -> Gradients:
        """``(W_prog^T delta, (delta x^T) dW_prog/dW)``."""
        dz = seen.delta()
        return seen.at_input(dz, seen.programmed), seen.through_programming(dz)


class WeightStraightThrough:
    """B: programmed weights for the input's gradient, identity for the weight's."""

    letter: ClassVar[str] = "B"
    needs_slopes: ClassVar[bool] = False

    def backward(self, seen: Seen[Any]) -> Gradients:
        """``(W_prog^T delta, delta x^T)``."""
        dz = seen.delta()
        return seen.at_input(dz, seen.programmed), seen.straight(dz)


class OutputStraightThrough:
    """C: the array is taken for its digital layer, ``m = W x``."""

    letter: ClassVar[str] = "C"
    needs_slopes: ClassVar[bool] = False

    def backward(self, seen: Seen[Any]) -> Gradients:
        """``(W^T delta, delta x^T)``."""
        dz = seen.delta()
        return seen.at_input(dz, seen.weight), seen.straight(dz)


class SurrogateMean:
    """E: digital weights between saturating converters, ``m = clip(W clip(x))``."""

    letter: ClassVar[str] = "E"
    needs_slopes: ClassVar[bool] = True

    def backward(self, seen: Seen[Any]) -> Gradients:
        """``(s_dac W^T (s_adc delta), (s_adc delta) x^T)``."""
        dz = seen.delta_through_adc()
        dx = seen.through_dac(seen.at_input(dz, seen.weight))
        return dx, seen.straight(dz)


class ProgrammedMean:
    """F: programmed weights between saturating converters, ``m = clip(W_prog(W) clip(x))``."""

    letter: ClassVar[str] = "F"
    needs_slopes: ClassVar[bool] = True

    def backward(self, seen: Seen[Any]) -> Gradients:
        """``(s_dac W_prog^T (s_adc delta), ((s_adc delta) x^T) dW_prog/dW)``."""
        dz = seen.delta_through_adc()
        dx = seen.through_dac(seen.at_input(dz, seen.programmed))
        return dx, seen.through_programming(dz)


RULES: dict[str, BackwardRule] = {
    rule.letter: rule
    for rule in (
        FullReparameterized(),
        WeightStraightThrough(),
        OutputStraightThrough(),
        SurrogateMean(),
        ProgrammedMean(),
    )
}
DEFAULT_RULE = "F"


def backward_rule(letter: str) -> BackwardRule:
    """The rule of that letter.

    Raises:
        CimsimError: if there is none.

    >>> backward_rule("C").needs_slopes
    False
    """
    try:
        return RULES[letter.upper()]
    except (KeyError, AttributeError):
        names = ", ".join(RULES)
        raise CimsimError(f"there is no backward rule '{letter}'; choose one of {names}") from None
