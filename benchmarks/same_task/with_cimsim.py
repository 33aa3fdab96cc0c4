"""The task in cimsim."""

import torch

import cimsim
from benchmarks.same_task.task import CHIPS, EPOCHS, LEVELS, TRAINING_NOISE, loaders, network

train, test = loaders()
chip = ["cell.g_min_uS=0", "array.mapping=differential-pair", "adc.noise_of_range=0"]
profile = cimsim.load_profile("generic-gaussian", chip)
model = cimsim.convert(network(), profile)

steps = EPOCHS * len(train)
noise_aware = cimsim.NoiseAware(model, steps, noise=TRAINING_NOISE, calibration=train)
optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
for _ in range(EPOCHS):
    for x, y in train:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        noise_aware.step()
noise_aware.finish()

results = cimsim.sweep(model, test, over={"noise": LEVELS}, chips=CHIPS)
results.save("same_task_cimsim.png")
