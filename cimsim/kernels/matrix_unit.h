// The matrix unit of the processor (AMX), which multiplies bfloat16 and adds in float32.
//
// A float32 number is the sum of two bfloat16 numbers, but for 2^-17 of itself; whole numbers up to 256 are one.
// A product of two factors is thus the sum of two or three products of their parts; that of both remainders is left
// out, since it is as small as what the parts leave out.

#pragma once
#include <algorithm>
#include <cstdlib>

#include "random.h"
#include "threads.h"

#if defined(__AMX_BF16__) && defined(__AMX_TILE__) && defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__BMI2__) && defined(__linux__)
#define CIMSIM_MATRIX_UNIT
#include <sys/syscall.h>
#include <unistd.h>

namespace cimsim {

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

// Both parts of 16 `even` and 16 `odd` numbers, each pair the numbers at the same place.
inline void pair_up(__m512 even, __m512 odd, __m512i& first, __m512i& rest) {
    const auto halves = [](__m512 x) { return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x)); };
    const __m512i e = halves(even), o = halves(odd);
    first = _mm512_or_si512(e, _mm512_slli_epi32(o, 16));
    const __m512i even_rest = halves(_mm512_sub_ps(even, _mm512_castsi512_ps(_mm512_slli_epi32(e, 16))));
    const __m512i odd_rest = halves(_mm512_sub_ps(odd, _mm512_castsi512_ps(_mm512_slli_epi32(o, 16))));
    rest = _mm512_or_si512(even_rest, _mm512_slli_epi32(odd_rest, 16));
}

inline __mmask16 first_of(int64_t count) { return count >= 16 ? __mmask16(0xffff) : count <= 0 ? __mmask16(0) : __mmask16((1u << count) - 1); }

inline int64_t blocks_of(int64_t count, int64_t size) { return (count + size - 1) / size; }

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

// Up to four blocks of a factor, which start sums of `turns` times `steps` blocks. Distances of lines are in bytes, others in pairs.
struct Blocks {
    const Pair* at[4];
    int64_t line, step, turn;

    Blocks from(int64_t pairs) const { return {{at[0] + pairs, at[1] + pairs, at[2] + pairs, at[3] + pairs}, line, step, turn}; }
};

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

// Memory of this thread for `count` pairs, aligned as tiles are loaded fastest; null if there is not enough.
inline Pair* room_for(int64_t count) {
    struct Room {
        Pair* pairs = nullptr;
        int64_t count = 0;
        ~Room() { std::free(pairs); }
    };
    thread_local Room room;
    if (room.count < count) {
        std::free(room.pairs);
        room.pairs = (Pair*)std::aligned_alloc(64, blocks_of(count, kSide) * 64);
        room.count = room.pairs ? count : 0;
    }
    return room.pairs;
}

}  // namespace cimsim

#endif
