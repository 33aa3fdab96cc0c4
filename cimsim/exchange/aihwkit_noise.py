"""aihwkit's noise models as cells of a profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cimsim.errors import CimsimError
from cimsim.exchange.aihwkit_converters import add_mapping
from cimsim.exchange.aihwkit_fields import LIBRARY
from cimsim.exchange.notes import Draft, Notes
from cimsim.exchange.source import CLASS, Field, Source
from cimsim.suggest import unknown

_SCALES = (
    Field("prog_noise_scale", 1.0, "cell.programming_noise.strength"),
    Field("read_noise_scale", 1.0, "cell.read_noise.strength"),
    Field("drift_scale", 1.0, "cell.drift.strength"),
)
_G_MAX = Field("g_max", 25.0, "cell.g_max_uS")
_CONVERTER = Field("g_converter", None, "array.mapping")
_PCM = (
    Field("class", "", "cell"),
    _CONVERTER,
    _G_MAX,
    Field("prog_coeff", [0.26348, 1.9650, -1.1731], "cell.programming_noise.sigma_uS"),
    Field("prog_coeff_g_max_reference", 25.0, "cell.programming_noise.sigma_uS"),
    Field("t_read", 250e-9, "cell.read_noise.t_read_ns"),
    Field("t_0", 20.0, "cell.drift.t0_s"),
    *_SCALES,
)
_HERMES = (
    Field("class", "", "cell"),
    _CONVERTER,
    Field("g_max", 20.7, "cell.g_max_uS"),
    Field("num_devices", 2, "cell.drift"),
    Field(
        "prog_coeff",
        [0.16603222, 4.71806468, -8.48101252, 4.68961419],
        "cell.programming_noise.sigma_uS",
    ),
    Field("prog_coeff_g_max_reference", 20.7, "cell.programming_noise.sigma_uS"),
    Field("t_read", 512e-9, "cell.read_noise.t_read_ns"),
    Field("t_0", 300.0, "cell.drift.t0_s"),
    *_SCALES,
)
_CUSTOM_DRIFT = (*_PCM, Field("custom_drift_model", None, "cell.drift.nu_mean, nu_std"))
_STATE_INDEPENDENT = (
    Field("class", "", "cell"),
    _CONVERTER,
    _G_MAX,
    Field("prog_coeff", [0.2, 0.0, 0.0], "cell.programming_noise.sigma_uS"),
    Field("drift_nu_mean", 0.1, "cell.drift.nu_mean"),
    Field("drift_nu_std", 0.05, "cell.drift.nu_std"),
    Field("t_0", 20.0, "cell.drift.t0_s"),
    Field("t_read", 250e-9, "cell.read_noise.t_read_ns"),
    *_SCALES,
)
_WAN = (
    Field("class", "", "cell"),
    _CONVERTER,
    _G_MAX,
    Field("coeff_dic", None, "cell.drift.sigma_uS"),
    Field("coeff_g_max_reference", None, "cell.drift.sigma_uS"),
    Field("prog_coeff_g_max_reference", None, "cell.drift.sigma_uS"),
    Field("noise_scale", 1.0, "cell.drift.strength"),
)
_CMO = (
    Field("class", "", "cell"),
    _CONVERTER,
    Field("g_max", 88.199997, "cell.g_max_uS"),
    Field("g_min", 9.0, "cell.g_min_uS"),
    Field("coeff_g_max_reference", 88.199997, "cell.programming_noise.sigma_uS"),
    Field("coeff_dict", None, "cell.programming_noise.sigma_uS"),
    Field("acceptance_range", 0.2, "cell.programming_noise.sigma_uS"),
    Field("decay_dict", None, "cell.drift"),
    Field("read_dict", None, "cell.read_noise"),
    *_SCALES,
)

_WAN_COEFFICIENTS = {
    "1": [0.348, 16.030, -43.853, 45.393, -16.815],
    "86400": [0.701, 22.086, -50.773, 47.095, -16.458],
    "172800": [0.782, 20.274, -43.507, 37.062, -11.934],
}
_CMO_COEFFICIENTS = {"0.2": [0.00081107, 0.00106879], "2": [0.0112185391, 0.01129027418]}
_CMO_DECAY = {"mean": [-0.08900206], "std": [0.04201137, 0.41183342]}
_CMO_READ = {"K": 0.0277316483, "t_read": 1e-6}


def clipped_log(slope: float, intercept: float, low: float, high: float) -> dict[str, Any]:
    """Return the curve ``min(max(slope ln r + intercept, low), high)``."""
    return {
        "kind": "clipped-log",
        "slope": slope,
        "intercept": intercept,
        "min": low,
        "max": high,
    }


def polynomial(coefficients: list[float]) -> dict[str, Any]:
    """Return the polynomial with these coefficients, the constant first."""
    return {"kind": "polynomial", "coefficients": coefficients}


def _piecewise(at: float, below: dict[str, Any], above: list[float]) -> dict[str, Any]:
    return {"kind": "piecewise", "at": at, "below": below, "above": polynomial(above)}


PCM_NU = (
    clipped_log(-0.0155, 0.0244, 0.049, 0.1),
    clipped_log(-0.0125, -0.0059, 0.008, 0.045),
)
PCM_Q = {"kind": "capped-power", "coefficient": 0.0088, "exponent": -0.65, "max": 0.2}
_HERMES_NU_MEAN = _piecewise(
    0.0945, clipped_log(-0.0387, -0.0182, 0.0720, 0.13), [0.0736, -0.0126, -0.0436]
)
HERMES_NU = {
    1: (
        _HERMES_NU_MEAN,
        _piecewise(0.3039, clipped_log(-0.0120, -0.0023, 0.0124, 0.04), [0.0104, 0.0116, -0.0165]),
    ),
    2: (
        _HERMES_NU_MEAN,
        _piecewise(0.3055, clipped_log(-0.0117, -0.0057, 0.0091, 0.04), [0.0073, 0.0093, -0.0118]),
    ),
}
HERMES_Q = {
    1: _piecewise(
        0.1591, clipped_log(-0.0078, 0.0038, 0.0179, 0.04), [0.0088, 0.0768, -0.1352, 0.0664]
    ),
    2: _piecewise(
        0.16, clipped_log(-0.0117, -0.0069, 0.015, 0.04), [0.0123, 0.0211, -0.0280, 0.0069]
    ),
}


def add_cell(model: Mapping[str, Any] | None, draft: Draft, notes: Notes) -> str:
    """Add the cell of a noise model and the mapping of its converter; return the technology.

    Raises:
        CimsimError: if the model's class is unknown, because its equations then are, too.
    """
    if model is None:
        model = {CLASS: "PCMLikeNoiseModel"}
    name = str(model.get(CLASS, ""))
    if name not in MODELS:
        raise CimsimError(unknown("noise model of aihwkit", name, MODELS))
    fields, add, technology = MODELS[name]
    source = Source(LIBRARY, model, fields)
    add(source, draft, notes)
    for path in [path for path in source.values if source.differs(path)]:
        if path not in {field.path for field in fields}:
            notes.add(
                f"noise_model.{path}",
                source.values[path],
                f"this field of {name} is unknown to cimsim; its effect is missing",
            )
    return technology


def _programming(source: Source, notes: Notes, sigma_uS: list[float], g_ref_uS: float) -> Any:
    _note_negative(notes, "noise_model.prog_coeff", sigma_uS)
    return [
        {
            "kind": "state-dependent",
            "g_ref_uS": g_ref_uS,
            "sigma_uS": polynomial(sigma_uS),
            "strength": source.number("prog_noise_scale"),
        }
    ]


def _power_law(source: Source, nu: tuple[Any, Any], g_ref_uS: float) -> Any:
    return [
        {
            "kind": "power-law",
            "t0_s": source.number("t_0"),
            "g_ref_uS": g_ref_uS,
            "nu_mean": nu[0],
            "nu_std": nu[1],
            "strength": source.number("drift_scale"),
        }
    ]


def _flicker(source: Source, q: Any, g_ref_uS: float) -> Any:
    return [
        {
            "kind": "one-over-f",
            "t0_s": source.number("t_0"),
            "t_read_ns": nanoseconds(source.number("t_read")),
            "g_ref_uS": g_ref_uS,
            "q": q,
            "strength": source.number("read_noise_scale"),
        }
    ]


def nanoseconds(seconds: float) -> float:
    """Return a time in ns without the last digits that a product would add."""
    return float(f"{seconds * 1e9:.12g}")


def _scaled(coefficients: list[float], factor: float) -> list[float]:
    return coefficients if factor == 1 else [factor * c for c in coefficients]


def _pcm(source: Source, draft: Draft, notes: Notes, nu: Any = PCM_NU, q: Any = PCM_Q) -> None:
    g_max = source.number("g_max")
    factor = g_max / source.number("prog_coeff_g_max_reference")
    draft.cell |= {
        "programming_noise": _programming(
            source, notes, _scaled(source.numbers("prog_coeff"), factor), g_max
        ),
        "drift": _power_law(source, nu, g_max),
        "read_noise": _flicker(source, q, g_max),
    }
    add_mapping(source["g_converter"], g_max, draft, notes)


def _custom_drift(source: Source, draft: Draft, notes: Notes) -> None:
    g_max, model = source.number("g_max"), source["custom_drift_model"]
    if not isinstance(model, Mapping) or set(model) != {"g_lst", "nu_mean_lst", "nu_std_lst"}:
        raise CimsimError(
            f"{LIBRARY}: 'custom_drift_model' must have the lists g_lst, nu_mean_lst and "
            f"nu_std_lst, not {model!r}"
        )
    r = [g / g_max for g in model["g_lst"]]
    nu = tuple(
        {"kind": "table", "r": r, "values": list(model[name])}
        for name in ("nu_mean_lst", "nu_std_lst")
    )
    _pcm(source, draft, notes, nu)


def _hermes(source: Source, draft: Draft, notes: Notes) -> None:
    devices = source.whole("num_devices")
    if devices not in HERMES_NU:
        raise CimsimError(f"{LIBRARY}: 'num_devices' must be 1 or 2, not {devices}")
    _pcm(source, draft, notes, HERMES_NU[devices], HERMES_Q[devices])


def _state_independent(source: Source, draft: Draft, notes: Notes) -> None:
    g_max = source.number("g_max")
    nu = tuple(polynomial([source.number(f"drift_nu_{name}")]) for name in ("mean", "std"))
    draft.cell |= {
        "programming_noise": _programming(source, notes, source.numbers("prog_coeff"), g_max),
        "drift": _power_law(source, (nu[0], nu[1]), g_max),
        # aihwkit's read noise is g / g_max in uS, so the amplitude relative to g is 1 / g_max.
        "read_noise": _flicker(source, polynomial([1.0 / g_max]), g_max),
    }
    add_mapping(source["g_converter"], g_max, draft, notes)


def _wan(source: Source, draft: Draft, notes: Notes) -> None:
    g_max = source.number("g_max")
    given = source["coeff_dic"] or _WAN_COEFFICIENTS
    table = sorted((float(age), list(coefficients)) for age, coefficients in given.items())
    reference = source["coeff_g_max_reference"]
    factor = 1.0 if reference is None else g_max / source.number("coeff_g_max_reference")
    fitted_at = source["prog_coeff_g_max_reference"]
    if fitted_at is not None and fitted_at != (reference or g_max):
        notes.add(
            "noise_model.prog_coeff_g_max_reference",
            fitted_at,
            f"aihwkit stores that the coefficients were fitted at {fitted_at:g} uS, but does not "
            f"use it: its noise at a g_max of {g_max:g} uS is {fitted_at / g_max:.3g} times that "
            "of the fit, and this profile's, too",
        )
    for _, coefficients in table:
        _note_negative(notes, "noise_model.coeff_dic", coefficients)
    draft.cell |= {
        "programming_noise": [],
        "drift": [
            {
                "kind": "tabulated",
                "g_ref_uS": g_max,
                "times_s": [age for age, _ in table],
                "sigma_uS": [polynomial(_scaled(c, factor)) for _, c in table],
                "strength": source.number("noise_scale"),
            }
        ],
        "read_noise": [],
    }
    add_mapping(source["g_converter"], g_max, draft, notes)


def _cmo(source: Source, draft: Draft, notes: Notes) -> None:
    g_min, g_max = source.number("g_min"), source.number("g_max")
    given = {float(k): v for k, v in (source["coeff_dict"] or _CMO_COEFFICIENTS).items()}
    accepted = source.number("acceptance_range")
    coefficients = _scaled(
        list(given.get(accepted, given[min(given)])),
        g_max / source.number("coeff_g_max_reference"),
    )
    decay = source["decay_dict"] or _CMO_DECAY
    read = source["read_dict"] or _CMO_READ
    draft.cell |= {
        "programming_noise": _programming(source, notes, coefficients, 1.0),
        "drift": [
            {
                "kind": "log-relaxation",
                "t0_s": 1.0,
                "shift_uS": float(decay["mean"][0]),
                "sigma0_uS": float(decay["std"][1]),
                "slope_uS": float(decay["std"][0]),
                "strength": source.number("drift_scale"),
            }
        ],
        "read_noise": [
            {
                "kind": "one-over-f-absolute",
                "t_read_ns": nanoseconds(float(read["t_read"])),
                "g_ref_uS": 1.0,
                "amplitude_uS": {"kind": "log-polynomial", "coefficients": [0.0, float(read["K"])]},
                "strength": source.number("read_noise_scale"),
            }
        ],
        "g_floor_uS": g_min,
        "g_ceiling_uS": g_max,
    }
    add_mapping(
        source["g_converter"] or {CLASS: "SingleDeviceConductanceConverter"}, g_max, draft, notes
    )


def _note_negative(notes: Notes, field: str, coefficients: list[float]) -> None:
    """Note a spread that is negative somewhere: aihwkit uses its magnitude, cimsim 0."""
    spread = [
        sum(c * (step / 100) ** power for power, c in enumerate(coefficients))
        for step in range(101)
    ]
    if min(spread) < 0:
        notes.add(
            field,
            coefficients,
            "the spread is negative for some conductances; aihwkit uses its magnitude, cimsim 0",
        )


MODELS: dict[str, tuple[tuple[Field, ...], Callable[[Source, Draft, Notes], None], str]] = {
    "PCMLikeNoiseModel": (_PCM, _pcm, "PCM"),
    "CustomDriftPCMLikeNoiseModel": (_CUSTOM_DRIFT, _custom_drift, "PCM"),
    "HermesNoiseModel": (_HERMES, _hermes, "PCM"),
    "StateIndependentNoiseModel": (_STATE_INDEPENDENT, _state_independent, "PCM"),
    "ReRamWan2022NoiseModel": (_WAN, _wan, "ReRAM"),
    "ReRamCMONoiseModel": (_CMO, _cmo, "ReRAM"),
}
"""Fields, function and technology of each noise model by its class."""
