"""A run's folder: what was trained, on which device, and how it came out.

config.yaml        the resolved settings
profile.yaml       the resolved device
layer-N.yaml       the resolved device of the N-th --layer, where that names one
env.json           versions and command line
metrics.jsonl      one line per epoch, as it ends
checkpoint.pt      the state to resume from, while the run is under way (and beside it the parts
                   of a model that is shared out, in a folder that it names)
model.safetensors  the trained weights and the converters' ranges
SHA256SUMS         hashes of all these, so that damage is noticed
result.json        written last: the run is finished
.lock              held by the process that trains here
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_model
from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.markup import sparkline, table
from cimsim.nn import Assignment, calibrate, convert, devices, digital, set_profile
from cimsim.profile import Profile, load_profile
from cimsim.quantizers.quantizer import RandomQuantizer
from cimsim.training.config import TrainConfig, read_config, read_yaml
from cimsim.training.data import BatchLoader, DataSet, load_data
from cimsim.training.evaluate import Score, evaluate
from cimsim.training.files import readable_name, replacing
from cimsim.training.layer_options import Layers, parse_layers
from cimsim.training.manifest import checked_sha256, read_checked
from cimsim.training.models import build_model, require_trust
from cimsim.training.records import RESULT, read_metrics, read_outcome
from cimsim.training.sharding import is_part

CONFIG, PROFILE, LAYER = "config.yaml", "profile.yaml", "layer-{}.yaml"
CHECKPOINT, MODEL, LOCK = "checkpoint.pt", "model.safetensors", ".lock"

_OS_ERROR = re.compile(r"\(os error (\d+)\)|Os \{ code: (\d+),")


class Run:
    """A finished run, read from its folder by :meth:`open`."""

    def __init__(
        self,
        path: Path,
        config: TrainConfig,
        profile: Profile,
        layers: Layers,
        result: dict[str, Any],
        trust: bool = False,
    ):
        self.path = path
        self.trust = trust  # whether a function that its configuration names may be imported
        self.config = config
        self.profile = profile
        self.layers = layers  # settings by pattern, with their profiles
        self.result = result
        self.data_dir = config.data_dir  # where its data lie now
        self._digital: dict[int, Score] = {}

    @classmethod
    def open(cls, path: Path | str, trust: bool = False) -> Run:
        """The run in folder ``path``.

        Args:
            path: the folder.
            trust: import the model that the run names, where that is a function of somebody's own
                (``package.module:function``). Without it such a run can be read, and its model not
                be built: whoever sends a run must not run code on the machine that opens it.

        Raises:
            CimsimError: if the folder is not there, is not a run, its run is unfinished, or a file
                is damaged.
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
        result = read_outcome(path)
        config = read_config(path / CONFIG)
        profile = read_profile(path / PROFILE)
        return cls(path, config, profile, read_layers(path, config), result, trust)

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
        losses = [epoch["train_loss"] for epoch in read_metrics(self.path)]
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
        """Hash of the trained weights' file.

        Raises:
            CimsimError: if it cannot be read or is damaged.
        """
        return checked_sha256(self.path / MODEL)

    @cached_property
    def data(self) -> DataSet:
        """The data set that the run was trained on."""
        return load_data(self.config.data, self.data_dir)

    @cached_property
    def devices(self) -> Assignment:
        """The device of every layer that was trained as an analog one."""
        return devices(self.new_model()) if self.layers else Assignment(self.profile)

    def new_model(self) -> nn.Module:
        """The model as it was before its training, on the devices of its training.

        Raises:
            CimsimError: if it is a function of somebody's own, and the run is not trusted.
        """
        require_trust(self.config.model, self.trust, f"the run in {self.path}")
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
        _ = self.checkpoint_sha256  # is that of the file that was written
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
    checked_sha256(path / MODEL)
    state = _read_tensors(path / MODEL)
    own = model.state_dict()
    state = {name: tensor for name, tensor in state.items() if name in own}
    refuse_not_finite(state, not_finite(own), f"cannot start from {path / MODEL}")
    try:
        missing = _load_state(model, state, strict=False)
        fault = f"it has no tensor '{missing[0]}'" if missing else ""
    except RuntimeError as error:
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


def read_profile(path: Path) -> Profile:
    """The resolved device in a file of a run, which names no other file.

    Raises:
        CimsimError: if it cannot be read, is damaged or no profile, or names another file.
    """
    content = read_checked(path)
    if any(key in ("extends", "file") for key in _keys(read_yaml(path, content))):
        raise CimsimError(
            f"{path} is not the profile of a run, which holds its whole device: it names another "
            "file by 'extends' or 'file'"
        )
    return load_profile(path)


def _keys(tree: Any) -> Iterator[object]:
    """Every key in a tree of dictionaries and lists."""
    if isinstance(tree, dict):
        yield from tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for inner in tree:
            yield from _keys(inner)


def read_layers(path: Path, config: TrainConfig) -> Layers:
    """The settings of layers that ``config`` names, with the profiles in the run's folder
    ``path``."""
    layers = parse_layers(config.layer)
    for number, settings in enumerate(layers.values(), start=1):
        if "profile" in settings:
            settings["profile"] = read_profile(path / LAYER.format(number))
    return layers


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the model's tensors as safetensors, whole or not at all.

    Raises:
        CimsimError: if the disk is full or the folder cannot be written.
    """
    with replacing(path) as temporary:
        try:
            save_model(model, str(temporary))
        except SafetensorError as error:  # how its writer reports a full disk
            raise _system_error(error) from error


def _system_error(error: SafetensorError) -> OSError:
    """What the operating system said, as safetensors words it: ``… (os error 28)``, or
    ``Os { code: 28, …`` in old versions."""
    if match := _OS_ERROR.search(str(error)):
        number = int(match[1] or match[2])
        return OSError(number, os.strerror(number))
    return OSError(errno.EIO, str(error))


def load_weights(model: nn.Module, path: Path) -> None:
    """Read what :func:`save_weights` wrote.

    Raises:
        CimsimError: if the file is missing, damaged, of another model, or holds NaN or infinity.
    """
    state = _read_tensors(path)
    refuse_not_finite(state, not_finite(model.state_dict()), f"{path} is damaged")
    try:
        _load_state(model, state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise CimsimError(f"{path} does not hold this model's weights: {reason}") from None


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        with readable_name(path) as readable:
            return load_file(readable)
    except Exception as error:  # safetensors raises its own kinds, and OSError
        raise CimsimError(f"{path} does not hold this model's weights: {error}") from None


def _load_state(model: nn.Module, state: dict[str, Tensor], strict: bool = True) -> list[str]:
    """Load ``state``, in which tensors that a model holds under several names have one; returns
    names of the model's that it lacks, sorted.

    Raises:
        RuntimeError: for a tensor of another shape or dtype, and if ``strict`` for a name that only
            one of them has.
    """
    own = model.state_dict()
    for name, tensor in state.items():
        if name in own and own[name].dtype != tensor.dtype:
            raise RuntimeError(f"'{name}' is {tensor.dtype}, and not {own[name].dtype}")
    missing, unexpected = model.load_state_dict(state, strict=False)
    held = {own[name].data_ptr() for name in state if name in own and own[name].numel()}
    missing = sorted(name for name in missing if own[name].data_ptr() not in held)
    if strict and (missing or unexpected):
        what = f"it has no '{missing[0]}'" if missing else f"it has '{sorted(unexpected)[0]}'"
        raise RuntimeError(what)
    return missing


def not_finite(state: Mapping[str, Any]) -> set[str]:
    """Names of the tensors in ``state`` that hold NaN or infinity; of a new model those are ranges
    and steps that are not measured yet."""
    return {name for name, tensor in state.items() if not _finite(tensor)}


def refuse_not_finite(state: Mapping[str, Any], but: Collection[str], what: str) -> None:
    """Refuse NaN and infinity in ``state``, but in the tensors named ``but``.

    Raises:
        CimsimError: which begins with ``what``.
    """
    if names := sorted(not_finite(state).difference(but)):
        raise CimsimError(
            f"{what}: the tensor '{names[0]}' holds NaN or infinity; restore the file from a copy, "
            "or train again, with a smaller --lr"
        )


def _finite(tensor: Any) -> bool:
    local = tensor.to_local() if is_part(tensor) else tensor
    return not isinstance(local, Tensor) or bool(local.isfinite().all())
