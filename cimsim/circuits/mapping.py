"""Weights on conductances: pairs, cells around the middle of their range, and the digits of slices.

A relative weight ``r = w / scale`` in [-1, 1] becomes the conductances of its cells, and cells
become the relative weight that they stand for. Physical columns are those of the tile: one for
each output and slice (the slices of an output are ``columns`` apart), and after them the reference
where the mapping has one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from cimsim.profile import Array, Cell


@dataclass(frozen=True)
class Mapping:
    """How a weight lies on cells; ``span = g_max - g_min``, ``g_mid`` the middle of the two.

    | kind              | cells                                      | relative weight         |
    |-------------------|--------------------------------------------|-------------------------|
    | differential-pair | ``G± = g_min + max(±r, 0) span``           | ``(G+ - G-) / span``    |
    | offset-column     | ``G = g_mid + r span/2``, G_ref = g_mid    | ``2 (G - G_ref) / span`` |
    | single-device     | ``G = g_mid + r span/2``                   | ``2 (G - g_mid) / span`` |
    | offset-current    | ``G = g_mid + r span/2``                   | ``2 (G - g_mid) / span`` |

    The last two differ in where ``g_mid`` is subtracted: behind the ADC and before it.
    The cell of a pair that carries nothing rests at ``g_min`` and is programmed like any other.
    With ``levels = n`` states, ``r`` is rounded to what its cells can hold; over ``slices = S`` of
    them ``|r|`` (or ``(r + 1)/2`` without a pair) is a number of S digits in base n, lowest first.
    Gradients pass the rounding straight through.
    """

    cell: Cell
    array: Array

    @property
    def span_uS(self) -> float:
        """``g_max - g_min`` in µS."""
        return self.cell.g_max_uS - self.cell.g_min_uS

    @property
    def paired(self) -> bool:
        """Whether two cells hold one weight."""
        return self.array.mapping == "differential-pair"

    @property
    def reference(self) -> bool:
        """Whether one more column of each tile holds the offset that is subtracted."""
        return self.array.mapping == "offset-column" and not self.signed_cells

    @property
    def signed_cells(self) -> bool:
        """Whether a cell's own range is symmetric around 0, so that nothing is subtracted."""
        return self._middle_uS == 0

    @property
    def digital_offset(self) -> float:
        """Relative current of a cell in the middle of the range, which is subtracted digitally,
        behind the ADC; 0 where nothing is."""
        return self._offset if self.array.mapping == "single-device" else 0.0

    @property
    def analog_offset(self) -> float:
        """The same where an exact current is subtracted before the ADC."""
        return self._offset if self.array.mapping == "offset-current" else 0.0

    @property
    def full_cell(self) -> float:
        """Relative current of one cell at ``g_max``."""
        return self.cell.g_max_uS / self._unit_uS

    @property
    def _unit_uS(self) -> float:
        return self.span_uS if self.paired else self.span_uS / 2

    def significance(self) -> tuple[float, ...]:
        """What each slice counts for, lowest first; they add up to 1.

        ``(n - 1) n^s / (n^S - 1)`` for slice s of S in base n.
        """
        slices, n = self.array.slices, self.cell.levels
        if slices == 1 or n is None:
            return (1.0,)
        return tuple((n - 1) * n**s / (n**slices - 1) for s in range(slices))

    def conductances(self, r: Tensor) -> Tensor:
        """Target conductances in µS of the cells.

        ``r [tiles, columns, rows]`` gives ``[devices, tiles, slices * columns (+ 1), rows]``, with
        two devices for a pair and the reference column last where cells hold it.
        """
        held = torch.cat(self._slices(r), dim=-2) if self.cell.levels is not None else r
        if not self.paired:
            g_uS = (held + 1.0) * (self.span_uS / 2) + self.cell.g_min_uS
            if self.reference:
                g_uS = F.pad(g_uS, (0, 0, 0, 1), value=self._middle_uS)
            return g_uS.unsqueeze(0)
        # max(r, 0) = (|r| + r) / 2, so written because its slope at 0 is 1/2: the slopes of the two
        # cells then add up to 1 at a weight of exactly zero, as they do everywhere else.
        size = held.abs()
        return torch.stack((size + held, size - held)) * (self.span_uS / 2) + self.cell.g_min_uS

    def relative(self, g_uS: Tensor) -> Tensor:
        """Relative currents of the physical columns, ``[tiles, slices * columns (+ 1), rows]``.

        The reference, where there is one, is the last column and not yet subtracted, and neither is
        the digital offset. ``g_uS [devices, tiles, columns, rows]``.
        """
        relative = self.signed(g_uS).sum(0)
        return relative - self.analog_offset if self.analog_offset else relative

    def signed(self, g_uS: Tensor) -> Tensor:
        """Relative current of each cell by itself; same shape, devices first."""
        if self.paired:
            return torch.stack((g_uS[0], -g_uS[1])) / self._unit_uS
        return g_uS / self._unit_uS

    def weights(self, relative: Tensor) -> Tensor:
        """:meth:`relative` with the reference or the digital offset subtracted, ``[tiles, slices *
        columns, rows]``."""
        if self.reference:
            return relative[:, :-1] - relative[:, -1:]
        return relative - self.digital_offset if self.digital_offset else relative

    def variances(self, variance_uS2: Tensor) -> Tensor:
        """Variances of :meth:`relative` from those of the cells, in µS²; same shapes."""
        return variance_uS2.sum(0) / self._unit_uS**2

    @property
    def _offset(self) -> float:
        return self._middle_uS / self._unit_uS

    @property
    def _middle_uS(self) -> float:
        return (self.cell.g_min_uS + self.cell.g_max_uS) / 2

    def _slices(self, r: Tensor) -> list[Tensor]:
        """``r`` as its cells can hold it: one tensor of relative weights for each slice."""
        n, slices = self.cell.levels, self.array.slices
        assert n is not None
        fixed = r.detach()
        magnitude = fixed.abs() if self.paired else (fixed + 1.0) / 2
        number = (magnitude * (n**slices - 1)).round_()
        parts = []
        for _ in range(slices):
            rest = (number / n).floor_()
            digit = (number - rest * n) / (n - 1)
            number = rest
            value = digit * fixed.sign() if self.paired else digit * 2.0 - 1.0
            parts.append(value + (r - fixed))
        return parts


_SMALLEST_SCALE = 1e-30  # far below any weight, and its reciprocal far from overflow
_SHARED_BY = {"column": (-1,), "tile": (-2, -1), "layer": (-3, -2, -1)}


def weight_scale(w: Tensor, per: str = "column") -> Tensor:
    """The weight that full conductance stands for: the largest ``|w|``, at least 1e-30.

    ``w [tiles, columns, rows]`` gives ``[tiles, columns, 1]``, the largest of each column, tile or
    the whole layer. The floor keeps a column of zeros, and its gradient, finite; whatever its
    cells do counts for nothing.
    """
    scale = w.abs().amax(dim=_SHARED_BY[per], keepdim=True).clamp_min(_SMALLEST_SCALE)
    return scale.expand(w.shape[0], w.shape[1], 1)
