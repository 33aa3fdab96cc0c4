"""Profiles as inference configurations of aihwkit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cimsim.exchange.aihwkit_fields import LIBRARY
from cimsim.exchange.aihwkit_noise import HERMES_NU, HERMES_Q
from cimsim.exchange.aihwkit_reader import from_aihwkit
from cimsim.exchange.differences import as_polynomial, equal, lost, refuse_signed_cells
from cimsim.exchange.exported import Exported
from cimsim.exchange.source import CLASS
from cimsim.profile import Compression, FixedRange, LearnedRange, Profile, SigmaRange
from cimsim.profile.pairs import table_unit_uS

_PARAMETERS = "aihwkit.simulator.parameters"
_NOISE = "aihwkit.inference.noise"
_PLACES = {
    "InferenceRPUConfig": "aihwkit.simulator.configs",
    "MappingParameter": _PARAMETERS,
    "IOParameters": _PARAMETERS,
    "PrePostProcessingParameter": _PARAMETERS,
    "InputRangeParameter": _PARAMETERS,
    "NoiseManagementType": f"{_PARAMETERS}.enums",
    "BoundManagementType": f"{_PARAMETERS}.enums",
    "WeightNoiseType": f"{_PARAMETERS}.enums",
    "PCMLikeNoiseModel": f"{_NOISE}.pcm",
    "CustomDriftPCMLikeNoiseModel": f"{_NOISE}.pcm",
    "HermesNoiseModel": f"{_NOISE}.hermes",
    "StateIndependentNoiseModel": f"{_NOISE}.custom",
    "ReRamWan2022NoiseModel": f"{_NOISE}.reram",
    "ReRamCMONoiseModel": f"{_NOISE}.reram",
    "SinglePairConductanceConverter": "aihwkit.inference.converter.conductance",
    "CustomPairConductanceConverter": "aihwkit.inference.converter.conductance",
    "GlobalDriftCompensation": "aihwkit.inference.compensation.drift",
    "PerColumnDriftCompensation": "aihwkit.inference.compensation.drift",
}
_ENUMERATIONS = {
    "noise_management": "NoiseManagementType",
    "bound_management": "BoundManagementType",
    "w_noise_type": "WeightNoiseType",
}
_HERMES_LARGEST_uS = {1: 10.35, 2: 20.7}
_FLAT = 1e-12
_Model = dict[str, Any]


def to_aihwkit(profile: Profile) -> Exported:
    """Return an inference configuration of aihwkit for ``profile``.

    The noise model is the one with the drift and read noise of the profile, or the nearest one. The
    notes list each value that is different when the configuration is imported again.

    Raises:
        CimsimError: if the cell is an idealized signed one, which no configuration describes.
    """
    refuse_signed_cells(profile, LIBRARY)
    values = {
        CLASS: "InferenceRPUConfig",
        "mapping": _mapping(profile),
        "pre_post": {CLASS: "PrePostProcessingParameter", "input_range": _input_range(profile)},
        "forward": _forward(profile),
        "noise_model": _noise_model(profile),
        "drift_compensation": _compensation(profile),
    }
    notes = lost(profile, from_aihwkit(_as_attributes(values)).profile, LIBRARY)
    return Exported(LIBRARY, values, notes, _PLACES, _ENUMERATIONS)


def _as_attributes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with those that aihwkit's constructors derive from their arguments."""
    model = dict(values["noise_model"])
    if "prog_coeff" in model and model[CLASS] != "StateIndependentNoiseModel":
        model["prog_coeff_g_max_reference"] = model["g_max"]
    if model[CLASS] == "ReRamCMONoiseModel":
        model["coeff_g_max_reference"] = model["g_max"]
        model["g_converter"] = {
            CLASS: "SingleDeviceConductanceConverter",
            "g_max": model["g_max"],
            "g_min": model["g_min"],
        }
    return {**values, "noise_model": model}


def _mapping(profile: Profile) -> _Model:
    return {
        CLASS: "MappingParameter",
        "weight_scaling_omega": 1.0,
        "weight_scaling_columnwise": profile.array.weight_scale == "column",
        "max_input_size": profile.array.rows,
        "max_output_size": profile.array.columns,
    }


def _input_range(profile: Profile) -> _Model:
    rule = profile.dac.range
    values: _Model = {CLASS: "InputRangeParameter"}
    if profile.dac.bits is None or not isinstance(rule, (LearnedRange, SigmaRange)):
        return values
    values["enable"] = True
    if isinstance(rule, SigmaRange):
        values |= {"learn_input_range": False, "init_std_alpha": rule.k}
    return values


def _forward(profile: Profile) -> _Model:
    dac, adc = profile.dac, profile.adc
    values: _Model = {CLASS: "IOParameters"}
    if dac.bits is None and adc.bits is None:
        return values | {"is_perfect": True}
    values |= {
        "inp_res": -1.0 if dac.bits is None else 1.0 / (2**dac.bits - 2),
        "noise_management": "ABS_MAX",
        "bound_management": "NONE",
    }
    if isinstance(dac.range, FixedRange) and dac.bits is not None:
        values |= {"noise_management": "CONSTANT", "nm_thres": dac.range.full_scale}
    elif isinstance(dac.range, (LearnedRange, SigmaRange)):
        values["noise_management"] = "NONE"
    values |= _outputs(profile)
    return values | _short_noise(profile) | _drop(profile)


def _outputs(profile: Profile) -> _Model:
    adc = profile.adc
    if adc.bits is None:
        return {"out_res": -1.0, "out_bound": 0.0, "out_noise": 0.0}
    # A single-ended comparator has no steps there; one step on each side is the nearest.
    values: _Model = {"out_res": 1.0 / max(2**adc.bits - 2, 2)}
    if isinstance(adc.range, FixedRange):
        values["out_bound"] = adc.range.full_scale / _unit(profile)
    values["out_noise"] = adc.noise_of_range * values.get("out_bound", 12.0)
    bend = sum(e.n * e.strength for e in adc.errors if isinstance(e, Compression))
    return values | ({"out_nonlinearity": bend} if bend else {})


def _unit(profile: Profile) -> float:
    """Return aihwkit's unit of outputs over the current of one full cell."""
    cell, pairs = profile.cell, profile.array.pairs
    if pairs is not None and pairs.table is not None:
        return table_unit_uS(pairs.table, pairs.significance) / cell.g_max_uS
    span = (cell.g_max_uS - cell.g_min_uS) / cell.g_max_uS
    return span if profile.array.mapping == "differential-pair" else span / 2


def _short_noise(profile: Profile) -> _Model:
    cell = profile.cell
    for effect in cell.read_noise:
        values = effect.model_dump(mode="json")
        size = values["strength"]
        if values["kind"] == "gaussian":
            pairs = profile.array.pairs
            factors = (1.0,) if pairs is None else pairs.significance
            cells = 2 if profile.array.mapping == "differential-pair" else 1
            shared = math.sqrt(cells * sum(f * f for f in factors))
            of_weight = size * values["sigma_of_g_max"] * shared / _unit(profile)
            return {"w_noise": of_weight, "w_noise_type": "ADDITIVE_CONSTANT"}
        curve = values.get("sigma_uS", {})
        if curve.get("kind") == "capped-power" and curve["exponent"] == 0.5:
            root = math.sqrt(cell.g_max_uS / values["g_ref_uS"])
            of_weight = size * curve["coefficient"] * root / cell.g_max_uS
            return {"w_noise": of_weight, "w_noise_type": "PCM_READ"}
    return {}


def _drop(profile: Profile) -> _Model:
    wires = profile.wires
    if wires is None or not wires.r_bit_ohm * wires.strength:
        return {}
    g_max_S = profile.cell.g_max_uS * 1e-6
    ohm = wires.r_bit_ohm * wires.strength
    return {"ir_drop": 1.0, "ir_drop_g_ratio": 1.0 / (ohm * g_max_S)}


def _compensation(profile: Profile) -> _Model | None:
    names = {"global": "GlobalDriftCompensation", "per-column": "PerColumnDriftCompensation"}
    name = names.get(profile.array.drift_compensation)
    return None if name is None else {CLASS: name}


def _noise_model(profile: Profile) -> _Model:
    cell = profile.cell.model_dump(mode="json")
    drift = {effect["kind"]: effect for effect in cell["drift"]}
    if "log-relaxation" in drift and profile.array.mapping == "offset-current":
        return _cmo(cell, drift["log-relaxation"])
    converter = _converter(profile)
    if set(drift) == {"tabulated"}:
        return _wan(drift["tabulated"], cell, converter)
    return _pcm(cell, drift.get("power-law"), converter)


def _converter(profile: Profile) -> _Model:
    cell, pairs = profile.cell, profile.array.pairs
    ends = {"g_max": cell.g_max_uS, "g_min": cell.g_min_uS}
    if pairs is None or pairs.table is None:
        return {CLASS: "SinglePairConductanceConverter", **ends}
    # aihwkit tables have evenly spaced weights, so our conductances are interpolated on this grid.
    grid = _even_grid(pairs.table.r)
    columns = [_interpolated(grid, pairs.table.r, g) for g in pairs.table.g_uS]
    return {
        CLASS: "CustomPairConductanceConverter",
        "f_lst": list(pairs.significance),
        "g_lst": columns,
        **ends,
    }


def _even_grid(r: tuple[float, ...]) -> list[float]:
    """Return the coarsest of even grids that contains all points of ``r``, or 201 points."""
    for count in range(2, 202):
        grid = [2 * step / (count - 1) - 1 for step in range(count)]
        if all(min(abs(x - point) for point in grid) < _FLAT for x in r):
            return grid
    return grid


def _interpolated(
    grid: list[float], r: tuple[float, ...], values: tuple[float, ...]
) -> list[float]:
    def at(x: float) -> float:
        after = next((i for i, point in enumerate(r) if point >= x - _FLAT), len(r) - 1)
        if after == 0:
            return values[0]
        share = (x - r[after - 1]) / (r[after] - r[after - 1])
        return values[after - 1] + share * (values[after] - values[after - 1])

    return [at(x) for x in grid]


def _programming(cell: _Model) -> _Model:
    """Return the arguments for the first programming noise that is a polynomial."""
    for effect in cell["programming_noise"]:
        form = as_polynomial(effect, cell["g_max_uS"])
        if form is not None:
            return {"prog_coeff": form["coefficients_uS"], "prog_noise_scale": 1.0}
    return {"prog_coeff": [0.0, 0.0, 0.0], "prog_noise_scale": 0.0}


def _pcm(cell: _Model, drift: _Model | None, converter: _Model) -> _Model:
    g_max = cell["g_max_uS"]
    flicker = next((e for e in cell["read_noise"] if e["kind"] == "one-over-f"), None)
    nu = None if drift is None else _at(g_max, drift, "nu_mean", "nu_std")
    q = None if flicker is None else _at(g_max, flicker, "q")
    times = {
        "t_0": (drift or flicker or {"t0_s": 20.0})["t0_s"] or 20.0,
        "t_read": (flicker or {"t_read_ns": 250.0})["t_read_ns"] * 1e-9,
    }
    common = {
        "g_converter": converter,
        "g_max": g_max,
        **_programming(cell),
        **times,
        "drift_scale": 0.0 if drift is None else drift["strength"],
        "read_noise_scale": 0.0 if flicker is None else flicker["strength"],
    }
    for devices, curves in HERMES_NU.items():
        fits = nu in (None, list(curves)) and q in (None, [HERMES_Q[devices]])
        if fits and (nu or q) and g_max <= _HERMES_LARGEST_uS[devices]:
            return {CLASS: "HermesNoiseModel", "num_devices": devices, **common}
    flat_nu, flat_q = _constants(nu), _constants(q)
    if flat_nu is not None and flat_q is not None:
        scale = common.pop("read_noise_scale") * (flat_q[0] if flat_q else 0.0) * g_max
        mean, std = flat_nu or (0.0, 0.0)
        return {
            CLASS: "StateIndependentNoiseModel",
            **common,
            "drift_nu_mean": mean,
            "drift_nu_std": std,
            "read_noise_scale": scale,
        }
    if (
        nu is not None
        and all(curve["kind"] == "table" for curve in nu)
        and nu[0]["r"] == nu[1]["r"]
    ):
        model = {
            "g_lst": [r * g_max for r in nu[0]["r"]],
            "nu_mean_lst": nu[0]["values"],
            "nu_std_lst": nu[1]["values"],
        }
        return {CLASS: "CustomDriftPCMLikeNoiseModel", "custom_drift_model": model, **common}
    return {CLASS: "PCMLikeNoiseModel", **common}


def _at(g_max: float, effect: _Model, *names: str) -> list[Any]:
    """Return curves over ``g / g_max``; one over another reference fits no model of aihwkit."""
    if not equal(effect["g_ref_uS"], g_max):
        return [{"kind": "other"} for _ in names]
    return [effect[name] for name in names]


def _constants(curves: list[Any] | None) -> list[float] | None:
    """Return the values of constant curves; empty without curves, None if one varies."""
    if curves is None:
        return []
    if all(c["kind"] == "polynomial" and not any(c["coefficients"][1:]) for c in curves):
        return [c["coefficients"][0] for c in curves]
    return None


def _wan(drift: _Model, cell: _Model, converter: _Model) -> _Model:
    ratio = cell["g_max_uS"] / drift["g_ref_uS"]
    coefficients = {
        age: [c * ratio**power for power, c in enumerate(curve.get("coefficients", [0.0]))]
        for age, curve in zip(drift["times_s"], drift["sigma_uS"], strict=False)
    }
    return {
        CLASS: "ReRamWan2022NoiseModel",
        "coeff_dic": coefficients,
        "g_converter": converter,
        "g_max": cell["g_max_uS"],
        "noise_scale": drift["strength"],
    }


def _cmo(cell: _Model, drift: _Model) -> _Model:
    form = next(
        (f for e in cell["programming_noise"] if (f := as_polynomial(e, 1.0)) is not None), None
    )
    coefficients = [0.0, 0.0] if form is None else form["coefficients_uS"]
    read = next((e for e in cell["read_noise"] if e["kind"] == "one-over-f-absolute"), None)
    curve = read["amplitude_uS"] if read else {}
    fits = curve.get("kind") == "log-polynomial" and len(curve["coefficients"]) == 2
    return {
        CLASS: "ReRamCMONoiseModel",
        "coeff_dict": {2.0: coefficients},
        "acceptance_range": 2.0,
        "g_max": cell["g_max_uS"],
        "g_min": cell["g_min_uS"],
        "drift_scale": drift["strength"],
        "read_noise_scale": read["strength"] if read and fits else 0.0,
        "decay_dict": {"mean": [drift["shift_uS"]], "std": [drift["slope_uS"], drift["sigma0_uS"]]},
        "read_dict": {
            "K": curve["coefficients"][1] if fits else 0.0,
            "t_read": (read["t_read_ns"] if read else 1000.0) * 1e-9,
        },
    }
