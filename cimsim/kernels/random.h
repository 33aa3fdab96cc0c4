// Normal numbers by position: block k of a seed is always the same 512 numbers.
//
// Sixteen xoshiro128++ generators (Blackman & Vigna, ACM Trans. Math. Softw. 47, 36 (2021)) run side
// by side; their states are a keyed hash of (seed, block, lane). Box and Muller's method
// turns 32 + 32 bits into two numbers, which reach to 6.7 standard deviations.

#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace cimsim {

constexpr int64_t kBlock = 512;
constexpr int kGenerators = 16;
// How many numbers the code names at a time. GCC keeps vectors that are wider than a register in memory,
// which takes several times as long; clang splits them up over registers.
#if defined(__AVX512F__) || defined(__clang__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef uint32_t Words __attribute__((vector_size(4 * kLanes)));
typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));
typedef float Floats __attribute__((vector_size(4 * kLanes)));

inline Floats as_floats(Words w) {
    Floats f;
    std::memcpy(&f, &w, sizeof f);
    return f;
}

inline Words as_words(Floats f) {
    Words w;
    std::memcpy(&w, &f, sizeof w);
    return w;
}

inline Words rotated(Words x, int bits) { return (x << bits) | (x >> (32 - bits)); }

// The finaliser of MurmurHash3: a bijection in which every bit depends on every other.
template <class W>
inline W mixed(W x) {
    x ^= x >> 16;
    x *= 0x85ebca6bu;
    x ^= x >> 13;
    x *= 0xc2b2ae35u;
    return x ^ (x >> 16);
}

// The step of SplitMix64.
inline uint64_t split(uint64_t x) {
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

struct Generators {
    Words s0, s1, s2, s3;

    // Generator `first` and those that follow, one for each lane.
    Generators(uint64_t seed, uint64_t block, int first) {
        const uint64_t key = split(seed) + (block >> 26);
        const uint32_t low = uint32_t(split(key)), high = uint32_t(split(key) >> 32);
        Words counter;
        for (int lane = 0; lane < kLanes; lane++) counter[lane] = uint32_t(block) * 64u + first + lane;
        auto state = [&](uint32_t word) {
            return mixed<Words>(mixed<Words>((counter + word * 16u) ^ low) + high);
        };
        s0 = state(0), s1 = state(1), s2 = state(2), s3 = state(3);
    }

    Words next() {
        const Words result = rotated(s0 + s3, 7) + s0, shifted = s1 << 9;
        s2 ^= s0;
        s3 ^= s1;
        s1 ^= s2;
        s0 ^= s3;
        s2 ^= shifted;
        s3 = rotated(s3, 11);
        return result;
    }
};

// ln x of normal x > 0 (polynomial of Cephes' logf).
inline Floats log_of(Floats x) {
    const Words bits = as_words(x) - 0x3f3504f3u;  // the mantissa lands in [sqrt 1/2, sqrt 2)
    const Ints exponent = (Ints)bits >> 23;
    const Floats m = as_floats((bits & 0x007fffffu) + 0x3f3504f3u) - 1.0f, e = __builtin_convertvector(exponent, Floats);
    Floats p = m * 7.0376836292e-2f - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    const Floats squared = m * m;
    return m + (p * m - 0.5f) * squared + e * 0.69314718056f;
}

inline Floats root_of(Floats x) {
#if defined(__AVX512F__)
    using Register = __m512;
    const auto root = [](Register r) { return _mm512_sqrt_ps(r); };
#elif defined(__AVX2__)
    using Register = __m256;
    const auto root = [](Register r) { return _mm256_sqrt_ps(r); };
#elif defined(__SSE2__)
    using Register = __m128;
    const auto root = [](Register r) { return _mm_sqrt_ps(r); };
#else
    using Register = float;
    const auto root = [](Register r) { return std::sqrt(r); };
#endif
    Register parts[sizeof x / sizeof(Register)];
    std::memcpy(parts, &x, sizeof x);
    for (Register& part : parts) part = root(part);
    std::memcpy(&x, parts, sizeof x);
    return x;
}

// 512 numbers N(0, 1).
inline void normal_block(uint64_t seed, uint64_t block, float* out) {
    for (int first = 0; first < kGenerators; first += kLanes) {
        Generators draw(seed, block, first);
        for (float* to = out + first; to < out + kBlock; to += 2 * kGenerators) {
            const Floats u = (__builtin_convertvector(draw.next(), Floats) + 0.5f) * 0x1p-32f;
            const Words turn = draw.next();
            const Floats squared = -2.0f * log_of(u), radius = root_of(squared > 0 ? squared : squared - squared);
            // 30 bits are an angle in [-pi/4, pi/4); one bit swaps the axes, one mirrors: a full circle.
            const Floats angle = __builtin_convertvector((Ints)(turn << 2), Floats) * (0.78539816340f * 0x1p-31f);
            const Floats q = angle * angle;
            const Floats sine = angle * (1.0f + q * (-1.6666654611e-1f + q * (8.3321608736e-3f + q * -1.9515295891e-4f)));
            const Floats cosine = 1.0f - 0.5f * q + q * q * (4.166664568298827e-2f + q * (-1.388731625493765e-3f + q * 2.443315711809948e-5f));
            const Words mirror = turn & 0x80000000u;
            const Words swap = (Words)((Ints)(turn << 1) >> 31);
            const Words s = as_words(sine * radius), c = as_words(cosine * radius) ^ mirror;
            const Words one = (s & swap) | (c & ~swap), other = (c & swap) | (s & ~swap);
            std::memcpy(to, &one, sizeof one);
            std::memcpy(to + kGenerators, &other, sizeof other);
        }
    }
}

}  // namespace cimsim
