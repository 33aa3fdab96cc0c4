"""The networks that come with cimsim, and the way to one's own."""

from cimsim.training.models.build import MODELS, build_model

__all__ = ["MODELS", "build_model"]
