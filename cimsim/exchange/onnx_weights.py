"""Weights of an ONNX file in a model of torch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cimsim.errors import CimsimError

if TYPE_CHECKING:
    from torch import Tensor, nn

_MOST_SHOWN = 5


class _Weight(NamedTuple):
    """A weight of the file, and whether an operator multiplies by it as ``[inputs, outputs]``."""

    value: Tensor
    inputs_first: bool


def load_onnx_weights(model: nn.Module, path: str | Path) -> dict[str, str]:
    """Copy the weights (initializers) of an ONNX file into ``model``.

    Weights whose names and shapes the model has are copied by name. All others, which exporters
    rename, are matched in the order in which the file's operators use them, weights of two and more
    dimensions and vectors separately: each weight of the model gets the next one of the file, which
    must have its shape, or the transposed one of a linear layer. The matrix of a linear layer is
    transposed if an operator multiplies by it as ``[inputs, outputs]`` (``MatMul``, or ``Gemm``
    without ``transB``). Apart from that, operators are not read: the architecture is the model's,
    and a file with fused batch norms fits a model without them.

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

    given = _weights(Path(path))
    wanted = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if tensor.is_floating_point() and tensor.dim() > 0 and not name.endswith(_OWN)
    }
    linear = {
        f"{name}.weight".lstrip(".")
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    pairs = _by_name(wanted, given)
    pairs |= _in_order(wanted, given, pairs, linear, Path(path))
    with torch.no_grad():
        for name, (_, value) in pairs.items():
            wanted[name].copy_(value)
    return {name: pairs[name][0] for name in wanted}


# Ranges of converters; files of other tools do not have them.
_OWN = ("dac_range", "adc_range", "adc_values")


def _weights(path: Path) -> dict[str, _Weight]:
    """Return the weights of a file in the order of their use."""
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
    inputs_first = {node.input[1] for node in graph.node if _multiplies_as_it_is(node)}
    used = (name for node in graph.node for name in node.input)
    return {
        name: _Weight(tensors[name], name in inputs_first)
        for name in dict.fromkeys((*used, *tensors))
        if name in tensors
    }


def _multiplies_as_it_is(node: Any) -> bool:
    """Return whether an operator multiplies by its second input without transposing it."""
    if node.op_type == "Gemm":
        return not any(a.name == "transB" and a.i for a in node.attribute)
    return bool(node.op_type == "MatMul")


_Pairs = dict[str, "tuple[str, Tensor]"]


def _by_name(wanted: Mapping[str, Tensor], given: Mapping[str, _Weight]) -> _Pairs:
    """Return the pairs of equal names and shapes."""
    return {
        name: (name, given[name].value)
        for name, tensor in wanted.items()
        if name in given and given[name].value.shape == tensor.shape
    }


def _in_order(
    wanted: Mapping[str, Tensor],
    given: Mapping[str, _Weight],
    named: Collection[str],
    linear: Collection[str],
    path: Path,
) -> _Pairs:
    """Return the pairs of all weights that are not ``named`` by order and shape, matrices and
    vectors separately; ``linear`` are the weights of linear layers."""
    pairs: _Pairs = {}
    for vectors in (False, True):
        ours = [(n, t) for n, t in wanted.items() if n not in named and (t.dim() == 1) == vectors]
        theirs = [
            (n, w) for n, w in given.items() if n not in named and (w.value.dim() == 1) == vectors
        ]
        if not ours and named:  # what else the file contains are constants of its operators
            continue
        what = "vectors" if vectors else "weights"
        if len(ours) != len(theirs):
            listed = _listed((name, weight.value) for name, weight in theirs)
            apart = "apart from those of equal names, " if named else ""
            raise CimsimError(
                f"{path}: {apart}the file has {len(theirs)} {what}{listed}, but the model has "
                f"{len(ours)}{_listed(ours)}"
            )
        for (name, tensor), (source, weight) in zip(ours, theirs, strict=True):
            value = _oriented(weight, tensor, name in linear)
            if value.shape != tensor.shape:
                raise CimsimError(
                    f"{path}: '{source}' of shape {list(value.shape)} does not fit '{name}' of the "
                    f"model, whose shape is {list(tensor.shape)}"
                )
            pairs[name] = (source, value)
    return pairs


def _oriented(weight: _Weight, tensor: Tensor, linear: bool) -> Tensor:
    """Return the value for ``tensor`` of the model; square matrices of linear layers are transposed
    if the file multiplies by them as ``[inputs, outputs]``."""
    value = weight.value
    if value.dim() != 2 or value.T.shape != tensor.shape:
        return value
    square = value.shape == tensor.shape
    return value.T if not square or (linear and weight.inputs_first) else value


def _listed(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Return names and shapes in parentheses; nothing without tensors."""
    texts = [f"{name} {list(tensor.shape)}" for name, tensor in tensors]
    more = len(texts) - _MOST_SHOWN
    shown = ", ".join(texts[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return f" ({shown})" if shown else ""
