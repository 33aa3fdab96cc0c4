"""Circuits around the cells: weight mapping, wires, converters and their ranges."""

from cimsim.circuits.wires import (
    approximate_effective_conductance,
    effective_conductance,
    gated_currents,
)

__all__ = ["approximate_effective_conductance", "effective_conductance", "gated_currents"]
