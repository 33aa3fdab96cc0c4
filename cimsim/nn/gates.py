"""Gates of recurrent layers: the next state from the outputs of the two layers."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from cimsim.errors import CimsimError

State = tuple[Tensor, ...]


def states_of(given: Any, count: int, kind: type[nn.Module]) -> State:
    """The ``count`` states of a module of ``kind``, given as a tensor or a tuple.

    Raises:
        CimsimError: if the type or number is another.
    """
    # A tuple of types: torch.compile of torch 2.9 cannot trace a union of them.
    states = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    if len(states) != count or not all(isinstance(state, Tensor) for state in states):
        what = "one tensor" if count == 1 else f"a tuple of {count} tensors"
        got = ", ".join(type(state).__name__ for state in states)
        raise CimsimError(f"{kind.__name__} expects {what} as its state hx, but got {got}")
    return states


def rnn(of_input: Tensor, of_state: Tensor, nonlinearity: str) -> State:
    """``tanh`` or ``relu`` of the sum."""
    total = of_input + of_state
    return (total.relu() if nonlinearity == "relu" else total.tanh(),)


def gru(of_input: Tensor, of_state: Tensor, state: State) -> State:
    """Reset and update gates, and the new content."""
    (xr, xz, xn), (hr, hz, hn) = of_input.chunk(3, -1), of_state.chunk(3, -1)
    reset, update = (xr + hr).sigmoid(), (xz + hz).sigmoid()
    new = (xn + reset * hn).tanh()
    return (new + update * (state[0] - new),)


def lstm(of_input: Tensor, of_state: Tensor, state: State) -> State:
    """Gates for input, forgetting, content and output; the output and the memory."""
    i, f, g, o = (of_input + of_state).chunk(4, -1)
    memory = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * memory.tanh(), memory
