"""aihwkit's inference configurations as profiles."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cimsim.errors import CimsimError
from cimsim.exchange.aihwkit_fields import CONFIGS, FIELDS, IGNORED, LIBRARY, WHOLE
from cimsim.exchange.aihwkit_noise import add_cell
from cimsim.exchange.build import build_profile
from cimsim.exchange.notes import Draft, Imported, Notes
from cimsim.exchange.source import CLASS, Source, flat, plain, reading

_NO_LIMIT = 65536  # rows or columns of a tile where aihwkit has no limit
_FINEST_BITS = 16
_COMPENSATIONS = {
    "GlobalDriftCompensation": "global",
    "GlobalDriftCompensationWithExactReference": "global",
    "PerColumnDriftCompensation": "per-column",
}
_PER_VECTOR = (
    "aihwkit scales each input vector by its own largest value; here the range of the DAC is fixed "
    "after calibration"
)


def from_aihwkit(config: object, name: str = "from-aihwkit", version: str = "") -> Imported:
    """Return the profile of an inference configuration of aihwkit.

    The noise model becomes the cell, its converter the mapping, ``forward`` and ``pre_post`` the
    converters, ``mapping`` the tiles. What differs from aihwkit's default and has no exact
    counterpart is in the notes, each with its consequence; fields that concern training only are
    among them.

    Args:
        config: an ``InferenceRPUConfig`` or one of its presets, or the same as plain values
            (:func:`cimsim.exchange.plain`), for which aihwkit need not be installed.
        name: name of the profile.
        version: version of aihwkit, for the sources.

    Raises:
        CimsimError: if it is not an inference configuration, its noise model is unknown, or a value
            is impossible in a profile.
    """
    values = plain(config)
    if not isinstance(values, Mapping) or not {"forward", "noise_model"} <= set(values):
        what = values.get(CLASS, "?") if isinstance(values, Mapping) else type(config).__name__
        raise CimsimError(
            f"'{what}' is not an inference configuration of aihwkit, which has 'forward' and "
            "'noise_model'; configurations of in-memory training have no counterpart"
        )
    given = str(values.get(CLASS, "InferenceRPUConfig"))
    kept = {key: value for key, value in values.items() if key not in IGNORED}
    leaves = {path: v for path, v in flat(kept, WHOLE) if not path.endswith(f".{CLASS}")}
    source = Source(LIBRARY, leaves, FIELDS)
    notes, draft = Notes(), Draft()
    with reading(LIBRARY):
        technology = add_cell(source["noise_model"], draft, notes)
        _add_array(source, draft, notes)
        _add_converters(source, draft, notes)
        if not source.flag("forward.is_perfect", notes):
            _add_short_noise(source, draft, notes)
            _add_wires(source, draft, notes)
    _note_class(given, notes)
    source.add_notes(notes)
    release = f"aihwkit {version}".strip()
    profile = build_profile(
        draft,
        name=name,
        technology=technology,
        title=f"Imported from {release} ({given})",
        source=f"imported from {release} {given}",
        description=_description(notes),
    )
    return Imported(profile, notes.all())


def _description(notes: Notes) -> str:
    listed = [f"{note};" for note in notes.all()]
    return " ".join(["Without an exact counterpart:", *listed]).rstrip(";") if listed else ""


def _note_class(name: str, notes: Notes) -> None:
    if name not in CONFIGS:
        notes.add(CLASS, name, "this class is unknown to cimsim; its fields were read by name")


def _add_array(source: Source, draft: Draft, notes: Notes) -> None:
    for ours, theirs in (("rows", "max_input_size"), ("columns", "max_output_size")):
        draft.array[ours] = source.whole(f"mapping.{theirs}") or _NO_LIMIT
    by_column = source.flag("mapping.weight_scaling_columnwise", notes)
    omega = source.number("mapping.weight_scaling_omega")
    remap = str(source["remap.type"])
    columns = (omega > 0 and by_column) or remap.startswith("CHANNELWISE")
    draft.array["weight_scale"] = "column" if columns else "tile"
    draft.array["drift_compensation"] = _compensation(source["drift_compensation"], notes)


def _compensation(given: object, notes: Notes) -> str:
    if given is None:
        return "none"
    name = str(given.get(CLASS, "")) if isinstance(given, Mapping) else str(given)
    if name not in _COMPENSATIONS:
        notes.add(
            "drift_compensation",
            name,
            "this drift compensation is unknown to cimsim; it is missing",
        )
        return "none"
    if name == "GlobalDriftCompensationWithExactReference":
        notes.add(
            "drift_compensation",
            name,
            "aihwkit compares with the exact targets; here the reference is the programmed chip",
        )
    return _COMPENSATIONS[name]


def bits_of(resolution: float, field: str, notes: Notes) -> int | None:
    """Return the bits of a converter of aihwkit; None if it does not round.

    A resolution is the inverse number of steps over the range, or that number if it is above 1.
    ``2^bits - 2`` steps are as many levels as ``bits`` give here.
    """
    if resolution <= 0:
        return None
    steps = resolution if resolution > 1 else 1 / resolution
    bits = min(max(round(math.log2(steps + 2)), 2), _FINEST_BITS)
    if abs(2**bits - 2 - steps) > 1e-6 * steps:
        notes.add(
            field,
            resolution,
            f"{steps:g} steps are not a whole number of bits; {bits} bits, with {2**bits - 2} "
            "steps, are the nearest",
        )
    return bits


def _add_converters(source: Source, draft: Draft, notes: Notes) -> None:
    if source.flag("forward.is_perfect", notes):
        draft.dac |= {"bits": None}
        draft.adc |= {"bits": None}
        return
    _add_dac(source, draft, notes)
    _add_adc(source, draft, notes)


def _add_dac(source: Source, draft: Draft, notes: Notes) -> None:
    bits = bits_of(source.number("forward.inp_res"), "forward.inp_res", notes)
    # A DAC without steps still clips.
    draft.dac["bits"] = _FINEST_BITS if bits is None else bits
    draft.dac["range"] = _dac_range(source, notes)


def _dac_range(source: Source, notes: Notes) -> dict[str, Any]:
    management = str(source["forward.noise_management"])
    bound = source.number("forward.inp_bound")
    if source.flag("pre_post.input_range.enable", notes):
        if source.flag("pre_post.input_range.learn_input_range", notes):
            return {"kind": "learned"}
        if source.whole("pre_post.input_range.init_from_data"):
            return {"kind": "k-sigma", "k": source.number("pre_post.input_range.init_std_alpha")}
        return {
            "kind": "fixed",
            "full_scale": source.number("pre_post.input_range.init_value") * bound,
        }
    if management == "CONSTANT":
        threshold = source.number("forward.nm_thres")
        return {"kind": "fixed", "full_scale": bound * (threshold or 1.0)}
    if management == "NONE":
        return {"kind": "fixed", "full_scale": bound}
    notes.add("forward.noise_management", management, _PER_VECTOR)
    return {"kind": "max"}


def _add_adc(source: Source, draft: Draft, notes: Notes) -> None:
    bits = bits_of(source.number("forward.out_res"), "forward.out_res", notes)
    bound, noise = source.number("forward.out_bound"), source.number("forward.out_noise")
    draft.adc["bits"] = bits
    management = str(source["forward.bound_management"])
    if bound > 0:
        draft.adc["bits"] = _FINEST_BITS if bits is None else bits
        scale = _unit_of_outputs(source, draft, notes)
        draft.adc["range"] = {"kind": "fixed", "full_scale": bound * scale}
        draft.adc["noise_of_range"] = noise / bound
        if management != "NONE":
            notes.add(
                "forward.bound_management",
                management,
                "aihwkit repeats a product with smaller inputs until no output is clipped; here "
                "the ADC clips",
            )
    elif noise > 0:
        rows = int(str(draft.array["rows"]))
        draft.adc["bits"] = _FINEST_BITS
        draft.adc["range"] = {"kind": "fixed", "full_scale": float(rows)}
        draft.adc["noise_of_range"] = noise / (rows * _unit_of_outputs(source, draft, notes))
        notes.add(
            "forward.out_bound",
            bound,
            "an ADC without a bound has no range, of which its noise could be a fraction; 16 bits "
            f"over the largest possible current of {rows} rows replace it",
        )
    bend = source.number("forward.out_nonlinearity")
    if bend > 0 and draft.adc["bits"] is not None:
        draft.adc["errors"] = [{"kind": "compression", "n": bend}]


def _unit_of_outputs(source: Source, draft: Draft, notes: Notes) -> float:
    """Return the current of one full cell at full input, over aihwkit's unit of outputs.

    aihwkit's unit is the product of a weight of 1 and an input of 1; an input of ``inp_bound`` is
    full.
    """
    of_weight = weight_uS(draft) / float(str(draft.cell["g_max_uS"]))
    return of_weight / (source.number("forward.inp_bound") * _largest_weight(source, notes))


def _largest_weight(source: Source, notes: Notes) -> float:
    """Return the largest weight of a tile in aihwkit's units, ``weight_scaling_omega``."""
    omega = source.number("mapping.weight_scaling_omega")
    if omega > 0:
        return omega
    notes.add(
        "mapping.weight_scaling_omega",
        omega,
        "aihwkit's range of the ADC and its noise of weights are in units of the weights; here "
        "they are relative to the largest weight, which is assumed to be 1, as with "
        "weight_scaling_omega = 1",
    )
    return 1.0


def weight_uS(draft: Draft) -> float:
    """Return the difference of conductances that stores the largest weight of a layer."""
    span = float(str(draft.cell["g_max_uS"])) - float(str(draft.cell["g_min_uS"]))
    pairs: Any = draft.array.get("pairs")
    if pairs:
        ends = [
            sum(
                f * (plus[at] - minus[at])
                for f, plus, minus in zip(
                    pairs["significance"],
                    pairs["table"]["g_uS"][::2],
                    pairs["table"]["g_uS"][1::2],
                    strict=True,
                )
            )
            for at in (0, -1)
        ]
        return float(ends[1] - ends[0]) / 2
    return span if draft.array["mapping"] == "differential-pair" else span / 2


def _add_short_noise(source: Source, draft: Draft, notes: Notes) -> None:
    kind, size = str(source["forward.w_noise_type"]), source.number("forward.w_noise")
    if kind == "NONE" or size <= 0:
        if kind != "NONE" or size > 0:
            notes.add("forward.w_noise_type", kind, "has no effect without both type and size")
        return
    cell, largest = draft.cell, _largest_weight(source, notes)
    high = float(str(cell["g_max_uS"]))
    effects = list(cell["read_noise"])  # type: ignore[call-overload]
    if kind == "ADDITIVE_CONSTANT":
        # The size applies to a weight; its cells share the variance.
        pairs: Any = draft.array.get("pairs")
        factors = pairs["significance"] if pairs else [1.0]
        cells = 1 if draft.array["mapping"] == "offset-current" else 2
        shared = math.sqrt(cells * sum(f * f for f in factors))
        of_cell = size / largest * weight_uS(draft) / high / shared
        effects.append({"kind": "gaussian", "sigma_of_g_max": of_cell})
    elif kind == "PCM_READ":
        # The variance of w is size^2 |w|, so that of w / largest is size^2 |w / largest| / largest.
        effects.append(
            {
                "kind": "state-dependent",
                "g_ref_uS": high,
                "sigma_uS": {
                    "kind": "capped-power",
                    "coefficient": size / math.sqrt(largest) * high,
                    "exponent": 0.5,
                    "max": 1e6,
                },
            }
        )
        notes.add(
            "forward.w_noise_type",
            kind,
            "aihwkit's variance is proportional to the weight; here it is proportional to the "
            "conductance, which differs where both cells of a pair conduct",
        )
    else:
        notes.add("forward.w_noise_type", kind, "this noise of weights is unknown; it is missing")
    cell["read_noise"] = effects


def _add_wires(source: Source, draft: Draft, notes: Notes) -> None:
    timed = "forward.ir_drop_rs" in source
    drop = source.number("forward.ir_drop")
    if drop <= 0:
        return
    if timed:
        ohm = drop * source.number("forward.ir_drop_rs")
    else:
        g_max_S = float(str(draft.cell["g_max_uS"])) * 1e-6
        ohm = drop / (source.number("forward.ir_drop_g_ratio") * g_max_S)
    draft.wires = {"kind": "nodal", "r_bit_ohm": float(f"{ohm:.12g}")}
    notes.add(
        "forward.ir_drop",
        drop,
        "aihwkit approximates the drop along the outputs' lines; here the network is solved "
        "exactly, and the two differ",
    )
