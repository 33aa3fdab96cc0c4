"""The work of a step is counted from its tensors."""

from __future__ import annotations

import pytest
import torch

import cimsim
from benchmarks.roofline import ELSE, PRODUCTS, Rates, Work, counted
from benchmarks.split import KERNELS
from cimsim.kernels import cpu


def test_the_work_of_operations() -> None:
    a, b = torch.ones(2, 3), torch.ones(3, 5)
    with counted(()) as done:
        a @ b
        a.add_(1)  # reads and writes one tensor
        a.t()  # moves nothing
        torch.empty_like(b)
        a.bfloat16()
        torch.zeros_like(a)
        a.copy_(torch.empty(2, 3))
        a.zero_()
        torch._foreach_add_([a], [a])
    assert done[PRODUCTS].macs == 2 * 3 * 5
    assert done[PRODUCTS].bytes == 4 * (6 + 15 + 10)
    assert done[ELSE].bytes == 4 * 6 * (2 + 1.5 + 1 + 2 + 1 + 3)
    assert done[PRODUCTS].seconds > 0


def test_products_in_low_precision_are_counted_apart() -> None:
    a = torch.ones(4, 4, dtype=torch.bfloat16)
    with counted(()) as done:
        a @ a
    assert (done[PRODUCTS].macs, done[PRODUCTS].low_macs) == (0, 4**3)


@pytest.mark.skipif(cpu.build().library is None, reason="the kernels are not built")
def test_the_work_of_kernels() -> None:
    x = torch.randn(8, 16)
    model = cimsim.convert(torch.nn.Linear(16, 4), "pcm-ibm-2020")
    cimsim.calibrate(model, [x])
    with counted(KERNELS) as done:
        model(x).sum().backward()
    moved = {name: done[name].bytes for name in KERNELS}
    weight = 4 * 4 * 16
    assert moved["program"] >= 2 * weight  # the weight, and what is programmed
    assert moved["encode"] >= 2 * x.nbytes
    assert all(moved[name] > 0 for name in ("vjp_programming", "digitize"))


def test_the_least_time_is_that_of_the_slowest_resource() -> None:
    rates = Rates(bytes=1e9, macs=1e9, low_macs=2e9, numbers=1e9)
    assert Work(bytes=1e6, macs=5e5, numbers=1e5).least(rates) == (1.0, "m")
    assert Work(bytes=1e6, macs=1e6, low_macs=2e6).least(rates) == (2.0, "p")
    assert Work(numbers=3e6).over(3).least(rates) == (1.0, "n")
