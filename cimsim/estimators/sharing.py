"""Whether autograd saves a tensor already, so that saving it once more costs nothing."""

from __future__ import annotations

from torch import Tensor
from torch.autograd.graph import Node

# Nodes of autograd's graph that return a view of their input.
_VIEWS = frozenset(
    f"{name}Backward0" for name in ("View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze")
)


def saved_by_autograd(x: Tensor) -> bool:
    """Whether the operation that made ``x`` saves it for its own backward pass.

    torch's ReLU and similar functions do: a layer behind one saves its input at no cost. Behind a
    normalization, a GELU, or the ReLU of :mod:`cimsim.nn.relu`, the DAC's codes are smaller
    than a second copy of the input.
    """
    # Look at the class, because reading the attribute of the node would unpack the tensor.
    return hasattr(type(made_by(x)), "_saved_result")


def made_by(x: Tensor) -> Node | None:
    """The node of the operation that computed ``x``, before views that keep the order of its
    numbers."""
    node = x.grad_fn
    while node is not None and node.name() in _VIEWS:
        node = node.next_functions[0][0]
    return node
