"""Text generation with a language model."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.nn import evaluating
from cimsim.training.data import DataSet
from cimsim.training.data.text import END_OF_LINE

_PROMPT = {"character": 24, "word": 6}


def beginning(data: DataSet) -> str:
    """Return the first symbols of the test data, on one line.

    Raises:
        CimsimError: if ``data`` is not text.
    """
    _require_text(data)
    symbols = data.test_x[0, : _PROMPT[data.token]].tolist()
    return " ".join("".join(written(data, int(symbol)) for symbol in symbols).split())


def _require_text(data: DataSet) -> None:
    if not data.token:
        raise CimsimError(f"cannot generate text: the data set '{data.name}' is not text")


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
    """Continue ``prompt`` by ``length`` symbols of ``data``, sampled from

        softmax(logits / temperature)

    for the model's output at the last window of the text; a temperature of 0 selects the most
    likely symbol. Each symbol is yielded as soon as it is sampled. Every symbol is a separate read
    of the chip that ``model`` is programmed on.

    Raises:
        CimsimError: if ``data`` is not text, if the prompt is empty or contains a symbol that the
            data do not contain, or if the model's output is not finite.
    """
    _require_text(data)
    (window,) = data.input_shape
    tokens = _tokens(data, prompt)
    with evaluating(model):
        for _ in range(length):
            seen = torch.tensor([tokens[-window:]], device=device)
            logits: Tensor = model(seen)[0, -1].double().cpu()
            if not bool(logits.isfinite().all()):
                raise CimsimError("the model's output is not finite; check its chip and its age")
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
        raise CimsimError("the prompt is empty; write some text to continue")
    unknown = sorted({piece for piece in pieces if piece not in numbers})
    if unknown:
        raise CimsimError(
            f"the prompt contains {data.token}s that are not in {data.name}: "
            + ", ".join(map(repr, unknown))
        )
    return [numbers[piece] for piece in pieces]


def written(data: DataSet, token: int) -> str:
    """Return a symbol as text, including its separator."""
    symbol = data.symbols[token]
    if data.token == "character":
        return symbol
    return "\n" if symbol == END_OF_LINE else f"{symbol} "
