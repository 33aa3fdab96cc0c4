"""Fashion-MNIST on two chips: digital, standard, fake-quantized and noise-aware training.

    python -m benchmarks.fashion_mnist --data-dir DIR [--seeds 0,1,2] [--chips 10]
        [--runs runs/fashion_mnist]

A CNN with 493,642 parameters is trained on 60,000 images, of which a tenth are held out to choose
settings, and evaluated on chips that were not used in training. Noise 0, 1, 2 and 4 is a factor on
every noise of the profile. `standard, published` has Gaussian weight noise of 3.8 % of the largest
weight (Joshi et al. 2020). The `tuned` baselines choose noise and clipping for each noise of the
chip; `fake-quantized` also simulates the converters, ignores their rounding in the gradient, and
learns the ranges of the inputs. `noise auto` is the best of the candidates of `--noise auto`, all
of them trained in full. The profile *narrow readout* is `generic-gaussian` with a 4-bit ADC whose
range is the root mean square of the signal; `rule C` is the default with a backward rule that
ignores saturation.
"""

from __future__ import annotations

from benchmarks.default import METHODS, PROFILES, QUANTIZED, STANDARD
from benchmarks.fair import Comparison, Task
from benchmarks.fair_page import main

COMPARISON = Comparison(
    name="fashion_mnist",
    title="Fashion-MNIST, 493,642-parameter CNN, phase-change memory and narrow readout",
    intro=" ".join((__doc__ or "").split("\n\n")[2].split()),
    tasks={"fashion-mnist-cnn": Task({"data": "fashion-mnist", "model": "cnn", "epochs": 8})},
    profiles={name: PROFILES[name] for name in ("pcm-ibm-2020", "narrow readout")},
    methods={
        "default": [{}],
        "digital": [{"method": "digital"}],
        "standard, published": STANDARD[:1],
        "standard, tuned": STANDARD,
        "fake-quantized, tuned": QUANTIZED,
        "rule C": METHODS["rule C"],
        "noise auto": METHODS["noise auto"],
    },
    ours="default",
    variants=("noise auto",),
    drawn=("digital", "standard, tuned", "fake-quantized, tuned", "default", "noise auto"),
    noise="noise=0,1,2,4",
    ages={"just programmed": 0.0, "1 year": 365 * 86400.0},
)


if __name__ == "__main__":
    main(COMPARISON, (__doc__ or "").splitlines()[0])
