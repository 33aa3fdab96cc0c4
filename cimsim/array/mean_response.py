"""The mean response of an array whose readouts are no plain product of codes and weights.

The deterministic part of a read, computed by the functions that simulate the read itself, under
autograd: analog levels of the DAC, current-voltage law of the cells, wires, and errors of the
readout. Rounding is straight through, and read noise, whose mean is 0, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cimsim.array.chip import Solution, make_chip
from cimsim.array.circuit import Circuit, Factors
from cimsim.array.masks import Mask
from cimsim.array.plain import currents, gain_and_offset, nonzero, scatter_to_columns
from cimsim.array.types import Chip, ConverterRanges, Term
from cimsim.circuits.adc import distorted
from cimsim.circuits.dac import spread_planes
from cimsim.dtypes import as_dtype
from cimsim.kernels.products import Product


class ChipName(NamedTuple):
    """Seed, age in s, write cycle, and attempts to write each weight, which identify a chip."""

    seed: int
    age_s: float
    cycle: int
    attempts: Tensor | None = None


def response_vjp(
    circuit: Circuit,
    codes: Tensor,
    weight: Tensor,
    ranges: ConverterRanges,
    name: ChipName,
    dy: Tensor,
    mask: Mask | None,
    precision: torch.dtype | None = None,
    want_weight: bool = True,
    want_input: bool = True,
    known: Solution | None = None,
) -> tuple[Tensor | None, Tensor | None]:
    """Vector-Jacobian product of the mean response ``m(x, W)``, for a circuit that
    :attr:`~cimsim.array.circuit.Circuit.bends`.

    The input's gradient of gated cells neglects the resistance of their lines.

    Args:
        circuit: the circuit of the array.
        codes: inputs in steps of the DAC; the inputs themselves if it is ideal.
        weight: the layer's weight.
        ranges: full scales of the converters.
        name: the chip, which is programmed again.
        dy: gradient of the output.
        mask: currents at which the ADC did not saturate; None for an ideal ADC. The others have
            slope 0.
        precision: dtype of the products; None for the dtype of ``codes``.
        want_weight: whether the weight needs a gradient.
        want_input: whether the input needs a gradient, which a first layer's does not.
        known: what programming the chip has found.

    Returns:
        ``dL/dx``, without the saturation of the DAC, in the shape of ``codes``, or None, and
        ``dL/dW`` in the shape of ``weight``, or None. The factor of drift compensation counts as a
        constant.
    """
    dac = circuit.dac_codes(ranges)
    step = codes.new_ones(()) if dac is None else dac.size.to(codes.dtype)
    by_bits = circuit.planes is not None
    with torch.enable_grad():
        weight = weight.detach().requires_grad_(want_weight)
        chip = _programmed(circuit, weight, name, known)
        # The bits of a serial input have no derivative with respect to its code; the gradient
        # passes straight through each bit.
        rows = circuit.drive(codes) if by_bits else codes
        rows = rows.detach().requires_grad_(want_input)
        drive = rows if by_bits else circuit.drive(rows)
        read, subtracted = _read(circuit, drive, chip, ranges, step, precision)
    dy = dy if circuit.planes is None else spread_planes(dy, circuit.planes) * step
    outputs, gradients = [read], [scatter_to_columns(circuit, dy, mask, None, dy.dtype)]
    if subtracted is not None:  # digitally, where nothing saturates
        outputs.append(subtracted)
        gradients.append(-scatter_to_columns(circuit, dy, None, None, dy.dtype))
    operands = [rows] * want_input + [weight] * want_weight
    found = list(torch.autograd.grad(outputs, operands, gradients))
    d_weight = found.pop() if want_weight else None
    if not want_input:
        return None, d_weight
    (d_rows,) = found
    if circuit.planes is not None:
        planes = circuit.planes
        d_rows = d_rows.unflatten(0, (planes, -1)).sum(0) / ((1 << planes) - 1)
    return d_rows / step, d_weight


def products_vjp(
    circuit: Circuit,
    codes: Tensor,
    weight: Tensor,
    ranges: ConverterRanges,
    name: ChipName,
    at_columns: Tensor,
    want_weight: bool = True,
    want_input: bool = True,
    known: Solution | None = None,
) -> tuple[Tensor | None, Tensor | None]:
    """:func:`response_vjp` for a circuit that :attr:`~cimsim.array.circuit.Circuit.sums_products`.

    Its output is not computed: with ``s`` the scales of the columns, ``c_t`` what the rows are
    driven with and ``G_t`` the relative currents of the cells for each term,

        y = s sum_t c_t G_t,   dL/dc_t = (s dy) G_t^T,   dL/dG_t = (s dy)^T c_t

    Args:
        circuit, codes, weight, ranges, name, want_weight, want_input, known: as for
            :func:`response_vjp`.
        at_columns: ``s dy`` at every column, in the shape of the currents, and 0 where the ADC
            saturated; the products have its dtype.

    Returns:
        As :func:`response_vjp`.
    """
    dac = circuit.dac_codes(ranges)
    with torch.enable_grad():
        weight = weight.detach().requires_grad_(want_weight)
        chip = _programmed(circuit, weight, name, known)
        rows = codes.detach().requires_grad_(want_input)
        terms = list(circuit.factors(circuit.drive(rows), chip.terms))
    d_rows = _by_rows(circuit, rows, terms, at_columns) if want_input else None
    step = codes.new_ones(()) if dac is None else dac.size
    d_weight = _by_weight(circuit, weight, chip, terms, at_columns, step) if want_weight else None
    return d_rows, d_weight


def _by_rows(
    circuit: Circuit, rows: Tensor, terms: Sequence[Factors], at_columns: Tensor
) -> Tensor:
    applied = [drive for drive, _, _ in terms]
    multiply = Product(split=circuit.rounds, wide=False)
    gradients = [
        circuit.tiling.input_grad(
            *(at_columns, as_dtype(relative.detach() * factor, at_columns.dtype), rows.shape),
            multiply,
        )
        for _, relative, factor in terms
    ]
    gradients = [as_dtype(gradient, rows.dtype) for gradient in gradients]
    (d_rows,) = torch.autograd.grad(applied, rows, gradients)
    return d_rows


def _by_weight(
    circuit: Circuit,
    weight: Tensor,
    chip: Chip,
    terms: Sequence[Factors],
    at_columns: Tensor,
    step: Tensor,
) -> Tensor:
    outputs, gradients, by_scale = [chip.scale], [], torch.zeros_like(chip.scale)
    for drive, relative, factor in terms:
        applied = as_dtype(drive.detach(), at_columns.dtype)
        by_cells = circuit.tiling.cells_grad(at_columns, applied, Product(split=circuit.rounds))
        by_cells = as_dtype(by_cells, weight.dtype) * (step * factor)
        by_scale += (by_cells * relative.detach()).sum(-1)
        if relative.requires_grad:  # an offset's does not
            outputs.append(relative)
            gradients.append(by_cells)
    gradients.insert(0, by_scale / nonzero(chip.scale.detach()))  # it multiplies all currents
    (d_weight,) = torch.autograd.grad(outputs, weight, gradients)
    return d_weight


def _programmed(circuit: Circuit, weight: Tensor, name: ChipName, known: Solution | None) -> Chip:
    """The chip without read noise, differentiable in ``weight``."""
    to_cells = circuit.tiling.to_cells
    return make_chip(
        *(to_cells(weight), circuit.profile, name.seed, name.age_s, True, name.cycle),
        read_noise=False,
        attempts=None if name.attempts is None else to_cells(name.attempts),
        known=known,
    )


def _read(
    circuit: Circuit,
    drive: Tensor,
    chip: Chip,
    ranges: ConverterRanges,
    step: Tensor,
    precision: torch.dtype | None,
) -> tuple[Tensor, Tensor | None]:
    """Mean results of all columns in units of the output, and what is subtracted from them behind
    the ADC."""
    tiling, adc, profile = circuit.tiling, circuit.adc, circuit.profile
    out_step = drive.new_ones(())
    if adc is not None:
        out_step = circuit.at_columns(ranges.adc, chip.scale.shape[1]) / adc.levels
    gain = (drive.new_ones(()) if circuit.planes is not None else step) / out_step
    z, subtracted = currents(circuit, drive, chip, gain, None, precision)
    if chip.gated_S is not None:
        # Switching rows on and off has no derivative; without line resistance, it would.
        cells = tuple(Term(term.shape, term.relative.detach()) for term in chip.terms)
        direct = chip._replace(terms=cells, gated_S=None, straight=None)
        alone, _ = currents(circuit, drive, direct, gain.detach(), None, precision)
        z = z + (alone - alone.detach())
    if adc is not None:
        own = gain_and_offset(circuit, chip)
        z = distorted(z, profile.adc, adc.levels, *own, profile.temperature_C)
    scale = tiling.per_column(chip.scale * out_step)
    return z * scale, None if subtracted is None else subtracted * scale
