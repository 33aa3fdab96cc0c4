"""Types that flow through an array."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from torch import Tensor

from cimsim.array.masks import Mask
from cimsim.array.telegraph import Traps
from cimsim.circuits.adc import AdcState
from cimsim.kernels.types import Dac


class Term(NamedTuple):
    """A part of the current, ``shape(u) @ relative``; ``shape`` None is ``u`` itself."""

    shape: Callable[[Tensor], Tensor] | None
    relative: Tensor


class Chip(NamedTuple):
    """One sample of everything static, in the form that reads use.

    Attributes:
        terms: relative currents of the physical columns, ``[tiles, physical columns, rows]`` each
            (see :meth:`cimsim.circuits.mapping.Mapping.relative`), the first with the slow part of
            read noise; one, unless the cells are nonlinear.
        scale: digital factors behind the ADC, ``[tiles, columns]``: weight units, significance of a
            slice, drift compensation.
        read_variance: of the relative currents, shaped like a term; None without read noise.
        traps: cells with telegraph noise, one entry for each such effect.
        adc: static errors of the converters, or None.
        gated_S: conductances of gated cells in siemens ``[devices, tiles, rows, columns]``, whose
            currents are not a product with the input; None elsewhere. The currents of ``straight``
            are added to theirs.
        straight: relative currents of gated cells that are a product with the input: of the slow
            part of read noise, which ``terms`` include already. None if there are none.
        wired_uS: effective conductances of passive cells behind their wires in µS, ``[devices,
            tiles, columns, rows]``, from which a backward pass need not solve the wires again. None
            without wires, and with reference columns.
    """

    terms: tuple[Term, ...]
    scale: Tensor
    read_variance: Tensor | None
    traps: tuple[Traps, ...]
    adc: AdcState | None
    gated_S: Tensor | None
    straight: Tensor | None = None
    wired_uS: Tensor | None = None

    @property
    def relative(self) -> Tensor:
        """The part of the current that is linear in the input, reference columns included."""
        first, *others = self.terms
        if not others:
            return first.relative
        ohmic = [term.relative for term in others if term.shape is None]
        return sum(ohmic, first.relative)


class ConverterRanges(NamedTuple):
    """Full scales of the converters.

    Attributes:
        dac: a scalar in the units of the layer's input.
        adc: one or several (see :class:`cimsim.circuits.range_groups.RangeGroups`) in units of
            relative weight times input (a bit of it, if it is serial).
        adc_values: values of the ADC's codes over the range, if they were fitted to the layer's
            data.
    """

    dac: Tensor
    adc: Tensor
    adc_values: Tensor | None = None


class SaveOptions(NamedTuple):
    """Optional outputs of a multiplication, for its backward rule.

    Attributes:
        adc_mask, dac_mask: masks of the saturated converters.
        codes: the input's codes.
        by_adc_range: derivatives by the ranges of the ADC.
    """

    adc_mask: bool = True
    dac_mask: bool = True
    codes: bool = True
    by_adc_range: bool = False


SAVE_NOTHING = SaveOptions(adc_mask=False, dac_mask=False, codes=False)


class Readout(NamedTuple):
    """The result of a multiplication, and what :class:`SaveOptions` request; None for the rest.

    Attributes:
        y: the result.
        codes: the input's codes in the smallest type that holds them; the input itself if the DAC
            is ideal.
        dac_inside, adc_inside: mark values that did not saturate; None for an ideal converter.
        adc_slope: derivative of every value behind the ADC by its range, in units of the output.
    """

    y: Tensor
    codes: Tensor | None = None
    dac_inside: Mask | None = None
    adc_inside: Mask | None = None
    adc_slope: Tensor | None = None


class CellWeights(Protocol):
    """Weights that a chip holds, ``W_prog = values * scale``."""

    @property
    def scale(self) -> Tensor:
        """Digital factor of each column, ``[tiles, columns]``."""

    @property
    def values(self) -> Tensor:
        """Relative weights, ``[tiles, columns, rows]``; columns of slices included."""


class Held(NamedTuple):
    """:class:`CellWeights` of a chip that is programmed already."""

    values: Tensor
    scale: Tensor


class Programmed(CellWeights, Protocol):
    """Weights that a chip holds, programmed again from its seed.

    Attributes:
        gradient_slot: name of the scratch memory that :meth:`vjp` accepts its gradient in; None if
            the gradient must have its own memory.
    """

    gradient_slot: str | None

    def vjp(self, gradient: Tensor, dac: Dac | None) -> Tensor:
        """``dL/dW`` in the weight's shape; ``gradient``, in any floating-point dtype, times the
        DAC's step is ``dL/dvalues``.

        Differentiates the cells' physics, and the scale, which multiplies their noise.
        """
