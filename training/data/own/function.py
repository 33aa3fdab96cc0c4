"""Data that a function of the user returns, named ``package.module:function``."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cimsim.errors import CimsimError
from cimsim.named import described, named_function
from cimsim.training.data.dataset import DataSet
from cimsim.training.data.own.arrays import to_numpy
from cimsim.training.data.own.samples import Samples, data_set

_FAULTS = (Exception, SystemExit)


def read_function(spec: str) -> DataSet:
    """Call the function of ``spec``, which returns two torch data sets or a :class:`DataSet`.

    The two, to train and to test on, have pairs of an input and a label by number, as
    ``torch.utils.data.Dataset`` has. The function's code is run, so ``spec`` must come from the
    user; see :func:`cimsim.training.models.require_trust`.

    Raises:
        CimsimError: if there is no such function, it fails, or returns something else.
    """
    if "=" in spec:
        raise CimsimError(f"data '{spec}': a function has no settings")
    function = named_function(spec, "data")
    try:
        result = function()
    except _FAULTS as error:
        raise CimsimError(f"data '{spec}': {described(error)}") from error
    try:
        if isinstance(result, DataSet):
            return _checked(result, spec)
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise CimsimError(
                "it must return (train, test) or a cimsim.training.data.DataSet, not "
                f"{type(result).__name__}"
            )
        train, test = (_samples(part, spec) for part in result)
        return data_set(spec, train, test)
    except CimsimError as error:
        message = str(error)
        raise CimsimError(
            message if message.startswith("data '") else f"data '{spec}': {message}"
        ) from None


def _samples(part: Any, spec: str) -> Samples:
    if not hasattr(part, "__getitem__") or not hasattr(part, "__len__"):
        raise CimsimError(
            f"{type(part).__name__} must have samples by number and a length, as "
            "torch.utils.data.Dataset has"
        )
    try:
        pairs = [part[number] for number in range(len(part))]
    except _FAULTS as error:
        raise CimsimError(f"data '{spec}': {described(error)}") from error
    if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
        raise CimsimError("samples must be pairs of an input and a label")
    if not pairs:
        raise CimsimError("a part has no samples")
    x, y = zip(*pairs, strict=True)
    return Samples(_stacked(x, "inputs"), _stacked(y, "labels"))


def _stacked(values: Any, what: str) -> NDArray[Any]:
    each = [to_numpy(v) if isinstance(v, Tensor) else np.asarray(v) for v in values]
    if len({array.shape for array in each}) > 1:
        raise CimsimError(f"the {what} have different shapes")
    return np.stack(each)


def _checked(data: DataSet, spec: str) -> DataSet:
    """Return ``data`` with a fingerprint.

    Raises:
        CimsimError: if its tensors do not fit each other.
    """
    for x, y in ((data.train_x, data.train_y), (data.test_x, data.test_y)):
        if len(x) != len(y) or not len(x) or x.shape[1:] != data.train_x.shape[1:]:
            raise CimsimError(
                "inputs and labels must have equal lengths above 0, and inputs equal shapes, not "
                f"{list(x.shape)} with {list(y.shape)}"
            )
        if data.target_scale is None and not (0 <= int(y.min()) <= int(y.max()) < data.classes):
            raise CimsimError(f"labels must be 0 to {data.classes - 1}")
        if not bool(x.isfinite().all()) or not bool(y.isfinite().all()):
            raise CimsimError("there is NaN or infinity")
    if data.fingerprint:
        return data
    digest = hashlib.sha256()
    for tensor in (data.train_x, data.train_y, data.test_x, data.test_y):
        digest.update(f"{tensor.shape}{tensor.dtype}".encode())
        digest.update(np.ascontiguousarray(to_numpy(tensor)).data)
    return replace(data, fingerprint=digest.hexdigest())
