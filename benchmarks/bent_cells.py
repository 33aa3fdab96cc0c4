"""Text on cells with a bent current-voltage curve: perplexity from one second to one year.

    python -m benchmarks.bent_cells --data-dir DIR [--method 'rule F' ...] [--seeds 0,1,2]
        [--chips 10] [--runs runs/bent_cells]

A character GPT with 0.82 million parameters is trained digitally for three epochs; then every
method tunes the same weights for one epoch. The chip is `pcm-ibm-2020` with a 6-bit ADC and cells
whose current grows with the hyperbolic sine of the voltage (k V = 2 at full scale), which is a
systematic error of the array. The noise of the baselines is chosen on held-out text, separately for
each age. The baseline *fake-quantized, bent* also simulates the bent cells, with Gaussian noise and
the same converters, and differentiates the hyperbolic sine.
"""

from __future__ import annotations

from benchmarks.fair import Comparison, Settings, Task
from benchmarks.fair_page import main

SINH = "cell.iv={kind: sinh, v_read_V: 1.0, k_per_V: 2.0}"
SIGMAS = (0.019, 0.038, 0.076)
WIDER = (*SIGMAS, 0.152)  # where the largest of SIGMAS is the best
CALIBRATED: Settings = {"learn_ranges": ()}
LEARNED: Settings = {"learn_ranges": ("dac",)}
QUANTIZED: Settings = {"method": "fake-quantized"}
OURS: Settings = {"noise": 1.0, "age": "1s:1y"}


def bent(sigma: float) -> Settings:
    """A chip of Gaussian noise, ``sigma`` of the largest weight; both cells of a pair have some."""
    noise = f"cell.programming_noise=[{{kind: gaussian, sigma_of_g_max: {sigma / 2**0.5:.4g}}}]"
    return {
        "noise": 1.0,
        "overrides": ("adc.bits=6", SINH, noise, "cell.drift=[]", "cell.read_noise=[]"),
    }


COMPARISON = Comparison(
    name="bent_cells",
    title="Text on cells with a bent current-voltage curve",
    intro=" ".join((__doc__ or "").split("\n\n")[2].split()),
    tasks={
        "shakespeare-gpt": Task(
            {
                "data": "tinyshakespeare",
                "model": "gpt",
                "batch_size": 32,
                "epochs": 1,
                "lr": 0.0005,
                "ramp": 0.1,
                "clip_sigma": 2.5,
                "weight_decay": 0.1,
            },
            samples=200,
            falls=True,
            first={"epochs": 3, "lr": 0.002},
        )
    },
    profiles={"bent cells": {"profile": "pcm-ibm-2020", "overrides": ("adc.bits=6", SINH)}},
    methods={
        "rule F": [{**OURS, **CALIBRATED}],
        "rule F, learned ranges": [{**OURS, **LEARNED}],
        "digital": [{"method": "digital"}],
        "weight noise": [{"method": "standard-nat", "gaussian_sigma": s} for s in WIDER],
        "fake-quantized": [{**QUANTIZED, "gaussian_sigma": s, **CALIBRATED} for s in WIDER],
        "fake-quantized, bent": [{**bent(s), **CALIBRATED} for s in SIGMAS],
        "rule C": [{**OURS, "rule": "C", **CALIBRATED}],
        "fake-quantized, learned ranges": [
            {**QUANTIZED, "gaussian_sigma": s, **LEARNED} for s in SIGMAS
        ],
    },
    ours="rule F",
    drawn=("digital", "weight noise", "fake-quantized", "rule F"),
    noise="noise=1",
    ages={"1 s": 1.0, "1 day": 86400.0, "1 year": 365 * 86400.0},
)


if __name__ == "__main__":
    main(COMPARISON, (__doc__ or "").splitlines()[0])
