"""Everything that determines the weights of a run."""

from __future__ import annotations

import json
from dataclasses import dataclass

from torch import nn

from cimsim.errors import CimsimError
from cimsim.layer_options import Layers, parse_layers, with_profiles
from cimsim.profile import (
    Profile,
    fingerprint,
    load_profile,
    refuse_set_ranges,
    require_learnable,
    with_learned_ranges,
)
from cimsim.training.config import AUTO, LATER, TrainConfig
from cimsim.training.data import DataSet, load_data
from cimsim.training.manifest import hash_of
from cimsim.training.methods import ranges_to_learn
from cimsim.training.recipe_errors import naming_recipe
from cimsim.training.run import LAYER, new_model, prepared

PLACES = ("profile", "layer", "data_dir", "parallel")
"""Settings that may change between the start of a run and its resumption."""


@dataclass(frozen=True)
class TrainingPlan:
    """Settings, profile, settings of some layers, and data of a run."""

    config: TrainConfig
    profile: Profile
    layers: Layers
    data: DataSet

    @classmethod
    def load(cls, config: TrainConfig) -> TrainingPlan:
        """Load the profiles and the data that ``config`` names.

        Raises:
            CimsimError: if one of them is missing or invalid, the noise is not chosen yet, or a
                range that ``learn_ranges`` names cannot be learned with the method or the profiles,
                or is set by an override.
        """
        if config.searches:
            raise CimsimError(
                f"noise is '{AUTO}': choose it with cimsim.runs.search(config, out), and train "
                "with the config of the result; cimsim.runs.train does both"
            )
        layers, learned = with_profiles(parse_layers(config.layer)), ranges_to_learn(config)
        profile = load_profile(config.profile, config.overrides)
        separate = [settings for settings in layers.values() if "profile" in settings]
        if config.learn_ranges is not None:
            with naming_recipe(config):
                require_learnable((profile, *(each["profile"] for each in separate)), learned)
                refuse_set_ranges(profile, config.overrides, learned)
        for settings in separate:
            settings["profile"] = with_learned_ranges(settings["profile"], learned)
        return cls(
            config=config,
            profile=with_learned_ranges(profile, learned),
            layers=layers,
            data=prepared(config, load_data(config.data, config.data_dir)),
        )

    def new_model(self) -> nn.Module:
        """Build the model of the run with its initial weights."""
        return new_model(self.config, self.profile, self.layers, self.data, self.config.start)

    def layer_profiles(self) -> dict[str, Profile]:
        """Return the profiles of layers with a separate profile, by file name within the run."""
        numbered = enumerate(self.layers.values(), start=1)
        return {LAYER.format(n): layer["profile"] for n, layer in numbered if "profile" in layer}

    def identity(self) -> str:
        """Return a hash of all contents, independent of the location of profiles and data."""
        settings = self.config.model_dump(mode="json", exclude=set(PLACES))
        for name, before in LATER.items():  # checkpoints of older runs keep their identity
            if settings[name] == before:
                del settings[name]
        own = {
            pattern: {k: fingerprint(v) if k == "profile" else v for k, v in layer.items()}
            for pattern, layer in self.layers.items()
        }
        content = [settings, fingerprint(self.profile), own, self.data.fingerprint]
        return hash_of(json.dumps(content, sort_keys=True))
