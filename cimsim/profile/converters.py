"""DAC and ADC: resolution, range and errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import InitErrorDetails

from cimsim.profile.base import Sourced, issue
from cimsim.profile.effect import Effect, SpreadEffect
from cimsim.profile.fields import (
    ASCENDING,
    AdcBits,
    Bits,
    Celsius,
    Count,
    KnobMark,
    NonNegative,
    Number,
    Percentile,
    Positive,
    ascends,
)


class MinimumErrorRange(Sourced):
    """The range that minimizes the mean squared error of rounding and clipping in calibration."""

    kind: Literal["mse"] = "mse"


class PeakRange(Sourced):
    """The largest magnitude in the calibration data."""

    kind: Literal["max"] = "max"


class PercentileRange(Sourced):
    """A percentile of the magnitudes in the calibration data."""

    kind: Literal["percentile"] = "percentile"
    percentile: Annotated[Percentile, KnobMark()] = Field(
        description="percentile of the magnitudes in percent, such as 99.9"
    )


class SigmaRange(Sourced):
    """A multiple of the root mean square of the calibration data."""

    kind: Literal["k-sigma"] = "k-sigma"
    k: Annotated[Positive, KnobMark()] = Field(description="multiple of the root mean square")


class FixedRange(Sourced):
    """A range that the chip sets, independent of the data.

    For the DAC, in units of the layer's input; for the ADC, in units of the current of one
    full-scale cell at full-scale input: ``full_scale: 16`` is the current of 16 such cells.
    """

    kind: Literal["fixed"] = "fixed"
    full_scale: Positive = Field(description="largest value that can be represented")


class LearnedRange(Sourced):
    """A trainable parameter of the layer, initialized to the range of least error.

    Its gradient is that of learned step size quantization (Esser et al., ICLR 2020):
    ``dq/drange = (code - v/step) / L`` inside the range, ``code / L`` outside.
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
    """A nonlinear ADC: a table of code values and of the thresholds between codes.

        code = number of thresholds below u,   result = range * values[code]

    A value equal to a threshold gets the lower code. Without thresholds, each result is the nearest
    table value.
    Units: all are fractions of the range.
    Source: the table of the ADC.
    """

    kind: Literal["table"] = "table"
    values_of_range: tuple[Number, ...] = Field(
        description="value of each of the 2^bits codes, ascending, as a fraction of the range"
    )
    thresholds_of_range: tuple[Number, ...] | None = Field(
        default=None,
        description="2^bits - 1 thresholds between codes; null: halfway between the values",
    )

    @field_validator("values_of_range", "thresholds_of_range")
    @classmethod
    def _ascends(cls, numbers: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if numbers is not None and not ascends(numbers):
            raise ValueError(f"must be {ASCENDING}")
        return numbers


class FittedCodes(Sourced):
    """Codes that minimize the mean squared error on the calibration data of each layer.

        values[k] = mean of the data nearest to it,    thresholds halfway between values

    All columns of a layer share one table, relative to the range of each column. With a range of
    kind ``mse``, the data are divided by their root mean square, and the range is the outermost
    value.
    Source: S. P. Lloyd, IEEE Trans. Inf. Theory 28, 129 (1982); J. Max, IRE Trans. Inf. Theory 6,
    7 (1960).
    """

    kind: Literal["lloyd-max"] = "lloyd-max"


Codes = Annotated[UniformCodes | TableCodes | FittedCodes, Field(discriminator="kind")]


class Bow(Effect):
    """Integral nonlinearity as one smooth bow, the same for all converters.

        u <- u + strength * peak_of_range * (3 sqrt(3) / 2) * (u - u^3),    u = value over range

    It is odd, zero at 0 and full scale, and largest (``peak_of_range``) at 0.58 of full scale.
    Values beyond full scale are unchanged.
    Units: dimensionless fractions of the range or of the quantity itself.
    Source: textbook model, no device.
    """

    random: ClassVar[bool] = False
    title: ClassVar[str] = "level bow"

    kind: Literal["bow"] = "bow"
    peak_of_range: Number = Field(description="largest deviation as a fraction of the range")


class GainError(Effect):
    """Gain that differs from ADC to ADC.

        u <- u * (1 + strength * sigma * xi),    xi ~ N(0, 1) per ADC, once per chip

    Units: dimensionless fractions of the range or of the quantity itself.
    Source: textbook model, no device.
    """

    title: ClassVar[str] = "gain error"

    kind: Literal["gain"] = "gain"
    sigma: NonNegative = Field(description="spread of the gain, as a fraction")


class OffsetError(Effect):
    """Offset that differs from ADC to ADC.

        u <- u + strength * sigma_of_range * xi,    xi ~ N(0, 1) per ADC, once per chip

    Units: dimensionless fractions of the range or of the quantity itself.
    Source: textbook model, no device.
    """

    title: ClassVar[str] = "offset"

    kind: Literal["offset"] = "offset"
    sigma_of_range: NonNegative = Field(description="spread as a fraction of the range")


class Compression(Effect):
    """A readout amplifier before the ADC that saturates softly.

        u <- u / (1 + strength * n |u|)

    Units: dimensionless fractions of the range or of the quantity itself.
    Source: textbook model, no device.
    """

    random: ClassVar[bool] = False
    title: ClassVar[str] = "compression"

    kind: Literal["compression"] = "compression"
    n: NonNegative = Field(description="strength; the relative loss at full scale is n / (1 + n)")


class SarMismatch(Effect):
    """Successive approximation with mismatched binary capacitors.

        C_k = max(0, 2^k + strength * sigma_unit * sqrt(2^k) * xi_k) unit capacitors
        level of a trial = range of all codes * (C_k of its set bits) / (1 + all C_k)
        xi_k ~ N(0, 1) per ADC, once per chip

    The 1 is the dummy capacitor that terminates the array: mismatch bends the characteristic, and
    the reference fixes its end points. Trial codes are in offset binary. The decisions of a
    deterministic search are monotone, so each ADC is a table of thresholds.
    Units: dimensionless fractions of the range or of the quantity itself.
    Source: textbook model, no device.
    """

    title: ClassVar[str] = "SAR mismatch"

    kind: Literal["sar"] = "sar"
    sigma_unit: NonNegative = Field(description="mismatch of one unit capacitor, as a fraction")


class RampMismatch(Effect):
    """A ramp with unequal steps, whose errors accumulate along the ramp.

        step_k = max(0, 1 + strength * sigma_step * xi_k),  renormalized to the full range
        xi_k ~ N(0, 1) per ADC, once per chip

    The ramp has 2^bits steps, one for each code.
    Units: dimensionless fractions of the range or of the quantity itself.
    Source: textbook model, no device.
    """

    title: ClassVar[str] = "ramp mismatch"

    kind: Literal["ramp"] = "ramp"
    sigma_step: NonNegative = Field(description="spread of one step, as a fraction of the step")


class PipelineError(Effect):
    """A pipeline of 1-bit stages (with redundancy) whose residue gains differ from 2.

        gain_k = 2 * (1 + strength * sigma_gain * xi_k),    xi ~ N(0, 1) per stage and ADC
        r <- gain_k * (r - d_k / 2),    d_k = -1 for r < -1/4, 1 for r > 1/4, else 0

    With a gain above 2 the code decreases where d changes. Each ADC is the monotone table with the
    same share of inputs in each code, as a code density test would measure it.
    Units: dimensionless fractions of the range or of the quantity itself.
    Source: textbook model, no device.
    """

    title: ClassVar[str] = "pipeline errors"

    kind: Literal["pipeline"] = "pipeline"
    sigma_gain: NonNegative = Field(description="spread of a stage's gain, as a fraction")


class ReadoutTemperature(Effect):
    """Gain and offset of the readout that change with temperature.

        u <- u * (1 + strength * gain_per_K * dT) + strength * offset_of_range_per_K * dT
        dT = temperature_C of the profile - reference_C

    Units: T in degrees Celsius, coefficients in 1/K.
    Source: textbook model; the coefficients are the chip's.
    """

    random: ClassVar[bool] = False
    title: ClassVar[str] = "temperature dependence"

    kind: Literal["temperature"] = "temperature"
    reference_C: Celsius = Field(description="temperature at which gain and offset are exact")
    gain_per_K: Number = Field(default=0.0, description="relative change of gain per kelvin")
    offset_of_range_per_K: Number = Field(
        default=0.0, description="change of offset per kelvin, as a fraction of the range"
    )

    @property
    def uses_temperature(self) -> bool:
        """Always."""
        return True

    @classmethod
    def _issues_of_raw(cls, data: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        yield from super()._issues_of_raw(data)
        if not {"gain_per_K", "offset_of_range_per_K"} & set(data):
            yield issue(
                "missing_key",
                "this effect has no temperature coefficient; set 'gain_per_K' or "
                "'offset_of_range_per_K'",
                (),
            )


class MeasuredError(SpreadEffect):
    """Errors of multiply-accumulate results as measured on silicon: mean and spread over the value.

        u <- u + strength * (mean(u) + spread_strength * spread(u) * xi)
        xi ~ N(0, 1), new for every read and column

    ``mean`` and ``spread`` are linear between the points of the table, and constant beyond its
    first and last point. They are added before the conversion, so that results stay codes of the
    ADC. A table measured behind the ADC contains its rounding error, a spread of 0.29 steps, which
    is simulated too; subtract it in squares where it matters.
    Units: fractions of the range of the ADC.
    Source: the measurement. The method is D-NAT (Lin et al., IEEE JETCAS, 2022), which trains with
    such tables and a gradient from their statistics; rule F has the slope of ``u + mean(u)``. The
    Gaussian shape, from two moments, is ours.
    """

    title: ClassVar[str] = "measured errors"

    kind: Literal["measured"] = "measured"
    ideal_of_range: tuple[Number, ...] = Field(
        min_length=2, description="points of the table: results without errors, ascending"
    )
    mean_error_of_range: tuple[Number, ...] = Field(
        min_length=2, description="mean error at each point"
    )
    spread_of_range: tuple[NonNegative, ...] = Field(
        min_length=2, description="standard deviation of the error at each point"
    )

    @field_validator("ideal_of_range")
    @classmethod
    def _ascends(cls, numbers: tuple[float, ...]) -> tuple[float, ...]:
        if not ascends(numbers):
            raise ValueError(f"must be {ASCENDING}")
        return numbers

    @field_validator("mean_error_of_range", "spread_of_range")
    @classmethod
    def _one_for_each_point(
        cls, numbers: tuple[float, ...], info: ValidationInfo
    ) -> tuple[float, ...]:
        points = len(info.data.get("ideal_of_range", numbers))
        if len(numbers) != points:
            raise ValueError(
                f"must have {points} values, as 'ideal_of_range' has; got {len(numbers)}"
            )
        return numbers


AdcError = Annotated[
    GainError
    | OffsetError
    | Bow
    | Compression
    | SarMismatch
    | RampMismatch
    | PipelineError
    | ReadoutTemperature
    | MeasuredError,
    Field(discriminator="kind"),
]


class DAC(Sourced):
    """Digital-to-analog converter of the rows: sign and magnitude, 2^(bits-1) - 1 positive levels.

    ``bits: null`` is an ideal DAC, which neither rounds nor clips. With ``bit_serial``, the DAC
    sends the bits of the magnitude one after another, each with the input's sign; the ADC converts
    each bit separately, and the results are shifted and added digitally. With ``sign: if-needed``,
    a layer whose calibration data has no value below 0 uses all 2^bits - 1 levels above zero, and
    inputs below 0 become 0. With ``coding: duration``, every row is driven with the full voltage
    for a time proportional to its input, so that a nonlinear current-voltage law scales currents
    without distorting them.
    """

    bits: Bits | None = Field(description="resolution; null: ideal")
    sign: Literal["always", "if-needed"] = Field(
        default="always", description="use of one bit of each layer's inputs as a sign"
    )
    bit_serial: bool = Field(default=False, description="send the input one bit after another")
    coding: Literal["amplitude", "duration"] = Field(
        default="amplitude",
        description="quantity that encodes the input: the voltage of a row, or its duration",
    )
    range: Range = Field(
        default=MinimumErrorRange(), description="calibration method of the full scale"
    )
    errors: tuple[Bow, ...] = Field(default=(), description="errors of the levels")

    @field_validator("coding")
    @classmethod
    def _bits_are_all_alike(cls, coding: str, info: ValidationInfo) -> str:
        if coding == "duration" and info.data.get("bit_serial"):
            raise ValueError("'coding: duration' cannot be combined with 'bit_serial: true'")
        return coding

    @field_validator("sign", "bit_serial", "coding", "errors")
    @classmethod
    def _needs_bits(cls, value: object, info: ValidationInfo) -> object:
        if value and value not in ("always", "amplitude") and info.data.get("bits", 0) is None:
            raise ValueError("an ideal DAC has no levels or bits; set 'bits' to a number")
        return value

    @field_validator("errors")
    @classmethod
    def _needs_levels_to_bend(
        cls, errors: tuple[Bow, ...], info: ValidationInfo
    ) -> tuple[Bow, ...]:
        if any(error.strength for error in errors):
            without = "where a bow is zero; remove it, or set its strength to 0"
            if info.data.get("bit_serial"):
                raise ValueError(f"a bit-serial DAC drives only 0 and full scale, {without}")
            if info.data.get("bits") == 2:
                raise ValueError(f"a DAC of 2 bits drives only 0 and full scale, {without}")
        return errors


class ADC(Sourced):
    """Analog-to-digital converter of the columns, with 2^bits codes.

        code = round(clip(u + noise_of_range * xi)),  u = value / range after ``errors`` in turn
        xi ~ N(0, 1), new for every read

    ``bits: null`` is an ideal ADC, which neither rounds nor clips; ``bits: 1`` is a comparator.
    ``noise_of_range`` (of the comparator and everything before it) is a fraction of the largest
    output that the ADC can represent. An architecture among the ``errors`` (sar, ramp, pipeline)
    performs the rounding, so it is applied last, regardless of its position in the list.
    """

    bits: AdcBits | None = Field(description="resolution; null: ideal")
    noise_of_range: NonNegative = Field(
        default=0.0, description="Gaussian noise before conversion, as a fraction of the range"
    )
    range: Range = Field(
        default=MinimumErrorRange(), description="calibration method of the full scale"
    )
    range_per: Literal["layer", "slice", "tile", "column"] = Field(
        default="slice",
        description="columns that share a range: all of a layer, of one of its slices or of one "
        "tile, or only one column",
    )
    codes: Codes = Field(default=UniformCodes(), description="division of the range into codes")
    columns_per_adc: Count = Field(
        default=1, description="number of neighboring columns that share one ADC and its errors"
    )
    errors: tuple[AdcError, ...] = Field(default=(), description="errors of the readout")

    @field_validator("noise_of_range")
    @classmethod
    def _has_a_range(cls, noise: float, info: ValidationInfo) -> float:
        if noise > 0 and info.data.get("bits", 0) is None:
            raise ValueError("an ideal ADC has no range; set 'noise_of_range' to 0")
        return noise

    @field_validator("errors")
    @classmethod
    def _needs_bits(
        cls, errors: tuple[AdcError, ...], info: ValidationInfo
    ) -> tuple[AdcError, ...]:
        if errors and info.data.get("bits", 0) is None:
            raise ValueError("an ideal ADC has no errors; set 'bits' to a number")
        tables = [error.kind for error in errors if error.kind in ("sar", "ramp", "pipeline")]
        if len(tables) > 1:
            raise ValueError(f"an ADC has one architecture, not {' and '.join(tables)}")
        codes = info.data.get("codes", UniformCodes())
        if tables and (info.data.get("bits") == 1 or not isinstance(codes, UniformCodes)):
            what = "a comparator" if info.data.get("bits") == 1 else f"codes of kind '{codes.kind}'"
            raise ValueError(f"'{tables[0]}' needs evenly spaced codes, but {what} has none")
        kinds = [error.kind for error in errors]
        for kind in ("gain", "offset"):
            if kinds.count(kind) > 1:
                raise ValueError(f"'{kind}' may occur only once, because an ADC has one {kind}")
        return errors

    @field_validator("codes")
    @classmethod
    def _one_value_for_each_code(cls, codes: Codes, info: ValidationInfo) -> Codes:
        bits = info.data.get("bits", 0)
        if bits is None and not isinstance(codes, UniformCodes):
            raise ValueError("an ideal ADC has no codes; set 'bits' to a number")
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
        """Return a copy of this ADC with its noise multiplied by ``factor``."""
        return self.model_copy(update={"noise_of_range": self.noise_of_range * factor})
