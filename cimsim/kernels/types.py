"""Types that the back ends share, and the contract that each of them fulfills."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor

from cimsim.kernels.packing import PackedPhysics

Compensation: TypeAlias = Literal["none", "per-column", "global"]
"""Drift compensation: none, one factor for each column, or one for all."""

Draws = tuple[tuple[tuple[int, float], ...], ...]
"""For each static normal number of a cell, the seeds and sizes of the numbers that it sums."""


class Dac(NamedTuple):
    """The codes of a DAC.

    Attributes:
        full_scale: the input at the highest code, one number.
        levels: the highest code.
        lowest: the lowest code: ``-levels``, or 0 for inputs without a sign.
    """

    full_scale: Tensor
    levels: int
    lowest: int

    @property
    def size(self) -> Tensor:
        """The input per code."""
        return self.full_scale / self.levels

    @property
    def byte(self) -> torch.dtype:
        """The type of one byte that holds codes of up to 8 bits."""
        return torch.uint8 if self.lowest == 0 else torch.int8


class Lines(NamedTuple):
    """Memory layout of currents: ``[outer, tiles, lines, line]``, contiguous.

    A line holds one value for each column, or (``of_columns`` false) all values of one column. The
    tiles of group ``g`` serve the outer parts ``g``, ``g + groups``, ``g + 2 * groups`` and so on.
    """

    outer: int
    groups: int
    tiles: int
    lines: int
    line: int
    of_columns: bool

    @property
    def mask_bytes(self) -> int:
        """Size of a mask with one bit per current, in which every line begins with a new byte."""
        return self.outer * self.tiles * self.lines * bytes_for_bits(self.line)


class Images(NamedTuple):
    """Sizes of a convolution as :func:`torch.nn.functional.conv2d` computes it, with a group of
    kernels for each tile; channels and columns are those of one tile."""

    images: int
    tiles: int
    channels: int
    columns: int
    height: int
    width: int
    kernel_height: int
    kernel_width: int
    stride_down: int
    stride_right: int
    padding_down: int
    padding_right: int
    out_height: int
    out_width: int


class Windows(NamedTuple):
    """Sizes of max pooling as :func:`torch.nn.functional.max_pool2d` computes it, without
    dilation; ``images`` are those of all channels."""

    images: int
    height: int
    width: int
    kernel_height: int
    kernel_width: int
    stride_down: int
    stride_right: int
    padding_down: int
    padding_right: int
    out_height: int
    out_width: int


class Cells(NamedTuple):
    """Result of :meth:`ProgrammingBackend.program`.

    Attributes:
        relative: relative currents ``[tiles, columns, rows]``.
        scale: largest weight of each column ``[tiles, columns]``, or the scale that was given;
            times the factor of drift compensation.
        slope: derivative of ``relative`` by ``weight / scale``; None if not requested.
        variance: variance of a read of ``relative``; None without read noise.
    """

    relative: Tensor
    scale: Tensor
    slope: Tensor | None
    variance: Tensor | None


class Codes(NamedTuple):
    """Result of :meth:`Backend.encode`.

    Attributes:
        values: codes as floats.
        squares: their squares, for the variance of read noise; None if not requested.
        stored: codes as bytes, to be saved for backward; None if not requested.
        mask: one bit per value that did not saturate; None if not requested.
    """

    values: Tensor
    squares: Tensor | None
    stored: Tensor | None
    mask: Tensor | None


def bytes_for_bits(bits: int) -> int:
    """Number of bytes that hold ``bits`` bits."""
    return -(-bits // 8)


class Backend(Protocol):
    """Compiled functions for tensors of one kind of processor, in float32; on a GPU inputs, outputs
    and their gradients may be in bf16 or float16.

    A module is a back end if it has these names. The functions check nothing: operands are
    contiguous unless stated otherwise.
    """

    @property
    def programs(self) -> bool:
        """Whether it is a :class:`ProgrammingBackend`."""

    def variance_dtype(self, products: int) -> torch.dtype:
        """Dtype for ``products`` multiplications of variances of read noise: bf16 where that is
        faster.

        Rounding both factors and the result to 8 bits changes the noise by less than 0.3 %.
        """

    def normal(self, out: Tensor, seed: int) -> None:
        """Fill ``out`` with N(0, 1): the same numbers for the same seed and position."""

    def encode(
        self,
        x: Tensor,
        dac: Dac,
        dtype: torch.dtype | None = None,
        squares: torch.dtype | None = None,
        want_stored: bool = False,
        want_mask: bool = False,
    ) -> Codes:
        """The DAC's codes of ``x`` in ``dtype``, that of ``x`` if it is None, and their squares in
        the dtype ``squares`` if one is given. Only codes of up to 8 bits can be stored as bytes. On
        the CPU, ``dtype`` may be that of the bytes; if one is NaN, the codes are in float32.

        Values and squares may be in memory that the next call overwrites.
        """

    def digitize(
        self,
        z: Tensor,
        variance: Tensor | None,
        lines: Lines,
        dac: Dac | None,
        adc_full_scale: Tensor,
        codes: tuple[int, int],
        scale: Tensor,
        bias: Tensor | None,
        noise_steps: float,
        seeds: tuple[int, int],
        y: Tensor,
        want_mask: bool,
    ) -> Tensor | None:
        """The ADC and the digital sum: ``y = sum_tiles scale * lsb * code(z / lsb + xi) + bias``.

        Args:
            z: currents in units of relative weight times DAC codes, laid out as ``lines``, in any
                floating-point dtype.
            variance: of the currents by read noise, like ``z``, in float32 or bf16.
            lines: the layout.
            dac: the codes of the input; None for an input in its own units.
            adc_full_scale: one number, one for each of ``groups * tiles``, or one for each column
                of these.
            codes: lowest and highest.
            scale: per column, ``[groups * tiles, columns]``.
            bias: per output.
            noise_steps: standard deviation of the ADC's own noise in its steps.
            seeds: of the read noise and of the ADC's noise.
            y: the output, in any floating-point dtype on a GPU; overwritten.
            want_mask: whether to return a mask.

        Returns:
            One bit per conversion that did not saturate (:attr:`Lines.mask_bytes`), or None. Bits
            behind the end of a line have no meaning.
        """

    def scatter_to_columns(
        self,
        dy: Tensor,
        mask: Tensor | None,
        lines: Lines,
        scale: Tensor | None,
        shape: tuple[int, ...],
        dtype: torch.dtype,
    ) -> Tensor:
        """``mask * scale * dy`` for every tile, in ``shape`` and ``dtype``; layout and mask as in
        :meth:`digitize`. It may be in memory that the next call overwrites."""

    def mask_gradient(
        self,
        dx: Tensor,
        x: Tensor | None,
        mask: Tensor | None,
        dac: Dac,
        want_range: bool = False,
    ) -> Tensor | None:
        """Set ``dx`` to 0 where the DAC saturated, by its ``mask``, or by its input ``x`` if the
        mask is None.

        With ``want_range``, which needs ``x``, return the gradient of the DAC's full scale: the sum
        of ``dx`` times the derivative of the converted value, straight through the rounding.
        """

    def fingerprint(self, values: Tensor) -> int:
        """A 64-bit hash of the bytes of ``values``, of any real dtype."""


class ProgrammingBackend(Backend, Protocol):
    """A back end that also programs cells; weights have adjacent rows, other strides are free."""

    def program(
        self,
        weight: Tensor,
        scale: Tensor | None,
        packed: PackedPhysics,
        draws: Draws,
        age_s: float,
        want_slope: bool = False,
        single_use: bool = False,
        compensation: Compensation = "none",
    ) -> Cells:
        """Program ``weight`` on cells, and age them.

        Args:
            weight: ``[tiles, columns, rows]``.
            scale: ``[tiles, columns]``; None for the largest weight of each column.
            packed: the physics.
            draws: for each of ``packed.draws`` (one number per cell) and then each read noise (one
                number for all cells of a weight), the seeds and sizes of the numbers to sum; empty
                for a read noise without a slow part.
            age_s: seconds since programming.
            want_slope: return the slope instead of the variance.
            single_use: write the result to memory that the next call overwrites.
            compensation: multiply the scale by the sum of the absolute relative weights before
                drift over that after it, of each column or of all.
        """

    def vjp_programming(
        self,
        weight: Tensor,
        cells: Cells | None,
        packed: PackedPhysics,
        draws: Draws,
        age_s: float,
        gradient: Tensor,
        dac: Dac | None,
        out: Tensor,
    ) -> None:
        """Write ``dL/dweight`` to ``out``, which has the strides of ``weight``.

        ``packed`` must have no digital offset. ``gradient``, in any floating-point dtype, times the
        DAC's step is ``dL/d relative``, ``[tiles, columns, rows]``; the scale is the largest weight
        of each column, which receives the gradient of the scale. Without ``cells`` (with slopes),
        the cells are programmed again.
        """
