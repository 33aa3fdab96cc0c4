"""Fashion-MNIST on chips of phase-change memory: digital, standard and noise-aware training.

    python -m benchmarks.fashion_mnist --data-dir DIR [--seeds 0,1,2] [--chips 10]
        [--runs runs/fashion_mnist]

The 493,642-parameter CNN is trained on 60,000 images (a tenth of them held out for choices) and
evaluated on chips that no training has seen, at noise 0, 1, 2 and 4, a factor on every noise of the
profile. `standard, published` has noise of 3.8 % of the largest weight (Joshi et al. 2020); the
noise and clipping of `tuned` baselines are chosen on the held-out images, for each noise of the
chip. `noise 2` is noise-aware training at twice the noise of the profile, clipped at 1.5 times the
RMS, with calibrated ranges.
"""

from __future__ import annotations

from benchmarks.default import QUANTIZED, STANDARD
from benchmarks.fair import Comparison, Task
from benchmarks.fair_page import main

COMPARISON = Comparison(
    name="fashion_mnist",
    title="Fashion-MNIST, 493,642-parameter CNN, PCM chip",
    intro=" ".join((__doc__ or "").split("\n\n")[2].split()),
    tasks={"fashion-mnist-cnn": Task({"data": "fashion-mnist", "model": "cnn", "epochs": 8})},
    profiles={"pcm-ibm-2020": {}},
    methods={
        "default": [{}],
        "calibrated ranges": [{"learn_ranges": ()}],
        "digital": [{"method": "digital"}],
        "standard, published": STANDARD[:1],
        "standard, tuned": STANDARD,
        "fake-quantized, tuned": QUANTIZED,
        "noise 2": [{"noise": 2.0, "clip_sigma": 1.5, "learn_ranges": ()}],
    },
    ours="default",
    drawn=("digital", "standard, tuned", "fake-quantized, tuned", "default"),
    noise="noise=0,1,2,4",
    ages={"just programmed": 0.0, "1 year": 365 * 86400.0},
)


if __name__ == "__main__":
    main(COMPARISON, (__doc__ or "").splitlines()[0])
