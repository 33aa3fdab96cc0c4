"""Weights of an ONNX file in a model of torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cimsim.errors import CimsimError

if TYPE_CHECKING:
    from torch import Tensor, nn

_MOST_SHOWN = 5


def load_onnx_weights(model: nn.Module, path: str | Path) -> dict[str, str]:
    """Copy the weights (initializers) of an ONNX file into ``model``.

    Weights whose names the model has are copied by name. If not all names agree, which is so for
    files of other tools, weights of two and more dimensions, and vectors, are matched in the order
    of the file by their shapes: each weight of the model gets the next one in the file, which must
    have its shape, or the transposed one of a linear layer. The file's operators are not read: the
    architecture is the model's, and a file with fused batch norms fits a model without them.

    Args:
        model: the model, digital or converted; it is changed in place.
        path: the ONNX file.

    Returns:
        The name in the file of each weight of the model.

    Raises:
        CimsimError: if onnx is not installed, the file cannot be read, or a weight has no
            counterpart; the model is unchanged then.
    """
    import torch

    given = _initializers(Path(path))
    wanted = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if tensor.is_floating_point() and tensor.dim() > 0 and not name.endswith(_OWN)
    }
    pairs = _by_name(wanted, given) or _in_order(wanted, given, Path(path))
    with torch.no_grad():
        for name, (_, value) in pairs.items():
            wanted[name].copy_(value)
    return {name: source for name, (source, _) in pairs.items()}


# Ranges of converters; files of other tools do not have them.
_OWN = ("dac_range", "adc_range", "adc_values")


def _initializers(path: Path) -> dict[str, Tensor]:
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError:
        raise CimsimError("reading ONNX files requires onnx: pip install onnx") from None
    import torch

    if not path.is_file():
        raise CimsimError(f"{path}: there is no such file")
    try:
        graph: Any = onnx.load(str(path)).graph
    except Exception as error:  # of protobuf, in several classes without a common one
        raise CimsimError(f"{path}: not an ONNX file ({error})") from None
    tensors = {}
    for initializer in graph.initializer:
        value = torch.from_numpy(numpy_helper.to_array(initializer).copy())
        if value.is_floating_point() and value.dim() > 0:
            tensors[initializer.name] = value
    if not tensors:
        raise CimsimError(f"{path}: the file contains no weights")
    return tensors


_Pairs = dict[str, "tuple[str, Tensor]"]


def _by_name(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> _Pairs | None:
    """Return the pairs by name, or None if a name is missing or a shape differs."""
    pairs: _Pairs = {}
    for name, tensor in wanted.items():
        value = given.get(name)
        if value is None or value.shape != tensor.shape:
            return None
        pairs[name] = (name, value)
    return pairs


def _in_order(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], path: Path) -> _Pairs:
    """Return the pairs by order and shape, matrices and vectors separately."""
    pairs: _Pairs = {}
    for vectors in (False, True):
        ours = [(name, t) for name, t in wanted.items() if (t.dim() == 1) == vectors]
        theirs = [(name, t) for name, t in given.items() if (t.dim() == 1) == vectors]
        what = "vectors" if vectors else "weights"
        if len(ours) != len(theirs):
            raise CimsimError(
                f"{path}: the file has {len(theirs)} {what} ({_listed(theirs)}), but the model has "
                f"{len(ours)} ({_listed(ours)})"
            )
        for (name, tensor), (source, value) in zip(ours, theirs, strict=True):
            if value.shape != tensor.shape and value.dim() == 2 and value.T.shape == tensor.shape:
                value = value.T
            if value.shape != tensor.shape:
                raise CimsimError(
                    f"{path}: '{source}' of shape {list(value.shape)} does not fit '{name}' of the "
                    f"model, whose shape is {list(tensor.shape)}"
                )
            pairs[name] = (source, value)
    return pairs


def _listed(tensors: list[tuple[str, Tensor]]) -> str:
    shown = [f"{name} {list(tensor.shape)}" for name, tensor in tensors[:_MOST_SHOWN]]
    more = len(tensors) - _MOST_SHOWN
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
