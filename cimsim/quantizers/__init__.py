"""Quantizers of the weights and inputs of analog layers.

Each is a module ``x -> x~`` with its own gradient estimator. Build one from text, such as
``make_quantizer("denoising:bits=1,ridge=0.01")``.
"""

from cimsim.quantizers.binary import StochasticSign
from cimsim.quantizers.denoising import Denoising
from cimsim.quantizers.learned_noise import LearnedNoise
from cimsim.quantizers.lsq import LearnedStep
from cimsim.quantizers.mixed import Mixed
from cimsim.quantizers.quantizer import Quantizer
from cimsim.quantizers.sparsify import Sparsify
from cimsim.quantizers.ternary import Ternary
from cimsim.quantizers.uniform import Uniform
from cimsim.spec import Family

QUANTIZERS: Family[Quantizer] = Family(
    "quantizer",
    *(Uniform, Denoising, LearnedStep, Ternary, StochasticSign),
    *(Mixed, LearnedNoise, Sparsify),
)


def make_quantizer(spec: str) -> Quantizer:
    """Build the quantizer that ``spec`` describes: ``name`` or ``name:setting=value,…``.

    Raises:
        CimsimError: if the quantizer, a setting or a value is unknown.

    >>> make_quantizer("uniform:bits=3")
    Uniform(3 bits, group=row)
    """
    return QUANTIZERS.make(spec)


__all__ = [
    "QUANTIZERS",
    "Denoising",
    "LearnedNoise",
    "LearnedStep",
    "Mixed",
    "Quantizer",
    "Sparsify",
    "StochasticSign",
    "Ternary",
    "Uniform",
    "make_quantizer",
]
