// Products of float32 matrices on the matrix unit of the processor (AMX), which multiplies bfloat16 and adds in float32.
//
// A float32 number is the sum of two bfloat16 numbers, but for 2^-17 of itself; whole numbers up to 256 are one.
// The product of a by b is thus the sum of two or three products of their parts; that of both remainders is left
// out, since it is as small as what the parts leave out.

#pragma once
#include <algorithm>
#include <vector>

#include "random.h"
#include "threads.h"

#if defined(__AMX_BF16__) && defined(__AMX_TILE__) && defined(__AVX512BF16__) && defined(__linux__)
#define CIMSIM_MATRIX_UNIT
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace cimsim {

// A matrix of `lines` lines of `count` numbers that are summed over: number k of line i is at data[i * line + k * step],
// and one of `line` and `step` is 1. A line is a row of the first factor, and a column of the second.
struct Factor {
    const float* data;
    int64_t lines, count, line, step;
    int parts;  // 1 if its numbers are bfloat16, otherwise 2
};

#if defined(CIMSIM_MATRIX_UNIT)

constexpr int64_t kSide = 16;          // lines of a block, and pairs of numbers of a line
constexpr int64_t kUnits = 256;        // pairs of a block
typedef uint32_t Pair;                 // two bfloat16 numbers of a line, the first in the lower half

// Whether the operating system lets this process use the matrix unit.
inline bool has_matrix_unit() {
    constexpr int kRequestPermission = 0x1023, kTileData = 18;
    static const bool permitted = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
    return permitted;
}

// The transpose of 16 by 16 pairs.
inline void transpose(__m512i (&r)[kSide]) {
    __m512i t[kSide];
    for (int i = 0; i < 16; i += 2) t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]), t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]), r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]), r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 16; i += 8)
        for (int j = 0; j < 4; j++) {
            t[i + j] = _mm512_shuffle_i32x4(r[i + j], r[i + j + 4], 0x88);
            t[i + j + 4] = _mm512_shuffle_i32x4(r[i + j], r[i + j + 4], 0xdd);
        }
    for (int j = 0; j < 8; j++) {
        r[j] = _mm512_shuffle_i32x4(t[j], t[j + 8], 0x88);
        r[j + 8] = _mm512_shuffle_i32x4(t[j], t[j + 8], 0xdd);
    }
}

// Both parts of 32 numbers, as pairs of neighbors (`low` before `high`).
inline void split_up(__m512 low, __m512 high, __m512i& first, __m512i& rest) {
    const __m512bh rounded = _mm512_cvtne2ps_pbh(high, low);
    first = (__m512i)rounded;
    const __m512i wide_low = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(first)), 16);
    const __m512i wide_high = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(first, 1)), 16);
    rest = (__m512i)_mm512_cvtne2ps_pbh(_mm512_sub_ps(high, _mm512_castsi512_ps(wide_high)), _mm512_sub_ps(low, _mm512_castsi512_ps(wide_low)));
}

inline __mmask16 first_of(int64_t count) { return count >= 16 ? __mmask16(0xffff) : count <= 0 ? __mmask16(0) : __mmask16((1u << count) - 1); }

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
            // Halves of even and odd numbers of the same line side by side.
            const auto halves = [](__m512 x) { return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x)); };
            const __m512i e = halves(even), o = halves(odd);
            first[i] = _mm512_or_si512(e, _mm512_slli_epi32(o, 16));
            const __m512i er = halves(_mm512_sub_ps(even, _mm512_castsi512_ps(_mm512_slli_epi32(e, 16))));
            const __m512i odd_rest = halves(_mm512_sub_ps(odd, _mm512_castsi512_ps(_mm512_slli_epi32(o, 16))));
            rest[i] = _mm512_or_si512(er, _mm512_slli_epi32(odd_rest, 16));
        }
    }
    for (int part = 0; part < f.parts; part++) {
        __m512i* rows = part ? rest : first;
        if (along == across) transpose(part ? rest : first);
        for (int64_t i = 0; i < kSide; i++) _mm512_storeu_si512(parts[part] + i * kSide, rows[i]);
    }
}

inline int64_t blocks_of(int64_t count, int64_t size) { return (count + size - 1) / size; }

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

inline void use_tiles() {
    struct alignas(64) {
        uint8_t palette = 1, start = 0, reserved[14] = {};
        uint16_t bytes[16] = {};
        uint8_t rows[16] = {};
    } config;
    for (int tile = 0; tile < 8; tile++) config.bytes[tile] = 64, config.rows[tile] = 16;
    __asm__ volatile("" : : "r"(&config) : "memory");  // GCC believes that only the first bytes are read
    _tile_loadconfig(&config);
}

// Adds the products of blocks `a` and `a + a_next` with `b` and `b + b_next`, of one part each, to the tiles 0 to 3.
inline void add_products(const Pair* a, int64_t a_next, const Pair* b, int64_t b_next, int64_t steps) {
    for (const Pair* const end = a + steps * kUnits; a < end; a += kUnits, b += kUnits) {
        _tile_loadd(4, a, 64);
        _tile_loadd(6, b, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b + b_next, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a + a_next, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
}

// Memory of this thread for `count` pairs, aligned as tiles are loaded fastest.
inline Pair* room_for(int64_t count) {
    thread_local std::vector<Pair> room;
    if (int64_t(room.size()) < count + kSide) room = std::vector<Pair>(count + kSide);
    return (Pair*)((uintptr_t(room.data()) + 63) / 64 * 64);
}

// out[a.lines, b.lines] = a b in contiguous memory. All threads share the packed blocks of the factor with fewer lines; each
// packs two blocks of the other at a time.
inline void multiply(const Factor& a, const Factor& b, float* out, int threads) {
    const bool a_shared = a.lines <= b.lines;
    const Factor &shared = a_shared ? a : b, &own = a_shared ? b : a;
    const int64_t steps = blocks_of(a.count, 2 * kSide), next = steps * kUnits;
    const int64_t shared_blocks = blocks_of(shared.lines, kSide), own_blocks = blocks_of(own.lines, kSide);
    const int team = team_for(a.lines * b.lines, threads);
    Pair* const packed = room_for((shared.parts * shared_blocks + 2 * own.parts * team) * next);
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
                _tile_zero(0);
                _tile_zero(1);
                _tile_zero(2);
                _tile_zero(3);
                for (int which = 0; which < 3; which++) {  // of the parts: the first of both, and the rest of one
                    const int part_a = which == 1, part_b = which == 2;
                    if (part_a >= a.parts || part_b >= b.parts) continue;
                    const Pair* of_a = a_shared ? of_shared[part_a] + other * next : of_own[part_a];
                    const Pair* of_b = a_shared ? of_own[part_b] : of_shared[part_b] + other * next;
                    add_products(of_a, more_a ? next : 0, of_b, more_b ? next : 0, steps);
                }
                alignas(64) float sums[kSide * kSide];
                const auto put = [&](int64_t block_a, int64_t block_b) {
                    const int64_t rows = std::min(kSide, a.lines - block_a * kSide), columns = std::min(kSide, b.lines - block_b * kSide);
                    float* to = out + block_a * kSide * b.lines + block_b * kSide;
                    for (int64_t row = 0; row < rows; row++) _mm512_mask_storeu_ps(to + row * b.lines, first_of(columns), _mm512_load_ps(sums + row * kSide));
                };
                _tile_stored(0, sums, 64);
                put(i, j);
                _tile_stored(1, sums, 64);
                if (more_b) put(i, j + 1);
                _tile_stored(2, sums, 64);
                if (more_a) put(i + 1, j);
                _tile_stored(3, sums, 64);
                if (more_a && more_b) put(i + 1, j + 1);
            }
        }
        _tile_release();
    }
}

#endif

}  // namespace cimsim
