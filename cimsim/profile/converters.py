"""DAC and ADC: resolution, range, and everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import InitErrorDetails

from cimsim.profile.base import Sourced, fault
from cimsim.profile.effect import Effect
from cimsim.profile.fields import (
    AdcBits,
    Bits,
    Celsius,
    Count,
    KnobMark,
    NonNegative,
    Number,
    Positive,
)


class MinimumErrorRange(Sourced):
    """The range of least mean squared error of rounding and clipping on the calibration data."""

    kind: Literal["mse"] = "mse"


class PeakRange(Sourced):
    """The largest magnitude in the calibration data."""

    kind: Literal["max"] = "max"


class PercentileRange(Sourced):
    """A percentile of the magnitudes in the calibration data."""

    kind: Literal["percentile"] = "percentile"
    percentile: Annotated[Positive, Field(le=100), KnobMark()] = Field(description="such as 99.9")


class SigmaRange(Sourced):
    """A multiple of the root mean square of the calibration data."""

    kind: Literal["k-sigma"] = "k-sigma"
    k: Annotated[Positive, KnobMark()] = Field(description="how many times the root mean square")


class FixedRange(Sourced):
    """A range that is set by the chip and not by the data.

    For the DAC in units of the layer's input; for the ADC in units of full-scale cells at
    full-scale input: ``full_scale: 16`` is the current of 16 such cells.
    """

    kind: Literal["fixed"] = "fixed"
    full_scale: Positive = Field(description="largest value that can be represented")


class LearnedRange(Sourced):
    """A parameter of the layer: begins at the range of least error, is trained with the weights.

    Every value's rounding error pulls at it, as in learned step size quantisation (Esser et al.,
    ICLR 2020): ``dq/drange = (code - v/step) / L`` inside the range, ``code / L`` outside.
    """

    kind: Literal["learned"] = "learned"


Range = Annotated[
    MinimumErrorRange | PeakRange | PercentileRange | SigmaRange | FixedRange | LearnedRange,
    Field(discriminator="kind"),
]


class UniformCodes(Sourced):
    """Evenly spaced codes in two's complement; with 1 bit, a comparator.

        code = round(clip(u * (2^(bits-1) - 1), -2^(bits-1), 2^(bits-1) - 1)),  u = value / range
        result = range * code / (2^(bits-1) - 1)
        with 1 bit: result = range for u > 0, else -range

    Units: u is a fraction of the range.
    """

    kind: Literal["uniform"] = "uniform"


class TableCodes(Sourced):
    """A nonlinear ADC: the value of each code, and where the code changes.

        code = number of thresholds below u,   result = range * values[code]

    A value on a threshold gets the lower code. Without thresholds, each result is the nearest of
    the values.
    Units: all are fractions of the range.
    Source: the ADC's own table.
    """

    kind: Literal["table"] = "table"
    values_of_range: tuple[Number, ...] = Field(
        description="value of each of the 2^bits codes, ascending, as a fraction of the range"
    )
    thresholds_of_range: tuple[Number, ...] | None = Field(
        default=None,
        description="where codes change, 2^bits - 1 numbers; null is half-way between the values",
    )

    @field_validator("values_of_range", "thresholds_of_range")
    @classmethod
    def _ascends(cls, numbers: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if numbers is not None and any(b <= a for a, b in pairwise(numbers)):
            raise ValueError("must ascend")
        return numbers


class FittedCodes(Sourced):
    """Codes of least mean squared error on the calibration data of each layer.

        values[k] = mean of the data nearest to it,    thresholds half-way between values

    One table for all columns of a layer, over the range of each. With a range of kind ``mse``, the
    data are taken over their root mean square, and the range is the outermost value.
    Source: S. P. Lloyd, IEEE Trans. Inf. Theory 28, 129 (1982); J. Max, IRE Trans. Inf. Theory 6,
    7 (1960).
    """

    kind: Literal["lloyd-max"] = "lloyd-max"


Codes = Annotated[UniformCodes | TableCodes | FittedCodes, Field(discriminator="kind")]


class Bow(Effect):
    """Integral nonlinearity as one smooth bow, the same for all converters.

        u <- u + strength * peak_of_range * (3 sqrt(3) / 2) * (u - u^3),    u = value over range

    It is odd, zero at 0 and full scale, and largest (``peak_of_range``) at 0.58 of full scale. A
    value beyond full scale stays what it is.
    Units: none, all are fractions of the range or of the quantity itself.
    Source: textbook model, no device.
    """

    random: ClassVar[bool] = False

    kind: Literal["bow"] = "bow"
    peak_of_range: Number = Field(description="largest deviation as a fraction of the range")


class GainError(Effect):
    """Gain that differs from ADC to ADC.

        u <- u * (1 + strength * sigma * xi),    xi ~ N(0, 1) per ADC, once per chip

    Units: none, all are fractions of the range or of the quantity itself.
    Source: textbook model, no device.
    """

    kind: Literal["gain"] = "gain"
    sigma: NonNegative = Field(description="spread of the gain, as a fraction")


class OffsetError(Effect):
    """Offset that differs from ADC to ADC.

        u <- u + strength * sigma_of_range * xi,    xi ~ N(0, 1) per ADC, once per chip

    Units: none, all are fractions of the range or of the quantity itself.
    Source: textbook model, no device.
    """

    kind: Literal["offset"] = "offset"
    sigma_of_range: NonNegative = Field(description="spread as a fraction of the range")


class Compression(Effect):
    """A read-out amplifier that saturates softly before the ADC.

        u <- u / (1 + strength * n |u|)

    Units: none, all are fractions of the range or of the quantity itself.
    Source: textbook model, no device.
    """

    random: ClassVar[bool] = False

    kind: Literal["compression"] = "compression"
    n: NonNegative = Field(description="relative loss at full scale")


class SarMismatch(Effect):
    """Successive approximation with mismatched binary capacitors.

        C_k = max(0, 2^k + strength * sigma_unit * sqrt(2^k) * xi_k) unit capacitors
        level of a trial = range of all codes * (C_k of its set bits) / (1 + all C_k)
        xi_k ~ N(0, 1) per ADC, once per chip

    The 1 is the dummy that ends the array: mismatch bends the characteristic, and the reference
    keeps its ends. Codes are tried as offset binary. The decisions of a deterministic search are
    monotone, so each ADC is a table of thresholds.
    Units: none, all are fractions of the range or of the quantity itself.
    Source: textbook model, no device.
    """

    kind: Literal["sar"] = "sar"
    sigma_unit: NonNegative = Field(description="mismatch of one unit capacitor, as a fraction")


class RampMismatch(Effect):
    """A ramp whose steps differ, so that its errors add up along the ramp.

        step_k = max(0, 1 + strength * sigma_step * xi_k),  renormalised to the full range
        xi_k ~ N(0, 1) per ADC, once per chip

    The ramp takes 2^bits steps, one for each code.
    Units: none, all are fractions of the range or of the quantity itself.
    Source: textbook model, no device.
    """

    kind: Literal["ramp"] = "ramp"
    sigma_step: NonNegative = Field(description="spread of one step, as a fraction of it")


class PipelineError(Effect):
    """A pipeline of 1-bit stages (with redundancy) whose residue gains differ from 2.

        gain_k = 2 * (1 + strength * sigma_gain * xi_k),    xi ~ N(0, 1) per stage and ADC
        r <- gain_k * (r - d_k / 2),    d_k = -1 for r < -1/4, 1 for r > 1/4, else 0

    A gain above 2 makes the code step back where d changes. Each ADC is the monotone table with the
    same share of inputs in each code, as a code density test of the ADC finds it.
    Units: none, all are fractions of the range or of the quantity itself.
    Source: textbook model, no device.
    """

    kind: Literal["pipeline"] = "pipeline"
    sigma_gain: NonNegative = Field(description="spread of a stage's gain, as a fraction")


class ReadoutTemperature(Effect):
    """Gain and offset of the read-out that change with temperature.

        u <- u * (1 + strength * gain_per_K * dT) + strength * offset_of_range_per_K * dT
        dT = temperature_C of the profile - reference_C

    Units: T in degrees Celsius, coefficients in 1/K.
    Source: textbook model; the coefficients are the chip's.
    """

    random: ClassVar[bool] = False

    kind: Literal["temperature"] = "temperature"
    reference_C: Celsius = Field(description="temperature at which gain and offset are right")
    gain_per_K: Number = Field(default=0.0, description="relative change of gain per kelvin")
    offset_of_range_per_K: Number = Field(
        default=0.0, description="change of offset per kelvin, as a fraction of the range"
    )

    @property
    def uses_temperature(self) -> bool:
        """Always."""
        return True

    @classmethod
    def _faults_of_raw(cls, data: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        yield from super()._faults_of_raw(data)
        if not {"gain_per_K", "offset_of_range_per_K"} & set(data):
            yield fault(
                "missing_key",
                "nothing changes with temperature here; give 'gain_per_K' or "
                "'offset_of_range_per_K'",
                (),
            )


AdcError = Annotated[
    GainError
    | OffsetError
    | Bow
    | Compression
    | SarMismatch
    | RampMismatch
    | PipelineError
    | ReadoutTemperature,
    Field(discriminator="kind"),
]


class DAC(Sourced):
    """Converts digital inputs to row voltages; sign and magnitude, 2^(bits-1) - 1 positive levels.

    ``bits: null`` is ideal: neither rounds nor clips. A ``bit_serial`` one sends the bits of the
    magnitude one after the other, each with the input's sign; every bit is converted by the ADC on
    its own, and the results are shifted and added digitally. With ``sign: if-needed``, a layer
    whose calibration data has no value below 0 uses all 2^bits - 1 levels above zero, and inputs
    below 0 become 0. With ``coding: duration``, every row is driven with the full voltage for as
    long as its input is large, so that a bent current-voltage law scales currents and does not bend
    them.
    """

    bits: Bits | None = Field(description="resolution; null is ideal")
    sign: Literal["always", "if-needed"] = Field(
        default="always", description="whether one bit of every layer's inputs is a sign"
    )
    bit_serial: bool = Field(default=False, description="one bit of the input after the other")
    coding: Literal["amplitude", "duration"] = Field(
        default="amplitude",
        description="whether the voltage of a row is the input, or how long it is on",
    )
    range: Range = Field(
        default=MinimumErrorRange(), description="how the full scale is found in calibration"
    )
    errors: tuple[Bow, ...] = Field(default=(), description="what is wrong with the levels")

    @field_validator("coding")
    @classmethod
    def _bits_are_all_alike(cls, coding: str, info: ValidationInfo) -> str:
        if coding == "duration" and info.data.get("bit_serial"):
            raise ValueError("bits that are sent one by one all last equally long")
        return coding

    @field_validator("sign", "bit_serial", "coding", "errors")
    @classmethod
    def _needs_bits(cls, value: object, info: ValidationInfo) -> object:
        if value and value not in ("always", "amplitude") and info.data.get("bits", 0) is None:
            raise ValueError("an ideal DAC has no levels or bits; give 'bits' a number")
        return value

    @field_validator("errors")
    @classmethod
    def _needs_levels_to_bend(
        cls, errors: tuple[Bow, ...], info: ValidationInfo
    ) -> tuple[Bow, ...]:
        if any(error.strength for error in errors):
            without = "where a bow is zero; take it out, or give it the strength 0"
            if info.data.get("bit_serial"):
                raise ValueError(f"a bit-serial DAC drives only 0 and full scale, {without}")
            if info.data.get("bits") == 2:
                raise ValueError(f"a DAC of 2 bits drives only 0 and full scale, {without}")
        return errors


class ADC(Sourced):
    """Converts column currents to digital outputs; 2^bits codes.

        code = round(clip(u + noise_of_range * xi)),  u = value / range after ``errors`` in turn
        xi ~ N(0, 1), new for every read

    ``bits: null`` is ideal: neither rounds nor clips; ``bits: 1`` is a comparator.
    ``noise_of_range`` (of the comparator and
    everything before it) is a fraction of the largest output that the ADC can represent. An
    architecture among the ``errors`` (sar, ramp, pipeline) is the rounding itself, so it acts last
    wherever it stands.
    """

    bits: AdcBits | None = Field(description="resolution; null is ideal")
    noise_of_range: NonNegative = Field(
        default=0.0, description="Gaussian noise before conversion, as a fraction of the range"
    )
    range: Range = Field(
        default=MinimumErrorRange(), description="how the full scale is found in calibration"
    )
    range_per: Literal["layer", "slice", "tile", "column"] = Field(
        default="slice",
        description="columns that share a range: all of a layer, those of one of its slices, of "
        "one tile, or none",
    )
    codes: Codes = Field(default=UniformCodes(), description="how the codes divide the range")
    columns_per_adc: Count = Field(
        default=1, description="neighbouring columns that share one ADC and its errors"
    )
    errors: tuple[AdcError, ...] = Field(default=(), description="what is wrong with the read-out")

    @field_validator("noise_of_range")
    @classmethod
    def _has_a_range(cls, noise: float, info: ValidationInfo) -> float:
        if noise > 0 and info.data.get("bits", 0) is None:
            raise ValueError("an ideal ADC has no range that noise could be a fraction of; use 0")
        return noise

    @field_validator("errors")
    @classmethod
    def _needs_bits(
        cls, errors: tuple[AdcError, ...], info: ValidationInfo
    ) -> tuple[AdcError, ...]:
        if errors and info.data.get("bits", 0) is None:
            raise ValueError("an ideal ADC has no errors; give 'bits' a number")
        tables = [error.kind for error in errors if error.kind in ("sar", "ramp", "pipeline")]
        if len(tables) > 1:
            raise ValueError(f"an ADC is of one architecture, not {' and '.join(tables)}")
        codes = info.data.get("codes", UniformCodes())
        if tables and (info.data.get("bits") == 1 or not isinstance(codes, UniformCodes)):
            what = "a comparator" if info.data.get("bits") == 1 else f"codes of kind '{codes.kind}'"
            raise ValueError(f"'{tables[0]}' divides a range into even codes, and {what} has none")
        kinds = [error.kind for error in errors]
        for kind in ("gain", "offset"):
            if kinds.count(kind) > 1:
                raise ValueError(f"an ADC has one {kind}, so '{kind}' may stand here only once")
        return errors

    @field_validator("codes")
    @classmethod
    def _one_value_for_each_code(cls, codes: Codes, info: ValidationInfo) -> Codes:
        bits = info.data.get("bits", 0)
        if bits is None and not isinstance(codes, UniformCodes):
            raise ValueError("an ideal ADC has no codes; give 'bits' a number")
        if isinstance(codes, TableCodes) and bits:
            given = (codes.values_of_range, codes.thresholds_of_range)
            for what, numbers, count in zip(
                ("values", "thresholds"), given, (1 << bits, (1 << bits) - 1), strict=True
            ):
                if numbers is not None and len(numbers) != count:
                    raise ValueError(
                        f"an ADC of {bits} bits has {count} {what}, but '{what}_of_range' has "
                        f"{len(numbers)}"
                    )
        return codes

    def scale_noise(self, factor: float) -> ADC:
        """This ADC with its noise ``factor`` times as large."""
        return self.model_copy(update={"noise_of_range": self.noise_of_range * factor})
