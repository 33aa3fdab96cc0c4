"""The backward rules: gradients through a non-differentiable array."""

from cimsim.estimators.function import MvmCall, analog_matmul
from cimsim.estimators.rules import DEFAULT_RULE, RULES, BackwardRule, backward_rule

__all__ = ["DEFAULT_RULE", "RULES", "BackwardRule", "MvmCall", "analog_matmul", "backward_rule"]
