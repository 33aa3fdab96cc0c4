"""Energy and area from one technology node and supply to another."""

from __future__ import annotations

import math
from collections.abc import Sequence

# a, b, c of the energy a V^2 + b V + c of one and the same circuit at each node in nm, in arbitrary
# units; and its area relative to 32 nm. Source: A. Stillmaker, B. Baas, "Scaling equations for the
# accurate prediction of CMOS device performance from 180 nm to 7 nm", Integration 58 (2017).
_ENERGY = {
    7.0: (0.1776, -0.09097, 0.02447),
    10.0: (0.2068, -0.09311, 0.02375),
    14.0: (0.2363, -0.09675, 0.02239),
    16.0: (0.2958, -0.1241, 0.03024),
    20.0: (0.373, -0.1582, 0.04104),
    32.0: (0.9559, -0.7823, 0.471),
    45.0: (1.103, -0.362, 0.2767),
    65.0: (3.755, -4.398, 1.975),
    90.0: (4.762, -4.781, 2.092),
    130.0: (7.171, -6.709, 2.904),
}
_AREA = {
    **{7.0: 0.13, 10.0: 0.22, 14.0: 0.38, 16.0: 0.41, 20.0: 0.46},
    **{32.0: 1.0, 45.0: 2.2, 65.0: 3.3, 90.0: 6.1, 130.0: 14.0},
}


def energy_factor(
    from_node_nm: float, from_v_V: float, to_node_nm: float, to_v_V: float
) -> tuple[float, tuple[str, ...]]:
    """Return the factor of an energy, and warnings if a fit is used beyond its range.

        (S(to, V0) / S(from, V0)) (V / V0)^2,    S(node, V) = a V^2 + b V + c,  V0 = from_v_V

    Between nodes of the fit, S is interpolated in the logarithm of both; at the same node, an
    energy is proportional to the square of the supply voltage, like a capacitor's.

    >>> energy_factor(65, 1.0, 65, 0.5)
    (0.25, ())
    """
    supply = (to_v_V / from_v_V) ** 2
    if from_node_nm == to_node_nm:
        return supply, ()
    at_V0 = {node: a * from_v_V**2 + b * from_v_V + c for node, (a, b, c) in _ENERGY.items()}
    shrunk = _interpolated(to_node_nm, at_V0) / _interpolated(from_node_nm, at_V0)
    warnings = _outside(from_node_nm, to_node_nm)
    low = max(_lowest_V(node) for node in (from_node_nm, to_node_nm))
    if from_v_V < low:
        warnings.append(
            f"energies at {from_v_V:g} V are scaled from {from_node_nm:g} to {to_node_nm:g} nm by "
            f"a fit that is valid for {low:.2g} V or more"
        )
    return shrunk * supply, tuple(warnings)


def area_factor(from_node_nm: float, to_node_nm: float) -> tuple[float, tuple[str, ...]]:
    """Return the factor of an area, and warnings beyond the table.

    >>> area_factor(32, 65)
    (3.3, ())
    """
    if from_node_nm == to_node_nm:
        return 1.0, ()
    factor = _interpolated(to_node_nm, _AREA) / _interpolated(from_node_nm, _AREA)
    return factor, tuple(_outside(from_node_nm, to_node_nm))


def _interpolated(node_nm: float, table: dict[float, float]) -> float:
    """Interpolate in the logarithm of both; beyond the table, on the line through the last two."""
    if node_nm in table:
        return table[node_nm]
    low, high = _neighbors(node_nm, sorted(table))
    share = math.log(node_nm / low) / math.log(high / low)
    return math.exp((1 - share) * math.log(table[low]) + share * math.log(table[high]))


def _neighbors(node_nm: float, nodes: Sequence[float]) -> tuple[float, float]:
    index = sum(node < node_nm for node in nodes)
    index = min(max(index, 1), len(nodes) - 1)
    return nodes[index - 1], nodes[index]


def _lowest_V(node_nm: float) -> float:
    """The supply below which the fit of a node rises again."""
    nearest = min(_ENERGY, key=lambda node: abs(math.log(node / node_nm)))
    a, b, _ = _ENERGY[nearest]
    return -b / (2 * a)


def _outside(*nodes_nm: float) -> list[str]:
    low, high = min(_ENERGY), max(_ENERGY)
    return [
        f"the fit of scaling is valid for nodes of {low:g} to {high:g} nm and was extrapolated to "
        f"{node:g} nm"
        for node in nodes_nm
        if not low <= node <= high
    ]
