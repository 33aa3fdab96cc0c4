"""The mean response of an array whose readouts are no plain product of codes and weights.

The deterministic part of a read, computed by the functions that simulate the read itself, under
autograd: analog levels of the DAC, current-voltage law of the cells, wires, and errors of the
readout. Rounding is straight through, and read noise, whose mean is 0, is left out.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cimsim.array.chip import Solution, make_chip
from cimsim.array.circuit import Circuit
from cimsim.array.masks import Mask
from cimsim.array.plain import currents, gain_and_offset, scatter_to_columns
from cimsim.array.types import Chip, ConverterRanges, Term
from cimsim.circuits.adc import distorted
from cimsim.circuits.dac import spread_planes


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
    tiling, dac = circuit.tiling, circuit.dac_codes(ranges)
    step = codes.new_ones(()) if dac is None else dac.size.to(codes.dtype)
    by_bits = circuit.planes is not None
    with torch.enable_grad():
        weight = weight.detach().requires_grad_(want_weight)
        cells = tiling.to_cells(weight)
        again = None if name.attempts is None else tiling.to_cells(name.attempts)
        chip = make_chip(
            *(cells, circuit.profile, *name[:2], True, name.cycle),
            read_noise=False,
            attempts=again,
            known=known,
        )
        # The bits of a serial input have no derivative by its code; each goes straight through.
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
        # Rows are switched on and off, which has no derivative. Without the lines it would have.
        cells = tuple(Term(term.shape, term.relative.detach()) for term in chip.terms)
        direct = chip._replace(terms=cells, gated_S=None, straight=None)
        alone, _ = currents(circuit, drive, direct, gain.detach(), None, precision)
        z = z + (alone - alone.detach())
    if adc is not None:
        own = gain_and_offset(circuit, chip)
        z = distorted(z, profile.adc, adc.levels, *own, profile.temperature_C)
    scale = tiling.per_column(chip.scale * out_step)
    return z * scale, None if subtracted is None else subtracted * scale
