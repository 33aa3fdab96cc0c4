"""Costs of each operation on one chip: energies in pJ, times in ns, areas in um^2."""

from __future__ import annotations

from dataclasses import dataclass

from cimsim.analysis.cost import converters
from cimsim.analysis.cost.drive import IDEAL_BITS
from cimsim.analysis.cost.scaling import area_factor, energy_factor
from cimsim.profile import CostRates, Profile


@dataclass(frozen=True)
class Prices:
    """Unit costs of one profile, and warnings about them."""

    dac: converters.Converter
    adc: converters.Converter
    t_pulse_ns: float
    t_conversion_ns: float
    t_cycle_ns: float
    e_cycle_pJ: float
    e_add_pJ: float
    e_multiply_pJ: float
    e_mac_pJ: float
    macs_per_ns: float
    e_bit_pJ: float
    area_cell_um2: float
    area_accumulator_um2: float
    area_bit_um2: float
    leakage_pJ_per_um2_ns: float
    leakage_pJ_per_cell_ns: float
    warnings: tuple[str, ...]


def prices_of(profile: Profile) -> Prices:
    """The unit costs of the ``cost`` section of ``profile``; generic ones without one."""
    cost = profile.cost or CostRates()
    warnings = list(_unstated(profile))
    dac_bits = 1 if profile.dac.bit_serial else profile.dac.bits or IDEAL_BITS
    dac = converters.dac(cost.dac, dac_bits, cost)
    adc = converters.adc(cost.adc, profile.adc.bits or IDEAL_BITS, cost)
    logic, memory = cost.digital, cost.buffer
    of_logic, more = energy_factor(logic.at_node_nm, logic.at_v_V, cost.node_nm, cost.v_dd_V)
    of_memory, yet_more = energy_factor(memory.at_node_nm, memory.at_v_V, cost.node_nm, cost.v_dd_V)
    logic_area, _ = area_factor(logic.at_node_nm, cost.node_nm)
    memory_area, _ = area_factor(memory.at_node_nm, cost.node_nm)
    warnings += [*dac.warnings, *adc.warnings, *more, *yet_more]
    return Prices(
        dac=dac,
        adc=adc,
        t_pulse_ns=cost.read.t_read_ns + cost.read.t_settle_ns,
        t_conversion_ns=1e3 / cost.adc.rate_MHz,
        t_cycle_ns=_of_a_cycle(cost, "t_cycle_ns"),
        e_cycle_pJ=_of_a_cycle(cost, "e_cycle_pJ"),
        e_add_pJ=logic.e_add_pJ * of_logic,
        e_multiply_pJ=logic.e_multiply_pJ * of_logic,
        e_mac_pJ=logic.e_mac_pJ * of_logic,
        macs_per_ns=logic.macs_per_ns,
        e_bit_pJ=memory.e_bit_pJ * of_memory,
        area_cell_um2=cost.read.area_cell_F2 * (cost.node_nm * 1e-3) ** 2,
        area_accumulator_um2=logic.area_accumulator_um2 * logic_area,
        area_bit_um2=memory.area_bit_um2 * memory_area,
        leakage_pJ_per_um2_ns=cost.leakage_mW_per_mm2 * 1e-6,  # 1 mW x 1 ns = 1 pJ
        leakage_pJ_per_cell_ns=cost.read.leakage_cell_nW * 1e-6,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _of_a_cycle(cost: CostRates, key: str) -> float:
    """A number of one integration; 0 if pulses are added digitally."""
    return float(getattr(cost.accumulation, key, 0.0))


def _unstated(profile: Profile) -> list[str]:
    """Warn about numbers that the profile does not give."""
    warnings = []
    if profile.cost is None:
        warnings.append(
            f"{profile.name} has no cost section, so generic numbers are used (see the guide to "
            "costs); add one to the profile, or set its keys, such as cost.node_nm=14"
        )
    for name, bits in (("DAC", profile.dac.bits), ("ADC", profile.adc.bits)):
        if bits is None:
            warnings.append(
                f"the {name} of {profile.name} is ideal and counted as one of {IDEAL_BITS} bits; "
                f"set {name.lower()}.bits"
            )
    return warnings
