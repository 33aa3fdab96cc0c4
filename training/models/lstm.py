"""Recurrent networks for text, and for images column by column."""

from __future__ import annotations

from torch import Tensor, nn


class LSTMReader(nn.Module):
    """Embedding, LSTM, head: tokens int64 ``[N, T]`` to logits ``[N, T, vocabulary]``."""

    def __init__(self, vocabulary: int, width: int = 256, depth: int = 2) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, width, depth, batch_first=True)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits of the next token at every position."""
        logits: Tensor = self.head(self.lstm(self.tokens(tokens))[0])
        return logits


class LSTMListener(nn.Module):
    """An LSTM over the columns of an image, such as the frames of a spectrogram, and a classifier.

    Maps [N, C, H, W], as a sequence of W vectors of C * H numbers, to logits [N, classes], computed
    from the mean of all outputs.
    """

    def __init__(self, inputs: int, classes: int, width: int = 128) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, width, batch_first=True)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        columns = x.flatten(1, 2).transpose(1, 2)
        logits: Tensor = self.classifier(self.lstm(columns)[0].mean(1))
        return logits


def lstm(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Build an :class:`LSTMReader` for text ``(length,)``, or an :class:`LSTMListener` for images.

    >>> import torch
    >>> lstm((64,), 65)(torch.zeros(2, 64, dtype=torch.int64)).shape
    torch.Size([2, 64, 65])
    """
    if len(input_shape) == 1:
        return LSTMReader(classes)
    return LSTMListener(input_shape[0] * input_shape[1], classes)
