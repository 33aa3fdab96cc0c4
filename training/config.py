"""Everything that decides a training run, in one frozen object."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from cimsim.errors import CimsimError
from cimsim.rule_names import described_rules, letter_of_rule
from cimsim.training.layer_options import parse_layers
from cimsim.training.manifest import has_sums, read_checked
from cimsim.training.recipes import recipe
from cimsim.units import parse_duration

Augmentation = Literal["flip", "shift"]
Precision = Literal["float32", "bfloat16"]
Parallel = Literal["replicate", "shard"]
Fraction = Annotated[float, Field(ge=0, le=1)]

_DEEPEST = 20
_MOST_ERRORS = 5


class TrainConfig(BaseModel):
    """The settings of ``cimsim train``; the resolved ones stand in a run's ``config.yaml``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    recipe: str | None = Field(
        default=None, description="a tuned combination of settings, see `cimsim methods`"
    )
    profile: str = Field(description="device profile: a name from `cimsim profiles`, or a file")
    overrides: tuple[str, ...] = Field(
        default=(), description="changes to the profile, such as adc.bits=6"
    )
    data: str = Field(default="digits", description="data set")
    data_dir: Path | None = Field(default=None, description="folder that holds the data sets")
    limit: int | None = Field(
        default=None, ge=1, description="train on the first so many samples only"
    )
    model: str = Field(
        default="mlp",
        description="mlp, cnn, resnet20, resnet32, resnet18, vit, lstm, gpt, stochastic-binary or "
        "package.module:function",
    )
    start: Path | None = Field(
        default=None, description="finished run whose weights this one begins with"
    )
    method: str = Field(default="noise-aware", description="noise-aware, digital or standard-nat")
    rule: str = Field(
        default="F",
        description=f"backward rule of noise-aware training: {described_rules()}",
    )
    objective: tuple[str, ...] = Field(
        default=(), description="terms of the loss, such as distill:temperature=4"
    )
    quantize_weights: str | None = Field(
        default=None, description="quantizer of the analog layers' weights, such as lsq:bits=4"
    )
    quantize_inputs: str | None = Field(
        default=None, description="quantizer of the analog layers' inputs"
    )
    denoise: float | None = Field(
        default=None, ge=0, description="ridge of a digital gain and offset behind each column"
    )
    corrector: str | None = Field(
        default=None, description="corrector of the gradient, such as fogzo:n=1"
    )
    audit: int = Field(
        default=0, ge=0, description="measure the gradient's truth every so many steps; 0 is off"
    )
    keep_digital: tuple[str, ...] = Field(
        default=(), description="layers to keep digital: name patterns, 'first', 'last'"
    )
    layer: tuple[str, ...] = Field(
        default=(),
        description="settings of some layers, such as 'fc2:digital', 'conv*:adc.bits=8,rule=C' or "
        "'*.mlp.*:profile=reram-cmo-2025'; later ones come on top of earlier ones",
    )
    epochs: int = Field(default=10, ge=1, description="passes through the training data")
    batch_size: int = Field(default=128, ge=1, description="samples per step, of all processes")
    accumulate: int = Field(
        default=1, ge=1, description="take every step's samples in so many parts, to save memory"
    )
    parallel: Parallel = Field(
        default="replicate",
        description="what each of several processes holds: the whole model (replicate), or a part "
        "of every parameter (shard, FSDP2)",
    )
    precision: Precision = Field(
        default="float32", description="of products in training: float32 or bfloat16 (autocast)"
    )
    recompute: tuple[str, ...] = Field(
        default=(),
        description="modules that keep no activations for backward: patterns such as 'blocks.*'",
    )
    augment: tuple[Augmentation, ...] = Field(
        default=(), description="change images at every visit: flip, shift"
    )
    average: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="keep a moving average of the weights with this decay; 0 is off",
    )
    optimizer: str = Field(
        default="adam", description="adam, sgd or ternary-chain, with settings: sgd:momentum=0.9"
    )
    lr: float = Field(default=1e-3, gt=0, description="peak learning rate (cosine decay)")
    weight_decay: float = Field(
        default=0.0, ge=0, description="weight decay: decoupled with adam, in the gradient with sgd"
    )
    seed: int = Field(
        default=0, ge=0, lt=2**63, description="decides weights, order of data, training chips"
    )
    warmup: Fraction = Field(
        default=0.0, description="fraction of the steps trained digitally before noise sets in"
    )
    ramp: Fraction = Field(
        default=0.3, description="fraction of the steps over which noise grows to its full size"
    )
    noise: float = Field(
        default=2.0, ge=0, description="noise-aware: factor on every noise of the profile"
    )
    noise_spread: float = Field(
        default=0.0,
        ge=0,
        description="spread of that factor from step to step, as a share of it",
    )
    age: str = Field(
        default="0s", description="age of the training chips: a time, or a range such as 1s:1d"
    )
    clip_sigma: float = Field(
        default=1.5,
        ge=0,
        description="clip weights at so many times their RMS, per channel; 0 is off",
    )
    gaussian_sigma: float = Field(
        default=0.038,
        ge=0,
        description="standard-nat: std of the weight noise over the layer's largest weight",
    )
    calibration_batches: int = Field(
        default=8, ge=1, description="training batches that set the converters' ranges"
    )
    device: str = Field(default="cpu", description="cpu, cuda, cuda:N or auto")

    @field_validator("*")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str | Path) and "\0" in str(text):
                raise ValueError("must not hold a NUL character")
        return value

    @field_validator("rule")
    @classmethod
    def _rule(cls, rule: str) -> str:
        return letter_of_rule(rule)  # files contain letters

    @field_validator("layer")
    @classmethod
    def _layers(cls, layer: tuple[str, ...]) -> tuple[str, ...]:
        parse_layers(layer)
        return layer

    @field_validator("age")
    @classmethod
    def _ages(cls, age: str) -> str:
        low, high = age_range_s(age)
        if low > high:
            raise ValueError(f"the range '{age}' is empty: its first time is the longer one")
        return age


def age_range_s(age: str) -> tuple[float, float]:
    """Shortest and longest age in seconds of ``"1h"`` or ``"1s:1d"``.

    >>> age_range_s("1s:1h")
    (1.0, 3600.0)
    """
    first, _, last = age.partition(":")
    low = parse_duration(first)
    return low, parse_duration(last) if last else low


def make_config(**settings: object) -> TrainConfig:
    """A :class:`TrainConfig`, with all errors in one :class:`CimsimError`.

    The settings of a ``recipe`` hold where none is given.
    """
    if settings.get("recipe") is not None:
        settings = {**recipe(str(settings["recipe"])), **settings}
    try:
        return TrainConfig(**settings)  # type: ignore[arg-type]
    except ValidationError as error:
        raise CimsimError(_sentence(error)) from None


def dump_config(config: TrainConfig) -> str:
    """``config`` as YAML text."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def read_config(path: Path) -> TrainConfig:
    """The configuration that :func:`dump_config` wrote.

    A file in a folder without ``SHA256SUMS``, which would notice a missing line, must hold every
    setting: one that was cut short must not train or evaluate by defaults.

    Raises:
        CimsimError: if the file cannot be read, is damaged or is no configuration.
    """
    settings = read_yaml(path, read_checked(path))
    if not isinstance(settings, dict):
        raise CimsimError(f"{path} cannot be read as a run's configuration: it holds no settings")
    missing = [name for name in TrainConfig.model_fields if name not in settings]
    if missing and not has_sums(path.parent):
        raise CimsimError(
            f"{path} is not complete: it does not hold {', '.join(missing)}; restore it from a copy"
        )
    try:
        return TrainConfig.model_validate(settings)
    except ValidationError as error:
        raise CimsimError(f"{path}: {_sentence(error)}") from None


def read_yaml(path: Path, content: bytes) -> Any:
    """The plain values in ``content``, which was read from ``path``; without anchors, aliases and
    tags, by which a small file can become a large object.

    Raises:
        CimsimError: if it is no such YAML.
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
        ValueError: if ``text`` holds an anchor, an alias or a tag, or is nested deeply.
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
            raise ValueError(f"line {line} holds {present[0]}")


def _sentence(error: ValidationError) -> str:
    messages = []
    for detail in error.errors():
        where = ".".join(str(part) for part in detail["loc"])
        message = detail["msg"].removeprefix("Value error, ")
        messages.append(f"{where}: {message} (got {_shortened(repr(detail['input']))})")
    more = len(messages) - _MOST_ERRORS
    return "; ".join(messages[:_MOST_ERRORS] + [f"and {more} more"] * (more > 0))


def _shortened(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:97]}…"
