// Products of whole numbers with numbers of 16 bits in vector registers (AVX-512 VNNI). An instruction multiplies twice as many
// as in float32.
//
// The whole numbers have a size of at most 256. The others are multiples of the 32767th part of the largest one of their
// line, or of 256 numbers of it. Products are added exactly, in 32 bits, and sums of 256 of them in float32. Processors with
// a matrix unit do not compile this code, which takes seconds.

#pragma once
#include <limits>

#include "matrix_unit.h"

#if defined(CIMSIM_BLOCKS) && defined(__AVX512VNNI__) && !defined(CIMSIM_MATRIX_UNIT)
#define CIMSIM_VECTOR_UNIT

namespace cimsim {

// See `MatrixUnit` for the other unit with these members.
struct VectorUnit {
    static constexpr int kParts = 1;
    static constexpr bool kScales = true;
    static constexpr int64_t kExact = 8;  // blocks of 32 numbers, whose products of 256 times 32767 add up to less than 2^31

    static constexpr float kLargest = 32767;  // what the largest number becomes
    static constexpr float kTiny = 0x1p-100f; // if the largest number is smaller, all are 0

    // Bits of the size of a number; those of NaN are above those of infinity, which are above all others.
    static __m512i size_bits(__m512 x) { return _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff)); }

    // The largest of `most` and the size bits of `count` numbers, in each lane.
    static __m512i larger(__m512i most, const float* from, int64_t count) {
        for (int64_t k = 0; k < count; k += 16) most = _mm512_max_epu32(most, size_bits(_mm512_maskz_loadu_ps(first_of(count - k), from + k)));
        return most;
    }

    // What a line's numbers are multiples of, from the bits of its largest size: 1 for whole numbers; NaN if one is not finite.
    static __m512 scale_for(__m512i largest, bool whole) {
        const __m512 size = _mm512_castsi512_ps(largest);
        const __mmask16 finite = _mm512_cmplt_epu32_mask(largest, _mm512_set1_epi32(0x7f800000));
        const __m512 scale = whole ? _mm512_set1_ps(1) : _mm512_maskz_mul_ps(_mm512_cmp_ps_mask(size, _mm512_set1_ps(kTiny), _CMP_GE_OQ), size, _mm512_set1_ps(1 / kLargest));
        return _mm512_mask_mov_ps(_mm512_set1_ps(std::numeric_limits<float>::quiet_NaN()), finite, scale);
    }

    static void pair_neighbors(__m512 low, __m512 high, __m512i& first, __m512i&) {
        const __m256i l = _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(low)), h = _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(high));
        first = _mm512_inserti64x4(_mm512_castsi256_si512(l), h, 1);
    }
    static void pair_places(__m512 even, __m512 odd, __m512i& first, __m512i&) { first = pair_whole(even, odd); }
    static __m512i pair_whole(__m512 even, __m512 odd) {
        const __m512i low = _mm512_and_si512(_mm512_cvtps_epi32(even), _mm512_set1_epi32(0xffff));
        return _mm512_or_si512(low, _mm512_slli_epi32(_mm512_cvtps_epi32(odd), 16));
    }

    template <int kA, int kB>
    static void multiply(const Blocks& a, const Blocks& b, int64_t turns, int64_t steps, bool more, float* const* sums) {
        alignas(64) float totals[kA * kB][kUnits];
        for (int i = 0; i < kA * kB; i++) {
            if (more)
                std::memcpy(totals[i], sums[i], sizeof totals[i]);
            else
                std::memset(totals[i], 0, sizeof totals[i]);
        }
        for (int64_t begin = 0; begin < turns * steps; begin += kExact) {
            const int64_t end = std::min(begin + kExact, turns * steps);
            for (int block_a = 0; block_a < kA; block_a++) {
                if constexpr (kB == 1)
                    add<16, 1>(a, b, block_a, 0, 0, steps, begin, end, totals + block_a);
                else
                    for (int row = 0; row < kSide; row += 8)
                        for (int block_b = 0; block_b < kB; block_b += 2) add<8, 2>(a, b, block_a, block_b, row, steps, begin, end, totals + block_a * kB + block_b);
            }
        }
        for (int i = 0; i < kA * kB; i++) std::memcpy(sums[i], totals[i], sizeof totals[i]);
    }

  private:
    // Adds the blocks from number `begin` to `end`, for kRows lines of a block of `a` and kBlocks blocks of `b`.
    template <int kRows, int kBlocks>
    static void add(const Blocks& a, const Blocks& b, int block_a, int block_b, int row, int64_t steps, int64_t begin, int64_t end, float (*totals)[kUnits]) {
        __m512i sums[kRows][kBlocks] = {};
        const char* const rows = (const char*)a.at[block_a] + row * a.line;
        for (int64_t number = begin; number < end; number++) {
            const int64_t turn = number / steps, step = number % steps, of_b = turn * b.turn + step * b.step;
            const char* from = rows + (turn * a.turn + step * a.step) * sizeof(Pair);
            for (int64_t pair = 0; pair < kSide; pair++, from += sizeof(Pair)) {
                __m512i at[kBlocks];
                for (int i = 0; i < kBlocks; i++) at[i] = _mm512_loadu_si512((const char*)(b.at[block_b + i] + of_b) + pair * b.line);
#pragma GCC unroll 16
                for (int i = 0; i < kRows; i++) {
                    int of_a;
                    std::memcpy(&of_a, from + i * a.line, sizeof of_a);
                    for (int j = 0; j < kBlocks; j++) sums[i][j] = _mm512_dpwssd_epi32(sums[i][j], _mm512_set1_epi32(of_a), at[j]);
                }
            }
        }
        for (int i = 0; i < kRows; i++)
            for (int j = 0; j < kBlocks; j++) {
                const float *of_a = a.scale[block_a] + begin / kExact * a.next_scale, *of_b = b.scale[block_b + j] + begin / kExact * b.next_scale;
                float* const total = totals[j] + (row + i) * kSide;
                __m512 sum = _mm512_cvtepi32_ps(sums[i][j]);
                if (a.scale[block_a]) sum = _mm512_mul_ps(sum, _mm512_set1_ps(of_a[row + i]));
                if (b.scale[block_b + j]) sum = _mm512_mul_ps(sum, _mm512_loadu_ps(of_b));
                _mm512_store_ps(total, _mm512_add_ps(_mm512_load_ps(total), sum));
            }
    }
};

}  // namespace cimsim

#endif
