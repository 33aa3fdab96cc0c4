"""Energy and area of one DAC and one ADC, by the model that the profile names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import singledispatch

from cimsim.analysis.cost.scaling import area_factor, energy_factor
from cimsim.profile import (
    CapacitiveDac,
    CostRates,
    FigureOfMeritAdc,
    MeasuredAdc,
    MeasuredDac,
    SurveyAdc,
)

_FEWEST_SURVEYED_BITS = 4
_FEWEST_CREDIBLE_BITS = 6
_FASTEST_SURVEYED_HZ = 1e10
_FARTHEST_BITS = 2  # from the resolution of a measurement


@dataclass(frozen=True)
class Converter:
    """One converter.

    Attributes:
        e_pJ: energy of a conversion.
        area_um2: area; None if it is unknown.
        energy_keys, area_keys: keys of the profile that both follow from; none if they are a fit.
        warnings: warnings about both.
    """

    e_pJ: float
    area_um2: float | None
    energy_keys: tuple[str, ...] = ()
    area_keys: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@singledispatch
def dac(model: object, bits: int, cost: CostRates) -> Converter:
    """A DAC of ``bits`` on the chip of ``cost``; 1 bit is a driver that is on or off."""
    raise NotImplementedError(f"no cost for {type(model).__name__}")


@dac.register
def _(model: CapacitiveDac, bits: int, cost: CostRates) -> Converter:
    scaled, warnings = area_factor(32.0, cost.node_nm)
    energy_fJ: float = 2**bits * model.c_unit_fF * cost.v_dd_V**2
    area_um2 = 2 ** (bits - 1) * model.area_unit_um2 * scaled
    return Converter(energy_fJ * 1e-3, area_um2, ("c_unit_fF",), ("area_unit_um2",), warnings)


@dac.register
def _(model: MeasuredDac, bits: int, cost: CostRates) -> Converter:
    return _measured(model, "e_dac_pJ", "DAC", bits, cost)


@singledispatch
def adc(model: object, bits: int, cost: CostRates) -> Converter:
    """An ADC of ``bits`` on the chip of ``cost``."""
    raise NotImplementedError(f"no cost for {type(model).__name__}")


@adc.register
def _(model: MeasuredAdc, bits: int, cost: CostRates) -> Converter:
    return _measured(model, "e_adc_pJ", "ADC", bits, cost)


@adc.register
def _(model: FigureOfMeritAdc, bits: int, cost: CostRates) -> Converter:
    energies_pJ = {
        "fom_w_fJ": model.fom_w_fJ * 1e-3 * 2**bits,
        "fom_s_dB": _schreier_pJ(bits, model.fom_s_dB),
    }
    larger = max(energies_pJ, key=lambda key: energies_pJ[key])
    energy_pJ = energies_pJ[larger]
    if model.area_um2 is not None:
        return Converter(energy_pJ, model.area_um2, (larger,), ("area_um2",))
    area_um2 = _survey_area_um2(energy_pJ, model.rate_MHz * 1e6, cost.node_nm)
    warnings = _survey_range(bits, model.rate_MHz * 1e6, "area")
    return Converter(energy_pJ, area_um2, (larger,), (), warnings)


@adc.register
def _(model: SurveyAdc, bits: int, cost: CostRates) -> Converter:
    rate_Hz = model.rate_MHz * 1e6
    # Below the survey its regression rises again: 1 bit would take more than 8.
    surveyed = max(bits, _FEWEST_SURVEYED_BITS)
    energy_pJ = survey_energy_pJ(surveyed, rate_Hz, cost.node_nm)
    area_um2 = _survey_area_um2(energy_pJ, rate_Hz, cost.node_nm)
    warnings = _survey_range(bits, rate_Hz, "energy")
    if _FEWEST_SURVEYED_BITS <= bits < _FEWEST_CREDIBLE_BITS:
        warnings = (
            *warnings,
            f"the survey overestimates the energy of an ADC below {_FEWEST_CREDIBLE_BITS} bits, "
            f"here {bits}; set cost.adc to kind 'measured' or 'figure-of-merit'",
        )
    return Converter(energy_pJ, area_um2, warnings=warnings)


def survey_energy_pJ(bits: float, rate_Hz: float, node_nm: float) -> float:
    """Energy of a conversion by the regression of :class:`cimsim.profile.SurveyAdc`."""
    fom_dB = min(213.781 - 2.87190 * math.log(rate_Hz), 128.307 + 3.22051 * math.ceil(bits))
    node = math.exp(26.0496 + 1.88004 * math.log(node_nm) - 2.82913 * math.log(bits) - 1.47020)
    return _schreier_pJ(bits, fom_dB) * 1e-12 * node


def _schreier_pJ(bits: float, fom_dB: float) -> float:
    """``0.5 10^((SNDR - FoM) / 10)`` joule, in pJ."""
    sndr_dB = 6.02 * bits + 1.76
    return float(0.5e12 * 10 ** ((sndr_dB - fom_dB) / 10))


def _survey_area_um2(energy_pJ: float, rate_Hz: float, node_nm: float) -> float:
    logarithm = (
        1.34619
        + 0.993279 * math.log(node_nm)
        + 0.180715 * math.log(rate_Hz)
        + 0.299124 * math.log(energy_pJ)
    )
    return math.exp(logarithm)


def _survey_range(bits: int, rate_Hz: float, what: str) -> tuple[str, ...]:
    warnings = []
    used = f"; the energy at {_FEWEST_SURVEYED_BITS} bits was used" if what == "energy" else ""
    if bits < _FEWEST_SURVEYED_BITS:
        warnings.append(
            f"the survey's {what} of an ADC is valid for {_FEWEST_SURVEYED_BITS} bits or more, not "
            f"for {bits}{used}; set cost.adc to kind 'measured'"
        )
    if rate_Hz > _FASTEST_SURVEYED_HZ:
        warnings.append(
            f"the survey's {what} of an ADC is valid up to {_FASTEST_SURVEYED_HZ:g} "
            f"conversions/s, not for {rate_Hz:g}"
        )
    return tuple(warnings)


def _measured(
    model: MeasuredAdc | MeasuredDac, key: str, what: str, bits: int, cost: CostRates
) -> Converter:
    warnings: tuple[str, ...] = ()
    finer = 1.0
    if model.bits is not None:
        finer = 2.0 ** (bits - model.bits)
        if abs(bits - model.bits) > _FARTHEST_BITS:
            warnings = (
                f"the energy of the {what} was measured at {model.bits} bits and scaled to "
                f"{bits} bits by 2^bits",
            )
    node_nm, v_V = model.at_node_nm or cost.node_nm, model.at_v_V or cost.v_dd_V
    energy, of_energy = energy_factor(node_nm, v_V, cost.node_nm, cost.v_dd_V)
    scaled_pJ = getattr(model, key) * finer * energy
    if model.area_um2 is None:
        unknown = f"the area of the {what} is unknown, so areas and TOPS/mm^2 exclude it"
        return Converter(scaled_pJ, None, (key,), (), (*warnings, *of_energy, unknown))
    area, of_area = area_factor(node_nm, cost.node_nm)
    area_um2 = model.area_um2 * finer * area
    warnings = (*warnings, *of_energy, *of_area)
    return Converter(scaled_pJ, area_um2, (key,), ("area_um2",), warnings)
