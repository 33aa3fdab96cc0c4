// Products of float32 matrices on a unit that multiplies numbers of 16 bits.

#pragma once
#include "matrix_unit.h"
#include "vector_unit.h"

#if defined(CIMSIM_MATRIX_UNIT) || defined(CIMSIM_VECTOR_UNIT)
#define CIMSIM_PRODUCTS

namespace cimsim {

// A matrix of `lines` lines of `count` numbers that are summed over: number k of line i is at data[i * line + k * step],
// and one of `line` and `step` is 1. A line is a row of the first factor, and a column of the second.
struct Factor {
    const float* data;
    int64_t lines, count, line, step;
    bool whole;  // whether its numbers are whole, up to 256
};

template <class Unit>
int parts_of(bool whole) { return whole ? 1 : Unit::kParts; }

// Number of scales of a block of lines.
template <class Unit>
int64_t scales_of(const Factor& f) { return Unit::kScales ? blocks_of(f.count, 2 * kSide * Unit::kExact) * kSide : 0; }

// The scales of 16 lines from `line` on, of 256 numbers each: scale[part][line].
template <class Unit>
void find_scales(const Factor& f, int64_t line, float* scale) {
    if constexpr (Unit::kScales) {
        constexpr int64_t kNumbers = 2 * kSide * Unit::kExact;
        for (int64_t from = 0; from < f.count; from += kNumbers, scale += kSide) {
            const int64_t end = std::min(f.count, from + kNumbers);
            __m512i largest = _mm512_setzero_si512();
            if (f.step == 1) {
                for (int64_t i = 0; i < std::min(kSide, f.lines - line); i++) {
                    const __m512i most = Unit::larger(_mm512_setzero_si512(), f.data + (line + i) * f.line + from, end - from);
                    largest = _mm512_mask_set1_epi32(largest, 1 << i, int(_mm512_reduce_max_epu32(most)));
                }
            } else {
                const __mmask16 inside = first_of(f.lines - line);
                for (int64_t k = from; k < end; k++) largest = _mm512_max_epu32(largest, Unit::size_bits(_mm512_maskz_loadu_ps(inside, f.data + line + k * f.step)));
            }
            _mm512_storeu_ps(scale, Unit::scale_for(largest, f.whole));
        }
    }
}

// By what the numbers of 16 lines are multiplied before they are packed: for a scale of 0, by 0.
template <class Unit>
struct Relative {
    alignas(64) float inverse[kSide];

    explicit Relative(const float* scale) {
        if constexpr (Unit::kScales) {
            const __m512 s = _mm512_loadu_ps(scale);
            _mm512_store_ps(inverse, _mm512_maskz_div_ps(_mm512_cmp_ps_mask(s, _mm512_setzero_ps(), _CMP_NEQ_UQ), _mm512_set1_ps(1), s));
        }
    }
    // Numbers of line i.
    __m512 of_line(int64_t i, __m512 x) const {
        if constexpr (Unit::kScales) return _mm512_mul_ps(x, _mm512_set1_ps(inverse[i]));
        return x;
    }
    // One number of each line.
    __m512 of_lines(__m512 x) const {
        if constexpr (Unit::kScales) return _mm512_mul_ps(x, _mm512_load_ps(inverse));
        return x;
    }
};

// Writes the block of 16 lines from `line` and 32 numbers from `from` on: each part with the pairs of a line in a row of
// memory, or (`across`) the pairs of all lines at one place.
template <class Unit>
void pack(const Factor& f, int64_t line, int64_t from, bool across, const float* scale, Pair* const* parts) {
    __m512i first[kSide], rest[kSide];
    const Relative<Unit> relative(scale + from / (2 * kSide * Unit::kExact) * kSide);
    const bool along = f.step == 1;
    if (along) {
        const __mmask16 low = first_of(f.count - from), high = first_of(f.count - from - 16);
        for (int64_t i = 0; i < kSide; i++) {
            const bool inside = line + i < f.lines;
            const float* p = f.data + (inside ? (line + i) * f.line + from : 0);
            const __m512 l = _mm512_maskz_loadu_ps(inside ? low : 0, p), h = _mm512_maskz_loadu_ps(inside ? high : 0, p + 16);
            Unit::pair_neighbors(relative.of_line(i, l), relative.of_line(i, h), first[i], rest[i]);
        }
    } else {
        const __mmask16 inside = first_of(f.lines - line);
        for (int64_t i = 0; i < kSide; i++) {
            const int64_t k = from + 2 * i;
            const float* p = f.data + line;
            const __m512 even = _mm512_maskz_loadu_ps(k < f.count ? inside : 0, p + (k < f.count ? k * f.step : 0));
            const __m512 odd = _mm512_maskz_loadu_ps(k + 1 < f.count ? inside : 0, p + (k + 1 < f.count ? (k + 1) * f.step : 0));
            Unit::pair_places(relative.of_lines(even), relative.of_lines(odd), first[i], rest[i]);
        }
    }
    for (int part = 0; part < parts_of<Unit>(f.whole); part++) {
        __m512i(&rows)[kSide] = part ? rest : first;
        if (along == across) transpose(rows);
        for (int64_t i = 0; i < kSide; i++) _mm512_storeu_si512(parts[part] + i * kSide, rows[i]);
    }
}

// Packs all blocks; the threads of a team share them.
template <class Unit>
void pack_all(const Factor& f, bool across, float* scale, Pair* const* parts) {
    const int64_t steps = blocks_of(f.count, 2 * kSide), blocks = blocks_of(f.lines, kSide);
    if constexpr (Unit::kScales) {
#pragma omp for schedule(static)
        for (int64_t block = 0; block < blocks; block++) find_scales<Unit>(f, block * kSide, scale + block * scales_of<Unit>(f));
    }
#pragma omp for schedule(static) nowait
    for (int64_t each = 0; each < blocks * steps; each++) {
        // In the order of the numbers in memory.
        const int64_t block = f.step == 1 ? each / steps : each % blocks, step = f.step == 1 ? each % steps : each / blocks;
        const int64_t at = (block * steps + step) * kUnits;
        Pair* const to[2] = {parts[0] + at, parts[1] + at};
        pack<Unit>(f, block * kSide, step * 2 * kSide, across, scale + block * scales_of<Unit>(f), to);
    }
}

// out[a.lines, b.lines] = a b in contiguous memory. All threads share the packed blocks of the factor with fewer lines; each
// packs two blocks of the other at a time. Returns whether there was enough memory.
template <class Unit>
bool multiply(const Factor& a, const Factor& b, float* out, int threads) {
    const bool a_shared = a.lines <= b.lines;
    const Factor &shared = a_shared ? a : b, &own = a_shared ? b : a;
    const int64_t steps = blocks_of(a.count, 2 * kSide), next = steps * kUnits;
    const int64_t shared_blocks = blocks_of(shared.lines, kSide), own_blocks = blocks_of(own.lines, kSide);
    const int shared_parts = parts_of<Unit>(shared.whole), own_parts = parts_of<Unit>(own.whole);
    const int team = team_for(a.lines * b.lines, threads);
    const int64_t scales = scales_of<Unit>(a);
    Pair* const packed = room_for((shared_parts * shared_blocks + 2 * own_parts * team) * next + (shared_blocks + 2 * team) * scales);
    if (!packed) return false;
    Pair* const of_shared[2] = {packed, packed + shared_blocks * next};
    Pair* const behind = packed + shared_parts * shared_blocks * next;
    float* const shared_scale = (float*)(behind + 2 * own_parts * team * next);
#pragma omp parallel num_threads(team)
    {
        pack_all<Unit>(shared, !a_shared, shared_scale, of_shared);
#pragma omp barrier
        const Unit unit;
        Pair* const mine = behind + omp_get_thread_num() * 2 * own_parts * next;
        Pair* const of_own[2] = {mine, mine + 2 * next};
        float* const own_scale = shared_scale + (shared_blocks + 2 * omp_get_thread_num()) * scales;
#pragma omp for schedule(static)
        for (int64_t block = 0; block < own_blocks; block += 2) {
            const bool two = block + 1 < own_blocks;
            for (int64_t each = 0; each < 1 + two; each++) {
                find_scales<Unit>(own, (block + each) * kSide, own_scale + each * scales);
                for (int64_t step = 0; step < steps; step++) {
                    const int64_t at = each * next + step * kUnits;
                    Pair* const to[2] = {of_own[0] + at, of_own[1] + at};
                    pack<Unit>(own, (block + each) * kSide, step * 2 * kSide, a_shared, own_scale + each * scales, to);
                }
            }
            const Blocks of_block = {{of_own[0], of_own[0] + two * next}, 64, kUnits, 0, own_parts, 2 * next, {own_scale, own_scale + two * scales}, kSide};
            for (int64_t other = 0; other < shared_blocks; other += 2) {
                const bool more = other + 1 < shared_blocks;
                const int64_t i = a_shared ? other : block, j = a_shared ? block : other;
                const bool more_a = a_shared ? more : two, more_b = a_shared ? two : more;
                const Pair* const at = of_shared[0] + other * next;
                const float* const scale = shared_scale + other * scales;
                const Blocks of_other = {{at, at + more * next}, 64, kUnits, 0, shared_parts, shared_blocks * next, {scale, scale + more * scales}, kSide};
                alignas(64) float sums[4][kUnits];
                float* const to_sums[4] = {sums[0], sums[1], sums[2], sums[3]};
                unit.template multiply<2, 2>(a_shared ? of_other : of_block, a_shared ? of_block : of_other, 1, steps, false, to_sums);
                for (int each = 0; each < 4; each++) {
                    if ((each / 2 && !more_a) || (each % 2 && !more_b)) continue;
                    const int64_t block_a = i + each / 2, block_b = j + each % 2;
                    const int64_t rows = std::min(kSide, a.lines - block_a * kSide), columns = std::min(kSide, b.lines - block_b * kSide);
                    float* to = out + block_a * kSide * b.lines + block_b * kSide;
                    for (int64_t row = 0; row < rows; row++) _mm512_mask_storeu_ps(to + row * b.lines, first_of(columns), _mm512_load_ps(sums[each] + row * kSide));
                }
            }
        }
    }
    return true;
}

}  // namespace cimsim

#endif
