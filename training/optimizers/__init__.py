"""Optimizers by name: ``make_optimizer("sgd:momentum=0.9").build(model, lr=0.01)``."""

from cimsim.spec import Family
from cimsim.training.optimizers.optimizer import Adam, LatentFree, Optimizer, Sgd
from cimsim.training.optimizers.ternary_chain import TernaryChain

OPTIMIZERS: Family[Optimizer] = Family("optimizer", Adam, Sgd, LatentFree)


def make_optimizer(spec: str) -> Optimizer:
    """Build the optimizer that ``spec`` describes.

    Raises:
        CimsimError: if the optimizer, a setting or a value is unknown.
    """
    return OPTIMIZERS.make(spec)


__all__ = ["OPTIMIZERS", "Adam", "LatentFree", "Optimizer", "Sgd", "TernaryChain", "make_optimizer"]
