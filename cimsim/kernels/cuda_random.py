"""Normal numbers by position, in Triton: number i of a seed is always the same.

Philox4x32 (Salmon et al., SC 2011) makes four words from a seed and ``i // 4``, by seven rounds,
the fewest that pass all tests of its authors. Box and Muller's method makes two numbers from two
words; they reach to 6.7 standard deviations. Numbers in a row are computed four at a time.
"""

import triton
import triton.language as tl

_ROUNDS = tl.constexpr(7)

# As in cuda.py, kernels have no annotations except tl.constexpr.


@triton.jit
def _log(x):
    """ln x of normal x > 0 (polynomial of Cephes' logf)."""
    bits = x.to(tl.int32, bitcast=True) - 0x3F3504F3  # the mantissa lands in [sqrt 1/2, sqrt 2)
    exponent = (bits >> 23).to(tl.float32)
    m = ((bits & 0x007FFFFF) + 0x3F3504F3).to(tl.float32, bitcast=True) - 1.0
    p = m * 7.0376836292e-2 - 1.1514610310e-1
    p = p * m + 1.1676998740e-1
    p = p * m - 1.2420140846e-1
    p = p * m + 1.4249322787e-1
    p = p * m - 1.6668057665e-1
    p = p * m + 2.0000714765e-1
    p = p * m - 2.4999993993e-1
    p = p * m + 3.3333331174e-1
    return m + (p * m - 0.5) * (m * m) + exponent * 0.69314718056


@triton.jit
def _two(length, turn):
    """Two normal numbers from two words of 32 random bits."""
    u = (length.to(tl.float32) + 0.5) * 2.3283064365386963e-10
    squared = -2.0 * _log(u)
    radius = tl.sqrt(tl.where(squared > 0.0, squared, 0.0))
    # 30 bits are an angle in [-pi/4, pi/4); one bit swaps the axes, one mirrors: a full circle.
    angle = (turn << 2).to(tl.int32, bitcast=True).to(tl.float32) * 3.6572952e-10
    q = angle * angle
    sine = angle * (1.0 + q * (-1.6666654611e-1 + q * (8.3321608736e-3 - q * 1.9515295891e-4)))
    cosine = 4.1666645683e-2 + q * (-1.3887316255e-3 + q * 2.4433157118e-5)
    cosine = 1.0 - 0.5 * q + q * q * cosine
    s, c = sine * radius, cosine * radius
    c = tl.where((turn >> 31) != 0, -c, c)
    swap = ((turn >> 30) & 1) != 0
    return tl.where(swap, s, c), tl.where(swap, c, s)


@triton.jit
def normals_at(seed, at):
    """The numbers at any positions; each costs as much as a pair and the words of four."""
    a, b, c, d = tl.randint4x(seed, at >> 2, _ROUNDS)
    later = ((at >> 1) & 1) != 0
    even, odd = _two(tl.where(later, c, a), tl.where(later, d, b))
    return tl.where((at & 1) != 0, odd, even)


@triton.jit
def _four(seed, block):
    """Numbers ``4 * block`` to ``4 * block + 3``."""
    a, b, c, d = tl.randint4x(seed, block, _ROUNDS)
    a, b = _two(a, b)
    c, d = _two(c, d)
    return a, b, c, d


@triton.jit
def eights_from(seed, first, COUNT: tl.constexpr):
    """Rows of eight numbers from each of the ``COUNT`` positions ``first`` on, which are multiples
    of four. A thread computes whole rows, as it loads them."""
    a, b, c, d = _four(seed, first >> 2)
    e, f, g, h = _four(seed, (first >> 2) + 1)
    even = tl.join(tl.join(a, e), tl.join(c, g))
    odd = tl.join(tl.join(b, f), tl.join(d, h))
    return tl.reshape(tl.join(even, odd), (COUNT, 8))


@triton.jit
def normals_from(seed, first, COUNT: tl.constexpr, FOURS: tl.constexpr):
    """``COUNT`` numbers from position ``first`` on, which is a multiple of four if ``FOURS``."""
    if FOURS:
        a, b, c, d = _four(seed, (first >> 2) + tl.arange(0, COUNT // 4))
        return tl.reshape(tl.join(tl.join(a, c), tl.join(b, d)), (COUNT,))
    else:
        return normals_at(seed, first + tl.arange(0, COUNT))


@triton.jit(do_not_specialize=["seed"])
def fill_normal(out, seed, count, BLOCK: tl.constexpr):
    first = tl.program_id(0).to(tl.int64) * BLOCK
    i = first + tl.arange(0, BLOCK)
    tl.store(out + i, normals_from(seed, first, BLOCK, True), mask=i < count)
