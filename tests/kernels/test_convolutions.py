"""Convolutions in numbers of 16 bits: as accurate as promised for every size, kind of numbers
and number of threads; elsewhere torch convolves."""

import itertools
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import cimsim
from cimsim import kernels
from cimsim.kernels import convolutions, cpu
from cimsim.kernels.convolutions import Convolution
from cimsim.kernels.cpu import Unit
from cimsim.kernels.products import Product

SPLIT = Product(split=True)
F32, S8, U8 = torch.float32, torch.int8, torch.uint8
LARGE = Convolution((1, 1), (1, 1), (1, 1), 2)
LARGE_X, LARGE_KERNELS = (8, 32, 16, 16), (64, 16, 3, 3)


@pytest.fixture
def any_size(unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unit convolves however few products there are."""
    monkeypatch.setattr(convolutions, "_LEAST_USE", {unit: 0})
    monkeypatch.setattr(convolutions, "_FEWEST_CHANNELS", {unit: 0})
    monkeypatch.setattr(convolutions, "_FEWEST_PRODUCTS", 0)


def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, torch.dtype]]:
    """The functions of the unit that are called from here on, and the dtype of their images."""
    seen: list[tuple[str, torch.dtype]] = []
    real = {name: getattr(cpu, name) for name in ("convolve", "correlate")}

    def note(name: str, x: Tensor, *others: object, **named: object) -> None:
        seen.append((name, x.dtype))
        real[name](x, *others, **named)

    for name in real:
        monkeypatch.setattr(cpu, name, partial(note, name))
    return seen


def draw(*shape: int, whole: bool = False) -> Tensor:
    seed = torch.Generator().manual_seed(sum(shape))
    if whole:
        return torch.randint(-127, 128, shape, generator=seed).float()
    return torch.randn(shape, generator=seed) * torch.logspace(-2, 2, shape[-1])


def exact(convolution: Convolution, x: Tensor, kernels: Tensor) -> Tensor:
    stride, padding, dilation, tiles = convolution
    convolve = (F.conv1d, F.conv2d)[x.dim() - 3]
    return convolve(x.double(), kernels.double(), None, stride, padding, dilation, tiles)


def check(got: Tensor, exactly: Tensor, error: Tensor) -> None:
    assert got.shape == exactly.shape
    assert ((got - exactly).abs() <= error).all()


def rounded(t: Tensor, of_line: tuple[int, ...]) -> Tensor:
    """What the error of a number is in proportion to: its size on the matrix unit, and on the
    vector unit the largest size over the dimensions ``of_line``."""
    sizes = t.double().abs()
    if cpu.unit() is Unit.MATRIX:
        return sizes
    return sizes.amax(of_line, keepdim=True).expand_as(sizes)


def gradients(convolution: Convolution, x: Tensor, w: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
    """Of images and kernels, in float64."""
    operands = (x.double().requires_grad_(), w.double().requires_grad_())
    dx, dw = torch.autograd.grad(exact(convolution, *operands), operands, dz.double())
    return dx, dw


def check_all(convolution: Convolution, x_shape: tuple[int, ...], kernel: tuple[int, ...]) -> None:
    """Product and both gradients, of whole numbers and of others. A factor that is not whole has an
    error of 2^-17 of its numbers, or 2^-16 of the largest one of a line; the matrix unit leaves out
    the product of both second parts; sums in float32 add their errors."""
    tiles, columns = convolution.tiles, kernel[0]
    kernels = draw(tiles * columns, *kernel[1:])
    x = draw(x_shape[0], tiles * kernel[1], *x_shape[1:])
    codes = draw(*x.shape, whole=True)
    for images, parts in ((x, 2), (codes.to(torch.int8), 1), (codes.to(torch.uint8), 1)):
        z, step, sizes = exact(convolution, images, kernels), parts * 2.0**-16, images.abs()
        got = convolution.product(images, kernels, SPLIT)
        terms = exact(convolution, sizes, kernels.abs())
        rough = exact(convolution, sizes, rounded(kernels, tuple(range(1, kernels.dim()))))
        check(got, z, step * rough + kernels[0].numel() * 2.0**-24 * terms)
        dz = draw(*z.shape)
        dx, dw = gradients(convolution, images, kernels, dz)
        of_dx, of_dw = gradients(convolution, sizes, kernels.abs(), dz.abs())
        over = tuple(d for d in range(dz.dim()) if d != 1)
        _, rough = gradients(convolution, sizes, kernels, rounded(dz, over))
        got = convolution.kernels_grad(dz, images, kernels.shape, SPLIT)
        check(got, dw, step * rough + dz[:, 0].numel() * 2.0**-24 * of_dw)
        got = convolution.input_grad(dz, kernels, images.shape, SPLIT)
        terms = columns * kernels[0, 0].numel()
        check(got, dx, (2 * 2.0**-16 + terms * 2.0**-24) * of_dx)


SIZES = st.integers(1, 40)


@pytest.mark.usefixtures("any_size")
@given(st.data())
def test_any_size(data: st.DataObject) -> None:
    def pair(low: int, high: int) -> tuple[int, int]:
        return (data.draw(st.integers(low, high)), data.draw(st.integers(low, high)))

    kernel, stride, padding = pair(1, 4), pair(1, 3), pair(0, 3)
    least = [max(1, k - 2 * p) for k, p in zip(kernel, padding, strict=True)]
    places = tuple(data.draw(st.integers(low, 35)) for low in least)
    batch, tiles = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 3))
    channels, columns = data.draw(st.sampled_from([1, 2, 3, 16, 17, 33])), data.draw(SIZES)
    convolution = Convolution(stride, padding, (1, 1), tiles)
    check_all(convolution, (batch, *places), (columns, channels, *kernel))


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("length", [5, 100])
def test_sequences(stride: int, length: int) -> None:
    check_all(Convolution((stride,), (2,), (1,), 2), (3, length), (20, 7, 5))


@pytest.mark.usefixtures("unit")
@pytest.mark.parametrize(
    ("x_shape", "kernel"),
    [((2, 70, 300), (24, 40, 3, 3)), ((9, 14, 14), (256, 56, 3, 3)), ((20, 8, 8), (64, 32, 3, 3))],
    ids=["bands of rows", "many columns", "images side by side"],
)
def test_large_images(x_shape: tuple[int, ...], kernel: tuple[int, ...]) -> None:
    check_all(Convolution((1, 1), (1, 1), (1, 1), 1), x_shape, kernel)


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("channels", [16, 7])
def test_squares_of_bytes(unit: Unit, dtype: torch.dtype, stride: int, channels: int) -> None:
    """Squares and variances are rounded to 8 bits, and on the matrix unit the sums are not."""
    convolution = Convolution((stride, stride), (1, 1), (1, 1), 2)
    codes = draw(8, 2 * channels, 16, 16, whole=True).to(dtype)
    variances = draw(64, channels, 3, 3).square().bfloat16()
    got = convolution.product(codes, variances, SPLIT, squared=True)
    assert torch.equal(got, convolution.product(codes, variances.float(), SPLIT, squared=True))
    expected = exact(convolution, codes.double().square(), variances)
    if unit is Unit.VECTOR:  # torch convolves
        assert got.dtype is torch.bfloat16
        assert torch.allclose(got.double(), expected, rtol=2.0**-6)
        return
    assert got.dtype is torch.float32
    assert torch.allclose(got.double(), expected, rtol=2.0**-8)
    squares = codes.float().square().bfloat16()
    assert torch.allclose(got.double(), exact(convolution, squares, variances), rtol=1e-5)


@pytest.mark.usefixtures("unit")
def test_threads_and_other_convolutions_do_not_change_a_bit() -> None:
    x, w = draw(*LARGE_X, whole=True).to(S8), draw(*LARGE_KERNELS)
    dz = draw(8, 64, 16, 16)
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(
                (
                    LARGE.product(x, w, SPLIT),
                    LARGE.input_grad(dz, w, x.shape, SPLIT),
                    LARGE.kernels_grad(dz, x, w.shape, SPLIT),
                )
            )
            LARGE.product(draw(5, 32, 20, 20 + threads, whole=True).to(S8), w, SPLIT)
    finally:
        torch.set_num_threads(before)
    for first, other in itertools.product(results[:1], results[1:]):
        assert all(map(torch.equal, first, other))


def test_nan_and_infinity_stay_in_their_images(unit: Unit) -> None:
    """A few further rows of the image can be NaN, because the unit reads them with weights of 0."""
    x, w = draw(*LARGE_X), draw(*LARGE_KERNELS)
    x[3, 2, 4, 5], x[6, 20, 7, 8] = torch.nan, torch.inf
    bad = ~LARGE.product(x, w, SPLIT).isfinite()
    assert bad[3, :32, 3:6, 4:7].all()
    assert bad[6, 32:, 6:9, 7:10].all()
    assert not bad[[0, 1, 2, 4, 5, 7]].any()
    assert not bad[3, 32:].any()  # the other tile
    assert not bad[6, :32].any()


@pytest.mark.usefixtures("unit")
def test_nan_and_infinity_stay_in_their_columns() -> None:
    codes, w, dz = draw(*LARGE_X, whole=True).to(S8), draw(*LARGE_KERNELS), draw(8, 64, 16, 16)
    w[5, 3, 1, 2], w[40, 6, 0, 0], dz[2, 7, 3, 3], dz[5, 50, 0, 1] = (torch.nan, torch.inf) * 2
    z = ~LARGE.product(codes, w, SPLIT).isfinite()
    dw = ~LARGE.kernels_grad(dz, codes, w.shape, SPLIT).isfinite()
    for bad, columns in ((z.transpose(0, 1), (5, 40)), (dw, (7, 50))):
        assert bad[list(columns)].flatten(1).any(1).all()
        assert not bad[[c for c in range(64) if c not in columns]].any()


def test_which_convolutions_are_split(unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = calls(monkeypatch)
    x, w = draw(*LARGE_X), draw(*LARGE_KERNELS)
    if unit is Unit.VECTOR:
        codes = draw(*LARGE_X, whole=True).to(S8)
        z = LARGE.product(codes, w, SPLIT)
        LARGE.product(codes, w, SPLIT, squared=True)
        LARGE.product(x, w, SPLIT)
        LARGE.input_grad(z, w, x.shape, SPLIT)
        LARGE.kernels_grad(z, x, w.shape, SPLIT)
        LARGE.kernels_grad(z, codes, w.shape, SPLIT)
        assert seen == [("convolve", S8), ("correlate", S8)]
        return
    z = LARGE.product(x, w, SPLIT)
    LARGE.input_grad(z, w, x.shape, SPLIT)
    LARGE.kernels_grad(z, x, w.shape, SPLIT)
    assert [name for name, _ in seen] == ["convolve", "convolve", "correlate"]
    seen.clear()
    wide = Convolution((2, 2), (1, 1), (1, 1), 2)
    wide.input_grad(wide.product(x, w, SPLIT), w, x.shape, SPLIT)
    assert [name for name, _ in seen] == ["convolve"]  # torch's gradient for a stride
    seen.clear()
    few = Convolution((1, 1), (1, 1), (1, 1), 1)
    images, weights = draw(8, 3, 32, 32), draw(32, 3, 3, 3)
    few.kernels_grad(few.product(images, weights, SPLIT), images, weights.shape, SPLIT)
    assert [name for name, _ in seen] == ["convolve"]  # torch's gradient for three channels
    seen.clear()
    dilated = Convolution((1, 1), (2, 2), (2, 2), 2)
    left_to_torch = [
        (LARGE, x[:1, :, :4, :4], w),
        (LARGE, x, w[:2]),
        (Convolution((1, 1), (1, 1), (1, 1), 16), x, w[:, :2]),
        (dilated, x, w),
        (LARGE, x.double(), w.double()),
        (LARGE, x.bfloat16(), w.bfloat16()),
        (Convolution((1,), (4,), (1,), 1), draw(1, 256, 4096), draw(64, 256, 9)),
        (LARGE, x.contiguous(memory_format=torch.channels_last), w),
        (LARGE, x, nn.Parameter(w)),
        (LARGE, torch.complex(x, x).conj().imag, w),
        (Convolution((1,) * 3, (1,) * 3, (1,) * 3, 2), x.unsqueeze(-1), w.unsqueeze(-1)),
    ]
    for convolution, images, weights in left_to_torch:
        convolution.product(images, weights, SPLIT)
    low = LARGE.kernels_grad(z.bfloat16(), x, w.shape, SPLIT)
    assert low.dtype is torch.bfloat16
    wide_tile = Convolution((1, 1), (1, 1), (1, 1), 1)
    wide_tile.kernels_grad(draw(1, 512, 8, 8), draw(1, 256, 8, 8), (512, 256, 3, 3), SPLIT)
    LARGE.product(x, w, Product())
    with kernels.use("numbers"):
        LARGE.product(x, w, SPLIT)
    monkeypatch.setattr(cpu, "unit", lambda: None)
    LARGE.product(x, w, SPLIT)
    assert not seen


def test_the_result_is_in_its_slot_or_in_new_memory() -> None:
    x, w = draw(*LARGE_X, whole=True).to(S8), draw(*LARGE_KERNELS)
    first, second = (LARGE.product(x, w, SPLIT._replace(slot="a slot")) for _ in range(2))
    assert (first.data_ptr() == second.data_ptr()) == (cpu.unit() is not None)
    kept, other = (LARGE.product(x, w, SPLIT) for _ in range(2))
    assert kept.data_ptr() != other.data_ptr()


@pytest.mark.usefixtures("unit")
def test_missing_memory_raises() -> None:
    x, w = draw(*LARGE_X, whole=True).to(S8), draw(*LARGE_KERNELS)
    out = torch.empty(8, 64, 16, 16)
    images = convolutions._images(LARGE, x.shape, w.shape)
    assert images is not None
    endless = images._replace(width=1 << 40, out_width=1 << 40)
    with pytest.raises(MemoryError, match="not enough memory"):
        cpu.convolve(x, w, out, endless)
    with pytest.raises(MemoryError, match="not enough memory"):
        cpu.correlate(x, out, torch.empty_like(w), endless)


@pytest.mark.parametrize("sign", ["always", "if-needed"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("device", ["generic-gaussian", "pcm-ibm-2020"])
def test_nan_passes_through_a_layer(sign: str, training: bool, device: str) -> None:
    """No byte is NaN."""
    x = torch.randn(LARGE_X, generator=torch.Generator().manual_seed(0)).relu()
    profile = cimsim.load_profile(device, {"dac.sign": sign})
    layer = cimsim.calibrate(cimsim.convert(nn.Conv2d(32, 32, 3, padding=1), profile), [x])
    x[3, 4, 5, 6] = torch.nan
    layer.train(training)
    y = layer(x.requires_grad_(training))
    assert y[3, :, 4:7, 5:8].isnan().all()
    assert not y[[0, 1, 2, 4, 5, 6, 7]].isnan().any()


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        # Product, variance of its noise, gradient of the input, gradient of the weight.
        ({}, ["convolve", S8, "convolve", S8, "convolve", F32, "correlate", S8]),
        (
            {"dac.sign": "if-needed"},
            ["convolve", U8, "convolve", U8, "convolve", F32, "correlate", U8],
        ),
        (
            {"dac.range": {"kind": "learned"}},
            ["convolve", S8, "convolve", S8, "convolve", F32, "correlate", S8],
        ),
        # The codes are too large for a byte; torch convolves their squares in bfloat16.
        ({"dac.bits": 10}, ["convolve", F32, "convolve", F32, "correlate", F32]),
        ({"adc.bits": 11}, []),
        ({"adc.bits": None}, []),
    ],
    ids=str,
)
def test_a_step_on_a_device(
    unit: Unit,
    overrides: dict[str, object],
    expected: list[object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = torch.randn(LARGE_X, generator=torch.Generator().manual_seed(0)).relu()
    profile = cimsim.load_profile("pcm-ibm-2020", overrides)
    layer = cimsim.calibrate(cimsim.convert(nn.Conv2d(32, 32, 3, padding=1), profile), [x])
    seen = calls(monkeypatch)
    layer.train()(x.requires_grad_()).sum().backward()
    if unit is Unit.VECTOR:  # one factor is bytes; torch convolves squares
        expected = expected[:2] + expected[-2:] if {S8, U8} & set(expected) else []
    assert list(itertools.chain.from_iterable(seen)) == expected
