"""The task in CrossSim 3.2."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from simulator import CrossSimParameters
from simulator.algorithms.dnn.torch.convert import (
    analog_modules,
    from_torch,
    reinitialize,
    synchronize,
)
from simulator.algorithms.dnn.torch.profile import get_profiled_adc_inputs, get_profiled_xbar_inputs

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
params = CrossSimParameters()
params.core.rows_max = params.core.cols_max = 512
params.core.mapping.weights.percentile = 1.0  # the largest weight is the largest conductance
params.core.mapping.weights.min = params.core.mapping.weights.max = None
params.xbar.device.infinite_on_off_ratio = True
params.xbar.device.clip_conductance = True
params.xbar.device.programming_error.enable = True
params.xbar.device.programming_error.model = "NormalIndependentDevice"
params.xbar.device.programming_error.magnitude = TRAINING_NOISE * NOISE
np.random.seed(0)  # noqa: NPY002 - CrossSim has no generators
model = from_torch(network(), params)

optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
model.train()
for _ in range(EPOCHS):
    for x, y in train:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        synchronize(model)  # writes the new weights, with new errors

model.eval()
layers = analog_modules(model)
for layer in layers:
    analytics = layer.params.simulation.analytics
    analytics.ntest = len(train.dataset)
    analytics.profile_xbar_inputs = analytics.profile_adc_inputs = True
reinitialize(model)
accuracy(model, train)
profiled = get_profiled_xbar_inputs(model), get_profiled_adc_inputs(model)
for layer, inputs, currents in zip(layers, *profiled, strict=True):
    analytics = layer.params.simulation.analytics
    analytics.profile_xbar_inputs = analytics.profile_adc_inputs = False
    limit = float(np.abs(inputs).max())
    mapping = layer.params.core.mapping.inputs.mvm
    mapping.min, mapping.max = -limit, limit
    layer.params.xbar.dac.mvm.model = "SignMagnitudeDAC"
    layer.params.xbar.adc.mvm.model = "SignMagnitudeADC"
    layer.params.xbar.dac.mvm.bits = layer.params.xbar.adc.mvm.bits = 8
    limit = float(np.abs(currents).max()) / limit  # profiled with inputs up to 1
    layer.params.xbar.adc.mvm.adc_range_option = "CALIBRATED"
    layer.params.xbar.adc.mvm.calibrated_range = [-limit, limit]

accuracies = torch.empty(len(LEVELS), CHIPS)
for row, level in enumerate(LEVELS):
    for layer in layers:
        layer.params.xbar.device.programming_error.magnitude = level * NOISE
    for chip in range(CHIPS):
        np.random.seed(chip)  # noqa: NPY002
        reinitialize(model)  # another chip
        accuracies[row, chip] = accuracy(model, test)

plt.errorbar(LEVELS, accuracies.mean(1), accuracies.std(1), capsize=3, marker="o")
plt.xlabel("noise (multiple of 3 % of the largest weight)")
plt.ylabel("test accuracy (%)")
plt.savefig("same_task_crosssim.png")
