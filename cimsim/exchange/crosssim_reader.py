"""CrossSim's parameters as profiles."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cimsim.errors import CimsimError
from cimsim.exchange.build import build_profile
from cimsim.exchange.crosssim_devices import (
    IV,
    PROGRAMMING,
    READ,
    UNEVEN_ZERO,
    Device,
    Effects,
    Model,
    sonos_drift,
)
from cimsim.exchange.crosssim_fields import CHOICES, FIELDS, LIBRARY, VMM, VMM_CONSEQUENCE
from cimsim.exchange.notes import Draft, Imported, Notes
from cimsim.exchange.source import CLASS, Source, flat, plain, reading, same
from cimsim.suggest import unknown

_NO_LIMIT = 65536  # rows or columns of a tile where CrossSim has no limit
_LARGEST_TABLE = 8  # bits of an ADC whose codes are listed
_IDEAL = "IdealDevice"
_TECHNOLOGIES = {"PCMJoshi": "PCM", "RRAMWan": "ReRAM", "RRAMMilo": "ReRAM", "SONOS": "SONOS"}
_ADC_MODELS = (
    "IdealADC",
    "QuantizerADC",
    "SignMagnitudeADC",
    "RampADC",
    "SarADC",
    "PipelineADC",
    "CyclicADC",
)
_DAC_MODELS = ("IdealDAC", "QuantizerDAC", "SignMagnitudeDAC")
_ADC, _DAC, _DEVICE = "xbar.adc.mvm.", "xbar.dac.mvm.", "xbar.device."


def from_crosssim(params: object, name: str = "from-crosssim", version: str = "") -> Imported:
    """Return the profile of CrossSim's parameters.

    The device becomes the cell, the core the mapping and the tiles, ``mapping.inputs`` and the
    converters for ``mvm`` the DAC and the ADC, parasitics the wires. What differs from CrossSim's
    default and has no exact counterpart is in the notes, each with its consequence. A string in
    place of a boolean is true if it is not empty, even ``"False"``, as in CrossSim.

    Args:
        params: ``CrossSimParameters``, or the same as plain values, such as the contents of the
            file of ``params.to_json``, for which CrossSim need not be installed.
        name: name of the profile.
        version: version of CrossSim, for the sources.

    Raises:
        CimsimError: if these are not such parameters, a model is unknown, or a value is impossible
            in a profile.
    """
    values = plain(params)
    if not isinstance(values, Mapping) or not {"core", "xbar"} <= set(values):
        what = type(params).__name__ if not isinstance(values, Mapping) else sorted(values)
        raise CimsimError(
            f"these are not parameters of CrossSim, which have 'core' and 'xbar': {what}"
        )
    leaves = {
        path: _named(path, value)
        for path, value in flat(values, frozenset())
        if path != CLASS and not path.endswith(f".{CLASS}")
    }
    notes, draft = Notes(), Draft()
    source = Source(LIBRARY, _without_vmm(leaves, notes), FIELDS)
    with reading(LIBRARY):
        _add_array(source, draft, notes)
        technology = _add_cell(source, draft, notes)
        _add_dac(source, draft, notes)
        _add_adc(source, draft, notes)
        _add_wires(source, draft, notes)
    source.add_notes(notes)
    release = f"CrossSim {version}".strip()
    listed = "; ".join(map(str, notes.all()))
    profile = build_profile(
        draft,
        name=name,
        technology=technology,
        title=f"Imported from {release}",
        source=f"imported from {release} CrossSimParameters",
        description=f"Without an exact counterpart: {listed}" if listed else "",
    )
    return Imported(profile, notes.all())


def _named(path: str, value: Any) -> Any:
    """Return the name of an enumeration's value, which a JSON file has as a number."""
    choices = CHOICES.get(path)
    if choices is None or isinstance(value, str):
        return value
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= len(choices):
        raise CimsimError(
            f"{LIBRARY}: '{path}' must be one of {', '.join(filter(None, choices))}, not {value!r}"
        )
    return choices[value - 1]


def _without_vmm(leaves: dict[str, Any], notes: Notes) -> dict[str, Any]:
    """Return the values without those for the transposed matrix, noting differences."""
    kept = {}
    for path, value in leaves.items():
        prefix = next((vmm for vmm in VMM if path.startswith(vmm)), None)
        if prefix is None:
            kept[path] = value
            continue
        twin = path.replace(".vmm.", ".mvm.")
        if twin in leaves and not same(value, leaves[twin]):
            notes.add(path, value, VMM_CONSEQUENCE)
    return kept


def _style(source: Source, path: str) -> str:
    style, choices = str(source[path]), [choice for choice in CHOICES[path] if choice]
    if style not in choices:
        raise CimsimError(f"{LIBRARY}: '{path}': {unknown('style', style, choices)}")
    return style


def _add_array(source: Source, draft: Draft, notes: Notes) -> None:
    array = draft.array
    array["rows"] = source.whole("core.rows_max") or _NO_LIMIT
    array["columns"] = source.whole("core.cols_max") or _NO_LIMIT
    strategy = _style(source, "core.mapping.weights.row_partition_strategy")
    array["row_split"] = "even" if strategy == "EQUAL" else "fill"
    array["weight_scale"] = "layer"
    style = _style(source, "core.style")
    if style == "BITSLICED":
        array["slices"] = source.whole("core.bit_sliced.num_slices")
        style = _style(source, "core.bit_sliced.style")
    if style == "OFFSET":
        digital = _style(source, "core.offset.style") == "DIGITAL_OFFSET"
        array["mapping"] = "single-device" if digital else "offset-column"
        if not digital:
            notes.add(
                "core.offset.style",
                "UNIT_COLUMN_SUBTRACTION",
                "CrossSim digitizes the additional column and subtracts its code; here its current "
                "is subtracted before the ADC, which rounds once",
            )
    else:
        array["mapping"] = "differential-pair"


def _levels(source: Source, notes: Notes) -> int | None:
    """Return the number of states of a cell: of one slice, or by the resolution of the cell."""
    cell_bits, weight_bits = source.whole("xbar.device.cell_bits"), source.whole("core.weight_bits")
    if _style(source, "core.style") == "BITSLICED":
        slices = source.whole("core.bit_sliced.num_slices")
        paired = _style(source, "core.bit_sliced.style") == "BALANCED"
        held = weight_bits if weight_bits % slices == 0 or not paired else weight_bits - 1
        return 1 << math.ceil(held / slices)
    if weight_bits and not cell_bits:
        notes.add(
            "core.weight_bits",
            weight_bits,
            "CrossSim rounds weights by 'xbar.device.cell_bits', which is 0, so none is rounded",
        )
    return 1 << cell_bits if cell_bits else None


def _add_cell(source: Source, draft: Draft, notes: Notes) -> str:
    cell = draft.cell
    high = 1e6 / source.number("xbar.device.Rmin")
    ideal_off = source.flag("xbar.device.infinite_on_off_ratio", notes)
    low = 0.0 if ideal_off else 1e6 / source.number("xbar.device.Rmax")
    cell |= {"g_min_uS": low, "g_max_uS": high, "levels": _levels(source, notes)}
    if source.flag("xbar.device.clip_conductance", notes):
        cell |= {"g_floor_uS": low, "g_ceiling_uS": high}
    v_read = source.number("xbar.device.Vread")

    def device(part: str) -> Device:
        return Device(low, high, v_read, source.number(f"{_DEVICE}{part}.magnitude"))

    cell |= _written(source, device, notes)
    cell["read_noise"] = _effects("read_noise", READ, source, device, notes)
    if source.flag("xbar.device.nonlinear_IV.enable", notes):
        name = str(source["xbar.device.nonlinear_IV.model"])
        if name in IV:
            cell["iv"] = IV[name](device("nonlinear_IV"))
        elif name != _IDEAL:
            _note_model(notes, "nonlinear_IV", name)
    if _two_sided(source):
        draft.array["pairs"] = {
            "significance": [1.0],
            "table": {"r": [-1.0, 1.0], "g_uS": [[low, high], [high, low]]},
        }
    models = [
        str(source[f"{_DEVICE}{part}.model"])
        for part in ("programming_error", "drift_error", "read_noise")
    ]
    return next((_TECHNOLOGIES[m] for m in models if m in _TECHNOLOGIES), "generic")


def _two_sided(source: Source) -> bool:
    return (
        _style(source, "core.style") == "BALANCED"
        and _style(source, "core.balanced.style") == "TWO_SIDED"
    )


def _written(source: Source, device: Any, notes: Notes) -> dict[str, Effects]:
    """Return programming noise and drift by CrossSim's rule of which of the two applies.

    At ``time`` 0 the programming error applies, or the drift model if the former is ideal; later
    only the drift model does, which includes programming.
    """
    days, drift = source.number("xbar.device.time"), str(source["xbar.device.drift_error.model"])
    drifts = source.flag("xbar.device.drift_error.enable", notes) and drift != _IDEAL
    of_programming = str(source["xbar.device.programming_error.model"])
    if days == 0 and of_programming != _IDEAL:
        noise = _effects("programming_error", PROGRAMMING, source, device, notes)
        if drifts and drift == of_programming == "SONOS":
            return _sonos_ages(device, notes)
        if drifts:
            notes.add(
                "xbar.device.drift_error.model",
                drift,
                "has no effect at time 0, where CrossSim applies the programming error only",
            )
        return {"programming_noise": noise, "drift": []}
    if days > 0:
        notes.add(
            "xbar.device.time",
            days,
            f"a profile describes all ages; evaluate it at this one, such as with --age {days:g}d",
        )
    if (
        days > 0
        and source.flag("xbar.device.programming_error.enable", notes)
        and not (drifts and drift == of_programming)
    ):
        notes.add(
            "xbar.device.programming_error.model",
            of_programming,
            "CrossSim applies no programming error at a time above 0, because drift models include "
            "it; neither does this profile",
        )
    if drifts and drift == "SONOS":
        return _sonos_ages(device, notes)
    if drifts:
        _note_model(notes, "drift_error", drift)
    return {"programming_noise": [], "drift": []}


def _sonos_ages(device: Any, notes: Notes) -> dict[str, Effects]:
    """Return the drift of SONOS, whose spread includes programming."""
    notes.add(
        "xbar.device.drift_error.model",
        "SONOS",
        "the spread follows from the target here, and in CrossSim from the drifted current; "
        "between days both interpolate, here in the logarithm of time",
    )
    return {"programming_noise": [], "drift": sonos_drift(device("drift_error"))}


def _effects(
    part: str, models: Mapping[str, Model], source: Source, device: Any, notes: Notes
) -> Effects:
    name = str(source[f"{_DEVICE}{part}.model"])
    if not source.flag(f"{_DEVICE}{part}.enable", notes) or name == _IDEAL:
        return []
    if name not in models:
        _note_model(notes, part, name)
        return []
    of_cell: Device = device(part)
    if name in UNEVEN_ZERO and of_cell.g_min_uS == 0:
        notes.add(
            f"{_DEVICE}{part}.model",
            name,
            "has no counterpart for cells that reach a conductance of 0; it is missing",
        )
        return []
    if name.startswith("Uniform"):
        notes.add(
            f"{_DEVICE}{part}.model",
            name,
            "the errors are Gaussian here, with the standard deviation of the uniform ones",
        )
    return models[name](of_cell)


def _note_model(notes: Notes, part: str, name: str) -> None:
    notes.add(
        f"{_DEVICE}{part}.model",
        name,
        "this device model is unknown to cimsim; its effect is missing",
    )


def _add_dac(source: Source, draft: Draft, notes: Notes) -> None:
    dac = draft.dac
    model, bits = str(source[f"{_DAC}model"]), source.whole(f"{_DAC}bits")
    if model not in _DAC_MODELS:
        raise CimsimError(unknown("DAC of CrossSim", model, _DAC_MODELS))
    dac["bits"] = None if model == "IdealDAC" or bits == 0 else bits
    if dac["bits"] is None:
        return
    signed = source.flag(f"{_DAC}signed", notes)
    if not signed:
        dac["sign"] = "if-needed"
    elif model == "QuantizerDAC":
        notes.add(
            f"{_DAC}model", model, "has an even number of levels, none at 0; here one is at 0"
        )
    if source.flag(f"{_DAC}input_bitslicing", notes) and source.flag(f"{_ADC}adc_per_ibit", notes):
        dac["bit_serial"] = True
        if source.whole(f"{_DAC}slice_size") != 1:
            notes.add(
                f"{_DAC}slice_size",
                source[f"{_DAC}slice_size"],
                "several bits of an input are sent at a time in CrossSim, and one here",
            )
    full_scale = _full_input(source, notes)
    dac["range"] = (
        {"kind": "max"} if full_scale is None else {"kind": "fixed", "full_scale": full_scale}
    )


def _full_input(source: Source, notes: Notes) -> float | None:
    """Return the input that is full scale; None if CrossSim takes it from the data."""
    at = "core.mapping.inputs.mvm."
    if source[f"{at}percentile"] is not None:
        notes.add(
            f"{at}percentile",
            source[f"{at}percentile"],
            "CrossSim takes the range from each batch of inputs; here it is fixed in calibration",
        )
        return None
    low, high = source.number(f"{at}min"), source.number(f"{at}max")
    if not source.flag(f"{_DAC}signed", notes):
        return high - low
    if low != -high:
        notes.add(
            f"{at}min", low, f"the range of inputs is symmetric here, from {-high:g} to {high:g}"
        )
    return (high - low) / 2


def _add_adc(source: Source, draft: Draft, notes: Notes) -> None:
    adc = draft.adc
    model, bits = str(source[f"{_ADC}model"]), source.whole(f"{_ADC}bits")
    if model not in _ADC_MODELS:
        raise CimsimError(unknown("ADC of CrossSim", model, _ADC_MODELS))
    adc["bits"] = None if model == "IdealADC" or bits == 0 else bits
    if adc["bits"] is None:
        return
    limits = _limits(source, draft, notes)
    if limits is None:
        adc["range"] = {"kind": "mse"}
    else:
        _add_limits(model, bits, limits, source, draft, notes)
    errors, group = _mismatch(model, source, notes)
    if errors:
        adc["errors"] = errors
        if group is not None:
            adc["columns_per_adc"] = group


def _limits(source: Source, draft: Draft, notes: Notes) -> tuple[float, float] | None:
    """Return the limits of the ADC in currents of one full cell; None if they are calibrated."""
    option = _style(source, f"{_ADC}adc_range_option")
    if option == "MAX":
        rows = float(str(draft.array["rows"]))
        notes.add(
            f"{_ADC}adc_range_option",
            option,
            "CrossSim's range is the number of rows in use; here it is all rows of a tile",
        )
        return -rows, rows
    given = source[f"{_ADC}calibrated_range"]
    if option == "GRANULAR":
        notes.add(
            f"{_ADC}adc_range_option", option, "the range is calibrated here, for the least error"
        )
        return None
    if not given:
        return None
    if any(isinstance(part, (list, tuple)) for part in given):
        notes.add(
            f"{_ADC}calibrated_range",
            given,
            "ranges of slices are calibrated here, for the least error",
        )
        return None
    pair = source.numbers(f"{_ADC}calibrated_range")
    if len(pair) != 2 or pair[0] >= pair[1]:
        raise CimsimError(
            f"{LIBRARY}: 'calibrated_range' must be a lower and a higher limit, not {pair}"
        )
    return pair[0], pair[1]


def _add_limits(
    model: str,
    bits: int,
    limits: tuple[float, float],
    source: Source,
    draft: Draft,
    notes: Notes,
) -> None:
    low, high = limits
    largest = max(-low, high)
    # With an ideal DAC, a full input here is 1, and in CrossSim the largest of its range.
    one_input = 1.0 if draft.dac["bits"] is not None else _full_input(source, notes) or 1.0
    draft.adc["range"] = {"kind": "fixed", "full_scale": largest * one_input}
    if model == "QuantizerADC" and bits <= _LARGEST_TABLE:
        step = (high - low) / (2**bits - 1)
        values = [(low + k * step) / largest for k in range(2**bits)]
        draft.adc["codes"] = {"kind": "table", "values_of_range": values}
    elif low != -high or model == "QuantizerADC":
        notes.add(
            f"{_ADC}calibrated_range",
            [low, high],
            f"the range is symmetric here, from {-largest:g} to {largest:g}, with a code at 0",
        )


def _mismatch(model: str, source: Source, notes: Notes) -> tuple[list[Any], int | None]:
    """Return the errors of the ADC's architecture, and how many columns share one ADC."""
    errors: list[Any] = []
    if model in ("PipelineADC", "CyclicADC"):
        first, second = (source.number(f"{_ADC}sigma_C{k}") for k in (1, 2))
        # The gain is 1 + C1 / C2.
        gain = math.hypot(first, second) / 2
        if gain:
            errors.append({"kind": "pipeline", "sigma_gain": gain})
    elif model in ("RampADC", "SarADC") and source.number(f"{_ADC}sigma_capacitor"):
        kind, key = ("ramp", "sigma_step") if model == "RampADC" else ("sar", "sigma_unit")
        errors.append({"kind": kind, key: source.number(f"{_ADC}sigma_capacitor")})
    if errors:
        notes.add(
            f"{_ADC}model",
            model,
            "here the mismatch of capacitors affects a different circuit of the same architecture, "
            "so the errors have the same size, but differ in detail",
        )
    if model in ("RampADC", "SarADC") and source.number(f"{_ADC}sigma_comparator"):
        offset = source.number(f"{_ADC}sigma_comparator")
        errors.insert(0, {"kind": "offset", "sigma_of_range": offset})
    return errors, None if model == "RampADC" else source.whole(f"{_ADC}group_size")


def _add_wires(source: Source, draft: Draft, notes: Notes) -> None:
    at = "xbar.array.parasitics."
    if not source.flag(f"{at}enable", notes):
        return
    row, column, first, last = (
        source.number(f"{at}{name}")
        for name in ("Rp_row", "Rp_col", "Rp_row_terminal", "Rp_col_terminal")
    )
    if not any((row, column, first, last)):
        return
    wires: dict[str, object] = {"kind": "nodal", "r_bit_ohm": column, "r_sink_ohm": last}
    if source.flag(f"{at}current_from_input", notes):
        wires |= {"r_word_ohm": row, "r_source_ohm": first}
        interleaved = source.flag("core.balanced.interleaved_posneg", notes)
        if interleaved and draft.array["mapping"] == "differential-pair":
            wires["pairs"] = "rows"
    else:
        wires |= {"cells": "gated", "r_supply_ohm": column}
        if row or first:
            notes.add(
                f"{at}Rp_row", row, "gated cells draw no current from rows here; it is missing"
            )
    draft.wires = wires
