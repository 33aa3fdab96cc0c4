"""Other simulators, configured to simulate ``generic-gaussian``, if they are installed.

8-bit DAC and ADC, 3 % weight noise, readout noise, tiles of 512 inputs; each function describes
what its simulator does not support. None of them is required or installed by cimsim.
"""

from __future__ import annotations

import copy
import importlib
import sys
from collections.abc import Callable, Iterator
from importlib import metadata

import torch
from torch import Tensor, nn

ROWS, STEPS, WEIGHT_NOISE, OUT_NOISE, OUT_BOUND = 512, 2**8 - 2, 0.03, 0.12, 12.0


def versions() -> dict[str, str]:
    """Versions of the tools that are installed."""
    found = {}
    for package in ("aihwkit-lightning", "aihwkit", "CrossSim"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def models(digital: nn.Module, batch: Tensor) -> Iterator[tuple[str, nn.Module]]:
    """Converted and calibrated copies of ``digital`` by name; stderr lists missing simulators."""
    makers: dict[str, tuple[str, Callable[[nn.Module], nn.Module]]] = {
        "AIHWKit-Lightning": ("aihwkit_lightning", lambda m: _lightning(m, fast=False)),
        "AIHWKit-Lightning, fast mode": ("aihwkit_lightning", lambda m: _lightning(m, fast=True)),
        "AIHWKit, torch tile": ("aihwkit", _aihwkit),
        "CrossSim": ("simulator", _crosssim),
    }
    for name, (module, make) in makers.items():
        try:
            importlib.import_module(module)
        except ImportError:
            print(f"{name} is not installed: skipped", file=sys.stderr)
            continue
        model = make(copy.deepcopy(digital))
        model.train()
        with torch.no_grad():
            for _ in range(5):  # the ranges of the first batches
                model(batch)
        yield name, model


def after_update(model: nn.Module) -> None:
    """The call that AIHWKit needs after each update, which samples the weight noise."""
    tiles = getattr(model, "analog_tiles", None)
    if tiles is not None and type(model).__module__.startswith("aihwkit."):
        for tile in tiles():
            tile.post_update_step()


def _lightning(model: nn.Module, fast: bool) -> nn.Module:
    """Noise in training only; ranges learned unless ``fast``."""
    from aihwkit_lightning.nn.conversion import convert_to_analog
    from aihwkit_lightning.simulator.configs import TorchInferenceRPUConfig
    from aihwkit_lightning.simulator.parameters import enums

    config = TorchInferenceRPUConfig()
    config.forward.inp_res = config.forward.out_res = STEPS
    config.forward.out_bound, config.forward.out_noise = OUT_BOUND, OUT_NOISE
    config.modifier.noise_type = enums.WeightNoiseInjectionType.ADD_NORMAL
    config.modifier.std_dev = WEIGHT_NOISE
    config.mapping.max_input_size = ROWS
    config.pre_post.input_range.enable = True
    config.pre_post.input_range.fast_mode = fast
    config.pre_post.input_range.init_from_data = 5
    converted: nn.Module = convert_to_analog(model, config)
    return converted


def _aihwkit(model: nn.Module) -> nn.Module:
    """The tile in torch; weight noise drawn after each update rather than at each forward."""
    from aihwkit.nn.conversion import convert_to_analog
    from aihwkit.simulator.configs import TorchInferenceRPUConfig
    from aihwkit.simulator.parameters.enums import WeightModifierType

    config = TorchInferenceRPUConfig()
    config.forward.inp_res = config.forward.out_res = 1 / STEPS
    config.forward.out_bound, config.forward.out_noise = OUT_BOUND, OUT_NOISE
    config.modifier.type = WeightModifierType.ADD_NORMAL
    config.modifier.std_dev = WEIGHT_NOISE
    config.modifier.rel_to_actual_wmax = True
    config.mapping.max_input_size = config.mapping.max_output_size = ROWS
    config.pre_post.input_range.enable = True
    config.pre_post.input_range.init_from_data = 5
    converted: nn.Module = convert_to_analog(model, config)
    return converted


def _crosssim(model: nn.Module) -> nn.Module:
    """No output noise; in training, each forward pass programs the weights again, with new errors
    (CrossSim requires this only after each update)."""
    from simulator import CrossSimParameters
    from simulator.algorithms.dnn.torch.convert import from_torch, synchronize

    parameters = CrossSimParameters()
    parameters.core.rows_max = parameters.core.cols_max = ROWS
    parameters.core.mapping.inputs.mvm.min, parameters.core.mapping.inputs.mvm.max = -3.0, 3.0
    parameters.xbar.device.programming_error.enable = True
    parameters.xbar.device.programming_error.model = "NormalIndependentDevice"
    parameters.xbar.device.programming_error.magnitude = WEIGHT_NOISE
    parameters.xbar.dac.mvm.model = "SignMagnitudeDAC"
    parameters.xbar.dac.mvm.bits = 8
    parameters.xbar.adc.mvm.model = "SignMagnitudeADC"
    parameters.xbar.adc.mvm.bits = 8
    parameters.xbar.adc.mvm.adc_range_option = "CALIBRATED"
    parameters.xbar.adc.mvm.calibrated_range = [-OUT_BOUND, OUT_BOUND]
    converted: nn.Module = from_torch(model, parameters)

    def reprogram(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if module.training:
            synchronize(module)

    converted.register_forward_pre_hook(reprogram)
    return converted
