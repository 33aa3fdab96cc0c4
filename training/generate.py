"""Text from a model of text, symbol by symbol."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.nn import evaluating
from cimsim.training.data import DataSet
from cimsim.training.data.text import END_OF_LINE


@torch.no_grad()
def generate(
    model: nn.Module,
    data: DataSet,
    prompt: str,
    length: int,
    *,
    temperature: float = 0.8,
    rng: torch.Generator,
    device: torch.device | str = "cpu",
) -> Iterator[str]:
    """Go on from ``prompt`` for ``length`` symbols of ``data``, drawn from

        softmax(logits / temperature)

    of the model's answer to the last window of the text; a temperature of 0 takes the likeliest.
    Each piece of text is given as soon as it is there. Every symbol is a read of its own of the
    chip that ``model`` is programmed on.

    Raises:
        CimsimError: if ``data`` is no text, the prompt is empty or holds a symbol that the data
            do not have, or the model's answer is not finite.
    """
    if not data.token:
        raise CimsimError(f"the data set '{data.name}' is no text, so there is nothing to generate")
    (window,) = data.input_shape
    tokens = _tokens(data, prompt)
    with evaluating(model):
        for _ in range(length):
            seen = torch.tensor([tokens[-window:]], device=device)
            logits: Tensor = model(seen)[0, -1].double().cpu()
            if not bool(logits.isfinite().all()):
                raise CimsimError("the model's answer is not finite; look at its chip and its age")
            if temperature == 0:
                token = int(logits.argmax())
            else:
                shares = (logits / temperature).softmax(0)
                token = int(torch.multinomial(shares, 1, generator=rng))
            tokens.append(token)
            yield written(data, token)


def _tokens(data: DataSet, prompt: str) -> list[int]:
    numbers = {symbol: number for number, symbol in enumerate(data.symbols)}
    pieces = list(prompt) if data.token == "character" else prompt.split()
    if not pieces:
        raise CimsimError("the prompt is empty; give the text that is to be gone on with")
    unknown = sorted({piece for piece in pieces if piece not in numbers})
    if unknown:
        raise CimsimError(
            f"the prompt holds {data.token}s that {data.name} does not have: "
            + ", ".join(map(repr, unknown))
        )
    return [numbers[piece] for piece in pieces]


def written(data: DataSet, token: int) -> str:
    """A symbol as it stands in the text."""
    symbol = data.symbols[token]
    if data.token == "character":
        return symbol
    return "\n" if symbol == END_OF_LINE else f"{symbol} "
