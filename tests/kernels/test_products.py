"""Products in numbers of 16 bits: as accurate as promised, for every size, layout and number
of threads; elsewhere torch multiplies."""

import subprocess
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim import kernels
from cimsim.kernels import cpu
from cimsim.kernels.build import find_compiler
from cimsim.kernels.cpu import Unit
from cimsim.kernels.products import Product

LARGE = (3, 150, 70, 160)
SPLIT = Product(split=True, whole=(True, False))


def factors(batch: int, m: int, k: int, n: int) -> tuple[Tensor, Tensor]:
    """Whole numbers up to 256, and numbers of many sizes."""
    seed = torch.Generator().manual_seed(m * k * n)
    a = torch.randint(-256, 257, (batch, m, k), generator=seed).float()
    b = torch.randn(batch, k, n, generator=seed) * torch.logspace(-3, 3, n)
    return a, b


def laid_out(t: Tensor, how: str) -> Tensor:
    """The numbers of ``t`` in another order in memory."""
    if how == "across":
        return t.transpose(1, 2).contiguous().transpose(1, 2)
    if how == "part of a matrix":
        wide = torch.full((t.shape[0] + 1, t.shape[1] + 3, t.shape[2] + 5), torch.nan)
        wide[1:, 2:-1, 1:-4] = t
        return wide[1:, 2:-1, 1:-4]
    return t


def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of the first factors that the unit multiplies from here on."""
    seen: list[tuple[int, ...]] = []
    multiply = cpu.multiply

    def counting(a: Tensor, *others: object) -> None:
        seen.append(tuple(a.shape))
        multiply(a, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(cpu, "multiply", counting)
    return seen


def check(a: Tensor, b: Tensor, whole: tuple[bool, bool]) -> None:
    """A factor that is not whole has an error of 2^-17 of each number on the matrix unit, and of
    2^-16 of the largest number of its line on the other; sums in float32 add theirs."""
    out = torch.full((a.shape[0], a.shape[1], b.shape[2]), torch.nan)
    cpu.multiply(a, b, out, whole)
    a, b = a.double(), b.double()
    sizes = a.abs() @ b.abs()
    if cpu.unit() is Unit.MATRIX:
        error = 2.0**-16 * (2 - sum(whole)) * sizes
    else:
        of_a = a.abs() if whole[0] else a.abs().amax(2, keepdim=True).expand_as(a)
        of_b = b.abs() if whole[1] else b.abs().amax(1, keepdim=True).expand_as(b)
        error = 2.0**-16 * (of_a @ of_b)
    assert ((out - a @ b).abs() <= error + a.shape[2] * 2.0**-24 * sizes).all()


@pytest.mark.parametrize(
    ("unit", "flag", "macro"),
    [(Unit.MATRIX, "amx_bf16", "__AMX_BF16__"), (Unit.VECTOR, "avx512_vnni", "__AVX512VNNI__")],
    ids=["MATRIX", "VECTOR"],
)
def test_a_processor_with_the_unit_uses_it(unit: Unit, flag: str, macro: str) -> None:
    """Otherwise the tests of this file and the next would all be skipped: a build for this
    processor may have failed, and one for any processor works, too."""
    processor, compiler = Path("/proc/cpuinfo"), find_compiler()
    if cpu.build().library is None or not processor.exists():
        pytest.skip("there are no kernels, or this is not Linux")
    if flag not in processor.read_text():
        pytest.skip(f"this processor has no {unit.name} unit")
    macros = [*compiler, "-march=native", "-dM", "-E", "-x", "c++", "/dev/null"]
    defined = subprocess.run(macros, capture_output=True, text=True, check=True).stdout
    if macro not in defined:
        pytest.skip("this compiler is older than the unit")
    assert cpu.unit() in (unit, Unit.MATRIX)


@pytest.mark.parametrize("m", [1, 15, 16, 17, 33, 70])
@pytest.mark.parametrize("k", [1, 2, 31, 32, 33, 100])
@pytest.mark.parametrize("n", [1, 16, 31, 50])
def test_any_size(unit: Unit, m: int, k: int, n: int) -> None:
    a, b = factors(2, m, k, n)
    check(a, b, (True, False))
    check(b.transpose(1, 2), a.transpose(1, 2), (False, True))
    if unit is Unit.MATRIX:
        check(a + 0.3, b, (False, False))


@pytest.mark.usefixtures("unit")
def test_many_terms() -> None:
    """Exact sums of 32 bits would overflow if they were longer."""
    for sign in (-1, 1):
        a, b = torch.full((1, 17, 3000), 256.0), torch.full((1, 3000, 40), sign * 3.0)
        b[:, :, ::2] *= torch.linspace(0.9, 1, 3000).view(1, -1, 1)
        check(a, b, (True, False))
        check(b.transpose(1, 2), a.transpose(1, 2), (False, True))


@pytest.mark.usefixtures("unit")
@pytest.mark.parametrize("size", [0.0, 1e-42, 1e-30, 1e30])
def test_any_scale(size: float) -> None:
    a, b = factors(1, 40, 70, 50)
    out = torch.full((1, 40, 50), torch.nan)
    cpu.multiply(a, size * b, out, (True, False))
    sums = a.double().abs().sum(2, keepdim=True)
    step = 2.0**-15 * (size * b).double().abs().amax(1, keepdim=True)
    allowed = (step + 2.0**-100) * sums  # smaller numbers may be rounded to 0
    assert ((out - a.double() @ (size * b).double()).abs() <= allowed).all()


@pytest.mark.usefixtures("unit")
def test_numbers_beside_a_large_one_are_not_all_rounded_to_zero() -> None:
    """Gradients of many inputs: the scale is that of the 256 numbers beside it."""
    b = torch.full((1, 1 << 14, 100), 7e-6)
    b[:, 0] = 1
    a = torch.full((1, 80, 1 << 14), 100.0)
    assert torch.allclose(SPLIT(a, b), a @ b, rtol=2e-3)


@pytest.mark.usefixtures("unit")
@pytest.mark.parametrize("of_a", ["along", "across", "part of a matrix"])
@pytest.mark.parametrize("of_b", ["along", "across", "part of a matrix"])
def test_any_layout(of_a: str, of_b: str) -> None:
    a, b = factors(3, 40, 70, 50)
    check(laid_out(a, of_a), laid_out(b, of_b), (True, False))
    check(
        laid_out(a, of_a).expand(3, -1, -1), laid_out(b[:1], of_b).expand(3, -1, -1), (True, False)
    )


@pytest.mark.usefixtures("unit")
def test_threads_and_other_products_do_not_change_a_bit() -> None:
    a, b = factors(*LARGE)
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(SPLIT(a, b))
            SPLIT(*factors(1, 200, 300, 100 + 16 * threads))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert torch.equal(results[0], other)


@pytest.mark.usefixtures("unit")
def test_nan_and_infinity_stay_in_their_lines() -> None:
    a, b = factors(*LARGE)
    a[0, 3, 5], a[1, 4, 6], b[2, 7, 8], b[2, 8, 9] = (torch.nan, torch.inf) * 2
    bad = ~SPLIT(a, b).isfinite()
    for lines in (bad[0, 3], bad[1, 4], bad[2, :, 8], bad[2, :, 9]):
        assert lines.all()
    assert bad.sum() == 2 * b.shape[2] + 2 * a.shape[1]


def test_which_products_are_split(unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = calls(monkeypatch)
    a, b = factors(*LARGE)
    assert SPLIT(a, b).shape == (3, 150, 160)
    assert seen == [(3, 150, 70)]
    few_terms, few_rows = factors(1, 150, 31, 160), factors(1, 20, 70, 1000)
    doubles, low = (a.double(), b.double()), (a.bfloat16(), b.bfloat16())
    strided, learned = (a[:, ::2, ::2], b[:, ::2]), (a, nn.Parameter(b))
    negative = torch.complex(a, a).conj().imag, b
    for left_to_torch in (few_terms, few_rows, doubles, low, strided, learned, negative):
        x, w = left_to_torch
        assert torch.equal(SPLIT(x, w), torch.bmm(x, w))
    assert torch.equal(Product()(a, b), torch.bmm(a, b))
    with kernels.use("numbers"):
        assert torch.equal(SPLIT(a, b), torch.bmm(a, b))
    assert len(seen) == 1
    Product(split=True)(a, b)
    assert len(seen) == (2 if unit is Unit.MATRIX else 1)
    monkeypatch.setattr(cpu, "unit", lambda: None)
    assert torch.equal(SPLIT(a, b), torch.bmm(a, b))
    assert len(seen) == (2 if unit is Unit.MATRIX else 1)


def test_the_result_is_in_its_slot_or_in_new_memory() -> None:
    a, b = factors(*LARGE)
    for split in (False, True):
        product = SPLIT._replace(split=split)
        first, second = (product._replace(slot="a slot of this test")(a, b) for _ in range(2))
        assert first.data_ptr() == second.data_ptr()
        kept, other = (product(a, b) for _ in range(2))
        assert kept.data_ptr() != other.data_ptr()


@pytest.mark.parametrize(
    ("overrides", "on_matrix_unit", "on_vector_unit"),
    [
        ({}, 3, 2),
        ({"dac.bits": 10}, 3, 0),
        ({"adc.bits": 10}, 3, 2),
        ({"adc.bits": 11}, 0, 0),
        ({"adc.bits": None}, 0, 0),
    ],
)
def test_only_what_an_adc_rounds_is_split(
    unit: Unit,
    overrides: dict[str, object],
    on_matrix_unit: int,
    on_vector_unit: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An ideal array stays as accurate as float32."""
    x = torch.randn(192, 256, generator=torch.Generator().manual_seed(0))
    profile = cimsim.load_profile("pcm-ibm-2020", overrides)
    layer = cimsim.calibrate(cimsim.convert(nn.Linear(256, 160), profile), [x])
    seen = calls(monkeypatch)
    layer.train()(x.requires_grad_()).sum().backward()
    assert len(seen) == (on_matrix_unit if unit is Unit.MATRIX else on_vector_unit)


def test_inputs_of_more_than_8_bits(unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The matrix unit splits them up."""
    wholes: list[tuple[bool, bool]] = []
    multiply = cpu.multiply

    def noting(a: Tensor, b: Tensor, out: Tensor, whole: tuple[bool, bool]) -> None:
        wholes.append(whole)
        multiply(a, b, out, whole)

    monkeypatch.setattr(cpu, "multiply", noting)
    x = torch.randn(192, 256, generator=torch.Generator().manual_seed(0))
    for bits, whole in ((8, True), (9, True), (10, False)):
        wholes.clear()
        profile = cimsim.load_profile("pcm-ibm-2020", {"dac.bits": bits})
        layer = cimsim.calibrate(cimsim.convert(nn.Linear(256, 160), profile), [x])
        layer.train()(x.clone().requires_grad_()).sum().backward()
        if unit is Unit.MATRIX:
            assert wholes == [(whole, False), (False, False), (False, whole)]
        else:
            assert wholes == ([(True, False), (False, True)] if whole else [])
