// The matrix unit of the processor (AMX), which multiplies bfloat16 and adds in float32.
//
// A float32 number is the sum of two bfloat16 numbers, but for 2^-17 of itself; whole numbers up to 256 are one.
// A product of two factors is thus the sum of two or three products of their parts; that of both remainders is left
// out, since it is as small as what the parts leave out.

#pragma once
#include "blocks.h"

#if defined(CIMSIM_BLOCKS) && defined(__AMX_BF16__) && defined(__AMX_TILE__) && defined(__AVX512BF16__) && defined(__linux__)
#define CIMSIM_MATRIX_UNIT
#include <sys/syscall.h>
#include <unistd.h>

namespace cimsim {

// Whether the operating system lets this process use the matrix unit.
inline bool has_matrix_unit() {
    constexpr int kRequestPermission = 0x1023, kTileData = 18;
    static const bool permitted = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
    return permitted;
}

// Both parts of 32 numbers, as pairs of neighbors (`low` before `high`).
inline void split_up(__m512 low, __m512 high, __m512i& first, __m512i& rest) {
    const __m512bh rounded = _mm512_cvtne2ps_pbh(high, low);
    first = (__m512i)rounded;
    const __m512i wide_low = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(first)), 16);
    const __m512i wide_high = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(first, 1)), 16);
    rest = (__m512i)_mm512_cvtne2ps_pbh(_mm512_sub_ps(high, _mm512_castsi512_ps(wide_high)), _mm512_sub_ps(low, _mm512_castsi512_ps(wide_low)));
}

// Both parts of 16 `even` and 16 `odd` numbers, each pair the numbers at the same place.
inline void pair_up(__m512 even, __m512 odd, __m512i& first, __m512i& rest) {
    const auto halves = [](__m512 x) { return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x)); };
    const __m512i e = halves(even), o = halves(odd);
    first = _mm512_or_si512(e, _mm512_slli_epi32(o, 16));
    const __m512i even_rest = halves(_mm512_sub_ps(even, _mm512_castsi512_ps(_mm512_slli_epi32(e, 16))));
    const __m512i odd_rest = halves(_mm512_sub_ps(odd, _mm512_castsi512_ps(_mm512_slli_epi32(o, 16))));
    rest = _mm512_or_si512(even_rest, _mm512_slli_epi32(odd_rest, 16));
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

// The next three functions differ only in their tiles, which instructions name by literals.

// Adds to the tiles 0 to 3 the products of the first two blocks of `a` with the first two of `b`.
inline void add_two_by_two(const Blocks& a, const Blocks& b, int64_t turns, int64_t steps) {
    for (int64_t turn = 0; turn < turns; turn++)
        for (int64_t step = 0; step < steps; step++) {
            const int64_t of_a = turn * a.turn + step * a.step, of_b = turn * b.turn + step * b.step;
            _tile_loadd(4, a.at[0] + of_a, a.line);
            _tile_loadd(6, b.at[0] + of_b, b.line);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(7, b.at[1] + of_b, b.line);
            _tile_dpbf16ps(1, 4, 7);
            _tile_loadd(5, a.at[1] + of_a, a.line);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
}

// Adds the products of the first block of `a` with all four of `b`.
inline void add_one_by_four(const Blocks& a, const Blocks& b, int64_t turns, int64_t steps) {
    for (int64_t turn = 0; turn < turns; turn++)
        for (int64_t step = 0; step < steps; step++) {
            const int64_t of_a = turn * a.turn + step * a.step, of_b = turn * b.turn + step * b.step;
            _tile_loadd(4, a.at[0] + of_a, a.line);
            _tile_loadd(5, b.at[0] + of_b, b.line);
            _tile_dpbf16ps(0, 4, 5);
            _tile_loadd(6, b.at[1] + of_b, b.line);
            _tile_dpbf16ps(1, 4, 6);
            _tile_loadd(7, b.at[2] + of_b, b.line);
            _tile_dpbf16ps(2, 4, 7);
            _tile_loadd(5, b.at[3] + of_b, b.line);
            _tile_dpbf16ps(3, 4, 5);
        }
}

// Adds the products of all four blocks of `a` with the first of `b`.
inline void add_four_by_one(const Blocks& a, const Blocks& b, int64_t turns, int64_t steps) {
    for (int64_t turn = 0; turn < turns; turn++)
        for (int64_t step = 0; step < steps; step++) {
            const int64_t of_a = turn * a.turn + step * a.step, of_b = turn * b.turn + step * b.step;
            _tile_loadd(4, b.at[0] + of_b, b.line);
            _tile_loadd(5, a.at[0] + of_a, a.line);
            _tile_dpbf16ps(0, 5, 4);
            _tile_loadd(6, a.at[1] + of_a, a.line);
            _tile_dpbf16ps(1, 6, 4);
            _tile_loadd(7, a.at[2] + of_a, a.line);
            _tile_dpbf16ps(2, 7, 4);
            _tile_loadd(5, a.at[3] + of_a, a.line);
            _tile_dpbf16ps(3, 5, 4);
        }
}

// Calls with the parts of both factors whose products are summed: the first of both, and the rest of each with the first of
// the other.
template <class Call>
void with_parts(int a_parts, int b_parts, Call call) {
    call(0, 0);
    if (a_parts > 1) call(1, 0);
    if (b_parts > 1) call(0, 1);
}

// The tiles 0 to 3, from and to 256 numbers each.
inline void clear_sums() {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

inline void load_sums(float* const* from) {
    _tile_loadd(0, from[0], 64);
    _tile_loadd(1, from[1], 64);
    _tile_loadd(2, from[2], 64);
    _tile_loadd(3, from[3], 64);
}

inline void store_sums(float* const* to) {
    _tile_stored(0, to[0], 64);
    _tile_stored(1, to[1], 64);
    _tile_stored(2, to[2], 64);
    _tile_stored(3, to[3], 64);
}

// See `VectorUnit` for the other unit with these members.
struct MatrixUnit {
    static constexpr int kParts = 2;          // of a number that is not whole
    static constexpr bool kScales = false;    // whether numbers are relative to the largest one of their line
    static constexpr int64_t kExact = 8;      // blocks of a line that have a scale, for units that scale

    MatrixUnit() { use_tiles(); }
    ~MatrixUnit() { _tile_release(); }

    // 32 numbers as pairs of neighbors.
    static void pair_neighbors(__m512 low, __m512 high, __m512i& first, __m512i& rest) { split_up(low, high, first, rest); }
    // 16 `even` and 16 `odd` numbers, each pair the numbers at the same place.
    static void pair_places(__m512 even, __m512 odd, __m512i& first, __m512i& rest) { pair_up(even, odd, first, rest); }
    // The same for numbers that bfloat16 represents.
    static __m512i pair_whole(__m512 even, __m512 odd) { return _mm512_or_si512(_mm512_srli_epi32(_mm512_castps_si512(even), 16), _mm512_castps_si512(odd)); }

    // Products of kA blocks of `a` with kB of `b`, summed up in sums[a * kB + b], 256 numbers each, or (`more`) added to these.
    template <int kA, int kB>
    static void multiply(const Blocks& a, const Blocks& b, int64_t turns, int64_t steps, bool more, float* const* sums) {
        more ? load_sums(sums) : clear_sums();
        with_parts(a.parts, b.parts, [&](int part_a, int part_b) {
            const auto part = [](const Blocks& blocks, int64_t number) {
                const int64_t pairs = number * blocks.part;
                return Blocks{{blocks.at[0] + pairs, blocks.at[1] + pairs, blocks.at[2] + pairs, blocks.at[3] + pairs}, blocks.line, blocks.step, blocks.turn};
            };
            const Blocks of_a = part(a, part_a), of_b = part(b, part_b);
            if constexpr (kA == 2) add_two_by_two(of_a, of_b, turns, steps);
            else if constexpr (kA == 1) add_one_by_four(of_a, of_b, turns, steps);
            else add_four_by_one(of_a, of_b, turns, steps);
        });
        store_sums(sums);
    }
};

}  // namespace cimsim

#endif
