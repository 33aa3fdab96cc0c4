"""Imported profiles, compared with the libraries that they come from.

    python -m benchmarks.exchange

For every noise model of aihwkit and every device model of CrossSim: the distributions of programmed
and aged conductances and of reads, the outputs of one array, and the accuracy of one network over
chips. Uses both libraries (CrossSim is not a package: put its folder on PYTHONPATH); the cases of a
missing library are skipped. Finished cases are kept in benchmarks/results/exchange.json and are not
computed again; ``--again`` starts from scratch.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import platform
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import cimsim
from benchmarks.lines import versions
from cimsim.exchange import from_aihwkit, from_crosssim
from cimsim.files import write_text
from cimsim.physics import ReadContext, aged_uS, programmed_uS, read_variance_uS2
from cimsim.profile import Profile, fingerprint
from cimsim.seeds import generator

RESULTS = Path(__file__).parent / "results"
CELLS, LEVELS = 40_000, 5
CHIPS, NETWORK_CHIPS = 300, 40
HOUR_s, DAY_s, YEAR_s = 3600.0, 86400.0, 365.25 * 86400.0
AGES = {"1 h": HOUR_s, "1 day": DAY_s, "1 year": YEAR_s}
WAN_AGES = {"1 s": 1.0, "1 day": DAY_s, "2 days": 2 * DAY_s}  # the only ones that aihwkit has
INPUTS, OUTPUTS, VECTORS = 64, 32, 16


class Compared(NamedTuple):
    """Differences of many statistics, in standard errors of the difference."""

    worst: float
    beyond: int
    of: int

    @classmethod
    def of_values(cls, z: Tensor) -> Compared:
        z = z.flatten().abs()
        return cls(z.max().item(), int((z > 3).sum()), z.numel())


def compared(ours: Tensor, theirs: Tensor) -> Compared:
    """Means and standard deviations over the first dimension of both samples."""
    z = []
    moments = [(_mean(x), _spread(x)) for x in (ours.double(), theirs.double())]
    for (a, error_a), (b, error_b) in zip(*moments, strict=True):
        error = (error_a.square() + error_b.square()).sqrt()
        # Two samples without any spread are equal up to rounding, or infinitely far apart.
        same = (a - b).abs() <= 1e-5 * a.abs().clamp_min(1e-3)
        z.append(torch.where(same, 0.0, (a - b) / error))
    return Compared.of_values(torch.stack(z))


def _mean(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.mean(0), x.std(0) / math.sqrt(len(x))


def _spread(x: Tensor) -> tuple[Tensor, Tensor]:
    """The standard deviation and its error, from the fourth moment."""
    centered = x - x.mean(0)
    variance = centered.square().mean(0)
    fourth = centered.pow(4).mean(0)
    error = (fourth - variance.square()).clamp_min(0).sqrt() / math.sqrt(len(x))
    return variance.sqrt(), error / (2 * variance.sqrt()).clamp_min(1e-30)


# --- conductances ---------------------------------------------------------------------------


def our_cells(profile: Profile, targets: Tensor, age_s: float, part: str, seed: int) -> Tensor:
    """``[CELLS, levels]`` conductances in uS: programmed, drifted or read."""
    cell, target = profile.cell, targets.expand(CELLS, -1).contiguous()
    if part == "programmed":
        return programmed_uS(target, cell, seed)
    programmed = target if part == "read noise" else programmed_uS(target, cell, seed)
    if part == "drifted":
        return aged_uS(programmed, target, cell, age_s, seed)
    variance = read_variance_uS2(ReadContext(target, target, cell, age_s), sessions=True)
    noise = torch.zeros_like(target) if variance is None else variance.sqrt()
    draws = generator(seed, "benchmark")
    return (target + noise * torch.randn(target.shape, generator=draws)).clamp_min(0)


def aihwkit_cells(model: Any, targets: Tensor, age_s: float, part: str) -> Tensor:
    """The same in aihwkit, with the other effects at scale 0."""
    model = copy.deepcopy(model)
    target = targets.expand(CELLS, -1).contiguous()
    if part == "programmed":
        return model.apply_programming_noise_to_conductance(target.clone())
    if part == "drifted":
        model.read_noise_scale = 0.0
        g = model.apply_programming_noise_to_conductance(target.clone())
    else:
        model.drift_scale = 0.0
        g = target.clone()
    parameter = model.generate_drift_coefficients(target.clone())
    return model.apply_drift_noise_to_conductance(g, parameter, age_s)


def compare_aihwkit_cells(model: Any, profile: Profile, ages: dict[str, float]) -> dict[str, Any]:
    """Each kind of error at each age; read noise at the target conductance."""
    low, high = profile.cell.g_min_uS, profile.cell.g_max_uS
    targets = torch.linspace(low, high, LEVELS)
    found: dict[str, Any] = {}
    torch.manual_seed(1)
    if profile.cell.programming_noise:
        found["programmed"] = compared(
            our_cells(profile, targets, 0.0, "programmed", 1),
            aihwkit_cells(model, targets, 0.0, "programmed"),
        )
    for seed, (name, age_s) in enumerate(ages.items(), start=2):
        for part in ("drifted", "read noise"):
            if part == "read noise" and not profile.cell.read_noise:
                continue
            found[f"{part}, {name}"] = compared(
                our_cells(profile, targets, age_s, part, seed),
                aihwkit_cells(model, targets, age_s, part),
            )
    return found


def compare_crosssim_cells(params: Any, profile: Profile) -> dict[str, Any]:
    """What CrossSim writes at its time, and one read of it."""
    import numpy as np
    from simulator.backend import ComputeBackend
    from simulator.devices.device import Device

    ComputeBackend(use_gpu=False)
    np.random.seed(1)  # noqa: NPY002
    low, high = profile.cell.g_min_uS, profile.cell.g_max_uS
    targets = torch.linspace(low, high, LEVELS)
    device = Device.create_device(params.xbar.device)
    if profile.cell.levels is not None:  # rounding to states is a part of the mapping here
        step = (high - low) / (profile.cell.levels - 1)
        targets = low + ((targets - low) / step).round() * step
    normalized = (targets / high).expand(CELLS, -1).double().numpy()
    age_s = params.xbar.device.time * DAY_s
    theirs = torch.from_numpy(device.apply_write_error(normalized.copy())) * high
    part = "drifted" if profile.cell.drift else "programmed"
    found: dict[str, Any] = {part: compared(our_cells(profile, targets, age_s, part, 1), theirs)}
    if params.xbar.device.read_noise.enable:
        reads = torch.from_numpy(device.read_noise(normalized.copy())) * high
        found["read noise"] = compared(our_cells(profile, targets, age_s, "read noise", 2), reads)
    return found


# --- one array, one network -----------------------------------------------------------------


def layer() -> tuple[nn.Linear, Tensor]:
    """A layer whose weights have one scale, and inputs within its DAC's range."""
    draws = generator("exchange", "layer")
    linear = nn.Linear(INPUTS, OUTPUTS, bias=False)
    with torch.no_grad():
        weight = torch.randn(OUTPUTS, INPUTS, generator=draws).clamp(-3, 3) / 3
        # All columns and both signs reach the end of the range, so that every scaling is the same.
        weight[:, 0], weight[:, 1] = 1.0, -1.0
        linear.weight.copy_(weight)
    return linear, torch.rand(VECTORS, INPUTS, generator=draws) * 2 - 1


def digits() -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """A network trained on the digits of scikit-learn, training images, test images and classes."""
    from sklearn.datasets import load_digits

    data = load_digits()
    x = torch.tensor(data.data, dtype=torch.float32) / 16
    y = torch.tensor(data.target)
    order = torch.randperm(len(x), generator=generator("exchange", "split"))
    x, y = x[order], y[order]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=1e-4)
    for _ in range(300):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x[:1000]), y[:1000]).backward()
        optimizer.step()
    _normalize(model, x[:1000])
    return model.eval(), x[:1000], x[1000:], y[1000:]


@torch.no_grad()
def _normalize(model: nn.Sequential, x: Tensor) -> None:
    """Scale the first layer so that activations fit the fixed ranges; no class changes."""
    first, relu, last = model
    largest = relu(first(x)).max()
    first.weight /= largest
    first.bias /= largest
    last.bias /= largest


Chips = Callable[[nn.Module, Tensor, int], Iterator[Tensor]]


@torch.no_grad()
def our_chips(profile: Profile, age_s: float, calibration: Tensor) -> Chips:
    def outputs(model: nn.Module, x: Tensor, chips: int) -> Iterator[Tensor]:
        converted = cimsim.convert(copy.deepcopy(model), profile).eval()
        cimsim.calibrate(converted, [calibration])
        for seed in range(chips):
            cimsim.program(converted, seed=seed)
            cimsim.age(converted, age_s)
            with torch.no_grad():
                yield converted(x)

    return outputs


def aihwkit_chips(config: Any, age_s: float, at_once: bool = False) -> Chips:
    """Outputs of aihwkit's chips.

    Its tile splits the *programmed* weights into conductances again before they drift. With
    ``at_once``, the noise model's ``apply_noise`` keeps the conductances that were programmed.
    """

    def outputs(model: nn.Module, x: Tensor, chips: int) -> Iterator[Tensor]:
        from aihwkit.nn.conversion import convert_to_analog

        torch.manual_seed(1)
        converted = convert_to_analog(copy.deepcopy(model), copy.deepcopy(config)).eval()
        for _ in range(chips):
            with torch.no_grad():
                converted.program_analog_weights()
                if at_once:
                    for tile in converted.analog_tiles():
                        weights = tile.reference_combined_weights
                        tile.tile.set_weights(config.noise_model.apply_noise(weights, age_s))
                else:
                    converted.drift_analog_weights(age_s)
                yield converted(x).clone()

    return outputs


def crosssim_chips(params: Any) -> Chips:
    def outputs(model: nn.Module, x: Tensor, chips: int) -> Iterator[Tensor]:
        import numpy as np
        from simulator.algorithms.dnn.torch.convert import from_torch, reinitialize

        np.random.seed(1)  # noqa: NPY002
        converted = from_torch(model, params).eval()
        for _ in range(chips):
            reinitialize(converted)
            with torch.no_grad():
                yield converted(x).clone()

    return outputs


class Accuracy(NamedTuple):
    """Accuracy over chips in %: mean, its standard error, and the spread from chip to chip."""

    mean: float
    error: float
    spread: float


def accuracy(outputs: Iterator[Tensor], y: Tensor) -> Accuracy:
    values = torch.tensor([(o.argmax(-1) == y).double().mean().item() * 100 for o in outputs])
    spread = values.std().item()
    return Accuracy(values.mean().item(), spread / math.sqrt(len(values)), spread)


def compare_models(
    ours: Callable[[Tensor], Chips], theirs: Chips, variant: Chips | None = None
) -> dict[str, Any]:
    """One array, and one network; ``ours`` takes the data for calibration.

    ``variant`` is their array computed in another way, which explains a difference.
    """
    linear, x = layer()
    every = [chips for chips in (ours(x), theirs, variant) if chips is not None]
    of_array = [torch.stack(list(chips(nn.Sequential(linear), x, CHIPS))) for chips in every]
    model, train, test, y = digits()
    mine, other = (
        accuracy(chips(model, test, NETWORK_CHIPS), y) for chips in (ours(train), theirs)
    )
    error = math.hypot(mine.error, other.error)
    found = {} if variant is None else {"array at once": compared(of_array[0], of_array[2])}
    return found | {
        "array": compared(of_array[0], of_array[1]),
        "accuracy": (mine, other, (mine.mean - other.mean) / error if error else 0.0),
    }


# --- cases ----------------------------------------------------------------------------------


class Case(NamedTuple):
    """One configuration of a library: how it is imported and compared."""

    name: str
    run: Callable[[], tuple[Profile, dict[str, Any]]]


def aihwkit_cases() -> Iterator[Case]:
    from aihwkit.inference import PCMLikeNoiseModel
    from aihwkit.inference.converter.conductance import DualPairConductanceConverter
    from aihwkit.inference.noise.custom import StateIndependentNoiseModel
    from aihwkit.inference.noise.hermes import HermesNoiseModel
    from aihwkit.inference.noise.pcm import CustomDriftPCMLikeNoiseModel
    from aihwkit.inference.noise.reram import ReRamCMONoiseModel, ReRamWan2022NoiseModel

    custom = {"g_lst": [0.0, 10.0, 25.0], "nu_mean_lst": [0.08, 0.05, 0.04]}
    models = {
        "PCMLikeNoiseModel": PCMLikeNoiseModel(),
        "PCMLikeNoiseModel, two pairs 1 : 3": PCMLikeNoiseModel(
            g_converter=DualPairConductanceConverter([1.0, 3.0])
        ),
        "CustomDriftPCMLikeNoiseModel": CustomDriftPCMLikeNoiseModel(
            custom | {"nu_std_lst": [0.03, 0.02, 0.01]}
        ),
        "HermesNoiseModel, 2 devices": HermesNoiseModel(),
        "HermesNoiseModel, 1 device": HermesNoiseModel(num_devices=1),
        "StateIndependentNoiseModel": StateIndependentNoiseModel(read_noise_scale=0.1),
        "ReRamWan2022NoiseModel, 40 uS": ReRamWan2022NoiseModel(g_max=40.0),
        "ReRamWan2022NoiseModel": ReRamWan2022NoiseModel(),
        "ReRamCMONoiseModel": ReRamCMONoiseModel(),
    }
    for name, model in models.items():
        yield Case(f"aihwkit: {name}", lambda model=model: aihwkit_case(model))
    yield Case("aihwkit: StandardHWATrainingPreset", preset_case)
    yield Case("aihwkit: StandardHWATrainingPreset, no compensation", bare_preset_case)


def converters(config: Any) -> Any:
    """Set converters that both have exactly: fixed ranges, 8 bits, some noise at the output."""
    from aihwkit.simulator.parameters.enums import BoundManagementType, NoiseManagementType

    config.mapping.weight_scaling_omega = 1.0
    config.mapping.weight_scaling_columnwise = True
    config.forward.inp_res = config.forward.out_res = 1 / 254
    config.forward.out_bound, config.forward.out_noise = 20.0, 0.04
    config.forward.noise_management = NoiseManagementType.CONSTANT
    config.forward.nm_thres = 1.0
    config.forward.bound_management = BoundManagementType.NONE
    return config


def aihwkit_case(model: Any) -> tuple[Profile, dict[str, Any]]:
    from aihwkit.simulator.configs import TorchInferenceRPUConfig

    config = converters(TorchInferenceRPUConfig(noise_model=model))
    config.drift_compensation = None
    profile = from_aihwkit(config).profile
    wan = type(model).__name__.startswith("ReRamWan")
    found = compare_aihwkit_cells(model, profile, WAN_AGES if wan else AGES)
    return profile, found | compare_models(
        lambda x: our_chips(profile, DAY_s, x),
        aihwkit_chips(config, DAY_s),
        aihwkit_chips(config, DAY_s, at_once=True),
    )


def preset_case(compensated: bool = True) -> tuple[Profile, dict[str, Any]]:
    from aihwkit.simulator.configs import TorchInferenceRPUConfig
    from aihwkit.simulator.parameters.enums import WeightNoiseType
    from aihwkit.simulator.presets import StandardHWATrainingPreset

    preset = StandardHWATrainingPreset()
    config = TorchInferenceRPUConfig(
        mapping=preset.mapping, forward=preset.forward, noise_model=preset.noise_model
    )
    config.mapping.max_output_size = 512
    # Not in aihwkit's torch tile; its other tile needs an extension compiled for this torch.
    config.forward.w_noise, config.forward.w_noise_type = 0.0, WeightNoiseType.NONE
    config.forward.ir_drop = 0.0
    config.drift_compensation = preset.drift_compensation if compensated else None
    profile = from_aihwkit(config).profile
    return profile, compare_models(
        lambda x: our_chips(profile, DAY_s, x), aihwkit_chips(config, DAY_s)
    )


def bare_preset_case() -> tuple[Profile, dict[str, Any]]:
    return preset_case(compensated=False)


def crosssim_params(change: Callable[[Any], None]) -> Any:
    """Converters that both have exactly, and cells with an on/off ratio of 10."""
    from simulator import CrossSimParameters

    params = CrossSimParameters()
    params.core.rows_max = params.core.cols_max = 512
    params.xbar.device.Rmin, params.xbar.device.Rmax = 4e4, 4e5
    params.core.mapping.inputs.mvm.min, params.core.mapping.inputs.mvm.max = -1.0, 1.0
    for converter, model in ((params.xbar.dac, "SignMagnitudeDAC"), (params.xbar.adc, "")):
        converter.mvm.model = model or "SignMagnitudeADC"
        converter.mvm.bits = 8
    params.xbar.adc.mvm.adc_range_option = "CALIBRATED"
    params.xbar.adc.mvm.calibrated_range = [-20.0, 20.0]
    change(params)
    return params


def _error(model: str, magnitude: float = 0.0, **device: Any) -> Callable[[Any], None]:
    def change(params: Any) -> None:
        part = params.xbar.device.programming_error
        part.enable, part.model, part.magnitude = True, model, magnitude
        for name, value in device.items():
            setattr(params.xbar.device, name, value)

    return change


def _read(model: str, magnitude: float) -> Callable[[Any], None]:
    def change(params: Any) -> None:
        part = params.xbar.device.read_noise
        part.enable, part.model, part.magnitude = True, model, magnitude

    return change


def _sonos(days: float) -> Callable[[Any], None]:
    def change(params: Any) -> None:
        device = params.xbar.device
        device.Rmin, device.infinite_on_off_ratio, device.time = 62_500.0, True, days
        for part in (device.programming_error, device.drift_error, device.read_noise):
            part.enable, part.model = True, "SONOS"

    return change


def _style(style: str, inner: str = "", **device: Any) -> Callable[[Any], None]:
    error = _error("NormalProportionalDevice", 0.05, **device)

    def change(params: Any) -> None:
        error(params)
        params.core.style = style
        if inner and style == "BALANCED":
            params.core.balanced.style = inner
        elif inner:
            params.core.offset.style = inner
        if style == "OFFSET":
            params.xbar.adc.mvm.calibrated_range = [-64.0, 64.0]

    return change


def crosssim_cases() -> Iterator[Case]:
    milo = {"Rmin": 1e6 / 225, "Rmax": 1e6 / 50}
    changes = {
        "NormalIndependentDevice": _error("NormalIndependentDevice", 0.03),
        "NormalProportionalDevice": _error("NormalProportionalDevice", 0.1),
        "NormalInverseProportionalDevice": _error("NormalInverseProportionalDevice", 0.005),
        "UniformIndependentDevice": _error("UniformIndependentDevice", 0.1),
        "UniformProportionalDevice": _error("UniformProportionalDevice", 0.3),
        "NormalIndependentDevice, reads": _read("NormalIndependentDevice", 0.03),
        "NormalProportionalDevice, reads": _read("NormalProportionalDevice", 0.1),
        "PCMJoshi": _error("PCMJoshi", Rmin=4e4, Rmax=4e6),
        "RRAMWan": _error("RRAMWan", Rmin=26_000.0, Rmax=1e6),
        "RRAMMilo": _error("RRAMMilo", **milo),
        "SONOS, day 0": _sonos(0),
        "SONOS, day 1": _sonos(1),
        "SONOS, day 5": _sonos(5),
        "7-bit cells": _error("NormalProportionalDevice", 0.05, cell_bits=7),
        "clipped conductances": _error("NormalIndependentDevice", 0.1, clip_conductance=True),
        "both cells of a pair": _style("BALANCED", "TWO_SIDED"),
        "digital offset": _style("OFFSET", "DIGITAL_OFFSET"),
        "offset column": _style("OFFSET", "UNIT_COLUMN_SUBTRACTION"),
    }
    for name, change in changes.items():
        yield Case(f"CrossSim: {name}", lambda change=change: crosssim_case(change))


def crosssim_case(change: Callable[[Any], None]) -> tuple[Profile, dict[str, Any]]:
    params = crosssim_params(change)
    profile = from_crosssim(params).profile
    found = compare_crosssim_cells(params, profile)
    age_s = params.xbar.device.time * DAY_s
    return profile, found | compare_models(
        lambda x: our_chips(profile, age_s, x), crosssim_chips(params)
    )


# --- results --------------------------------------------------------------------------------

_REMAPPED = (
    "Before the drift, AIHWKit's tile maps the programmed weights to conductances again, and "
    "scales them so that the largest one is g_max, which changes the gain of this model. Its "
    "function `apply_noise` keeps the programmed conductances and agrees with cimsim."
)
_SONOS_CAUSE = (
    "The spread depends on the target in cimsim, and on the drifted current in CrossSim. The "
    "import reports this difference. Only the spread of the cell with conductance 0 differs, by "
    "0.0002 uS."
)
CAUSES: dict[str, str] = {
    "aihwkit: ReRamWan2022NoiseModel, 40 uS": _REMAPPED,
    "aihwkit: ReRamWan2022NoiseModel": _REMAPPED,
    "aihwkit: ReRamCMONoiseModel": (
        "AIHWKit clips conductances to the range of targets after aging and after reading, but "
        "not after programming; cimsim clips them after programming and after aging, but not "
        "after reading. Only the lowest and the highest target differ."
    ),
    "aihwkit: StandardHWATrainingPreset": (
        "10 of 1024 differences exceed 3, instead of the expected 3: AIHWKit measures the drift "
        "through 8-bit converters, and cimsim computes the factor exactly. Without compensation, "
        "5 exceed 3."
    ),
    "CrossSim: offset column": (
        "CrossSim digitizes the additional column and subtracts its code, so two conversions "
        "round; cimsim subtracts its current before the ADC. The import reports this difference."
    ),
    "CrossSim: SONOS, day 1": _SONOS_CAUSE,
    "CrossSim: SONOS, day 5": _SONOS_CAUSE,
}
"""Why a case disagrees."""


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--again", action="store_true", help="compute finished cases again")
    parser.add_argument("--only", default="", help="cases whose name contains this text")
    options = parser.parse_args()
    store = RESULTS / "exchange.json"
    done = json.loads(store.read_text()) if store.exists() and not options.again else {}
    for cases, module in ((aihwkit_cases, "aihwkit"), (crosssim_cases, "simulator")):
        try:
            __import__(module)
        except ImportError as error:
            print(f"{module} is not installed: skipped ({error})")
            continue
        for case in cases():
            if options.only not in case.name or case.name in done:
                continue
            start = time.process_time()
            profile, found = case.run()
            seconds = time.process_time() - start
            done[case.name] = found | {"seconds": seconds, "profile": fingerprint(profile)}
            write_text(store, json.dumps(done, indent=1) + "\n")
            print(f"{case.name}: {seconds:.0f} s", flush=True)
    done = json.loads(json.dumps(done))
    write_text(RESULTS / "exchange.md", page(done))


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "3.2.0 (from its repository)" if package == "CrossSim" else "not installed"


def page(done: dict[str, Any]) -> str:
    """The results as a page."""
    lines = [
        "# Imported profiles, compared with their libraries",
        "",
        "    python -m benchmarks.exchange",
        "",
        "Each case imports a configuration of AIHWKit or CrossSim, and compares statistics of "
        "cimsim with statistics of the library. Conductances: mean and standard deviation of "
        f"{CELLS} cells at each of {LEVELS} targets from the lowest to the highest. Array: mean "
        f"and standard deviation over {CHIPS} chips of each of {OUTPUTS} outputs, for {VECTORS} "
        f"vectors of {INPUTS} inputs. Accuracy: a network of 64-32-10 units with the same trained "
        f"weights, on 797 digits of scikit-learn and {NETWORK_CHIPS} chips; mean ± standard error "
        "(standard deviation over chips) in %.",
        "Differences are in standard errors of the difference. Each entry shows the largest "
        "difference, and in parentheses how many differences exceed 3 (0.27 % are expected by "
        "chance). Where no age is given, chips of AIHWKit are one day old. AIHWKit computes with "
        "its torch tile, which supports neither IR drop nor weight noise (`w_noise`), so these "
        "two are imported but not compared.",
        "",
        "| case | conductances | array | array, `apply_noise` | accuracy, cimsim | accuracy, "
        "library | difference |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in done.items():
        cells = [
            f"{part}: {worst:.1f} ({beyond} of {of})"
            for part, (worst, beyond, of) in (
                (k, v)
                for k, v in found.items()
                if k.startswith(("programmed", "drifted", "read noise"))
            )
        ]
        array, once = (
            f"{found[part][0]:.1f} ({found[part][1]} of {found[part][2]})" if part in found else ""
            for part in ("array", "array at once")
        )
        mine, other, z = found["accuracy"]
        lines.append(
            f"| {name} | {'; '.join(cells)} | {array} | {once} | {_text(mine)} "
            f"| {_text(other)} | {z:+.1f} |"
        )
    causes = [f"- **{name}**: {CAUSES[name]}" for name in done if name in CAUSES]
    seconds = sum(found["seconds"] for found in done.values())
    lines += ["", "Causes of the differences:", "", *causes] if causes else []
    lines += [
        "",
        f"aihwkit {_version('aihwkit')}, CrossSim {_version('CrossSim')}; {versions()} "
        f"{platform.machine()}, {seconds / 60:.1f} CPU minutes. Seeds: chips 0 to {CHIPS - 1} in "
        "cimsim, the global seed 1 in the libraries.",
        "",
    ]
    return "\n".join(lines)


def _text(values: list[float]) -> str:
    mean, error, spread = values
    return f"{mean:.2f} ± {error:.2f} ({spread:.2f})"


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
