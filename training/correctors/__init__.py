"""Gradient correctors, ``make_corrector("sam:rho=0.1")``, and the audit of a gradient."""

from cimsim.spec import Family
from cimsim.training.correctors.audit import gradient_truth
from cimsim.training.correctors.corrector import Corrector, Loss
from cimsim.training.correctors.sharpness_aware import SharpnessAware
from cimsim.training.correctors.zeroth_order import SMOOTHING, Fogzo, Spsa

CORRECTORS: Family[Corrector] = Family("corrector", Fogzo, Spsa, SharpnessAware)


def make_corrector(spec: str) -> Corrector:
    """Build the corrector that ``spec`` describes.

    Raises:
        CimsimError: if the corrector, a setting or a value is unknown.
    """
    return CORRECTORS.make(spec)


__all__ = [
    "CORRECTORS",
    "SMOOTHING",
    "Corrector",
    "Fogzo",
    "Loss",
    "SharpnessAware",
    "Spsa",
    "gradient_truth",
    "make_corrector",
]
