"""Recurrent layers whose products are separate layers."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from cimsim.errors import CimsimError
from cimsim.nn import gates
from cimsim.nn.computed import cast
from cimsim.nn.gates import State, states_of
from cimsim.nn.layer import AnalogLayer
from cimsim.nn.transforms import is_traced, node_of_graph
from cimsim.nn.unpacking import Ties, Unpacked, linear


class _UnpackedRecurrence(Unpacked, nn.RNNBase):
    """A recurrent layer with a layer ``ih_l0`` for its input and ``hh_l0`` for its state, and so on
    for every depth and direction.

    Those can be analog; gates are digital. The products of all inputs are one call; those of the
    states run one time step after the other on one chip. Arguments and results as in torch, also
    for packed sequences.
    """

    @staticmethod
    def places(module: nn.Module) -> list[str]:
        """As torch names them: ``weight_ih_l0``, …"""
        names: list[str] = module._flat_weights_names  # type: ignore[assignment]
        return names

    def make_layers(self, packed: dict[str, Any], ties: Ties) -> None:
        """A layer for each weight, with its bias."""
        # As long as torch expects them where it copies a recurrence.
        self._flat_weights: list[Any] = [None] * len(self._flat_weights_names)
        self._flat_weight_refs: list[Any] = list(self._flat_weights)
        for name, weight in packed.items():
            kind, _, rest = name.partition("_")
            if kind == "weight":
                self.add_module(rest, linear(weight, packed.get(f"bias_{rest}")))

    def pack(self, ties: Ties) -> None:
        """See :class:`Unpacked`."""
        parameters = {}
        for name in self._flat_weights_names:
            kind, _, rest = name.partition("_")
            parameters[name] = getattr(self._modules[rest], kind)
        cast(self, self.torch_class)
        for name in parameters:
            self._modules.pop(name.partition("_")[2], None)
        for name, parameter in parameters.items():
            self.register_parameter(name, parameter)
        self._init_flat_weights()

    def split(self, packed: dict[str, Tensor]) -> dict[str, Tensor]:
        """See :class:`Unpacked`."""
        state = {}
        for name, tensor in packed.items():
            kind, _, rest = name.partition("_")
            state[f"{rest}.{kind}"] = tensor
        return state

    states: ClassVar[int] = 1  # tensors that are passed from one time step to the next

    @abstractmethod
    def cell(self, of_input: Tensor, of_state: Tensor, state: State) -> State:
        """The next state, the output first, from the outputs of the two layers."""

    def forward(
        self, input: Tensor | PackedSequence, hx: Tensor | State | None = None
    ) -> tuple[Tensor | PackedSequence, Tensor | State]:
        """As in torch: the outputs, and the last states.

        Raises:
            CimsimError: if ``input`` is not a sequence, or the shape of ``hx`` does not match.
        """
        node: Any = node_of_graph(self, input, hx)
        if node is not None:
            return node  # type: ignore[no-any-return]
        x, lengths = input, None
        if isinstance(x, PackedSequence):
            x, lengths = pad_packed_sequence(x)
        if not is_traced():  # the layers reject tracing
            self._refuse_input(x)
        batched = x.dim() == 3
        swapped = self.batch_first and lengths is None and batched
        x = x.transpose(0, 1) if swapped else x if batched else x.unsqueeze(1)
        first = None
        if hx is not None:
            first = states_of(hx, self.states, self.torch_class)
            if not is_traced():
                self._refuse_states(first, x.shape[1], batched)
            first = first if batched else tuple(s.unsqueeze(1) for s in first)
        y, last = self._run(x, first, self._alive(x, lengths))
        if not batched:
            last = tuple(s.squeeze(1) for s in last)
        out = last[0] if self.states == 1 else last
        if isinstance(input, PackedSequence):
            return _packed_like(y, lengths, input), out
        return y.transpose(0, 1) if swapped else y if batched else y.squeeze(1), out

    def _refuse_input(self, x: Tensor) -> None:
        kind = self.torch_class.__name__
        if not isinstance(x, Tensor):
            raise CimsimError(
                f"{kind} expects a tensor or a PackedSequence, but got a {type(x).__name__}"
            )
        if x.dim() not in (2, 3):
            order = "batch, time" if self.batch_first else "time, batch"
            raise CimsimError(
                f"{kind} expects a sequence of shape [{order}, {self.input_size}] or [time, "
                f"{self.input_size}], but got {list(x.shape)}"
            )
        if not x.shape[1 if self.batch_first and x.dim() == 3 else 0]:
            raise CimsimError(f"{kind} got a sequence of length 0; leave such sequences out")

    def _refuse_states(self, first: State, batch: int, batched: bool) -> None:
        """Raise for states of other shapes than torch takes, which would be broadcast."""
        rows = self.num_layers * (2 if self.bidirectional else 1)
        for state, width in zip(first, self._widths(), strict=True):
            expected = [rows, batch, width] if batched else [rows, width]
            if list(state.shape) != expected:
                raise CimsimError(
                    f"{self.torch_class.__name__} expects a state of shape {expected} for this "
                    f"input, but got {list(state.shape)}"
                )

    def _widths(self) -> list[int]:
        """Number of values of each state."""
        return [self.proj_size or self.hidden_size, self.hidden_size][: self.states]

    @staticmethod
    def _alive(x: Tensor, lengths: Tensor | None) -> Tensor | None:
        """Where a sequence has not ended, ``[time, batch, 1]``; None where all are equally long."""
        if lengths is None:
            return None
        times = torch.arange(len(x), device=x.device)
        return (times.unsqueeze(1) < lengths.to(x.device)).unsqueeze(2)

    def _run(self, x: Tensor, first: State | None, alive: Tensor | None) -> tuple[Tensor, State]:
        """All depths and directions; ``x [time, batch, features]``."""
        last: list[State] = []
        sides = ("", "_reverse") if self.bidirectional else ("",)
        for depth in range(self.num_layers):
            outputs = []
            for side in sides:
                state = self._first(x) if first is None else tuple(s[len(last)] for s in first)
                y, state = self._scan(x, f"l{depth}{side}", state, alive, backwards=bool(side))
                outputs.append(y)
                last.append(state)
            x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)
            if depth + 1 < self.num_layers:
                x = F.dropout(x, self.dropout, self.training)
        return x, tuple(torch.stack(each) for each in zip(*last, strict=True))

    def _first(self, x: Tensor) -> State:
        return tuple(x.new_zeros(x.shape[1], width) for width in self._widths())

    def _scan(
        self, x: Tensor, place: str, state: State, alive: Tensor | None, backwards: bool
    ) -> tuple[Tensor, State]:
        of_inputs = self._modules[f"ih_{place}"](x)  # type: ignore[misc]
        of_state, projection = self._modules[f"hh_{place}"], self._modules.get(f"hr_{place}")
        assert of_state is not None
        outputs: list[Tensor] = []
        times = range(len(x))
        with ExitStack() as chips:
            for layer in (of_state, projection):
                chips.enter_context(_one_chip(layer))
            for t in reversed(times) if backwards else times:
                new = self.cell(of_inputs[t], of_state(state[0]), state)
                if projection is not None:
                    new = (projection(new[0]), *new[1:])
                if alive is not None:
                    new = tuple(
                        torch.where(alive[t], n, s) for n, s in zip(new, state, strict=True)
                    )
                state = new
                outputs.append(state[0])
        return torch.stack(outputs[::-1] if backwards else outputs), state


class UnpackedRNN(_UnpackedRecurrence, nn.RNN):  # type: ignore[misc]
    """``nn.RNN`` with separate layers, see :class:`_UnpackedRecurrence`."""

    torch_class: ClassVar[type[nn.Module]] = nn.RNN

    def cell(self, of_input: Tensor, of_state: Tensor, state: State) -> State:
        """See :func:`cimsim.nn.gates.rnn`."""
        return gates.rnn(of_input, of_state, self.nonlinearity)


class UnpackedGRU(_UnpackedRecurrence, nn.GRU):  # type: ignore[misc]
    """``nn.GRU`` with separate layers, see :class:`_UnpackedRecurrence`."""

    torch_class: ClassVar[type[nn.Module]] = nn.GRU

    def cell(self, of_input: Tensor, of_state: Tensor, state: State) -> State:
        """See :func:`cimsim.nn.gates.gru`."""
        return gates.gru(of_input, of_state, state)


class UnpackedLSTM(_UnpackedRecurrence, nn.LSTM):  # type: ignore[misc]
    """``nn.LSTM`` with separate layers, see :class:`_UnpackedRecurrence`."""

    torch_class: ClassVar[type[nn.Module]] = nn.LSTM
    states = 2

    def cell(self, of_input: Tensor, of_state: Tensor, state: State) -> State:
        """See :func:`cimsim.nn.gates.lstm`."""
        return gates.lstm(of_input, of_state, state)


def _one_chip(layer: nn.Module | None) -> AbstractContextManager[object]:
    return layer.shared_chip() if isinstance(layer, AnalogLayer) else nullcontext()


def _packed_like(y: Tensor, lengths: Tensor | None, like: PackedSequence) -> PackedSequence:
    """``y [time, batch, features]`` in the order and with the sizes of ``like``."""
    assert lengths is not None
    order = like.sorted_indices
    if order is not None:
        y, lengths = y.index_select(1, order), lengths[order.cpu()]
    data = pack_padded_sequence(y, lengths)
    return PackedSequence(data.data, data.batch_sizes, order, like.unsorted_indices)
