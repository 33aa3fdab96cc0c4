"""How a model runs within a block: in evaluation mode, without torch's compiler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cimsim.nn.forms import Model
from cimsim.torch_private import compiler_is_loaded


@contextmanager
def evaluating(model: Model) -> Iterator[Model]:
    """Put ``model`` in evaluation mode within the block, and restore all modes after it."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield model
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def uncompiled() -> Iterator[None]:
    """Run compiled models without their compiled code within the block, which changes layers so
    often that torch would compile them again and again, and finally give up."""
    if not compiler_is_loaded():  # nothing is compiled, and the import takes seconds
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield
