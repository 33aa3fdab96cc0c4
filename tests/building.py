"""Devices made to measure, for tests."""

from typing import Any

from cimsim.profile import Profile

SOURCE = "made up for a test"

POLYNOMIAL = {
    "kind": "state-dependent",
    "g_ref_uS": 25.0,
    "sigma_uS": {"kind": "polynomial", "coefficients": [0.26348, 1.9650, -1.1731]},
}
POWER_LAW = {
    "kind": "power-law",
    "t0_s": 20.0,
    "g_ref_uS": 25.0,
    "nu_mean": {
        "kind": "clipped-log",
        "slope": -0.0155,
        "intercept": 0.0244,
        "min": 0.049,
        "max": 0.1,
    },
    "nu_std": {
        "kind": "clipped-log",
        "slope": -0.0125,
        "intercept": -0.0059,
        "min": 0.008,
        "max": 0.045,
    },
}
ONE_OVER_F = {
    "kind": "one-over-f",
    "t0_s": 20.0,
    "t_read_ns": 250.0,
    "g_ref_uS": 25.0,
    "q": {"kind": "capped-power", "coefficient": 0.0088, "exponent": -0.65, "max": 0.2},
}


ADC_ERRORS: tuple[dict[str, Any], ...] = (
    {"kind": "gain", "sigma": 0.3},
    {"kind": "offset", "sigma_of_range": 0.3},
    {"kind": "bow", "peak_of_range": 0.2},
    {"kind": "compression", "n": 0.5},
    {
        "kind": "measured",
        "ideal_of_range": [-1.0, 1.0],
        "mean_error_of_range": [0.3, -0.1],
        "spread_of_range": [0.1, 0.3],
    },
    {"kind": "sar", "sigma_unit": 0.3},
    {"kind": "ramp", "sigma_step": 0.8},
    {"kind": "pipeline", "sigma_gain": 0.2},
    {"kind": "temperature", "reference_C": 0.0, "gain_per_K": 0.02},
)
"""Every kind of error of an ADC, large enough to be seen."""


def gaussian(sigma_of_g_max: float) -> dict[str, Any]:
    """State-independent noise, as an entry of programming or read noise."""
    return {"kind": "gaussian", "sigma_of_g_max": sigma_of_g_max}


def device(
    *,
    programming: list[dict[str, Any]] | None = None,
    variation: list[dict[str, Any]] | None = None,
    drift: list[dict[str, Any]] | None = None,
    read: list[dict[str, Any]] | None = None,
    dac: int | None = None,
    adc: int | None = None,
    adc_noise: float = 0.0,
    rows: int = 512,
    g_min_uS: float = 0.0,
    g_max_uS: float = 25.0,
    compensation: str = "none",
    faults: list[dict[str, Any]] | None = None,
    temperature: list[dict[str, Any]] | None = None,
    iv: dict[str, Any] | None = None,
    verify_uS: float | None = None,
    columns: int = 512,
    temperature_C: float = 25.0,
) -> Profile:
    """A profile that is ideal in everything that is not given."""

    def sourced(effects: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
        return [{"source": SOURCE, **effect} for effect in effects or []]

    return Profile.model_validate(
        {
            "schema_version": 1,
            "name": "test-device",
            "title": "test",
            "description": "test",
            "sources": {},
            "temperature_C": temperature_C,
            "cell": {
                "technology": "none",
                "g_min_uS": g_min_uS,
                "g_max_uS": g_max_uS,
                "programming_noise": sourced(programming),
                "variation": sourced(variation),
                "drift": sourced(drift),
                "read_noise": sourced(read),
                "faults": sourced(faults),
                "temperature": sourced(temperature),
                "iv": iv and {"source": SOURCE, **iv},
                "write_verify": verify_uS and {"tolerance_uS": verify_uS, "source": SOURCE},
                "source": SOURCE,
            },
            "array": {
                "rows": rows,
                "columns": columns,
                "drift_compensation": compensation,
                "source": SOURCE,
            },
            "dac": {"bits": dac, "source": SOURCE},
            "adc": {"bits": adc, "noise_of_range": adc_noise, "source": SOURCE},
        }
    )
