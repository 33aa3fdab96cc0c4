"""Spatial variation: errors shared by neighboring cells or by the cells of a tile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from pydantic_core import InitErrorDetails

from cimsim.profile.base import issue
from cimsim.profile.cycles import SHARE, WrittenEffect
from cimsim.profile.fields import Fraction, NonNegative, Positive


class PlacedVariation(WrittenEffect):
    """Base class of variations that depend on the position of a cell."""

    pair: Literal["apart", "adjacent"] = Field(
        default="apart",
        description="placement of the cells of a weight: on separate crossbars, or next to each "
        "other, where they vary equally",
    )
    device_share: Fraction = Field(default=1.0, description=SHARE)


class CorrelatedVariation(PlacedVariation):
    """Conductances that vary smoothly over a tile, as film thickness and line width do.

        g = bounded(g_programmed * (1 + strength * sigma_of_g * f(row, column)))
        f ~ N(0, 1), with the correlation rho between cells dr rows and dc columns apart
        exponential: rho = exp(-dr / l_r - dc / l_c)
        gaussian: rho = exp(-(dr / l_r)^2 - (dc / l_c)^2)

    ``l_r`` and ``l_c`` are ``length_in_rows`` and ``length_in_columns``. Tiles are independent; a
    layer wider than ``array.columns`` occupies several of them. The variation is applied after
    programming, so it also changes cells that were verified. The field is the same in every write
    cycle, except for the share ``1 - device_share`` of its variance.
    Units: lengths in cells; sigma_of_g is a fraction of the cell's conductance.
    Source: exponential, the first-order autoregression of spatial statistics; gaussian, N. Cressie,
    Statistics for Spatial Data (1993); the numbers come from the device.
    """

    title: ClassVar[str] = "correlated variation"

    kind: Literal["correlated"] = "correlated"
    sigma_of_g: NonNegative = Field(description="spread as a fraction of the cell's conductance")
    length_in_rows: Positive = Field(description="correlation length along a column, in rows")
    length_in_columns: Positive = Field(description="correlation length along a row, in columns")
    kernel: Literal["exponential", "gaussian"] = Field(
        default="exponential", description="decay of the correlation with distance"
    )


class TileVariation(PlacedVariation):
    """A gain and an offset of all conductances of a tile.

        g = bounded(g_programmed * (1 + strength * sigma_gain * a) + strength * sigma_offset * b)
        sigma_offset = sigma_offset_of_g_max * g_max,    a, b ~ N(0, 1), once per tile

    The offset of adjacent cells cancels in their difference; the gain does not. Gains and offsets
    of the converters are ``adc.errors``. Units: g in uS; sigma_gain is a fraction of the
    conductance, sigma_offset_of_g_max a fraction of g_max.
    Source: textbook model; the spreads come from the chip.
    """

    title: ClassVar[str] = "tile variation"

    kind: Literal["tile"] = "tile"
    sigma_gain: NonNegative = Field(default=0.0, description="spread of the gain between tiles")
    sigma_offset_of_g_max: NonNegative = Field(
        default=0.0, description="spread of the offset between tiles as a fraction of g_max"
    )

    @classmethod
    def _issues_of_raw(cls, data: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        yield from super()._issues_of_raw(data)
        if not {"sigma_gain", "sigma_offset_of_g_max"} & set(data):
            yield issue(
                "missing_key",
                "this effect has no spread; set 'sigma_gain' or 'sigma_offset_of_g_max'",
                (),
            )


Variation = Annotated[CorrelatedVariation | TileVariation, Field(discriminator="kind")]
