"""Energy, time and area of the operations of a chip. Nothing here changes a result."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from cimsim.profile.base import Sourced
from cimsim.profile.fields import Count, Fraction, NonNegative, Number, Positive

_OneOrMore = Annotated[int, Field(strict=True, ge=1, le=16)]


class CellRead(Sourced):
    """Cost of reading cells and of driving their lines.

        E_cell = d V_read^2 G t_read,   or   d V_read^2 C_cell G / G_max  with capacitors
        E_row  = d V_read^2 C_row for every cell along a driven row
        E_col  = V_read^2 C_column for every cell along a column that is read, at every pulse
        d = u^2 if the voltage carries the input u (over full scale), |u| if its duration does,
            and the bit itself if the DAC is serial

    The cells and inputs of the model are used if they are available. Otherwise ``mean_drive`` and
    ``mean_conductance`` replace them; if these are null, inputs and weights are assumed to be
    uniform. ``c_column_fF`` covers costs that do not depend on inputs and weights: precharged
    lines, and switches that short or reset capacitors. SRAM leaks: every cell of a tile draws
    ``leakage_cell_nW`` for the duration of an inference.
    Units: V, ns, fF, nW; areas in multiples of the node squared.
    Source of the defaults: V_read 0.2 V as in ISAAC (Shafiee et al., ISCA 2016), t_read 10 ns and a
    1T1R cell of 4 F x 12 F as in NeuroSim (Chen et al., TCAD 2018), 1 fF per cell as in MNSIM 2.0
    (Zhu et al., TCAD 2023).
    """

    v_read_V: Positive = Field(default=0.2, description="full-scale voltage of a row")
    t_read_ns: Positive = Field(default=10.0, description="time for which current flows")
    t_settle_ns: NonNegative = Field(
        default=0.0,
        description="time between the current pulse and the conversion, without current",
    )
    c_cell_fF: NonNegative | None = Field(
        default=None,
        description="capacitance that a cell of full conductance charges (charge domain); null: "
        "the cell is a resistor",
    )
    c_row_fF: NonNegative = Field(default=1.0, description="capacitance of the row line, per cell")
    c_column_fF: NonNegative = Field(
        default=0.0,
        description="capacitance of the column line and its switches, per cell, charged per pulse",
    )
    leakage_cell_nW: NonNegative = Field(default=0.0, description="static power of one cell")
    area_cell_F2: Positive = Field(default=48.0, description="area of one cell, in node_nm^2")
    coding: Literal["amplitude", "duration"] = Field(
        default="amplitude",
        description="quantity that encodes an input that is not sent bit by bit; "
        "'dac.coding: duration' implies duration",
    )
    mean_drive: Fraction | None = Field(
        default=None, description="mean of d if no data are given; null: uniform inputs"
    )
    mean_conductance: Fraction | None = Field(
        default=None, description="mean of G / G_max if no weights are given; null: uniform weights"
    )


class _Measured(Sourced):
    """Measured numbers of an existing converter.

    ``bits`` is the resolution of the measurement: at another resolution, energy and area scale with
    ``2^bits``; null uses the same numbers for any resolution. ``at_node_nm`` and ``at_v_V`` are the
    node and supply of the measurement if they differ from this chip's; the numbers are then scaled
    to this chip.
    """

    area_um2: NonNegative | None = Field(
        default=None, description="area of one converter; null: unknown and omitted"
    )
    bits: _OneOrMore | None = Field(
        default=None, description="resolution of the measurement; null: any"
    )
    at_node_nm: Positive | None = Field(
        default=None, description="technology node of the numbers; null: this chip's"
    )
    at_v_V: Positive | None = Field(
        default=None, description="supply voltage of the energy; null: this chip's"
    )


class MeasuredDac(_Measured):
    """A measured input driver.

        E = e_dac 2^(b - bits),    b = 1 for a serial DAC

    Units: pJ. Source: measurement of the chip.
    """

    kind: Literal["measured"] = "measured"
    e_dac_pJ: NonNegative = Field(description="energy of one conversion")


class CapacitiveDac(Sourced):
    """An array of binary capacitors; with one bit (a serial DAC), a driver.

        E = 2^bits C_unit V_dd^2,   area = 2^(bits-1) A_unit

    Units: fF, um^2 at 32 nm. Source of the defaults: area of a 1-bit DAC in ISAAC (Shafiee et al.,
    ISCA 2016); the capacitor of 1 fF is an assumption.
    """

    kind: Literal["capacitive"] = "capacitive"
    c_unit_fF: Positive = Field(default=1.0, description="unit capacitor")
    area_unit_um2: NonNegative = Field(default=0.166, description="area of one bit, at 32 nm")


class _AnyAdc(Sourced):
    """Conversion rate of an ADC; ``adc.columns_per_adc`` columns share one ADC."""

    rate_MHz: Positive = Field(default=100.0, description="conversion rate of one ADC")


class MeasuredAdc(_Measured, _AnyAdc):
    """A measured ADC.

        E = e_adc 2^(b - bits),    b = adc.bits

    Units: pJ. Source: measurement of the chip.
    """

    kind: Literal["measured"] = "measured"
    e_adc_pJ: NonNegative = Field(description="energy of one conversion")


class FigureOfMeritAdc(_AnyAdc):
    """An ADC described by its figures of merit, as defined in B. Murmann's survey.

        E = max(FoM_W 2^bits, 0.5 * 10^((SNDR - FoM_S) / 10)),   SNDR = 6.02 bits + 1.76 dB

    Walden's figure describes ordinary designs, Schreier's the limit set by thermal noise.
    Units: fJ per step, dB; the second term in joule.
    Source of the defaults: 20 fJ and 175 dB, typical of column ADCs in B. Murmann, "ADC performance
    survey 1997-2024".
    """

    kind: Literal["figure-of-merit"] = "figure-of-merit"
    fom_w_fJ: Positive = Field(default=20.0, description="Walden: energy per conversion step")
    fom_s_dB: Number = Field(default=175.0, description="Schreier: SNDR over power and bandwidth")
    area_um2: NonNegative | None = Field(
        default=None, description="area of one ADC; null: the regression of the survey"
    )


class SurveyAdc(_AnyAdc):
    """Regression of the best ADCs in B. Murmann's survey over node, rate and bits.

        FoM  = min(213.781 - 2.87190 ln f, 128.307 + 3.22051 bits) dB,   f in conversions/s
        E    = 0.5 * 10^((SNDR - FoM) / 10) e^(26.0496 + 1.88004 ln node - 2.82913 ln bits - 1.4702)
        area = e^(1.34619 + 0.993279 ln node + 0.180715 ln f + 0.299124 ln E),   SNDR as usual

    Valid from 4 bits and up to 10^10 conversions/s; below 6 bits the energy of the regression
    hardly decreases, unlike that of real ADCs. An ADC with fewer than 4 bits gets the energy of 4.
    Units: pJ, nm, um^2. Source: T. Andrulis et al., arXiv:2404.06553 (2024).
    """

    kind: Literal["survey"] = "survey"


DacCost = Annotated[MeasuredDac | CapacitiveDac, Field(discriminator="kind")]
AdcCost = Annotated[MeasuredAdc | FigureOfMeritAdc | SurveyAdc, Field(discriminator="kind")]


class _AtSomeNode(Sourced):
    """Numbers of digital logic, scaled from their node and supply to the chip's."""

    at_node_nm: Positive = Field(description="technology node of the numbers")
    at_v_V: Positive = Field(description="supply voltage of the energies")


class DigitalCost(_AtSomeNode):
    """Digital logic behind the converters, and digital layers.

    Source of the defaults: M. Horowitz, ISSCC 2014, at 45 nm and 0.9 V: a 32-bit addition 0.1 pJ, a
    16-bit floating-point multiplication 1.1 pJ, an 8-bit one with its addition 0.3 pJ; the
    accumulator of a converter is ISAAC's, 60 um^2 at 32 nm. 1000 MACs per ns is an assumption.
    """

    e_add_pJ: NonNegative = Field(
        default=0.1, description="energy of one addition, including a shift"
    )
    e_multiply_pJ: NonNegative = Field(
        default=1.1, description="energy of one multiplication by a column's scale"
    )
    e_mac_pJ: NonNegative = Field(default=0.3, description="energy of one MAC of a digital layer")
    macs_per_ns: Positive = Field(default=1000.0, description="throughput of the digital layers")
    area_accumulator_um2: NonNegative = Field(
        default=132.0, description="area of the shift-and-add behind one ADC"
    )
    at_node_nm: Positive = Field(default=45.0, description="technology node of the numbers")
    at_v_V: Positive = Field(default=0.9, description="supply voltage of the energies")


class BufferCost(_AtSomeNode):
    """Activation memory: every input vector is read from it, every output written to it.

    Source of the defaults: the 64 KB embedded DRAM of ISAAC (Shafiee et al., ISCA 2016) at 32 nm.
    """

    e_bit_pJ: NonNegative = Field(default=0.08, description="energy of reading or writing one bit")
    area_bit_um2: NonNegative = Field(default=0.158, description="area of one bit")
    at_node_nm: Positive = Field(default=32.0, description="technology node of the numbers")
    at_v_V: Positive = Field(default=0.9, description="supply voltage of the energies")


class DigitalAccumulation(Sourced):
    """Every pulse of a serial input is converted, shifted and added.

        conversions = pulses,    t = pulses (t_read + t_settle + t_conversion)

    Source: common practice, as in ISAAC (Shafiee et al., ISCA 2016).
    """

    kind: Literal["digital"] = "digital"


class AnalogAccumulation(Sourced):
    """The pulses of a serial input accumulate as charge and share one conversion.

        conversions = 1,    t = pulses (t_read + t_settle) + cycles t_cycle + t_conversion
        cycles = 2^pulses - 1 if a bit is integrated as often as its weight, else one per pulse

    One conversion replaces the one per pulse of digital accumulation, but the ADC has to cover the
    whole product. Inputs that are not sent bit by bit are one pulse, integrated once.
    Units: pJ, ns, per column. Source: "binary" as in NeuRRAM (Wan et al., Nature 608, 504
    (2022), p. 11), "single" for charge sharing or weighted capacitors.
    """

    kind: Literal["analog"] = "analog"
    cycles: Literal["binary", "single"] = Field(
        default="binary", description="number of integrations of a pulse"
    )
    e_cycle_pJ: NonNegative = Field(default=0.0, description="energy of one integration")
    t_cycle_ns: NonNegative = Field(default=0.0, description="time of one integration")


class Replication(Sourced):
    """Number of copies of a layer, which process several vectors at once.

        copies = min(vectors, max(copies, vectors / vectors_per_copy)),   rounded up
        t = (vectors / copies, rounded up) t_vector

    More copies reduce the time and increase the area, up to the number of vectors of a layer: a
    convolution has one per output position, a linear layer has one. Copies that fit share a tile,
    each on separate rows and columns. The energy of reads does not change. Every copy would have
    its own errors; results are evaluated with one copy.
    Source: a mapping choice, as in ISAAC (Shafiee et al., ISCA 2016) and NeuRRAM.
    """

    copies: Count = Field(default=1, description="number of copies of every layer")
    vectors_per_copy: Count | None = Field(
        default=None,
        description="largest number of vectors per copy; copies are added to satisfy it; null: "
        "none added",
    )


AccumulationCost = Annotated[DigitalAccumulation | AnalogAccumulation, Field(discriminator="kind")]


class CostRates(Sourced):
    """Energy, time and area of the chip's operations.

    All keys have defaults: ``cost: {}`` is a generic chip at 22 nm with the best ADCs of the
    survey. Each part documents the source of its numbers. Leakage is integrated over the duration
    of an inference.
    """

    node_nm: Positive = Field(default=22.0, description="technology node")
    v_dd_V: Positive = Field(default=0.8, description="supply voltage of logic and converters")
    read: CellRead = Field(default_factory=CellRead, description="cells and lines")
    dac: DacCost = Field(default_factory=CapacitiveDac, description="converters of the inputs")
    adc: AdcCost = Field(default_factory=SurveyAdc, description="converters of the outputs")
    digital: DigitalCost = Field(default_factory=DigitalCost, description="logic")
    buffer: BufferCost = Field(default_factory=BufferCost, description="memory for activations")
    accumulation: AccumulationCost = Field(
        default_factory=DigitalAccumulation, description="accumulation of the pulses of one input"
    )
    replication: Replication = Field(
        default_factory=Replication, description="layers that are stored several times"
    )
    leakage_mW_per_mm2: NonNegative = Field(
        default=0.1,
        description="static power of everything except the cells; the default is an assumption "
        "for low-power CMOS",
    )
    weight_bits: Count | None = Field(
        default=None,
        description="bits of a weight in 1-bit-normalized numbers; null: computed from levels and "
        "slices",
    )

    @field_validator("node_nm")
    @classmethod
    def _is_in_nm(cls, node_nm: float, info: ValidationInfo) -> float:
        if not 1 <= node_nm <= 1000:
            raise ValueError("a technology node must be between 1 and 1000 nm")
        return node_nm
