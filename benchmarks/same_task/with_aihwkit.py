"""The task in AIHWKit 1.2, on its tile in torch."""

import matplotlib.pyplot as plt
import torch
from aihwkit.inference.calibration import InputRangeCalibrationType, calibrate_input_ranges
from aihwkit.inference.noise.custom import StateIndependentNoiseModel
from aihwkit.nn.conversion import convert_to_analog
from aihwkit.optim import AnalogAdam
from aihwkit.simulator.configs import TorchInferenceRPUConfig
from aihwkit.simulator.parameters.enums import (
    BoundManagementType,
    NoiseManagementType,
    WeightClipType,
    WeightModifierType,
)

from benchmarks.same_task.task import (
    CHIPS,
    EPOCHS,
    LEVELS,
    NOISE,
    TRAINING_NOISE,
    accuracy,
    loaders,
    network,
)

train, test = loaders()
config = TorchInferenceRPUConfig()
config.mapping.max_input_size = config.mapping.max_output_size = 512
config.mapping.weight_scaling_omega = 1.0
config.mapping.weight_scaling_columnwise = True
config.forward.inp_res = config.forward.out_res = 1 / 254  # 8 bits
config.forward.out_noise = 0.0
config.forward.noise_management = NoiseManagementType.NONE
config.forward.bound_management = BoundManagementType.NONE
config.pre_post.input_range.enable = True
config.modifier.type = WeightModifierType.ADD_NORMAL
config.modifier.std_dev = TRAINING_NOISE * NOISE
config.clip.type = WeightClipType.LAYER_GAUSSIAN
config.clip.sigma = 2.5
config.drift_compensation = None
model = convert_to_analog(network(), config)
batches = (((x,), {}) for x, _ in train)
calibrate_input_ranges(model, InputRangeCalibrationType.MAX, batches)

optimizer = AnalogAdam(model.parameters(), lr=0.03)
optimizer.regroup_param_groups(model)
model.train()
for _ in range(EPOCHS):
    for x, y in train:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

model.eval()
accuracies = torch.empty(len(LEVELS), CHIPS)
for row, level in enumerate(LEVELS):
    noise = StateIndependentNoiseModel(g_max=25.0, prog_coeff=[25.0 * NOISE * level])
    for chip in range(CHIPS):
        torch.manual_seed(chip)
        model.program_analog_weights(noise)
        accuracies[row, chip] = accuracy(model, test)

plt.errorbar(LEVELS, accuracies.mean(1), accuracies.std(1), capsize=3, marker="o")
plt.xlabel("noise (multiple of 3 % of the largest weight)")
plt.ylabel("test accuracy (%)")
plt.savefig("same_task_aihwkit.png")
