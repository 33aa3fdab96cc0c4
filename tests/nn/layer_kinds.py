"""Every kind of layer that can become analog, in its variants, with the shape of an input."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class First(nn.Module):
    """The first of what a module gives."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *x: Tensor) -> Tensor:
        y: Tensor = self.module(*x)[0]
        return y


class SelfAttention(First):
    def __init__(self, *args: int, **settings: bool) -> None:
        super().__init__(nn.MultiheadAttention(*args, **settings))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x, x, x)


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(6, 4), (3, 6)),
    "linear, no bias": (lambda: nn.Linear(6, 4, bias=False), (3, 6)),
    "linear, one vector": (lambda: nn.Linear(6, 4), (6,)),
    "linear, many axes": (lambda: nn.Linear(6, 4), (2, 5, 3, 6)),
    "linear, no vector": (lambda: nn.Linear(6, 4), (0, 6)),
    "conv": (lambda: nn.Conv2d(4, 6, 3), (2, 4, 7, 8)),
    "conv, unbatched": (lambda: nn.Conv2d(4, 6, 3), (4, 7, 8)),
    "conv, same": (lambda: nn.Conv2d(4, 6, (5, 3), padding="same"), (2, 4, 7, 8)),
    "conv, valid": (lambda: nn.Conv2d(4, 6, 3, padding="valid"), (2, 4, 7, 8)),
    "conv, reflect": (lambda: nn.Conv2d(4, 6, 3, padding=2, padding_mode="reflect"), (2, 4, 7, 8)),
    "conv, circular": (
        lambda: nn.Conv2d(4, 6, 3, padding=(1, 2), padding_mode="circular"),
        (2, 4, 7, 8),
    ),
    "conv, everything": (
        lambda: nn.Conv2d(4, 8, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2),
        (2, 4, 9, 8),
    ),
    "conv, depthwise": (lambda: nn.Conv2d(4, 8, 3, groups=4, bias=False), (2, 4, 7, 8)),
    "conv 1d": (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2), (2, 4, 11)),
    "conv 1d, unbatched": (lambda: nn.Conv1d(4, 6, 3, padding="same"), (4, 11)),
    "conv 1d, circular": (
        lambda: nn.Conv1d(4, 6, 3, padding=2, padding_mode="circular"),
        (2, 4, 11),
    ),
    "conv 3d": (
        lambda: nn.Conv3d(4, 6, (2, 3, 2), stride=(1, 2, 1), padding=1, groups=2),
        (2, 4, 4, 5, 6),
    ),
    "transposed 1d": (lambda: nn.ConvTranspose1d(4, 6, 3, stride=2), (2, 4, 7)),
    "transposed 2d": (
        lambda: nn.ConvTranspose2d(
            4, 6, (3, 2), stride=(2, 3), padding=1, output_padding=(1, 2), dilation=(2, 1), groups=2
        ),
        (2, 4, 5, 6),
    ),
    "transposed 2d, no bias": (lambda: nn.ConvTranspose2d(4, 6, 3, bias=False), (4, 5, 6)),
    "transposed 3d": (lambda: nn.ConvTranspose3d(4, 2, 2, stride=2), (1, 4, 2, 3, 2)),
    "attention": (lambda: SelfAttention(8, 2, batch_first=True), (2, 5, 8)),
    "attention, unbatched, no bias": (lambda: SelfAttention(8, 2, bias=False), (5, 8)),
    "attention, more keys": (
        lambda: SelfAttention(8, 4, add_bias_kv=True, add_zero_attn=True),
        (5, 2, 8),
    ),
    "rnn": (lambda: First(nn.RNN(4, 5, nonlinearity="relu", num_layers=2)), (6, 2, 4)),
    "lstm": (
        lambda: First(nn.LSTM(4, 5, num_layers=2, bidirectional=True, batch_first=True)),
        (2, 6, 4),
    ),
    "lstm, projected": (lambda: First(nn.LSTM(4, 5, proj_size=3, bias=False)), (6, 4)),
    "gru": (lambda: First(nn.GRU(4, 5, bidirectional=True)), (6, 2, 4)),
}


def assert_same_function(one: nn.Module, other: nn.Module, x: Tensor, **close: float) -> None:
    """Compare outputs and gradients of the inputs; parameters of both get gradients, too."""
    given = [x.clone().requires_grad_() for _ in range(2)]
    outputs = [module(v) for module, v in zip((one, other), given, strict=True)]
    for output in outputs:
        output.square().sum().backward()
    torch.testing.assert_close(*outputs, **close)
    torch.testing.assert_close(given[0].grad, given[1].grad, **close)
