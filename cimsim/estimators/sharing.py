"""Whether autograd keeps a tensor anyway, so that keeping it once more costs nothing."""

from __future__ import annotations

from torch import Tensor

# Nodes of autograd's graph that keep their result, and those whose result lies in the same memory.
_KEEPS_RESULT = frozenset(
    f"{name}Backward0" for name in ("Relu", "Sigmoid", "Tanh", "Exp", "Sqrt", "Softmax", "Elu")
)
_VIEWS = frozenset(
    f"{name}Backward0" for name in ("View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze")
)


def kept_anyway(x: Tensor) -> bool:
    """Whether the operation that made ``x`` keeps it for its own backward.

    ReLU and its like do: a layer behind one keeps its input at no cost. A layer behind a
    normalization or a GELU does better to keep the DAC's codes.
    """
    node = x.grad_fn
    while node is not None and node.name() in _VIEWS:
        node = node.next_functions[0][0]
    return node is not None and node.name() in _KEEPS_RESULT
