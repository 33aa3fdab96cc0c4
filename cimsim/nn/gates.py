"""What recurrent layers do behind their products: the next state from what the two layers gave."""

from __future__ import annotations

from torch import Tensor

State = tuple[Tensor, ...]


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
