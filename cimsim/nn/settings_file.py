"""The file ``cimsim.json``: everything of a converted model that its weights do not contain.

These are the profiles, and for each analog layer its profile, its backward rule, its quantizers and
denoiser, the name and seed of its draws, and its chip. Weights and ranges are in safetensors.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

import cimsim
from cimsim.errors import CimsimError
from cimsim.files import read_file, write_text
from cimsim.nn.input_gains import InputGains
from cimsim.nn.layer import AnalogLayer
from cimsim.nn.layer_settings import LayerSettings
from cimsim.nn.model_ops import analog_layers
from cimsim.nn.placement import Placement
from cimsim.nn.rewrites import Rewrites
from cimsim.nn.weight_adapters import sizes_of
from cimsim.profile import Profile, fingerprint
from cimsim.reading import parse_json

SETTINGS = "cimsim.json"
_VERSION = 1
_ADAPTED = ("adapters", "input_gains", "placement", "rewritten")
_Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
_Count = Annotated[int, Field(ge=0, lt=2**63)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SavedChip(_Entry):
    """The chip of evaluation mode; ``seed`` is already the layer's own."""

    seed: _Seed
    cycle: _Count
    age_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    reads: _Count
    in_training: bool


class SavedLayer(_Entry):
    """One analog layer; ``profile`` is an index, ``draws_as`` and ``seed`` name its draws."""

    profile: _Count
    rule: str
    quantize_weights: str | None
    quantize_inputs: str | None
    denoise: float | None
    digital: bool
    draws_as: str
    seed: _Seed
    chip: SavedChip
    # Only in files of adapted models, so that older versions can read all other files.
    adapters: dict[str, Annotated[int, Field(ge=1)]] | None = None
    input_gains: Literal["plain", "clipped"] | None = None
    placement: Literal["permuted", "shifted"] | None = None
    rewritten: Literal[True] | None = None


class SavedModel(_Entry):
    """The content of the file."""

    schema_version: Literal[1]
    cimsim: str
    profiles: list[Profile]
    layers: Annotated[dict[str, SavedLayer], Field(min_length=1)]

    def settings(self, layer: SavedLayer) -> LayerSettings:
        """The arguments of :func:`cimsim.convert` for ``layer``.

        Raises:
            CimsimError: if there is no such profile, rule or quantizer.
        """
        if layer.profile >= len(self.profiles):
            raise CimsimError(f"there is no profile {layer.profile}")
        return LayerSettings(self.profiles[layer.profile]).changed(
            {
                "rule": layer.rule,
                "quantize_weights": layer.quantize_weights,
                "quantize_inputs": layer.quantize_inputs,
                "denoise": layer.denoise,
            }
        )


def write_settings(model: nn.Module, folder: Path) -> None:
    """Write the settings of the converted ``model`` to ``folder``, atomically.

    Raises:
        CimsimError: if no layer is analog, or the file cannot be written.
    """
    places: dict[str, int] = {}
    profiles: list[Profile] = []
    layers: dict[str, Any] = {}
    for name, layer in analog_layers(model).items():
        key = fingerprint(layer.profile) + layer.profile.name
        if key not in places:
            places[key] = len(profiles)
            profiles.append(layer.profile)
        saved = _of_layer(layer, places[key])
        adapted = {kind for kind in _ADAPTED if getattr(saved, kind) is not None}
        layers[name] = saved.model_dump(exclude={*_ADAPTED} - adapted)
    content = {
        "schema_version": _VERSION,
        "cimsim": cimsim.__version__,
        "profiles": [profile.model_dump(mode="json") for profile in profiles],
        "layers": layers,
    }
    write_text(folder / SETTINGS, json.dumps(content, indent=2) + "\n")


def _of_layer(layer: AnalogLayer, profile: int) -> SavedLayer:
    (weights, inputs), placement = layer.quantizer_specs, layer.placement
    gains = layer.input_gains
    chip = SavedChip(
        seed=layer.chip_seed,
        cycle=layer.cycle,
        age_s=layer.age_s,
        reads=layer.reads,
        in_training=layer.chip_in_training,
    )
    return SavedLayer(
        profile=profile,
        rule=layer.rule.letter,
        quantize_weights=weights,
        quantize_inputs=inputs,
        denoise=None if layer.denoiser is None else layer.denoiser.ridge,
        digital=layer.digital,
        draws_as=layer.name,
        seed=layer.seed,
        chip=chip,
        adapters=sizes_of(layer.adapters) or None,
        input_gains=None if gains is None else "plain" if gains.clip is None else "clipped",
        placement=None if placement is None else "shifted" if placement.shifted else "permuted",
        rewritten=None if layer.rewrites is None else True,
    )


def read_settings(folder: Path) -> SavedModel:
    """Read the settings that :func:`write_settings` has written.

    Raises:
        CimsimError: if the file is missing, damaged, or of a newer version.
    """
    path = folder / SETTINGS
    if not path.exists():
        raise CimsimError(
            f"{folder} has no {SETTINGS}, so no converted model was saved there; save one with "
            "cimsim.save(model, folder), or convert the model with cimsim.convert"
        )
    try:
        content = parse_json(read_file(path))
    except ValueError as error:
        raise CimsimError(f"{path} is damaged: {error}") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if type(version) is int and version > _VERSION:
        raise CimsimError(
            f"{path} has schema_version {version}, and this version of cimsim reads {_VERSION}; "
            "update cimsim"
        )
    try:
        return SavedModel.model_validate(content)
    except ValidationError as failure:
        issue = failure.errors(include_url=False)[0]
        place = ".".join(map(str, issue["loc"]))
        raise CimsimError(f"{path} is damaged: {place or 'it'}: {issue['msg']}") from None


def restore(layer: AnalogLayer, saved: SavedLayer) -> None:
    """Set what :meth:`AnalogLayer.convert_in_place` does not: the chip, whether it is used, and its
    adapters, input gains, placement and rewrites, whose values are weights.

    Raises:
        CimsimError: if adapters do not fit the layer.
    """
    layer.adapt_weight(saved.adapters or {})
    if saved.input_gains is not None:
        gains = torch.ones(layer.inputs, device=layer.weight.device)
        layer.scale_inputs(InputGains(gains, gains[0] if saved.input_gains == "clipped" else None))
    matrix = layer.with_spares(layer.to_matrix(layer.weight.detach()))
    if saved.placement is not None:
        layer.place(Placement(matrix, saved.placement == "shifted"))
    if saved.rewritten:
        layer.rewrite(Rewrites(matrix))
    layer.digital = saved.digital
    layer.chip_seed, layer.cycle, layer.reads = saved.chip.seed, saved.chip.cycle, saved.chip.reads
    layer.chip_in_training = saved.chip.in_training
    layer.age(saved.chip.age_s)
