// Blocks of packed numbers, 16 lines of 16 pairs: what units that multiply numbers of 16 bits read.
//
// The numbers of a line are summed over. A block is stored line by line, or, for the second factor, with the pairs of all
// lines at one place side by side.

#pragma once
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "random.h"
#include "threads.h"

#if defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__) && defined(__BMI2__)
#define CIMSIM_BLOCKS

namespace cimsim {

constexpr int64_t kSide = 16;          // lines of a block, and pairs of numbers of a line
constexpr int64_t kUnits = 256;        // pairs of a block
typedef uint32_t Pair;                 // two numbers of a line, of 16 bits each, the first in the lower half

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

inline __mmask16 first_of(int64_t count) { return count >= 16 ? __mmask16(0xffff) : count <= 0 ? __mmask16(0) : __mmask16((1u << count) - 1); }

inline int64_t blocks_of(int64_t count, int64_t size) { return (count + size - 1) / size; }

// Up to four blocks of a factor, which start sums of `turns` times `steps` blocks. Distances of lines are in bytes, others in pairs.
struct Blocks {
    const Pair* at[4];
    int64_t line, step, turn;
    int parts = 1;           // whose sum is the number
    int64_t part = 0;        // the distance of the parts
    const float* scale[4] = {};  // of the lines of each block, for units that scale; null for 1
    int64_t next_scale = 0;      // the distance of the scales of the next 256 numbers of the lines
};

// Memory of this thread for `count` pairs, aligned to 64 bytes; null if there is not enough.
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
