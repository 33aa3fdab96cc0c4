"""The least time that each part of a training step can take on this machine.

A part moves bytes between memory and processor, multiplies, and draws normal numbers. With the
measured rates of the machine, its least time is

    t = max(bytes / bandwidth, MACs / rate of its dtype, normal numbers / rate),

where all three overlap perfectly. Bytes are the sizes of the tensors that an operation takes and
returns; data in the cache move faster, so small tensors can be faster than this bound.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

from cimsim.kernels import cpu
from cimsim.kernels.cpu import Unit
from cimsim.kernels.types import Images
from cimsim.torch_private import DispatchMode

PRODUCTS, ELSE = "products", "else"
_OVERWRITES = {"zero_", "fill_", "copy_", "normal_", "uniform_", "bernoulli_"}
"""Operations that do not read the tensor that they write."""
_LARGE = 1 << 24  # numbers, far beyond the caches
_SQUARE = 2048  # rows and columns of the products that measure the rates


class Rates(NamedTuple):
    """The rates of the machine per second: bytes, MACs in float32 and bfloat16, normal numbers."""

    bytes: float
    macs: float
    low_macs: float
    numbers: float


@dataclass
class Work:
    """The work of a part of a step.

    Attributes:
        seconds: time taken.
        bytes: bytes moved.
        macs, low_macs: multiplications with addition in float32, and in bfloat16.
        numbers: normal numbers drawn.
    """

    seconds: float = 0.0
    bytes: float = 0.0
    macs: float = 0.0
    low_macs: float = 0.0
    numbers: float = 0.0

    def over(self, count: int) -> Work:
        """The work of one of ``count`` repetitions."""
        return Work(*(value / count for value in astuple(self)))

    def least(self, rates: Rates) -> tuple[float, str]:
        """The least time in ms, and what limits it: (m)emory, (p)roducts, (n)ormal numbers."""
        multiplying = self.macs / rates.macs + self.low_macs / rates.low_macs
        times = {
            "m": self.bytes / rates.bytes,
            "p": multiplying,
            "n": self.numbers / rates.numbers,
        }
        limit = max(times, key=lambda name: times[name])
        return times[limit] * 1e3, limit


def measured_rates() -> Rates:
    """The rates of this machine with the present number of threads."""
    source, target = torch.ones(_LARGE), torch.empty(_LARGE)
    numbers = torch.empty(100_000)
    macs = {}
    for dtype in (torch.float32, torch.bfloat16):
        square = torch.ones(_SQUARE, _SQUARE, dtype=dtype)
        macs[dtype] = _SQUARE**3 / best_s(lambda square=square: square @ square, 5)  # type: ignore[misc]
    return Rates(
        bytes=2 * source.nbytes / best_s(lambda: target.copy_(source), 10),
        macs=macs[torch.float32],
        low_macs=macs[torch.bfloat16],
        numbers=numbers.numel() / best_s(lambda: cpu.normal(numbers, 1), 50),
    )


def best_s(run: Callable[[], object], count: int) -> float:
    """The shortest of ``count`` runs in seconds."""

    def once() -> float:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return min(once() for _ in range(count))


class _Counter(DispatchMode):
    """Counts and times the operations of torch, except those within a kernel of cimsim."""

    def __init__(self, done: dict[str, Work]) -> None:
        super().__init__()
        self._done, self._in_kernel = done, False

    def kernel(self, name: str, work: Work) -> Callable[..., Any]:
        """The kernel of that ``name``, which adds to ``work`` when it is called."""
        kernel, low_macs = getattr(cpu, name), _LOW_MACS.get(name)

        def counting(*args: Any, **kwargs: Any) -> Any:
            self._in_kernel = True
            try:
                start = time.perf_counter()
                result = kernel(*args, **kwargs)
                work.seconds += time.perf_counter() - start
            finally:
                self._in_kernel = False
            moved = {t.data_ptr(): t.nbytes for t in _tensors((args, kwargs, result))}
            work.bytes += sum(moved.values())
            if low_macs is not None:
                work.low_macs += low_macs(*args, **kwargs)
            return result

        return counting

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._in_kernel:
            return func(*args, **kwargs)
        flops = flop_registry.get(func.overloadpacket)
        work = self._done[ELSE if flops is None else PRODUCTS]
        start = time.perf_counter()
        result = func(*args, **kwargs)
        work.seconds += time.perf_counter() - start
        work.bytes += _moved_bytes(func.overloadpacket.__name__, args, kwargs, result)
        if flops is not None:
            macs = flops(*args, **kwargs, out_val=result) / 2
            if _tensors(args)[0].dtype == torch.bfloat16:
                work.low_macs += macs
            else:
                work.macs += macs
        return result


# Multiplications of numbers of 16 bits. On the matrix unit: one for a product of first parts, and
# one for each factor with a second part.


def _of_product(a: Tensor, b: Tensor, out: Tensor, whole: tuple[bool, bool]) -> float:
    products = 3 - sum(whole) if cpu.unit() is Unit.MATRIX else 1
    return float(out.numel() * a.shape[2] * products)


def _of_convolution(
    x: Tensor,
    kernels: Tensor,
    out: Tensor,
    images: Images,
    squared: bool = False,
    transposed: bool = False,
) -> float:
    terms = images.channels * images.kernel_height * images.kernel_width
    second_parts = _second_parts(x) + _second_parts(kernels)
    return float(out.numel() * terms * (1 + second_parts))


def _of_correlation(x: Tensor, dz: Tensor, out: Tensor, images: Images) -> float:
    terms = images.channels * images.kernel_height * images.kernel_width
    return float(dz.numel() * terms * (1 + _second_parts(x) + _second_parts(dz)))


def _second_parts(x: Tensor) -> int:
    return int(x.dtype is torch.float32 and cpu.unit() is Unit.MATRIX)


_LOW_MACS: dict[str, Callable[..., float]] = {
    "multiply": _of_product,
    "convolve": _of_convolution,
    "correlate": _of_correlation,
}


@contextmanager
def counted(kernels: Iterable[str]) -> Iterator[dict[str, Work]]:
    """Within the block, count and time the work of each of cimsim's ``kernels``, of all products,
    and of all other operations of torch."""
    done: dict[str, Work] = defaultdict(Work)
    counter = _Counter(done)
    with ExitStack() as stack:
        works = {name: done[name] for name in kernels} | dict.fromkeys(_LOW_MACS, done[PRODUCTS])
        for name, work in works.items():
            stack.enter_context(patch.object(cpu, name, counter.kernel(name, work)))
        stack.enter_context(counter)
        yield done


def _tensors(tree: object) -> list[Tensor]:
    """All tensors in nested lists, tuples and dicts."""
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, dict):
        tree = tuple(tree.values())
    return [t for each in tree for t in _tensors(each)] if isinstance(tree, (tuple, list)) else []


def _moved_bytes(name: str, args: Any, kwargs: dict[str, Any], result: object) -> int:
    """Bytes that the operation ``name`` reads and writes; 0 for a view, and for memory without
    values."""
    if "empty" in name:
        return 0
    given, out = _tensors(args), _tensors(kwargs.get("out"))
    if name.startswith("_foreach"):  # in place, without a result
        results = _tensors(args[0])
    else:
        storages = {tensor.untyped_storage().data_ptr() for tensor in given}
        results = [
            tensor
            for tensor in _tensors(result)
            if tensor.untyped_storage().data_ptr() not in storages
            or any(tensor is other for other in given)  # in place
        ]
    if not (results or out):
        return 0
    if name in _OVERWRITES or name.endswith("_like"):
        given = given[1:]
    return sum(tensor.nbytes for tensor in (*given, *(out or results)))
