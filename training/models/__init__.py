"""Models shipped with cimsim, and models of the user."""

from cimsim.training.models.build import MODELS, build_model
from cimsim.training.models.custom import is_custom, require_trust

__all__ = ["MODELS", "build_model", "is_custom", "require_trust"]
