"""Variation by place: what cells that lie close together, or on the same tile, have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic_core import InitErrorDetails

from cimsim.profile.base import fault
from cimsim.profile.cycles import SHARE, WrittenEffect
from cimsim.profile.fields import Fraction, NonNegative, Positive


class PlacedVariation(WrittenEffect):
    """Base of what depends on where a cell lies."""

    pair: Literal["apart", "adjacent"] = Field(
        default="apart",
        description="whether the cells of a weight lie on crossbars of their own, or side by side, "
        "where they vary alike",
    )
    device_share: Fraction = Field(default=1.0, description=SHARE)


class CorrelatedVariation(PlacedVariation):
    """Conductances that vary smoothly over a tile, as film thickness and line width do.

        g = bounded(g_programmed * (1 + strength * sigma_of_g * f(row, column)))
        f ~ N(0, 1), with the correlation rho between cells dr rows and dc columns apart
        exponential: rho = exp(-dr / l_r - dc / l_c)
        gaussian: rho = exp(-(dr / l_r)^2 - (dc / l_c)^2)

    ``l_r`` and ``l_c`` are ``length_in_rows`` and ``length_in_columns``. Tiles are independent; a
    layer that is wider than ``array.columns`` lies on several of them. Cells that were written and
    verified vary as well, as this acts on what programming has left. The field is the same in
    every write cycle, but for what ``device_share`` leaves to the cycle.
    Units: lengths in cells; sigma_of_g is a fraction of the cell's conductance.
    Source: exponential, the first-order autoregression of spatial statistics; gaussian, N. Cressie,
    Statistics for Spatial Data (1993); the numbers are the device's.
    """

    kind: Literal["correlated"] = "correlated"
    sigma_of_g: NonNegative = Field(description="spread as a fraction of the cell's conductance")
    length_in_rows: Positive = Field(description="correlation length along a column, in rows")
    length_in_columns: Positive = Field(description="correlation length along a row, in columns")
    kernel: Literal["exponential", "gaussian"] = Field(
        default="exponential", description="how the correlation falls with the distance"
    )


class TileVariation(PlacedVariation):
    """A gain and an offset of all conductances of a tile.

        g = bounded(g_programmed * (1 + strength * sigma_gain * a) + strength * sigma_offset * b)
        sigma_offset = sigma_offset_of_g_max * g_max,    a, b ~ N(0, 1), once per tile

    An offset of cells that lie side by side cancels in their difference, as a gain does not. Gains
    and offsets of the converters are ``adc.errors``. Units: g in uS; sigma_gain is a fraction of
    the conductance, sigma_offset_of_g_max one of g_max.
    Source: textbook model; the spreads are the chip's.
    """

    kind: Literal["tile"] = "tile"
    sigma_gain: NonNegative = Field(default=0.0, description="spread of the gain from tile to tile")
    sigma_offset_of_g_max: NonNegative = Field(
        default=0.0, description="spread of the offset from tile to tile as a fraction of g_max"
    )

    @classmethod
    def _faults_of_raw(cls, data: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        yield from super()._faults_of_raw(data)
        if not {"sigma_gain", "sigma_offset_of_g_max"} & set(data):
            yield fault(
                "missing_key",
                "tiles do not differ here; give 'sigma_gain' or 'sigma_offset_of_g_max'",
                (),
            )


Variation = Annotated[CorrelatedVariation | TileVariation, Field(discriminator="kind")]
