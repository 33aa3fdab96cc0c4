"""Profiles as parameters of CrossSim."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cimsim.errors import CimsimError
from cimsim.exchange.crosssim_devices import IV, PROGRAMMING, READ, Device, sonos_drift
from cimsim.exchange.crosssim_fields import LIBRARY
from cimsim.exchange.crosssim_reader import from_crosssim
from cimsim.exchange.differences import as_polynomial, equal, lost, refuse_signed_cells
from cimsim.exchange.notes import Note
from cimsim.profile import FixedRange, Profile, TableCodes

_GENERIC = {"gaussian": "NormalIndependentDevice", "relative": "NormalProportionalDevice"}
_SIZES = {"gaussian": "sigma_of_g_max", "relative": "sigma_of_g"}
_NAMED = ("PCMJoshi", "RRAMWan", "RRAMMilo", "SONOS")
_OFF = {"enable": False, "model": "IdealDevice", "magnitude": 0}
_SONOS = {"enable": True, "model": "SONOS", "magnitude": 0}
_V_READ = 0.1


@dataclass(frozen=True)
class ExportedParameters:
    """Parameters of CrossSim that describe a profile.

    Attributes:
        values: the parameters as nested plain values, as in the file of ``params.to_json``.
        notes: values of the profile that the parameters cannot represent.
    """

    values: Mapping[str, Any]
    notes: tuple[Note, ...]
    library: str = LIBRARY

    def json(self) -> str:
        """Return the parameters as JSON, which ``CrossSimParameters.from_json`` reads."""
        return json.dumps(self.values, indent=4) + "\n"

    def python(self, comment: str = "") -> str:
        """Return a Python file whose function ``make()`` returns the parameters."""
        notes = ["# Without an exact counterpart:", *(f"# - {note}" for note in self.notes)]
        values = json.dumps(self.values, indent=4)
        for written, python in (("true", "True"), ("false", "False"), ("null", "None")):
            values = values.replace(f": {written}", f": {python}")
        return "\n".join(
            [
                f'"""{comment or "Parameters of CrossSim"}."""',
                "",
                "from simulator import CrossSimParameters",
                "",
                *(notes if self.notes else ()),
                "",
                f"VALUES = {values}",
                "",
                "",
                "def make():",
                '    """Return the parameters of CrossSim."""',
                "    return CrossSimParameters(**VALUES)",
                "",
            ]
        )

    def build(self) -> Any:
        """Return the parameters as an object of CrossSim, which must be installed.

        Raises:
            CimsimError: if CrossSim cannot be imported.
        """
        try:
            from simulator import CrossSimParameters
        except ImportError as error:
            raise CimsimError(
                f"CrossSim is not installed here ({error}); write the parameters with .python() "
                "or .json() instead"
            ) from None
        return CrossSimParameters(**self.values)


def to_crosssim(profile: Profile) -> ExportedParameters:
    """Return parameters of CrossSim for ``profile``.

    The notes list each value that is different when the parameters are imported again.

    Raises:
        CimsimError: if the cell is an idealized signed one, which no parameters describe.
    """
    refuse_signed_cells(profile, LIBRARY)
    values = {
        "core": _core(profile),
        "xbar": {
            "device": _device(profile),
            "array": {"parasitics": _parasitics(profile)},
            "adc": _both(_adc(profile)),
            "dac": _both(_dac(profile)),
        },
    }
    notes = lost(profile, from_crosssim(values).profile, LIBRARY)
    return ExportedParameters(values, notes)


def _both(values: dict[str, Any]) -> dict[str, Any]:
    return {"_match": True, "mvm": values, "vmm": dict(values)}


def _core(profile: Profile) -> dict[str, Any]:
    array, cell = profile.array, profile.cell
    paired = array.mapping == "differential-pair"
    style = "BALANCED" if paired else "OFFSET"
    core: dict[str, Any] = {
        "style": style,
        "rows_max": array.rows,
        "cols_max": array.columns,
        "balanced": {
            "style": "TWO_SIDED" if _two_sided(profile) else "ONE_SIDED",
            "interleaved_posneg": profile.wires is not None and profile.wires.pairs == "rows",
        },
        "offset": {
            "style": "UNIT_COLUMN_SUBTRACTION"
            if array.mapping == "offset-column"
            else "DIGITAL_OFFSET"
        },
        "mapping": {
            "weights": {
                "clipping": True,
                "min": None,
                "max": None,
                "percentile": 1.0,
                "row_partition_strategy": "EQUAL" if array.row_split == "even" else "MAX",
            },
            "inputs": _both(_inputs(profile)),
        },
    }
    if array.slices > 1 and cell.levels:
        bits = round(math.log2(cell.levels))
        core |= {
            "style": "BITSLICED",
            "weight_bits": bits * array.slices,
            "bit_sliced": {"style": style, "num_slices": array.slices},
        }
    return core


def _two_sided(profile: Profile) -> bool:
    pairs, cell = profile.array.pairs, profile.cell
    low, high = cell.g_min_uS, cell.g_max_uS
    return (
        pairs is not None
        and pairs.table is not None
        and len(pairs.significance) == 1
        and equal(pairs.table.r, (-1.0, 1.0))
        and equal(pairs.table.g_uS, ((low, high), (high, low)))
    )


def _inputs(profile: Profile) -> dict[str, Any]:
    dac = profile.dac
    if isinstance(dac.range, FixedRange) or dac.bits is None:
        high = dac.range.full_scale if isinstance(dac.range, FixedRange) else 1.0
        unsigned = dac.sign == "if-needed" and dac.bits is not None
        return {"min": 0.0 if unsigned else -high, "max": high, "percentile": None}
    return {"min": None, "max": None, "percentile": 1.0}


def _device(profile: Profile) -> dict[str, Any]:
    cell = profile.cell
    device: dict[str, Any] = {
        "Rmin": 1e6 / cell.g_max_uS,
        "Rmax": 1e6 / cell.g_min_uS if cell.g_min_uS else 1e12,
        "infinite_on_off_ratio": cell.g_min_uS == 0,
        "cell_bits": _cell_bits(profile),
        "clip_conductance": cell.g_floor_uS == cell.g_min_uS and cell.g_ceiling_uS == cell.g_max_uS,
        "Vread": _V_READ if cell.iv is None else cell.iv.v_read_V,
        "programming_error": _OFF,
        "read_noise": _OFF,
        "drift_error": _OFF,
        "nonlinear_IV": _OFF,
    }
    values = cell.model_dump(mode="json")
    of_model = Device(cell.g_min_uS, cell.g_max_uS, device["Vread"], 0.0)
    for part, effects, models in (
        ("programming_error", values["programming_noise"], PROGRAMMING),
        ("read_noise", values["read_noise"], READ),
    ):
        for effect in effects:
            found = _model(effect, of_model, models)
            if found is not None:
                device[part] = found
                break
    for effect in values["drift"]:
        if _is_sonos(effect, of_model):
            device |= {part: _SONOS for part in ("programming_error", "drift_error")}
    if cell.iv is not None:
        for name, make in IV.items():
            ours = {k: v for k, v in values["iv"].items() if k not in ("source", "strength")}
            if equal(ours, make(of_model)):
                device["nonlinear_IV"] = {"enable": True, "model": name, "magnitude": 0}
    return device


def _cell_bits(profile: Profile) -> int:
    levels = profile.cell.levels
    return 0 if levels is None or profile.array.slices > 1 else round(math.log2(levels))


def _is_sonos(effect: Mapping[str, Any], device: Device) -> bool:
    """Return whether a drift is that of the only device of CrossSim that drifts."""
    (sonos,) = sonos_drift(device)
    same = all(equal(effect.get(key), value) for key, value in sonos.items())
    return same and effect["strength"] == 1


def _model(
    effect: Mapping[str, Any], device: Device, models: Mapping[str, Any]
) -> dict[str, Any] | None:
    kind = effect["kind"]
    if kind in _GENERIC:
        size = effect[_SIZES[kind]] * effect["strength"]
        return {"enable": True, "model": _GENERIC[kind], "magnitude": size}
    for name in _NAMED:
        if name in models and _same_noise(effect, models[name](device)[0], device):
            return {"enable": True, "model": name, "magnitude": 0}
    return None


def _same_noise(effect: Mapping[str, Any], other: Mapping[str, Any], device: Device) -> bool:
    if effect["kind"] != "state-dependent" or effect["strength"] != 1:
        return False
    filled = {"strength": 1.0, "device_share": 0.0, "bias_uS": None, **other}
    form = as_polynomial(filled, device.g_max_uS)
    if form is not None:
        ours = dict({"device_share": 0.0, "bias_uS": None}, **effect)
        return equal(as_polynomial(ours, device.g_max_uS), form)
    return equal(effect["sigma_uS"], other["sigma_uS"]) and equal(
        effect["g_ref_uS"], other["g_ref_uS"]
    )


def _parasitics(profile: Profile) -> dict[str, Any]:
    wires = profile.wires
    if wires is None or wires.strength == 0:
        return {"enable": False}
    size = wires.strength
    return {
        "enable": True,
        "Rp_row": wires.r_word_ohm * size,
        "Rp_col": wires.r_bit_ohm * size,
        "Rp_row_terminal": wires.r_source_ohm * size,
        "Rp_col_terminal": wires.r_sink_ohm * size,
        "current_from_input": wires.cells == "passive" or not profile.dac.bit_serial,
    }


def _adc(profile: Profile) -> dict[str, Any]:
    adc = profile.adc
    if adc.bits is None:
        return {"model": "IdealADC", "bits": 0}
    values: dict[str, Any] = {"model": "SignMagnitudeADC", "bits": adc.bits}
    values["adc_per_ibit"] = profile.dac.bit_serial
    low, high = -1.0, 1.0
    if isinstance(adc.codes, TableCodes) and _evenly(adc.codes.values_of_range):
        low, high = adc.codes.values_of_range[0], adc.codes.values_of_range[-1]
        values["model"] = "QuantizerADC"
    if isinstance(adc.range, FixedRange):
        one_input = _inputs(profile)["max"] if profile.dac.bits is None else 1.0
        size = adc.range.full_scale / one_input
        values |= {
            "adc_range_option": "CALIBRATED",
            "calibrated_range": [low * size, high * size],
        }
    else:  # CrossSim has no calibration of its own; the range covers the largest current
        values["adc_range_option"] = "MAX"
    return values


def _evenly(values: tuple[float, ...]) -> bool:
    step = (values[-1] - values[0]) / (len(values) - 1)
    return all(abs(values[0] + k * step - v) < 1e-9 for k, v in enumerate(values))


def _dac(profile: Profile) -> dict[str, Any]:
    dac = profile.dac
    if dac.bits is None:
        return {"model": "IdealDAC", "bits": 0}
    unsigned = dac.sign == "if-needed"
    return {
        "model": "QuantizerDAC" if unsigned else "SignMagnitudeDAC",
        "bits": dac.bits,
        "signed": not unsigned,
        "input_bitslicing": dac.bit_serial,
    }
