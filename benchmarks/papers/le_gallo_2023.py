"""HERMES, the 64-core chip of phase-change memory: precision of its products, cost of its layers.

    python -m benchmarks.papers.le_gallo_2023

Precision: each core multiplies a matrix of 256 x 256 uniform weights, of which 30 % are zero, by
2,048 uniform input vectors, of which 30 % are zero. The error is the norm of the deviation divided
by the norm of the result. The equivalent number of bits is the number N at which a digital engine
has the same error; the engine has N-bit weights, symmetric with 2^(N-1) - 1 levels above zero, and
8-bit inputs and outputs. The logarithm of the error is interpolated between two integers. Cost:
layers on 8 and on 32 cores; the profile was fitted to the efficiency of all 64 cores, 9.76 TOPS/W,
but not to these layers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

import cimsim
from benchmarks.papers.cost_error import model_error
from benchmarks.papers.record import Measured, Paper, Published, Row, Timer
from cimsim.analysis.cost import Cost, cost_of

NAME = "le_gallo_2023"
CITATION = (
    "M. Le Gallo et al., *A 64-core mixed-signal in-memory compute chip based on phase-change "
    "memory for deep neural network inference*, Nature Electronics 6 (2023) 680-693, "
    "arXiv:2212.02872."
)
SIZE, INPUTS, SPARSITY, CORES = 256, 2048, 0.3, 10
AGES_S = (1000.0, 10000.0)
"""First and last decade of the figure."""
ONE, TWO = "pcm-hermes-2023-single", "pcm-hermes-2023"


def sparse_uniform(shape: tuple[int, int], seed: int) -> Tensor:
    """Uniform in [-1, 1], and 0 for 30 % of them."""
    draws = torch.Generator().manual_seed(seed)
    values = 2 * torch.rand(shape, generator=draws) - 1
    return values * (torch.rand(shape, generator=draws) >= SPARSITY)


def relative_error(found: Tensor, exact: Tensor) -> float:
    """Norm of the error over the norm of the exact result."""
    return float((found - exact).norm() / exact.norm())


def rounded(values: Tensor, bits: int, full: float) -> Tensor:
    """Symmetric rounding to ``2^(bits-1) - 1`` levels above zero, up to ``full``."""
    steps = 2 ** (bits - 1) - 1
    size = full / steps
    found: Tensor = (values / size).round().clamp(-steps, steps) * size
    return found


def digital_error(bits: int, weight: Tensor, x: Tensor) -> float:
    """Error of a digital engine with 8-bit inputs and outputs and ``bits`` for a weight."""
    exact = x @ weight.T
    found = rounded(x, 8, 1.0) @ rounded(weight, bits, 1.0).T
    return relative_error(rounded(found, 8, found.abs().max().item()), exact)


def chip_error(profile: str, weight: Tensor, x: Tensor, seed: int, age_s: float) -> float:
    """Error of one core at an age."""
    layer = nn.Linear(SIZE, SIZE, bias=False)
    with torch.no_grad():
        layer.weight.copy_(weight)
    overrides = {"array.weight_scale": "layer"}
    analog = cimsim.convert(layer, cimsim.load_profile(profile, overrides)).eval()
    cimsim.calibrate(analog, [x])
    cimsim.age(cimsim.program(analog, seed), age_s)
    with torch.no_grad():
        return relative_error(analog(x), x @ weight.T)


def equivalent_bits(error: float, digital: dict[int, float]) -> float:
    """Bits of a digital weight with that error, by interpolation of log(error)."""
    bits = sorted(digital)
    low = max(n for n in bits[:-1] if n == bits[0] or digital[n] >= error)
    above, below = math.log(digital[low]), math.log(digital[low + 1])
    return low + (above - math.log(error)) / (above - below)


def bits_of_cores(profile: str, age_s: float) -> list[float]:
    """Equivalent bits of every core."""
    found = []
    for core in range(CORES):
        weight = sparse_uniform((SIZE, SIZE), 2 * core)
        x = sparse_uniform((INPUTS, SIZE), 2 * core + 1)
        digital = {bits: digital_error(bits, weight, x) for bits in range(2, 8)}
        found.append(equivalent_bits(chip_error(profile, weight, x, core, age_s), digital))
    return found


def layer_cost(inputs: int, outputs: int, **overrides: float) -> Cost:
    """One vector on a layer of the chip."""
    keys = {key.replace("__", "."): value for key, value in overrides.items()}
    layer = nn.Linear(inputs, outputs, bias=False, device="meta")
    profile = cimsim.load_profile(TWO, keys)
    return cost_of(cimsim.convert(layer, profile), torch.zeros(1, inputs, device="meta"))


def precision_rows() -> list[Row]:
    """Equivalent bits of one and of two devices."""
    where = "section IV and Fig. 2d"
    rows = []
    for key, words, profile, low, high in (
        ("one device", "one device per weight: close to 3 bits", ONE, 2.5, 3.5),
        ("two devices", "two devices per weight: between 3 and 4 bits", TWO, 3.0, 4.0),
    ):
        for age_s in AGES_S:
            ours = Measured.mean(bits_of_cores(profile, age_s), "cores")
            published = Published(low, where, high=high)
            why = "'close to 3' is read as 2.5 to 3.5" if profile == ONE else ""
            rows.append(
                Row(f"{key}, {age_s:g} s", f"{words}, {age_s:g} s", "bits", published, ours, why)
            )
    return rows


def cost_rows() -> list[Row]:
    """Throughput and efficiency of products only, as the table counts them."""
    error = model_error()
    rows = []
    for key, words, shape, tops, efficiency, why in (
        (
            "ResNet-9",
            "a layer of ResNet-9, 2016 x 224 on 8 cores",
            (2016, 224),
            6.79,
            6.88,
            "the chip needs 123 mW per core for this layer and 101 mW with all cores in use "
            "(6.79 / 6.88 / 8 and 63.1 / 9.76 / 64 W); the energy of a conversion was fitted to "
            "the latter, and includes all power that is not modeled, also of idle parts",
        ),
        (
            "LSTM",
            "an LSTM step, 1008 x 2016 on 32 cores",
            (1008, 2016),
            30.6,
            9.34,
            "",
        ),
    ):
        found = layer_cost(*shape)
        for quantity, unit, published, ours in (
            ("throughput", "TOPS", tops, found.tops),
            ("efficiency", "TOPS/W", efficiency, found.tops_per_W),
        ):
            assert ours is not None
            rows.append(
                Row(
                    f"{key}, {quantity}",
                    f"{words}: {quantity}",
                    unit,
                    Published.printed(published, 0.01 if published < 10 else 0.1, "Table I"),
                    Measured(
                        ours, error * ours, 0, f"error of the cost model, {100 * error:.0f} %"
                    ),
                    why
                    if quantity == "efficiency"
                    else "only the number of operations is "
                    "tested: the latency of 133 ns is an "
                    "input of the model",
                )
            )
    return rows


def paper() -> Paper:
    """All rows."""
    timer = Timer()
    rows = (*precision_rows(), *cost_rows())
    return Paper(
        NAME,
        "HERMES, a chip of 64 cores: precision and cost",
        CITATION,
        "python -m benchmarks.papers.le_gallo_2023",
        rows,
        (
            "The cell noise of both profiles was fitted to this chip by the authors' toolkit. "
            "The precision of products was not used in the fit.",
            "The standard error of a cost is the root mean square of the deviations of all "
            "values that are marked as predicted in the comparison with published macros in "
            "`docs/guide/cost.md`.",
        ),
        timer.seconds,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    paper().write()
