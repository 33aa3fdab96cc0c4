// Products of float32 matrices on the matrix unit of the processor.

#pragma once
#include "matrix_unit.h"

#if defined(CIMSIM_MATRIX_UNIT)

namespace cimsim {

// A matrix of `lines` lines of `count` numbers that are summed over: number k of line i is at data[i * line + k * step],
// and one of `line` and `step` is 1. A line is a row of the first factor, and a column of the second.
struct Factor {
    const float* data;
    int64_t lines, count, line, step;
    int parts;  // 1 if its numbers are bfloat16, otherwise 2
};

// Writes the block of 16 lines from `line` and 32 numbers from `from` on: each part with the pairs of a line in a row of
// memory, or (`across`) the pairs of all lines at one place.
inline void pack(const Factor& f, int64_t line, int64_t from, bool across, Pair* const* parts) {
    __m512i first[kSide], rest[kSide];
    const bool along = f.step == 1;
    if (along) {
        const __mmask16 low = first_of(f.count - from), high = first_of(f.count - from - 16);
        for (int64_t i = 0; i < kSide; i++) {
            const bool inside = line + i < f.lines;
            const float* p = f.data + (inside ? (line + i) * f.line + from : 0);
            split_up(_mm512_maskz_loadu_ps(inside ? low : 0, p), _mm512_maskz_loadu_ps(inside ? high : 0, p + 16), first[i], rest[i]);
        }
    } else {
        const __mmask16 inside = first_of(f.lines - line);
        for (int64_t i = 0; i < kSide; i++) {
            const int64_t k = from + 2 * i;
            const float* p = f.data + line;
            const __m512 even = _mm512_maskz_loadu_ps(k < f.count ? inside : 0, p + (k < f.count ? k * f.step : 0));
            const __m512 odd = _mm512_maskz_loadu_ps(k + 1 < f.count ? inside : 0, p + (k + 1 < f.count ? (k + 1) * f.step : 0));
            pair_up(even, odd, first[i], rest[i]);
        }
    }
    for (int part = 0; part < f.parts; part++) {
        __m512i* rows = part ? rest : first;
        if (along == across) transpose(part ? rest : first);
        for (int64_t i = 0; i < kSide; i++) _mm512_storeu_si512(parts[part] + i * kSide, rows[i]);
    }
}

// Packs all blocks; the threads of a team share them.
inline void pack_all(const Factor& f, bool across, Pair* const* parts) {
    const int64_t steps = blocks_of(f.count, 2 * kSide), blocks = blocks_of(f.lines, kSide);
#pragma omp for schedule(static) nowait
    for (int64_t each = 0; each < blocks * steps; each++) {
        // In the order of the numbers in memory.
        const int64_t block = f.step == 1 ? each / steps : each % blocks, step = f.step == 1 ? each % steps : each / blocks;
        const int64_t at = (block * steps + step) * kUnits;
        Pair* const to[2] = {parts[0] + at, parts[1] + at};
        pack(f, block * kSide, step * 2 * kSide, across, to);
    }
}

// out[a.lines, b.lines] = a b in contiguous memory. All threads share the packed blocks of the factor with fewer lines; each
// packs two blocks of the other at a time. Returns whether there was enough memory.
inline bool multiply(const Factor& a, const Factor& b, float* out, int threads) {
    const bool a_shared = a.lines <= b.lines;
    const Factor &shared = a_shared ? a : b, &own = a_shared ? b : a;
    const int64_t steps = blocks_of(a.count, 2 * kSide), next = steps * kUnits;
    const int64_t shared_blocks = blocks_of(shared.lines, kSide), own_blocks = blocks_of(own.lines, kSide);
    const int team = team_for(a.lines * b.lines, threads);
    Pair* const packed = room_for((shared.parts * shared_blocks + 2 * own.parts * team) * next);
    if (!packed) return false;
    Pair* const of_shared[2] = {packed, packed + shared_blocks * next};
    Pair* const behind = packed + shared.parts * shared_blocks * next;
#pragma omp parallel num_threads(team)
    {
        pack_all(shared, !a_shared, of_shared);
#pragma omp barrier
        use_tiles();
        Pair* const mine = behind + omp_get_thread_num() * 2 * own.parts * next;
        Pair* const of_own[2] = {mine, mine + 2 * next};
#pragma omp for schedule(static)
        for (int64_t block = 0; block < own_blocks; block += 2) {
            const bool two = block + 1 < own_blocks;
            for (int64_t each = 0; each < 1 + two; each++)
                for (int64_t step = 0; step < steps; step++) {
                    const int64_t at = each * next + step * kUnits;
                    Pair* const to[2] = {of_own[0] + at, of_own[1] + at};
                    pack(own, (block + each) * kSide, step * 2 * kSide, a_shared, to);
                }
            for (int64_t other = 0; other < shared_blocks; other += 2) {
                const bool more = other + 1 < shared_blocks;
                const int64_t i = a_shared ? other : block, j = a_shared ? block : other;
                const bool more_a = a_shared ? more : two, more_b = a_shared ? two : more;
                clear_sums();
                with_parts(a.parts, b.parts, [&](int part_a, int part_b) {
                    const Pair* of_a = a_shared ? of_shared[part_a] + other * next : of_own[part_a];
                    const Pair* of_b = a_shared ? of_own[part_b] : of_shared[part_b] + other * next;
                    add_two_by_two({{of_a, of_a + more_a * next}, 64, kUnits, 0}, {{of_b, of_b + more_b * next}, 64, kUnits, 0}, 1, steps);
                });
                alignas(64) float sums[4][kUnits];
                float* const to_sums[4] = {sums[0], sums[1], sums[2], sums[3]};
                store_sums(to_sums);
                for (int each = 0; each < 4; each++) {
                    if ((each / 2 && !more_a) || (each % 2 && !more_b)) continue;
                    const int64_t block_a = i + each / 2, block_b = j + each % 2;
                    const int64_t rows = std::min(kSide, a.lines - block_a * kSide), columns = std::min(kSide, b.lines - block_b * kSide);
                    float* to = out + block_a * kSide * b.lines + block_b * kSide;
                    for (int64_t row = 0; row < rows; row++) _mm512_mask_storeu_ps(to + row * b.lines, first_of(columns), _mm512_load_ps(sums[each] + row * kSide));
                }
            }
        }
        _tile_release();
    }
    return true;
}

}  // namespace cimsim

#endif
