"""Prices of each operation on one chip: energies in pJ, times in ns, areas in um^2."""

from __future__ import annotations

from dataclasses import dataclass

from cimsim.analysis.cost import converters
from cimsim.analysis.cost.charges import Price
from cimsim.analysis.cost.drive import IDEAL_BITS
from cimsim.analysis.cost.scaling import area_factor, energy_factor
from cimsim.profile import (
    CostRates,
    Profile,
    Provenance,
    least_reliable,
    provenance_of,
)
from cimsim.profile.base import Sourced

_OURS = "default"


@dataclass(frozen=True)
class Prices:
    """Unit costs of one profile, and warnings about them.

    ``cells``, ``rows`` and ``columns`` depend on conductances and inputs. ``dac_um2`` and
    ``adc_um2`` are None if the area of a converter is unknown.
    """

    cells: Price
    rows: Price
    columns: Price
    dac_pJ: Price
    adc_pJ: Price
    cycle_pJ: Price
    add_pJ: Price
    multiply_pJ: Price
    mac_pJ: Price
    bit_pJ: Price
    circuits_pJ_per_um2_ns: Price
    cells_pJ_per_ns: Price
    read_ns: Price
    settle_ns: Price
    conversion_ns: Price
    cycle_ns: Price
    mac_ns: Price
    cell_um2: Price
    dac_um2: Price | None
    adc_um2: Price | None
    accumulator_um2: Price
    bit_um2: Price
    warnings: tuple[str, ...]


def prices_of(profile: Profile) -> Prices:
    """The unit costs of the ``cost`` section of ``profile``; generic ones without one."""
    cost = profile.cost or CostRates()
    read, logic, memory, rate = cost.read, cost.digital, cost.buffer, cost.adc.rate_MHz
    dac_bits = 1 if profile.dac.bit_serial else profile.dac.bits or IDEAL_BITS
    dac = converters.dac(cost.dac, dac_bits, cost)
    adc = converters.adc(cost.adc, profile.adc.bits or IDEAL_BITS, cost)
    of_logic, more = energy_factor(logic.at_node_nm, logic.at_v_V, cost.node_nm, cost.v_dd_V)
    of_memory, yet_more = energy_factor(memory.at_node_nm, memory.at_v_V, cost.node_nm, cost.v_dd_V)
    logic_area, _ = area_factor(logic.at_node_nm, cost.node_nm)
    memory_area, _ = area_factor(memory.at_node_nm, cost.node_nm)
    warnings = [*_unstated(profile), *dac.warnings, *adc.warnings, *more, *yet_more]
    cell_um2 = read.area_cell_F2 * (cost.node_nm * 1e-3) ** 2
    of_cells = "t_read_ns" if read.c_cell_fF is None else "c_cell_fF"
    return Prices(
        cells=_price("cell read", 1.0, read, "v_read_V", of_cells),
        rows=_price("row line", 1.0, read, "v_read_V", "c_row_fF"),
        columns=_price("column line", 1.0, read, "v_read_V", "c_column_fF"),
        dac_pJ=_price("DAC conversion", dac.e_pJ, cost.dac, *dac.energy_keys),
        adc_pJ=_price("ADC conversion", adc.e_pJ, cost.adc, *adc.energy_keys),
        cycle_pJ=_of_a_cycle(cost, "e_cycle_pJ"),
        add_pJ=_price("addition", logic.e_add_pJ * of_logic, logic, "e_add_pJ"),
        multiply_pJ=_price("scaling", logic.e_multiply_pJ * of_logic, logic, "e_multiply_pJ"),
        mac_pJ=_price("digital MAC", logic.e_mac_pJ * of_logic, logic, "e_mac_pJ"),
        bit_pJ=_price("buffered bit", memory.e_bit_pJ * of_memory, memory, "e_bit_pJ"),
        circuits_pJ_per_um2_ns=_price(  # 1 mW x 1 ns = 1 pJ
            "leakage", cost.leakage_mW_per_mm2 * 1e-6, cost, "leakage_mW_per_mm2"
        ),
        cells_pJ_per_ns=_price(
            "leakage of cells", read.leakage_cell_nW * 1e-6, read, "leakage_cell_nW"
        ),
        read_ns=_price("read pulse", read.t_read_ns, read, "t_read_ns"),
        settle_ns=_price("settling", read.t_settle_ns, read, "t_settle_ns"),
        conversion_ns=_price("ADC conversion", 1e3 / rate, cost.adc, "rate_MHz"),
        cycle_ns=_of_a_cycle(cost, "t_cycle_ns"),
        mac_ns=_price("digital MAC", 1 / logic.macs_per_ns, logic, "macs_per_ns"),
        cell_um2=_price("cell", cell_um2, read, "area_cell_F2"),
        dac_um2=_area("DAC", dac, cost.dac),
        adc_um2=_area("ADC", adc, cost.adc),
        accumulator_um2=_price(
            "accumulator", logic.area_accumulator_um2 * logic_area, logic, "area_accumulator_um2"
        ),
        bit_um2=_price("buffer", memory.area_bit_um2 * memory_area, memory, "area_bit_um2"),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _price(name: str, each: float, section: Sourced, *keys: str) -> Price:
    """A price that follows from ``keys`` of ``section``; from a fit of ours without keys."""
    origins: list[Provenance] = [provenance_of(section, key) for key in keys]
    sources = dict.fromkeys(section.stated_source_of(key) or _OURS for key in keys)
    return Price(name, each, least_reliable(origins or ["generic"]), "; ".join(sources) or _OURS)


def _area(name: str, converter: converters.Converter, section: Sourced) -> Price | None:
    if converter.area_um2 is None:
        return None
    return _price(name, converter.area_um2, section, *converter.area_keys)


def _of_a_cycle(cost: CostRates, key: str) -> Price:
    """A number of one integration; 0 if pulses are added digitally."""
    each = float(getattr(cost.accumulation, key, 0.0))
    return _price("integration", each, cost.accumulation, *((key,) if each else ()))


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
