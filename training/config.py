"""Configuration of a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, cast

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from cimsim.errors import CimsimError
from cimsim.layer_options import parse_layers
from cimsim.rule_names import described_rules, letter_of_rule
from cimsim.training.data_spec import absolute
from cimsim.training.manifest import has_sums, read_checked
from cimsim.training.optimize_for import conditions
from cimsim.training.recipes import recipe
from cimsim.units import parse_duration

Augmentation = Literal["flip", "shift"]
Precision = Literal["float32", "bfloat16"]
Statistics = Literal["chip", "training"]
Parallel = Literal["replicate", "shard"]
RangeOf = Literal["dac", "adc"]
WITHOUT_OPTION = ("chosen",)
"""Settings that no option of the command line sets."""
Fraction = Annotated[float, Field(ge=0, le=1)]

AUTO = "auto"
LATER: dict[str, Any] = {
    "hold_out": 0.0,
    "optimize_for": None,
    "search_epochs": None,
    "chosen": None,
    "statistics": "chip",
    "gaussian_cutoff": None,
    "learn_ranges": [],
}
"""Settings that older runs do not have, with the values that they are resumed with."""

_DEEPEST = 20
_MOST_ERRORS = 5


class TrainConfig(BaseModel):
    """Settings of ``cimsim train``; the resolved settings are saved in a run's ``config.yaml``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    recipe: str | None = Field(
        default=None, description="Tuned combination of settings; see `cimsim methods`."
    )
    profile: str = Field(description="Profile: a name from `cimsim profiles`, or a file.")
    overrides: tuple[str, ...] = Field(
        default=(), description="Override of a profile value, such as adc.bits=6."
    )
    data: str = Field(
        default="digits",
        description="Data: a name, a folder of images, a file (.npz, .pt, .safetensors, .csv, "
        ".txt), or package.module:function.",
    )
    data_dir: Path | None = Field(default=None, description="Folder of the data.")
    limit: int | None = Field(
        default=None, ge=1, description="Number of training samples to use; default: all."
    )
    hold_out: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Fraction of the training samples (after --limit) to exclude from training, "
        "for choosing settings with --split held-out.",
    )
    model: str = Field(
        default="mlp",
        description="Model: mlp, cnn, resnet20, resnet32, resnet18, vit, lstm, gpt, "
        "stochastic-binary or package.module:function.",
    )
    start: Path | None = Field(
        default=None,
        description="Initial weights: a finished run, or a trained network of `cimsim models`.",
    )
    method: str = Field(
        default="noise-aware",
        description="Method: noise-aware, digital, standard-nat or fake-quantized.",
    )
    rule: str = Field(
        default="F",
        description=f"Backward rule of noise-aware training: {described_rules()}.",
    )
    objective: tuple[str, ...] = Field(
        default=(), description="Term of the loss, such as distill:temperature=4."
    )
    quantize_weights: str | None = Field(
        default=None, description="Quantizer of the analog layers' weights, such as lsq:bits=4."
    )
    quantize_inputs: str | None = Field(
        default=None, description="Quantizer of the analog layers' inputs."
    )
    denoise: float | None = Field(
        default=None, ge=0, description="Ridge parameter of a digital gain and offset per column."
    )
    corrector: str | None = Field(
        default=None, description="Gradient corrector, such as fogzo:n=1."
    )
    audit: int = Field(default=0, ge=0, description="Interval of gradient audits in steps; 0: off.")
    keep_digital: tuple[str, ...] = Field(
        default=(), description="Layers to keep digital: name patterns, 'first', 'last'."
    )
    layer: tuple[str, ...] = Field(
        default=(),
        description="Settings of some layers, such as 'fc2:digital', 'conv*:adc.bits=8' or "
        "'*.mlp.*:profile=reram-cmo-2025'; later settings take precedence.",
    )
    epochs: int = Field(default=10, ge=1, description="Passes over the training data.")
    batch_size: int = Field(default=128, ge=1, description="Samples per step, over all processes.")
    accumulate: int = Field(
        default=1, ge=1, description="Number of parts that a batch is split into, to save memory."
    )
    parallel: Parallel = Field(
        default="replicate",
        description="Distributed training: each process holds the whole model (replicate) or a "
        "shard of every parameter (shard, FSDP2).",
    )
    precision: Precision = Field(
        default="float32", description="Precision of products in training: float32 or bfloat16."
    )
    recompute: tuple[str, ...] = Field(
        default=(),
        description="Modules that recompute activations in backward: patterns such as 'blocks.*'.",
    )
    augment: tuple[Augmentation, ...] = Field(
        default=(), description="Random augmentation of images: flip, shift."
    )
    average: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Decay of a moving average of the weights; 0: off.",
    )
    optimizer: str = Field(
        default="adam", description="Optimizer: adam, sgd or ternary-chain, as in sgd:momentum=0.9."
    )
    lr: float = Field(default=1e-3, gt=0, description="Peak learning rate (cosine decay).")
    weight_decay: float = Field(
        default=0.0, ge=0, description="Weight decay: decoupled for adam, in the gradient for sgd."
    )
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**63,
        description="Seed of initial weights, order of data and training chips.",
    )
    warmup: Fraction = Field(
        default=0.0, description="Fraction of the steps trained digitally before noise starts."
    )
    ramp: Fraction = Field(
        default=0.3, description="Fraction of the steps over which noise grows to full strength."
    )
    noise: float = Field(
        default=1.0,
        ge=0,
        description="Factor on every noise of the profile (noise-aware); auto: a search chooses "
        "it, together with the method, --gaussian-sigma and the clipping of weights.",
        json_schema_extra={"text": True, "metavar": "NUMBER|auto"},
    )
    optimize_for: str | None = Field(
        default=None,
        description="Conditions that a search with --noise auto optimizes for: noise levels, and "
        "ages after @, such as 1, 0:2 or 1@1y; default: 1 at --age.",
    )
    search_epochs: int | None = Field(
        default=None,
        ge=1,
        description="Epochs of the longest training of a search; default: a third of --epochs.",
    )
    chosen: str | None = Field(
        default=None, description="Candidate that a search chose, and for which conditions."
    )
    noise_spread: float = Field(
        default=0.0,
        ge=0,
        description="Relative spread of the noise factor between steps.",
    )
    age: str = Field(
        default="0s", description="Age of the training chips: a time, or a range such as 1s:1d."
    )
    clip_sigma: float = Field(
        default=2.5,
        ge=0,
        description="Clipping threshold of weights in multiples of their RMS per channel; 0: off.",
    )
    gaussian_sigma: float = Field(
        default=0.038,
        ge=0,
        description="Standard deviation of the weight noise, as a fraction of the layer's largest "
        "weight (standard-nat, fake-quantized).",
    )
    statistics: Statistics = Field(
        default="chip",
        description="Statistics of batch normalization: measured again on chips of the profile "
        "after the last step (chip), or as in training.",
    )
    gaussian_cutoff: float | None = Field(
        default=None,
        ge=0,
        description="Largest weight noise in standard deviations, for right-censored noise; "
        "default: no limit (standard-nat, fake-quantized).",
    )
    learn_ranges: tuple[RangeOf, ...] | None = Field(
        default=None,
        description="Converters whose ranges are trained: dac (inputs), adc, or none; ranges that "
        "a layer's profile fixes stay fixed, and it is an error if none is left to train; default: "
        "dac with rules E and F, whose gradient is 0 where a converter saturates, unless dac.range "
        "is set; otherwise none (noise-aware, fake-quantized).",
    )
    calibration_batches: int = Field(
        default=8, ge=1, description="Number of training batches to calibrate the converters with."
    )
    device: str = Field(default="cpu", description="Torch device: cpu, cuda, cuda:N or auto.")

    @model_validator(mode="before")
    @classmethod
    def _searched(cls, given: Any) -> Any:
        """A search is a configuration with ``optimize_for``; its noise is written as ``auto``."""
        if isinstance(given, dict):
            given = dict(given)
            if given.get("noise") == AUTO:
                del given["noise"]
                if given.get("optimize_for") is None:
                    given["optimize_for"] = "1"
            else:
                for name in ("optimize_for", "search_epochs"):
                    if given.get(name) is not None:
                        raise ValueError(f"{name} applies to noise '{AUTO}' only; leave it out")
        return given

    @field_validator("noise", mode="before")
    @classmethod
    def _number_or_auto(cls, noise: Any) -> Any:
        if isinstance(noise, str):
            try:
                return float(noise)
            except ValueError:
                raise ValueError(f"must be a number or '{AUTO}'") from None
        return noise

    @field_serializer("noise")
    def _written(self, noise: float) -> float | str:
        return AUTO if self.searches else noise

    @property
    def searches(self) -> bool:
        """Whether a search has yet to choose the noise; see :func:`cimsim.runs.search`."""
        return self.optimize_for is not None

    @field_validator("*")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str | Path) and "\0" in str(text):
                raise ValueError("must not contain a NUL character")
        return value

    @field_validator("learn_ranges", mode="before")
    @classmethod
    def _no_ranges(cls, value: Any) -> Any:
        """Options cannot be empty lists; ``none`` is one."""
        return () if value == "none" or value in (["none"], ("none",)) else value

    @field_validator("rule")
    @classmethod
    def _rule(cls, rule: str) -> str:
        return letter_of_rule(rule)  # files contain letters

    @field_validator("layer")
    @classmethod
    def _layers(cls, layer: tuple[str, ...]) -> tuple[str, ...]:
        parse_layers(layer)
        return layer

    @field_validator("optimize_for")
    @classmethod
    def _conditions(cls, text: str | None) -> str | None:
        if text is not None:
            conditions(text)
        return text

    @field_validator("age")
    @classmethod
    def _ages(cls, age: str) -> str:
        low, high = age_range_s(age)
        if low > high:
            raise ValueError(f"the range '{age}' is empty: its first time must be the shorter one")
        return age


def age_range_s(age: str) -> tuple[float, float]:
    """Return the shortest and longest age in seconds of ``"1h"`` or ``"1s:1d"``.

    >>> age_range_s("1s:1h")
    (1.0, 3600.0)
    """
    first, _, last = age.partition(":")
    low = parse_duration(first)
    return low, parse_duration(last) if last else low


def make_config(**settings: object) -> TrainConfig:
    """Build a :class:`TrainConfig`; raise all errors in one :class:`CimsimError`.

    Relative paths of data become absolute, so that a run can be evaluated from other folders.

    Explicit settings take precedence over those of a ``recipe``.
    """
    if settings.get("recipe") is not None:
        settings = {**recipe(str(settings["recipe"])), **settings}
    if isinstance(data := settings.get("data"), str) and "\0" not in data:
        settings["data"] = absolute(data, cast("Path | None", settings.get("data_dir")))
    try:
        return TrainConfig(**settings)  # type: ignore[arg-type]
    except ValidationError as error:
        raise CimsimError(_sentence(error)) from None


def dump_config(config: TrainConfig) -> str:
    """Return ``config`` as YAML text."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def read_config(path: Path) -> TrainConfig:
    """Read a configuration written by :func:`dump_config`.

    In a folder without ``SHA256SUMS``, which would detect a missing line, the file must contain
    every setting, so that a truncated file is not completed by defaults.

    Raises:
        CimsimError: if the file cannot be read, is damaged or is not a configuration.
    """
    settings = read_yaml(path, read_checked(path))
    if not isinstance(settings, dict):
        raise CimsimError(f"{path} is not the configuration of a run: it contains no settings")
    missing = [name for name in TrainConfig.model_fields if name not in settings]
    if missing and not has_sums(path.parent):
        raise CimsimError(
            f"{path} is incomplete: it lacks {', '.join(missing)}; restore it from a copy"
        )
    try:
        return TrainConfig.model_validate({**LATER, **settings})
    except ValidationError as error:
        raise CimsimError(f"{path}: {_sentence(error)}") from None


def read_yaml(path: Path, content: bytes) -> Any:
    """Parse the plain YAML values in ``content``, which was read from ``path``.

    Anchors, aliases and tags are rejected, because they can expand a small file to a large object.

    Raises:
        CimsimError: if the content is not such YAML.
    """
    try:
        text = content.decode()
        _refuse_large(text)
        return yaml.safe_load(text)
    except (ValueError, OverflowError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise CimsimError(f"{path} cannot be read as YAML: {reason}") from None


def _refuse_large(text: str) -> None:
    """
    Raises:
        ValueError: if ``text`` contains an anchor, an alias or a tag, or is nested too deeply.
    """
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        forbidden = {
            "an anchor or alias": isinstance(event, yaml.AliasEvent)
            or getattr(event, "anchor", None),
            "a tag": getattr(event, "tag", None),
            "too deep nesting": depth > _DEEPEST,
        }
        if present := [name for name, there in forbidden.items() if there]:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise ValueError(f"line {line} contains {present[0]}")


def _sentence(error: ValidationError) -> str:
    messages = []
    for detail in error.errors():
        where = ".".join(str(part) for part in detail["loc"])
        message = detail["msg"].removeprefix("Value error, ")
        if where:  # an error of the whole configuration names its settings itself
            message = f"{where}: {message} (got {_shortened(repr(detail['input']))})"
        messages.append(message)
    more = len(messages) - _MOST_ERRORS
    return "; ".join(messages[:_MOST_ERRORS] + [f"and {more} more"] * (more > 0))


def _shortened(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:97]}…"
