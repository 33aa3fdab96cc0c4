"""A run's folder: what was trained, on which device, and how it came out.

config.yaml        the resolved settings
profile.yaml       the resolved device
layer-N.yaml       the resolved device of the N-th --layer, where that names one
env.json           versions and command line
metrics.jsonl      one line per epoch, as it ends
checkpoint.pt      the state to resume from, while the run is under way (and beside it the parts
                   of a model that is shared out, in a folder that it names)
model.safetensors  the trained weights and the converters' ranges
result.json        written last: the run is finished
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.markup import sparkline, table
from cimsim.nn import Assignment, calibrate, convert, devices, digital, set_profile
from cimsim.profile import Profile, dump_profile, load_profile
from cimsim.quantizers.quantizer import RandomQuantizer
from cimsim.training.config import TrainConfig, read_config
from cimsim.training.data import BatchLoader, DataSet, load_data
from cimsim.training.evaluate import Score, evaluate
from cimsim.training.files import readable_name, replacing, write_text
from cimsim.training.layers import Layers, parse_layers
from cimsim.training.models import build_model

CONFIG, PROFILE, ENV = "config.yaml", "profile.yaml", "env.json"
LAYER = "layer-{}.yaml"
METRICS, CHECKPOINT = "metrics.jsonl", "checkpoint.pt"
MODEL, RESULT = "model.safetensors", "result.json"


class Run:
    """A finished run, read from its folder by :meth:`open`."""

    def __init__(
        self,
        path: Path,
        config: TrainConfig,
        profile: Profile,
        layers: Layers,
        result: dict[str, Any],
    ):
        self.path = path
        self.config = config
        self.profile = profile
        self.layers = layers  # settings by pattern, with their profiles
        self.result = result
        self.data_dir = config.data_dir  # where its data lie now
        self._digital: dict[int, Score] = {}

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """The run in folder ``path``.

        Raises:
            CimsimError: if the folder is not there, is not a run, or its run is unfinished.
        """
        path = Path(path)
        if not path.is_dir():
            raise CimsimError(f"there is no folder {path}; give the --out folder of `cimsim train`")
        if not (path / CONFIG).is_file():
            raise CimsimError(f"{path} is not a run: it has no {CONFIG}; `cimsim train` makes one")
        if not (path / RESULT).is_file():
            raise CimsimError(
                f"the run in {path} is not finished; go on with `cimsim train … --resume`"
            )
        try:
            result = json.loads((path / RESULT).read_text(encoding="utf-8"))
            float(result["digital_accuracy"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CimsimError(f"{path / RESULT} cannot be read: {error!r}") from None
        config = read_config(path / CONFIG)
        return cls(path, config, load_profile(path / PROFILE), read_layers(path, config), result)

    def _repr_html_(self) -> str:
        """What a notebook shows: what was trained, how it went and how it came out."""
        config, result = self.config, self.result
        rows = [
            (
                "trained",
                f"{config.model} on {config.data}, {config.method}, {config.epochs} epochs",
            ),
            ("device", f"{self.profile.name}: {self.profile.title}"),
        ]
        for where, name in (("digital", "without any device"), ("chip", "on one chip")):
            accuracy, loss = (float(result[f"{where}_{what}"]) for what in ("accuracy", "loss"))
            rows.append((name, f"test accuracy {100 * accuracy:.2f} %, loss {loss:.4f}"))
        return table(("run", str(self.path)), rows) + self._loss_curve()

    def _loss_curve(self) -> str:
        path = self.path / METRICS
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        losses = [json.loads(line)["train_loss"] for line in lines]
        if not losses:
            return ""
        text = f"training loss from {losses[0]:.4f} to {losses[-1]:.4f}"
        return f"<p>{sparkline(losses, text)} {text}</p>"

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def digital_accuracy(self) -> float:
        """Test accuracy (0..1) of the trained weights without any device."""
        return float(self.result["digital_accuracy"])

    def digital_score(
        self, samples: int | None = None, device: torch.device | str = "cpu"
    ) -> Score:
        """Test accuracy and loss of the trained weights without any device; on the first
        ``samples`` of the test data, or all of them."""
        if samples is None or samples >= len(self.data.test_y):
            return Score(self.digital_accuracy, float(self.result["digital_loss"]))
        if samples not in self._digital:
            model = self.chip_model(device=device)
            x, y = (of_all[:samples].to(device) for of_all in (self.data.test_x, self.data.test_y))
            with digital(model):
                self._digital[samples] = evaluate(model, x, y, self.data.batch_size)
        return self._digital[samples]

    @cached_property
    def checkpoint_sha256(self) -> str:
        """Hash of the trained weights' file."""
        try:
            return hashlib.sha256((self.path / MODEL).read_bytes()).hexdigest()
        except OSError as error:
            raise CimsimError(f"{self.path / MODEL}: {error.strerror}") from None

    @cached_property
    def data(self) -> DataSet:
        """The data set that the run was trained on."""
        return load_data(self.config.data, self.data_dir)

    @cached_property
    def devices(self) -> Assignment:
        """The device of every layer that was trained as an analog one."""
        return devices(self.new_model()) if self.layers else Assignment(self.profile)

    def new_model(self) -> nn.Module:
        """The model as it was before its training, on the devices of its training."""
        return new_model(self.config, self.profile, self.layers, self.data)

    def chip_model(
        self, on: Profile | Assignment | None = None, device: torch.device | str = "cpu"
    ) -> nn.Module:
        """The trained model in evaluation mode: on the devices of its training, on another one, or
        on one for each layer.

        The ranges of the converters are those of training; where a layer has other converters or
        tiles, they are measured anew, on the same batches of training data.
        """
        model = self.new_model().to(device)
        load_weights(model, self.path / MODEL)
        if on is not None:
            set_profile(model, on)
        calibrate(model, calibration_batches(self.config, self.data, device), missing=True)
        return model.eval()


def new_model(
    config: TrainConfig,
    profile: Profile,
    layers: Layers,
    data: DataSet,
    start: Path | None = None,
) -> nn.Module:
    """The model of ``config`` on the device of ``profile``, some layers with the settings of
    ``layers``: untrained, or with the weights of the finished run ``start``.

    Raises:
        CimsimError: if ``start`` is no finished run, or one of another model.
    """
    model = build_model(config.model, data.input_shape, data.classes, config.seed)
    if start is not None:
        _take_weights(model, Run.open(start).path)
    convert(
        model,
        profile,
        rule=config.rule,
        keep_digital=config.keep_digital,
        layers=layers,
        quantize_weights=config.quantize_weights,
        quantize_inputs=config.quantize_inputs,
        denoise=config.denoise,
        seed=config.seed,
        inplace=True,
    )
    for name, module in model.named_modules():  # also those that are a model's own
        if isinstance(module, RandomQuantizer):
            module.name_draws(config.seed, name)
    return model


def _take_weights(model: nn.Module, path: Path) -> None:
    """Parameters and statistics of the run in ``path``, without its ranges and quantizers."""
    try:
        with readable_name(path / MODEL) as readable:
            missing, _ = load_model(model, str(readable), strict=False)
        fault = f"it has no tensor '{sorted(missing)[0]}'" if missing else ""
    except Exception as error:  # safetensors raises its own kinds, and RuntimeError for a shape
        fault = str(error).splitlines()[-1].strip()
    if fault:
        raise CimsimError(f"cannot start from {path}, it holds another model: {fault}")


def training_samples(config: TrainConfig, data: DataSet) -> tuple[Tensor, Tensor]:
    """Inputs and labels that are trained on: all, or the first ``config.limit``."""
    return data.train_x[: config.limit], data.train_y[: config.limit]


def calibration_batches(
    config: TrainConfig, data: DataSet, device: torch.device | str
) -> Iterator[Tensor]:
    """The training inputs that set the converters' ranges: the first batches of epoch 0."""
    samples = training_samples(config, data)
    loader = BatchLoader(*samples, config.batch_size, shuffle_seed=config.seed)
    for _, (x, _) in zip(range(config.calibration_batches), loader.epoch(0), strict=False):
        yield x.to(device)


def write_layers(path: Path, layers: Layers) -> None:
    """Keep the profiles of ``layers`` in the run's folder ``path``."""
    for number, settings in enumerate(layers.values(), start=1):
        if "profile" in settings:
            write_text(path / LAYER.format(number), dump_profile(settings["profile"]))


def read_layers(path: Path, config: TrainConfig) -> Layers:
    """The settings of layers that ``config`` names, with the profiles that :func:`write_layers`
    kept."""
    layers = parse_layers(config.layer)
    for number, settings in enumerate(layers.values(), start=1):
        if "profile" in settings:
            settings["profile"] = load_profile(path / LAYER.format(number))
    return layers


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the model's tensors as safetensors, whole or not at all."""
    with replacing(path) as temporary:
        try:
            save_model(model, str(temporary))
        except SafetensorError as error:  # how its writer reports a full disk
            raise OSError(f"the weights could not be written ({error})") from error
        temporary.chmod((path.parent / CONFIG).stat().st_mode)  # safetensors makes it private


def load_weights(model: nn.Module, path: Path) -> None:
    """Read what :func:`save_weights` wrote.

    Raises:
        CimsimError: if the file is missing, damaged, or of another model.
    """
    try:
        with readable_name(path) as readable:
            load_model(model, str(readable))
    except Exception as error:  # safetensors raises its own kinds, and RuntimeError for a mismatch
        raise CimsimError(f"{path} does not hold this model's weights: {error}") from None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Put ``content`` into ``path``, whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")
