"""The backward rules: what gradient training sees through a non-differentiable array."""

from cimsim.estimators.function import Call, analog_matmul
from cimsim.estimators.rules import DEFAULT_RULE, RULES, BackwardRule, backward_rule

__all__ = ["DEFAULT_RULE", "RULES", "BackwardRule", "Call", "analog_matmul", "backward_rule"]
