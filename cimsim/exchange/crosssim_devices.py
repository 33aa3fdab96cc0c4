"""CrossSim's device models as effects of a profile's cell."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from cimsim.exchange.aihwkit_noise import polynomial


class Device(NamedTuple):
    """The electrical quantities on which a device model depends."""

    g_min_uS: float
    g_max_uS: float
    v_read_V: float
    magnitude: float


Effects = list[dict[str, Any]]
Model = Callable[[Device], Effects]


def _gaussian(of_g_max: float) -> Effects:
    return [{"kind": "gaussian", "sigma_of_g_max": of_g_max}]


def _relative(of_g: float) -> Effects:
    return [{"kind": "relative", "sigma_of_g": of_g}]


def _inverse(device: Device, sigma: float) -> Effects:
    # sigma / g in units of g_max; a cell of conductance 0 has no error there, so none is capped.
    lowest = device.g_min_uS / device.g_max_uS
    return _state_dependent(
        device.g_max_uS,
        {
            "kind": "capped-power",
            "coefficient": sigma * device.g_max_uS,
            "exponent": -1.0,
            "max": sigma * device.g_max_uS / lowest,
        },
    )


def _state_dependent(g_ref_uS: float, sigma_uS: dict[str, Any]) -> Effects:
    return [{"kind": "state-dependent", "g_ref_uS": g_ref_uS, "sigma_uS": sigma_uS}]


_EVEN = 1 / math.sqrt(12)  # the standard deviation of a uniform distribution of width 1

PROGRAMMING: dict[str, Model] = {
    "NormalIndependentDevice": lambda d: _gaussian(d.magnitude),
    "NormalProportionalDevice": lambda d: _relative(d.magnitude),
    "NormalInverseProportionalDevice": lambda d: _inverse(d, d.magnitude),
    "UniformIndependentDevice": lambda d: _gaussian(d.magnitude * _EVEN),
    "UniformProportionalDevice": lambda d: _relative(d.magnitude * _EVEN),
    "UniformInverseProportionalDevice": lambda d: _inverse(d, d.magnitude * _EVEN),
    "PCMJoshi": lambda d: _state_dependent(
        1.0, polynomial([0.28638599, 0.07585724, -0.00178767])
    ),
    "RRAMWan": lambda d: _state_dependent(
        1.0, polynomial([1.053, 2.374e-1, -1.167e-2, 1.536e-4])
    ),
    "RRAMMilo": lambda d: _state_dependent(1.0, polynomial([4.782321, -0.009107])),
    "SONOS": lambda d: _state_dependent(1.0, _sonos(d, 19.88665, 176.3115)),
}
READ: dict[str, Model] = {
    "NormalIndependentDevice": PROGRAMMING["NormalIndependentDevice"],
    "NormalProportionalDevice": PROGRAMMING["NormalProportionalDevice"],
    "UniformIndependentDevice": PROGRAMMING["UniformIndependentDevice"],
    "UniformProportionalDevice": PROGRAMMING["UniformProportionalDevice"],
    "NormalInverseProportionalDevice": PROGRAMMING["NormalInverseProportionalDevice"],
    "UniformInverseProportionalDevice": PROGRAMMING["UniformInverseProportionalDevice"],
    "SONOS": lambda d: _state_dependent(1.0, _sonos(d, 12.58037, 215.36557)),
}
UNEVEN_ZERO = ("NormalInverseProportionalDevice", "UniformInverseProportionalDevice")
"""Models whose spread at a conductance of 0 is not the limit of that above it."""


def _sonos(device: Device, amplitude_nA: float, scale_nA: float) -> dict[str, Any]:
    """Return the spread over the conductance in uS, from that over the current in nA."""
    nA = 1e3 * device.v_read_V  # of a cell of 1 uS
    return {"kind": "saturating", "amplitude": amplitude_nA / nA, "scale": scale_nA / nA}


def milo_iv(device: Device) -> dict[str, Any]:
    """Return the current-voltage law of RRAMMilo."""
    return {
        "kind": "polynomial",
        "v_read_V": device.v_read_V,
        "g_ref_uS": 1e6,
        "a2_uA_per_V2": {"kind": "log-polynomial", "coefficients": [7063.0, 5711.0, 1541.0, 138.8]},
        "a3_uA_per_V3": {"kind": "log-polynomial", "coefficients": [1296.8, 679.19, 88.71]},
    }


def cubic_iv(device: Device) -> dict[str, Any]:
    """Return the current-voltage law ``I = G (V - V^3 / 4)`` of CubicDevice."""
    return {
        "kind": "polynomial",
        "v_read_V": device.v_read_V,
        "g_ref_uS": 1.0,
        "a2_uA_per_V2": polynomial([0.0]),
        "a3_uA_per_V3": polynomial([0.0, -0.25]),
    }


IV: dict[str, Callable[[Device], dict[str, Any]]] = {"RRAMMilo": milo_iv, "CubicDevice": cubic_iv}



def sonos_drift(device: Device) -> Effects:
    """Return the drift of SONOS, which the shipped profile has tabulated over five days."""
    from cimsim.profile import load_profile

    shipped = load_profile("sonos-agrawal-2022").cell.drift[0].model_dump(mode="json")
    unit = 0.1 / device.v_read_V  # the profile's conductances are currents over 0.1 V
    del shipped["source"]
    return [shipped | {"g_ref_uS": unit, "strength": unit}]
