"""Recurrent cells, one step of a recurrence, whose products are separate layers."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.nn import gates
from cimsim.nn.computed import cast
from cimsim.nn.gates import State, states_of
from cimsim.nn.transforms import is_traced, node_of_graph
from cimsim.nn.unpacking import Ties, Unpacked, linear

_PRODUCTS = ("ih", "hh")


class _UnpackedCell(Unpacked, nn.RNNCellBase):
    """A recurrent cell with a layer ``ih`` for its input and ``hh`` for its state.

    Those can be analog; gates are digital. Arguments and results as in torch. In training each call
    uses another chip, whereas ``nn.LSTM`` uses one for the whole sequence.
    """

    states: ClassVar[int] = 1  # tensors that are passed from one time step to the next

    @staticmethod
    def places(module: nn.Module) -> list[str]:
        """As torch names them, in its order."""
        return [f"{kind}_{name}" for kind in ("weight", "bias") for name in _PRODUCTS]

    def make_layers(self, packed: dict[str, Any], ties: Ties) -> None:
        """A layer for each weight, with its bias."""
        for name in _PRODUCTS:
            self.add_module(name, linear(packed[f"weight_{name}"], packed[f"bias_{name}"]))

    def pack(self, ties: Ties) -> None:
        """See :class:`Unpacked`."""
        layers = {name: self._modules.pop(name) for name in _PRODUCTS}
        cast(self, self.torch_class)
        for place in _UnpackedCell.places(self):
            kind, _, name = place.partition("_")
            self.register_parameter(place, getattr(layers[name], kind))

    def split(self, packed: dict[str, Tensor]) -> dict[str, Tensor]:
        """See :class:`Unpacked`."""
        moved = {}
        for place, tensor in packed.items():
            kind, _, name = place.partition("_")
            moved[f"{name}.{kind}"] = tensor
        return moved

    @abstractmethod
    def cell(self, of_input: Tensor, of_state: Tensor, state: State) -> State:
        """The next state, the output first, from the outputs of the two layers."""

    def forward(self, input: Tensor, hx: Tensor | State | None = None) -> Tensor | State:
        """As in torch: the next state.

        Raises:
            CimsimError: if ``input`` is neither a vector nor a batch of vectors, or the shape of
                ``hx`` does not match.
        """
        node: Tensor | None = node_of_graph(self, input, hx)
        if node is not None:
            return node
        if not isinstance(input, Tensor):
            raise CimsimError(
                f"{self.torch_class.__name__} expects a tensor, but got a {type(input).__name__}"
            )
        if input.dim() not in (1, 2):
            raise CimsimError(
                f"{self.torch_class.__name__} expects an input of shape [batch, "
                f"{self.input_size}] or [{self.input_size}], but got {list(input.shape)}"
            )
        if hx is None:
            zeros = input.new_zeros(*input.shape[:-1], self.hidden_size)
            hx = (zeros,) * self.states
        state = states_of(hx, self.states, self.torch_class)
        if not is_traced():  # the layers reject tracing
            self._refuse_states(state, [*input.shape[:-1], self.hidden_size])
        new = self.cell(self._product("ih", input), self._product("hh", state[0]), state)
        return new[0] if self.states == 1 else new

    def _refuse_states(self, states: State, expected: list[int]) -> None:
        """Raise for states of another shape, which would be broadcast."""
        for state in states:
            if list(state.shape) != expected:
                raise CimsimError(
                    f"{self.torch_class.__name__} expects a state of shape {expected} for this "
                    f"input, but got {list(state.shape)}"
                )

    def _product(self, name: str, x: Tensor) -> Tensor:
        y: Tensor = self._modules[name](x)  # type: ignore[misc]
        return y


class UnpackedRNNCell(_UnpackedCell, nn.RNNCell):  # type: ignore[misc]
    """``nn.RNNCell`` with separate layers, see :class:`_UnpackedCell`."""

    torch_class: ClassVar[type[nn.Module]] = nn.RNNCell

    def cell(self, of_input: Tensor, of_state: Tensor, state: State) -> State:
        """See :func:`cimsim.nn.gates.rnn`."""
        return gates.rnn(of_input, of_state, self.nonlinearity)


class UnpackedGRUCell(_UnpackedCell, nn.GRUCell):  # type: ignore[misc]
    """``nn.GRUCell`` with separate layers, see :class:`_UnpackedCell`."""

    torch_class: ClassVar[type[nn.Module]] = nn.GRUCell

    def cell(self, of_input: Tensor, of_state: Tensor, state: State) -> State:
        """See :func:`cimsim.nn.gates.gru`."""
        return gates.gru(of_input, of_state, state)


class UnpackedLSTMCell(_UnpackedCell, nn.LSTMCell):  # type: ignore[misc]
    """``nn.LSTMCell`` with separate layers, see :class:`_UnpackedCell`."""

    torch_class: ClassVar[type[nn.Module]] = nn.LSTMCell
    states = 2

    def cell(self, of_input: Tensor, of_state: Tensor, state: State) -> State:
        """See :func:`cimsim.nn.gates.lstm`."""
        return gates.lstm(of_input, of_state, state)
