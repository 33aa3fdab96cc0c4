"""What the operations of a chip cost: energy, time and area. Nothing here changes a result."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from cimsim.profile.base import Sourced
from cimsim.profile.fields import Count, Fraction, NonNegative, Number, Positive

_OneOrMore = Annotated[int, Field(strict=True, ge=1, le=16)]


class CellRead(Sourced):
    """Reading cells, and driving the lines that they hang on.

        E_cell = d V_read^2 G t_read,   or   d V_read^2 C_cell G / G_max  with capacitors
        E_row  = d V_read^2 C_row for every cell along a driven row
        E_col  = V_read^2 C_column for every cell along a column that is read, at every pulse
        d = u^2 if the voltage carries the input u (over full scale), |u| if its duration does,
            and the bit itself if the DAC is serial

    Cells and inputs are those of the model where they are known; ``mean_drive`` and
    ``mean_conductance`` stand for them elsewhere, and where those are null, inputs and weights are
    taken to be uniform. ``c_column_fF`` is what a read takes whatever inputs and weights are: lines
    that are precharged, switches that short or reset capacitors. SRAM leaks, and costs
    ``leakage_cell_nW`` for each cell of a tile as long as an inference lasts.
    Units: V, ns, fF, nW; areas in squares of the node.
    Source of the defaults: V_read 0.2 V as in ISAAC (Shafiee et al., ISCA 2016), t_read 10 ns and a
    1T1R cell of 4 F x 12 F as in NeuroSim (Chen et al., TCAD 2018), 1 fF per cell as in MNSIM 2.0
    (Zhu et al., TCAD 2023).
    """

    v_read_V: Positive = Field(default=0.2, description="full-scale voltage of a row")
    t_read_ns: Positive = Field(default=10.0, description="time for which current flows")
    t_settle_ns: NonNegative = Field(
        default=0.0, description="rest of a read up to the conversion, in which no current flows"
    )
    c_cell_fF: NonNegative | None = Field(
        default=None,
        description="capacitance that a cell of full conductance charges (charge domain); null is "
        "a resistor",
    )
    c_row_fF: NonNegative = Field(default=1.0, description="row line, per cell")
    c_column_fF: NonNegative = Field(
        default=0.0, description="column line and its switches, per cell, charged at every pulse"
    )
    leakage_cell_nW: NonNegative = Field(default=0.0, description="static power of one cell")
    area_cell_F2: Positive = Field(default=48.0, description="area of one cell, in node_nm^2")
    coding: Literal["amplitude", "duration"] = Field(
        default="amplitude",
        description="what carries an input that is not sent bit by bit; 'dac.coding: duration' "
        "implies duration",
    )
    mean_drive: Fraction | None = Field(
        default=None, description="mean of d where no data are at hand; null is uniform inputs"
    )
    mean_conductance: Fraction | None = Field(
        default=None, description="mean of G / G_max where no weights are at hand; null is uniform"
    )


class _Measured(Sourced):
    """Numbers of a converter that exists.

    ``bits`` is the resolution that they were measured at: at another one, energy and area follow
    ``2^bits``; null takes them for any resolution. ``at_node_nm`` and ``at_v_V`` say where they
    were measured if that was not on this chip; they are scaled to its node and supply then.
    """

    area_um2: NonNegative | None = Field(
        default=None, description="area of one converter; null is not known, and left out"
    )
    bits: _OneOrMore | None = Field(
        default=None, description="resolution that was measured; null is any"
    )
    at_node_nm: Positive | None = Field(
        default=None, description="node that the numbers are for; null is this chip's"
    )
    at_v_V: Positive | None = Field(
        default=None, description="supply that the energy is for; null is this chip's"
    )


class MeasuredDac(_Measured):
    """A measured input driver.

        E = e_dac 2^(b - bits),    b = 1 for a serial one

    Units: pJ. Source: the chip's.
    """

    kind: Literal["measured"] = "measured"
    e_dac_pJ: NonNegative = Field(description="energy of one conversion")


class CapacitiveDac(Sourced):
    """An array of binary capacitors, or with one bit (of a serial DAC) a driver.

        E = 2^bits C_unit V_dd^2,   area = 2^(bits-1) A_unit

    Units: fF, um^2 at 32 nm. Source of the defaults: area of a 1-bit DAC in ISAAC (Shafiee et al.,
    ISCA 2016); the capacitor of 1 fF is an assumption.
    """

    kind: Literal["capacitive"] = "capacitive"
    c_unit_fF: Positive = Field(default=1.0, description="unit capacitor")
    area_unit_um2: NonNegative = Field(default=0.166, description="area of one bit, at 32 nm")


class _AnyAdc(Sourced):
    """Every ADC converts at some rate; ``adc.columns_per_adc`` says how many columns share it."""

    rate_MHz: Positive = Field(default=100.0, description="conversions of one ADC in a us")


class MeasuredAdc(_Measured, _AnyAdc):
    """A measured ADC.

        E = e_adc 2^(b - bits),    b = adc.bits

    Units: pJ. Source: the chip's.
    """

    kind: Literal["measured"] = "measured"
    e_adc_pJ: NonNegative = Field(description="energy of one conversion")


class FigureOfMeritAdc(_AnyAdc):
    """An ADC as good as its figures of merit, as B. Murmann's survey defines them.

        E = max(FoM_W 2^bits, 0.5 * 10^((SNDR - FoM_S) / 10)),   SNDR = 6.02 bits + 1.76 dB

    Walden's figure is that of ordinary designs, Schreier's the bound by thermal noise.
    Units: fJ per step, dB; the second term in joule.
    Source of the defaults: 20 fJ and 175 dB, typical of column ADCs in B. Murmann, "ADC performance
    survey 1997-2024".
    """

    kind: Literal["figure-of-merit"] = "figure-of-merit"
    fom_w_fJ: Positive = Field(default=20.0, description="Walden's: energy per conversion step")
    fom_s_dB: Number = Field(default=175.0, description="Schreier's: SNDR over power and bandwidth")
    area_um2: NonNegative | None = Field(
        default=None, description="area of one ADC; null is the survey's regression"
    )


class SurveyAdc(_AnyAdc):
    """The best ADCs of B. Murmann's survey, as a regression over node, rate and bits.

        FoM  = min(213.781 - 2.87190 ln f, 128.307 + 3.22051 bits) dB,   f in conversions/s
        E    = 0.5 * 10^((SNDR - FoM) / 10) e^(26.0496 + 1.88004 ln node - 2.82913 ln bits - 1.4702)
        area = e^(1.34619 + 0.993279 ln node + 0.180715 ln f + 0.299124 ln E),   SNDR as usual

    Valid from 4 bits and up to 10^10 conversions/s; below 6 bits the energy hardly falls any more,
    which no ADC is like. An ADC of fewer than 4 bits takes the energy of 4.
    Units: pJ, nm, um^2. Source: T. Andrulis et al., arXiv:2404.06553 (2024).
    """

    kind: Literal["survey"] = "survey"


DacCost = Annotated[MeasuredDac | CapacitiveDac, Field(discriminator="kind")]
AdcCost = Annotated[MeasuredAdc | FigureOfMeritAdc | SurveyAdc, Field(discriminator="kind")]


class _AtSomeNode(Sourced):
    """Numbers of digital logic, scaled from their own node and supply to the chip's."""

    at_node_nm: Positive = Field(description="node that the numbers are for")
    at_v_V: Positive = Field(description="supply that the energies are for")


class DigitalCost(_AtSomeNode):
    """Logic behind the converters, and the layers that are computed digitally.

    Source of the defaults: M. Horowitz, ISSCC 2014, at 45 nm and 0.9 V: a 32-bit addition 0.1 pJ, a
    16-bit floating-point multiplication 1.1 pJ, an 8-bit one with its addition 0.3 pJ; the
    accumulator of a converter is ISAAC's of 60 um^2 at 32 nm. 1000 MACs in a ns are an assumption.
    """

    e_add_pJ: NonNegative = Field(default=0.1, description="one addition, also after a shift")
    e_multiply_pJ: NonNegative = Field(default=1.1, description="one scale of a column")
    e_mac_pJ: NonNegative = Field(default=0.3, description="one MAC of a digital layer")
    macs_per_ns: Positive = Field(default=1000.0, description="speed of the digital layers")
    area_accumulator_um2: NonNegative = Field(
        default=132.0, description="shift-and-add behind one ADC"
    )
    at_node_nm: Positive = Field(default=45.0, description="node that the numbers are for")
    at_v_V: Positive = Field(default=0.9, description="supply that the energies are for")


class BufferCost(_AtSomeNode):
    """Memory for activations: every vector is read from it, every output written to it.

    Source of the defaults: the 64 KB embedded DRAM of ISAAC (Shafiee et al., ISCA 2016) at 32 nm.
    """

    e_bit_pJ: NonNegative = Field(default=0.08, description="one bit, read or written")
    area_bit_um2: NonNegative = Field(default=0.158, description="one bit")
    at_node_nm: Positive = Field(default=32.0, description="node that the numbers are for")
    at_v_V: Positive = Field(default=0.9, description="supply that the energies are for")


class DigitalAccumulation(Sourced):
    """Every pulse of a serial input is converted, shifted and added.

        conversions = pulses,    t = pulses (t_read + t_settle + t_conversion)

    Source: the usual way, as in ISAAC (Shafiee et al., ISCA 2016).
    """

    kind: Literal["digital"] = "digital"


class AnalogAccumulation(Sourced):
    """The pulses of a serial input add up as charge, and one conversion takes them all.

        conversions = 1,    t = pulses (t_read + t_settle) + cycles t_cycle + t_conversion
        cycles = 2^pulses - 1 if a bit is integrated as often as it weighs, or one for each pulse

    It takes one conversion where digital accumulation takes one for each pulse, but the ADC sees
    the whole product. Inputs that are not sent bit by bit are one pulse, integrated once.
    Units: pJ, ns, of one column. Source: "binary" as in NeuRRAM (Wan et al., Nature 608, 504
    (2022), p. 11), "single" where charge is shared or capacitors are weighted.
    """

    kind: Literal["analog"] = "analog"
    cycles: Literal["binary", "single"] = Field(
        default="binary", description="how often a pulse is integrated"
    )
    e_cycle_pJ: NonNegative = Field(default=0.0, description="integrating once")
    t_cycle_ns: NonNegative = Field(default=0.0, description="integrating once")


class Replication(Sourced):
    """How often a layer is stored, to work on as many vectors at once.

        copies = min(vectors, max(copies, vectors / vectors_per_copy)),   rounded up
        t = (vectors / copies, rounded up) t_vector

    Time falls and area grows with the copies, as far as a layer has vectors: a convolution has one
    for each output position, a linear layer one. Copies that fit share a tile, each with rows and
    columns of its own. The energy of reads stays as it was. Every copy would have errors of its
    own; results are evaluated with one.
    Source: a choice of the mapping, as in ISAAC (Shafiee et al., ISCA 2016) and NeuRRAM.
    """

    copies: Count = Field(default=1, description="how often every layer is stored")
    vectors_per_copy: Count | None = Field(
        default=None,
        description="copies are added until none takes more vectors; null adds none",
    )


AccumulationCost = Annotated[DigitalAccumulation | AnalogAccumulation, Field(discriminator="kind")]


class CostRates(Sourced):
    """What the chip's operations cost.

    Everything has a default, so that ``cost: {}`` is a generic chip of 22 nm with the best ADCs of
    the survey; where those numbers come from stands with each part. Leakage goes on for as long as
    an inference takes.
    """

    node_nm: Positive = Field(default=22.0, description="technology node")
    v_dd_V: Positive = Field(default=0.8, description="supply of logic and converters")
    read: CellRead = Field(default_factory=CellRead, description="cells and lines")
    dac: DacCost = Field(default_factory=CapacitiveDac, description="converters of the inputs")
    adc: AdcCost = Field(default_factory=SurveyAdc, description="converters of the outputs")
    digital: DigitalCost = Field(default_factory=DigitalCost, description="logic")
    buffer: BufferCost = Field(default_factory=BufferCost, description="memory for activations")
    accumulation: AccumulationCost = Field(
        default_factory=DigitalAccumulation, description="how pulses of one input are added up"
    )
    replication: Replication = Field(
        default_factory=Replication, description="layers that are stored several times"
    )
    leakage_mW_per_mm2: NonNegative = Field(
        default=0.1,
        description="static power of all but the cells; the default is an assumption for low-power "
        "CMOS",
    )
    weight_bits: Count | None = Field(
        default=None,
        description="bits that a weight counts for in 1-bit-normalised numbers; null is what its "
        "levels and slices hold",
    )

    @field_validator("node_nm")
    @classmethod
    def _is_in_nm(cls, node_nm: float, info: ValidationInfo) -> float:
        if not 1 <= node_nm <= 1000:
            raise ValueError("a technology node lies between 1 and 1000 nm")
        return node_nm
