// DAC and ADC in one pass each, and what their masks do to gradients.
//
// Currents are [outer, tiles, inner] for every layout: a linear layer has one outer part, a
// convolution one for each image and group. Masks hold one bit a value, and every row of `inner`
// values begins with a new byte.

#pragma once
#include <algorithm>
#include <vector>

#include "curves.h"

namespace cimsim {

inline uint16_t bits_of(Ints mask) {
    uint16_t bits = 0;
#if defined(__AVX512DQ__)
    __m512i m;
    std::memcpy(&m, &mask, sizeof m);
    bits = _mm512_movepi32_mask(m);
#elif defined(__AVX2__)
    __m256 m[kLanes / 8];
    std::memcpy(m, &mask, sizeof m);
    for (int part = 0; part < kLanes / 8; part++) bits |= uint16_t(_mm256_movemask_ps(m[part]) << 8 * part);
#else
    for (int lane = 0; lane < kLanes; lane++) bits |= uint16_t(mask[lane] & 1) << lane;
#endif
    return bits;
}

inline Ints mask_of(uint16_t bits) {
    Ints lane_bit;
    for (int lane = 0; lane < kLanes; lane++) lane_bit[lane] = 1 << lane;
    return (lane_bit & int32_t(bits)) != 0;
}

// The bits of the numbers from `at` on, eight in each byte of `p`.
inline uint16_t load_bits(const uint8_t* p, int64_t at, int64_t left) {
    const uint16_t bits = uint16_t(p[at / 8] >> at % 8);
    return kLanes > 8 && left > 8 ? uint16_t(bits | p[at / 8 + 1] << 8) : bits;
}
inline void store_bits(uint8_t* p, int64_t at, uint16_t bits, int64_t left) {
    p[at / 8] = uint8_t(at % 8 ? p[at / 8] | bits << at % 8 : bits);
    if (kLanes > 8 && left > 8) p[at / 8 + 1] = uint8_t(bits >> 8);
}

// Variances as float32 or as its upper half, rounded half to even.
inline void store_variance(void* to, int64_t at, Floats x, int64_t left, int bf16) {
    if (!bf16) return store_some((float*)to + at, x, left);
    typedef uint16_t Halves __attribute__((vector_size(2 * kLanes)));
    const Words bits = as_words(x);
    const Halves halves = __builtin_convertvector((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16, Halves);
    if (left >= kLanes)
        std::memcpy((uint16_t*)to + at, &halves, sizeof halves);
    else
        std::memcpy((uint16_t*)to + at, &halves, left * sizeof(uint16_t));
}
inline Floats load_variance(const void* from, int64_t at, int64_t left, int bf16) {
    if (!bf16) return load_some((const float*)from + at, left);
    typedef uint16_t Halves __attribute__((vector_size(2 * kLanes)));
    Halves halves = {};
    if (left >= kLanes)
        std::memcpy(&halves, (const uint16_t*)from + at, sizeof halves);
    else
        std::memcpy(&halves, (const uint16_t*)from + at, left * sizeof(uint16_t));
    return as_floats(__builtin_convertvector(halves, Words) << 16);
}

// Half to even; of what a converter can hold.
inline Floats rounded(Floats x) { return (x + 12582912.0f) - 12582912.0f; }

// A value this far beyond a converter's range still counts as inside; EDGE in circuits/converters.py says why.
constexpr float kEdge = 1.0f + 1.0f / 65536;

inline Ints inside(Floats v, float low, float high) { return (v >= low * kEdge) & (v <= high * kEdge); }

inline Floats clamped(Floats x, float low, float high) { return at_most(at_least(x, low), high); }

// Layout of the currents: [outer, tiles, lines, line]. A line holds one value for each column, or
// (convolutions) one column's value at every place of the image.
struct Currents {
    int64_t outer, groups, tiles, lines, line;
    bool line_of_columns;

    int64_t numbers() const { return outer * tiles * lines * line; }
    int64_t columns() const { return line_of_columns ? line : lines; }
    int64_t mask_bytes() const { return (line + 7) / 8; }
    int64_t index(int64_t o, int64_t tile, int64_t l) const { return (o * tiles + tile) * lines + l; }
    // Of the per-column numbers [groups * tiles, columns], those of a line.
    const float* column(const float* numbers, int64_t o, int64_t tile, int64_t l) const {
        return numbers + (o % groups * tiles + tile) * columns() + (line_of_columns ? 0 : l);
    }
    Floats at(const float* numbers, int64_t i) const {
        return line_of_columns ? load_some(numbers + i, line - i) : splat(*numbers);
    }
};

struct Noise {
    const float* variance;  // of z, or null
    uint64_t cells_seed, adc_seed;
    float adc_steps;        // spread of the ADC's own noise, in steps
};

// The normal numbers of one seed, wherever in a block one begins.
class Stream {
  public:
    void take(uint64_t seed, int64_t position, Floats& xi) {
        const int64_t block = position / kBlock, at = position % kBlock;
        if (block != block_) {
            // The numbers of two neighboring blocks are side by side, so that those of a register may span both.
            if (block == block_ + 1 && ahead_)
                std::memcpy(kept_, kept_ + kBlock, kBlock * sizeof(float));
            else
                normal_block(seed, block, kept_);
            block_ = block;
            ahead_ = false;
        }
        if (at + kLanes > kBlock && !ahead_) {
            normal_block(seed, block + 1, kept_ + kBlock);
            ahead_ = true;
        }
        xi = load(kept_ + at);
    }

  private:
    alignas(64) float kept_[2 * kBlock];
    int64_t block_ = -2;
    bool ahead_ = false;
};

}  // namespace cimsim
