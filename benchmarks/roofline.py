"""The least time that each part of a training step can take on this machine.

A part moves bytes between memory and processor, multiplies, and draws normal numbers. With the
measured rates of the machine, its least time is

    t = max(bytes / bandwidth, MACs / rate of its dtype, normal numbers / rate),

where all three overlap perfectly. Bytes are those of the tensors that an operation takes and
returns; data that stay in the cache move faster, so small tensors can beat this bound.
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
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from cimsim.kernels import cpu

PRODUCTS, ELSE = "products", "else"
_LARGE = 1 << 24  # numbers, far beyond the caches
_SQUARE = 2048  # rows and columns of the products that measure the rates


class Rates(NamedTuple):
    """What the machine can do: bytes, MACs in float32 and in bfloat16, normal numbers; each in a
    second."""

    bytes: float
    macs: float
    low_macs: float
    numbers: float


@dataclass
class Work:
    """What a part of a step does.

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
        """The least time in ms, and what limits it: memory, multiplication, normal numbers."""
        multiplying = self.macs / rates.macs + self.low_macs / rates.low_macs
        times = {
            "m": self.bytes / rates.bytes,
            "x": multiplying,
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


class _Counter(TorchDispatchMode):
    """Counts and times the operations of torch."""

    def __init__(self, done: dict[str, Work]) -> None:
        super().__init__()
        self._done = done

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        flops = flop_registry.get(func.overloadpacket)
        work = self._done[ELSE if flops is None else PRODUCTS]
        start = time.perf_counter()
        result = func(*args, **kwargs)
        work.seconds += time.perf_counter() - start
        if "empty" not in func.overloadpacket.__name__:
            work.bytes += _moved_bytes((args, kwargs), result)
        if flops is not None:
            macs = flops(*args, **kwargs, out_val=result) / 2
            if _tensors(args)[0].dtype == torch.bfloat16:
                work.low_macs += macs
            else:
                work.macs += macs
        return result


@contextmanager
def counted(kernels: Iterable[str]) -> Iterator[dict[str, Work]]:
    """Within the block, count and time the work of each of cimsim's ``kernels``, of the products of
    torch, and of all its other operations."""
    done: dict[str, Work] = defaultdict(Work)
    with ExitStack() as stack:
        for name in kernels:
            original = getattr(cpu, name)
            stack.enter_context(patch.object(cpu, name, _counting(original, done[name])))
        stack.enter_context(_Counter(done))
        yield done


def _counting(kernel: Callable[..., Any], work: Work) -> Callable[..., Any]:
    def counting(*args: Any, **kwargs: Any) -> Any:
        with _disable_current_modes():
            start = time.perf_counter()
            result = kernel(*args, **kwargs)
            work.seconds += time.perf_counter() - start
        moved = {t.data_ptr(): t.nbytes for t in _tensors((args, kwargs, result))}
        work.bytes += sum(moved.values())
        return result

    return counting


def _tensors(tree: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _moved_bytes(given: object, result: object) -> int:
    """Bytes that an operation reads and writes; 0 for a view."""
    before, after = _tensors(given), _tensors(result)
    storages = {tensor.untyped_storage().data_ptr() for tensor in before}
    written = [
        tensor
        for tensor in after
        if tensor.untyped_storage().data_ptr() not in storages
        or any(tensor is other for other in before)  # in place
    ]
    return sum(tensor.nbytes for tensor in (*before, *written)) if written else 0
