"""Profiles of the SiOx devices of Joksas et al. (2022): Poole-Frenkel fits to the measurements.

    python -m benchmarks.papers.siox_fit excelDataCombined.mat

The file is part of doi:10.5281/zenodo.5762184: 53 sweeps of one device in as many states. Prints
``cell.iv`` of the two profiles ``siox_low_joksas_2022.yaml`` and ``siox_high_joksas_2022.yaml``.

Sweeps up to 0.5 V are used, without those that have abrupt changes (a second difference of more
than a tenth of the mean current). A resistance R is that at 0.1 V. Each sweep is fitted by
``I = c V exp(e / (k_B T) sqrt(e V / (pi D)))`` at 20 degrees Celsius, where D is the product of
distance and permittivity; then ln c and ln D are fitted by lines over ln R, separately below and
above the resistance quantum, and their residuals have a covariance.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.io
from scipy import constants
from scipy.optimize import curve_fit

Array = np.ndarray[Any, np.dtype[np.float64]]
POINTS, REFERENCE = 101, 20  # up to 0.5 V in steps of 5 mV; 0.1 V
LARGEST_CHANGE = 0.1
RATIO = 5.0
"""Highest over lowest conductance of the window."""
_STARTS = (-30.0, -34.0, -36.8, -38.0)  # of ln D, because the fit has local minima


class Window(NamedTuple):
    """The cells of one region, as ``cell`` of a profile holds them."""

    g_min_uS: float
    g_max_uS: float
    iv: dict[str, float]


def slope_per_root_V(product: float) -> float:
    """The factor ``beta`` of the root of the voltage, for a product D in F."""
    thermal = constants.e / (constants.k * (constants.zero_Celsius + 20.0))
    return float(thermal * math.sqrt(constants.e / (math.pi * product)))


def sweeps(file: Path) -> tuple[Array, Array]:
    """Voltages and currents ``[states, points]`` of the sweeps without abrupt changes."""
    data = np.flip(scipy.io.loadmat(file)["data"], axis=2)
    current, voltage = np.transpose(data, (1, 2, 0))[:2, :, :POINTS]
    second = np.gradient(np.gradient(current, axis=1), axis=1)
    smooth = (second / current.mean(1, keepdims=True)).max(1) < LARGEST_CHANGE
    return voltage[smooth], current[smooth]


def poole_frenkel(voltage: Array, current: Array) -> tuple[float, float]:
    """``ln c`` and ``ln D`` of one sweep, in SI units, with the least squared error."""
    resistance = voltage[REFERENCE] / current[REFERENCE]

    def scaled(v: Array, ln_c: float, ln_d: float) -> Array:
        slope = slope_per_root_V(math.exp(ln_d))
        return np.asarray(resistance * v * np.exp(np.minimum(ln_c + slope * np.sqrt(v), 50.0)))

    best, least = (0.0, 0.0), math.inf
    for start in _STARTS:
        try:
            found, _ = curve_fit(
                scaled, voltage, resistance * current, p0=[-math.log(resistance), start]
            )
        except RuntimeError:
            continue
        error = float(((scaled(voltage, *found) - resistance * current) ** 2).sum())
        if error < least:
            best, least = (float(found[0]), float(found[1])), error
    return best


def windows(voltage: Array, current: Array) -> dict[str, Window]:
    """The regions of low and of high resistance."""
    order = np.argsort(voltage[:, REFERENCE] / current[:, REFERENCE])
    voltage, current = voltage[order], current[order]
    resistance = voltage[:, REFERENCE] / current[:, REFERENCE]
    fits = np.array([poole_frenkel(v, i) for v, i in zip(voltage, current, strict=True)])
    quantum = constants.physical_constants["inverse of conductance quantum"][0]
    high = resistance > quantum
    on, off = 1.0 / resistance[0], 1.0 / resistance[-1]
    return {
        "low": _window(on / RATIO, on, resistance[~high], fits[~high]),
        "high": _window(off, off * RATIO, resistance[high], fits[high]),
    }


def _window(g_min_S: float, g_max_S: float, resistance: Array, fits: Array) -> Window:
    x = np.log(resistance)
    lines = [np.polyfit(x, fits[:, k], 1) for k in range(2)]
    rest = np.array([fits[:, k] - np.polyval(line, x) for k, line in enumerate(lines)])
    (c_c, c_d), (_, d_d) = np.cov(rest, bias=True)
    (c_slope, _), (d_slope, _) = lines
    ln_c, ln_d = (float(np.polyval(line, -math.log(g_max_S))) for line in lines)
    iv = {
        "g_ref_uS": g_max_S * 1e6,
        "c_ref_uS": math.exp(ln_c) * 1e6,
        "c_exponent": -c_slope,
        "beta_ref_per_sqrt_V": slope_per_root_V(math.exp(ln_d)),
        "beta_exponent": d_slope / 2,  # beta goes with the root of 1 / D
        "sigma_ln_c": math.sqrt(c_c),
        "sigma_ln_beta": math.sqrt(d_d) / 2,
        "correlation": -c_d / math.sqrt(c_c * d_d),
    }
    return Window(g_min_S * 1e6, g_max_S * 1e6, {key: float(value) for key, value in iv.items()})


def main() -> None:
    """Print both windows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    for name, window in windows(*sweeps(parser.parse_args().file)).items():
        print(f"{name}:")
        print(f"  g_min_uS: {window.g_min_uS:.5g}")
        print(f"  g_max_uS: {window.g_max_uS:.5g}")
        for key, value in window.iv.items():
            print(f"    {key}: {value:.5g}")


if __name__ == "__main__":
    main()
