"""The folder of a run.

config.yaml        the resolved settings
profile.yaml       the resolved profile
layer-N.yaml       the resolved profile of the N-th --layer, if it names one
env.json           versions and command line
metrics.jsonl      one line per finished epoch
checkpoint.pt      the state to resume from, until the run is finished (for a sharded model, with a
                   folder of shards that it names)
model.safetensors  the trained weights and the converters' ranges
SHA256SUMS         hashes of all these files, to detect damage
result.json        the results; written last, so that it marks a finished run
.lock              locked by the process that trains in this folder
search             the trainings of the search that chose the settings, if one did
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.layer_options import Layers, parse_layers
from cimsim.markup import sparkline, table
from cimsim.nn import Assignment, calibrate, convert, digital, profiles, set_profile
from cimsim.nn.scoring import score
from cimsim.nn.weights_file import load_state, read_tensors
from cimsim.profile import Profile, load_profile
from cimsim.quantizers.quantizer import RandomQuantizer
from cimsim.suggest import nearest
from cimsim.training.config import TrainConfig, read_config, read_yaml
from cimsim.training.data import TEST, BatchLoader, DataSet, Split, load_data
from cimsim.training.manifest import checked_sha256, read_checked
from cimsim.training.models import build_model, require_trust
from cimsim.training.records import RESULT, read_metrics, read_outcome
from cimsim.training.sharding import is_part
from cimsim.training.trained_networks import folder_of, names

CONFIG, PROFILE, LAYER = "config.yaml", "profile.yaml", "layer-{}.yaml"
CHECKPOINT, MODEL, LOCK = "checkpoint.pt", "model.safetensors", ".lock"
SEARCH = "search"

_NO_SCORES = ("chip_seed",)


class Run:
    """A finished run; use :meth:`open` to read it from its folder."""

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
        self.trust = trust  # whether a function named in its configuration may be imported
        self.config = config
        self.profile = profile
        self.layers = layers  # settings by pattern, with loaded profiles
        self.result = result
        self.data_dir = config.data_dir  # current location of the data
        self._digital: dict[tuple[Split, int | None], dict[str, float]] = {}

    @classmethod
    def open(cls, path: Path | str, trust: bool = False) -> Run:
        """Open the run in the folder ``path``.

        Args:
            path: folder of the run.
            trust: allow importing the model that the run names, if it is a user-defined function
                (``package.module:function``). Without it, such a run can be read, but its model
                cannot be built, so that a run from an untrusted source cannot run code.

        Raises:
            CimsimError: if the folder does not exist or is not a run, if the run is not finished,
                or if a file is damaged.
        """
        path = Path(path)
        if not path.is_dir():
            raise CimsimError(f"no such folder: {path}; use the --out folder of `cimsim train`")
        if not (path / CONFIG).is_file():
            raise CimsimError(f"{path} is not a run: it has no {CONFIG}; use `cimsim train` first")
        if not (path / RESULT).is_file():
            raise CimsimError(
                f"the run in {path} is not finished; continue it with `cimsim train … --resume`"
            )
        result = read_outcome(path)
        config = read_config(path / CONFIG)
        profile = read_profile(path / PROFILE)
        return cls(path, config, profile, read_layers(path, config), result, trust)

    def _repr_html_(self) -> str:
        """Return HTML for notebooks: settings, results and the loss curve."""
        config = self.config
        rows = [
            (
                "trained",
                f"{config.model} on {config.data}, {config.method}, {config.epochs} epochs",
            ),
            ("profile", f"{self.profile.name}: {self.profile.title}"),
        ]
        for scores, name in (
            (self.scores("digital"), "digital"),
            (self.scores("chip"), "on one chip"),
        ):
            if "rmse" in scores:
                text = f"test RMSE {scores['rmse']:.4g}, R² {scores['r2']:.4f}"
            else:
                text = f"test accuracy {100 * scores['accuracy']:.2f} %, loss {scores['loss']:.4f}"
            rows.append((name, text))
        return table(("run", str(self.path)), rows) + self._loss_curve()

    def _loss_curve(self) -> str:
        losses = [epoch["train_loss"] for epoch in read_metrics(self.path)]
        if not losses:
            return ""
        text = f"training loss from {losses[0]:.4f} to {losses[-1]:.4f}"
        return f"<p>{sparkline(losses, text)} {text}</p>"

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.resolve().name

    @property
    def digital_accuracy(self) -> float:
        """Digital test accuracy (0..1) of the trained weights."""
        return float(self.result["digital_accuracy"])

    def scores(self, where: Literal["digital", "chip"]) -> dict[str, float]:
        """Return the test scores after training: digital, or on one new chip."""
        named = {name.removeprefix(f"{where}_"): name for name in self.result}
        return {
            short: float(self.result[name])
            for short, name in named.items()
            if short != name and name not in _NO_SCORES
        }

    def digital_scores(
        self,
        samples: int | None = None,
        device: torch.device | str = "cpu",
        split: Split = TEST,
    ) -> dict[str, float]:
        """Return the digital scores on the first ``samples``, or all, of the test data.

        ``split="held-out"`` uses the training data that were held out.
        """
        x, y = self.data.part(split)
        samples = None if samples is None or samples >= len(y) else samples
        if split == TEST and samples is None:
            return self.scores("digital")
        if (split, samples) not in self._digital:
            model = self.chip_model(device=device)
            x, y = x[:samples].to(device), y[:samples].to(device)
            with digital(model):
                tally = self.data.task.tally()
                self._digital[split, samples] = score(model, x, y, tally, self.data.batch_size)
        return self._digital[split, samples]

    @cached_property
    def checkpoint_sha256(self) -> str:
        """Hash of the file of trained weights.

        Raises:
            CimsimError: if it cannot be read or is damaged.
        """
        return checked_sha256(self.path / MODEL)

    @cached_property
    def data(self) -> DataSet:
        """The data set that the run was trained on."""
        return self.load_data(self.data_dir)

    def load_data(self, data_dir: Path | None = None, download: bool = False) -> DataSet:
        """Load the data set of the run from the folder ``data_dir``.

        Raises:
            CimsimError: if it is missing, or a user-defined function and the run is not trusted.
        """
        require_trust(self.config.data, self.trust, f"the run in {self.path}", "data")
        return prepared(self.config, load_data(self.config.data, data_dir, download))

    @cached_property
    def profiles(self) -> Assignment:
        """Profiles of all analog layers of the trained model."""
        return profiles(self.new_model()) if self.layers else Assignment(self.profile)

    def new_model(self) -> nn.Module:
        """Build the untrained model with the profiles of training.

        Raises:
            CimsimError: if it is a user-defined function and the run is not trusted.
        """
        require_trust(self.config.model, self.trust, f"the run in {self.path}")
        return new_model(self.config, self.profile, self.layers, self.data)

    def chip_model(
        self, on: Profile | Assignment | None = None, device: torch.device | str = "cpu"
    ) -> nn.Module:
        """Build the trained model in evaluation mode.

        ``on`` is another profile, or a profile for each layer; the default is that of training. The
        converters keep the ranges of training; layers with other converters or tiles are calibrated
        on the same batches of training data.
        """
        model = self.new_model().to(device)
        _ = self.checkpoint_sha256  # verifies the file
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
    """Build the model of ``config`` for ``profile``, with the settings of ``layers``.

    The model is untrained, or has the weights of ``start``: a finished run, or the name of a
    trained network of :mod:`cimsim.models`.

    Raises:
        CimsimError: if ``start`` is neither of them, or is of another model.
    """
    shape, outputs = data.input_shape, data.classes
    model = build_model(config.model, shape, outputs, config.seed, data.form)
    if start is not None:
        _take_weights(model, _weights_of(start))
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
    for name, module in model.named_modules():  # including quantizers that the model defines
        if isinstance(module, RandomQuantizer):
            module.name_draws(config.seed, name)
    return model


def _weights_of(start: Path) -> Path:
    """Return the folder of the weights to start from; an existing folder precedes a name."""
    near = None if start.exists() else nearest(str(start), names())
    if near and near != str(start):
        raise CimsimError(f"no such run or trained network: {start}; did you mean '{near}'?")
    if start.is_dir() or str(start) not in names():
        return Run.open(start).path
    return folder_of(str(start))


def _take_weights(model: nn.Module, path: Path) -> None:
    """Load parameters and statistics in ``path``, without ranges and quantizers."""
    checked_sha256(path / MODEL)
    state = read_tensors(path / MODEL)
    own = model.state_dict()
    state = {name: tensor for name, tensor in state.items() if name in own}
    refuse_not_finite(state, not_finite(own), f"cannot start from {path / MODEL}")
    try:
        missing = load_state(model, state, strict=False)
        reason = f"it has no tensor '{missing[0]}'" if missing else ""
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
    if reason:
        raise CimsimError(f"cannot start from {path}, a run of another model: {reason}")


def prepared(config: TrainConfig, data: DataSet) -> DataSet:
    """Return ``data`` without the training samples that ``config`` does not train on: those after
    ``limit``, and those that it holds out.

    Raises:
        CimsimError: if no samples would be left, or none held out.
    """
    return data.hold_out(config.hold_out, config.limit) if config.hold_out else data


def training_samples(config: TrainConfig, data: DataSet) -> tuple[Tensor, Tensor]:
    """Return the inputs and labels to train on: all of ``data``, or the first ``config.limit``."""
    return data.train_x[: config.limit], data.train_y[: config.limit]


def calibration_batches(
    config: TrainConfig, data: DataSet, device: torch.device | str
) -> Iterator[Tensor]:
    """Yield the training inputs for calibration: the first batches of epoch 0."""
    for x, _ in first_batches(config, data, device, config.calibration_batches):
        yield x


def first_batches(
    config: TrainConfig, data: DataSet, device: torch.device | str, count: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield training inputs and labels: the first ``count`` batches of epoch 0."""
    samples = training_samples(config, data)
    loader = BatchLoader(*samples, config.batch_size, shuffle_seed=config.seed)
    for _, (x, y) in zip(range(count), loader.epoch(0), strict=False):
        yield x.to(device), y.to(device)


def read_profile(path: Path) -> Profile:
    """Read a resolved profile of a run, which must not refer to other files.

    Raises:
        CimsimError: if it cannot be read, is damaged or not a profile, or refers to another file.
    """
    content = read_checked(path)
    if any(key in ("extends", "file") for key in _keys(read_yaml(path, content))):
        raise CimsimError(
            f"{path} is not the profile of a run: it refers to another file with 'extends' or "
            "'file'; restore it from a copy"
        )
    return load_profile(path)


def _keys(tree: Any) -> Iterator[object]:
    """Yield all keys of nested dictionaries and lists."""
    if isinstance(tree, dict):
        yield from tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for inner in tree:
            yield from _keys(inner)


def read_layers(path: Path, config: TrainConfig) -> Layers:
    """Return the layer settings of ``config``, with profiles read from the run's folder."""
    layers = parse_layers(config.layer)
    for number, settings in enumerate(layers.values(), start=1):
        if "profile" in settings:
            settings["profile"] = read_profile(path / LAYER.format(number))
    return layers


def load_weights(model: nn.Module, path: Path) -> None:
    """Load weights written by :func:`cimsim.nn.weights_file.save_weights`.

    Raises:
        CimsimError: if the file is missing, damaged, of another model, or contains NaN or infinity.
    """
    state = read_tensors(path)
    refuse_not_finite(state, not_finite(model.state_dict()), f"{path} is damaged")
    try:
        load_state(model, state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise CimsimError(f"{path} does not contain this model's weights: {reason}") from None


def not_finite(state: Mapping[str, Any]) -> set[str]:
    """Return the names of tensors in ``state`` that contain NaN or infinity.

    In a new model these are ranges and steps that are not calibrated yet.
    """
    return {name for name, tensor in state.items() if not _finite(tensor)}


def refuse_not_finite(state: Mapping[str, Any], but: Collection[str], what: str) -> None:
    """Check that ``state`` has no NaN or infinity, except in the tensors named ``but``.

    Raises:
        CimsimError: starting with ``what``, if it has.
    """
    if names := sorted(not_finite(state).difference(but)):
        raise CimsimError(
            f"{what}: the tensor '{names[0]}' contains NaN or infinity; restore the file from a "
            "copy, or train again with a smaller --lr"
        )


def _finite(tensor: Any) -> bool:
    local = tensor.to_local() if is_part(tensor) else tensor
    return not isinstance(local, Tensor) or bool(local.isfinite().all())
