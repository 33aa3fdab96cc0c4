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


_DAY_s = 86400.0

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
    "PCMJoshi": lambda d: _state_dependent(1.0, polynomial([0.28638599, 0.07585724, -0.00178767])),
    "RRAMWan": lambda d: _state_dependent(1.0, polynomial([1.053, 2.374e-1, -1.167e-2, 1.536e-4])),
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


_SONOS_SPREAD_nA = (
    (19.88665, 176.3115),
    (25.59102, 186.85544),
    (28.72753, 193.56834),
    (31.04318, 198.90332),
    (33.76214, 204.77023),
    (34.57909, 207.34309),
)
# Change of the mean current in nA after 1 to 5 days, in powers of the current in nA.
_SONOS_SHIFT_nA: tuple[tuple[float, ...], ...] = (
    (
        1.72684e-01,
        5.72552e-02,
        -6.85715e-04,
        3.50271e-06,
        -9.37682e-09,
        1.40575e-11,
        -1.19803e-14,
        5.41293e-18,
        -8.85448e-22,
        -1.66869e-25,
        5.95180e-29,
    ),
    (
        2.50712e-01,
        6.62195e-02,
        -6.83218e-04,
        2.99442e-06,
        -6.78255e-09,
        7.70482e-12,
        -3.04983e-15,
        -2.15919e-18,
        2.94617e-21,
        -1.23359e-24,
        1.85329e-28,
    ),
    (
        -1.75300e-02,
        9.76883e-02,
        -9.63791e-04,
        4.55551e-06,
        -1.22391e-08,
        1.93786e-11,
        -1.85899e-14,
        1.07659e-17,
        -3.58211e-21,
        5.96785e-25,
        -3.30410e-29,
    ),
    (
        4.03338e-02,
        1.03111e-01,
        -1.04740e-03,
        4.83961e-06,
        -1.28132e-08,
        1.99484e-11,
        -1.85139e-14,
        1.00008e-17,
        -2.84944e-21,
        3.01008e-25,
        1.18747e-29,
    ),
    (
        3.19927e-01,
        1.06596e-01,
        -1.04054e-03,
        4.50290e-06,
        -1.10352e-08,
        1.56477e-11,
        -1.27592e-14,
        5.45513e-18,
        -7.26841e-22,
        -2.43893e-25,
        7.14608e-29,
    ),
)


def sonos_drift(device: Device) -> Effects:
    """Return the drift of SONOS, which includes the programming error, at days 0 to 5."""
    nA = 1e3 * device.v_read_V  # of a cell of 1 uS
    shifts: list[dict[str, Any]] = [polynomial([0.0])]
    for coefficients in _SONOS_SHIFT_nA:
        shifts.append(polynomial([c * nA**k / nA for k, c in enumerate(coefficients)]))
    return [
        {
            "kind": "tabulated",
            "g_ref_uS": 1.0,
            "times_s": [1.0, *(day * _DAY_s for day in range(1, 6))],
            "sigma_uS": [_sonos(device, *spread) for spread in _SONOS_SPREAD_nA],
            "shift_uS": shifts,
        }
    ]
