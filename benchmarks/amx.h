// The instructions of the matrix unit (AMX) that the kernels use, in AVX-512 with bfloat16: to test their code on
// processors without that unit. The compiler includes it before all else (-include).

#pragma once
#include <cstring>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#define __AMX_BF16__ 1
#define __AMX_TILE__ 1

namespace amx {

struct alignas(64) Tile {
    unsigned char rows[16][64];
};
inline thread_local Tile tiles[8];

inline void load(int tile, const void* from, long distance) {
    for (int row = 0; row < 16; row++) std::memcpy(tiles[tile].rows[row], (const char*)from + row * distance, 64);
}

inline void store(int tile, void* to, long distance) {
    for (int row = 0; row < 16; row++) std::memcpy((char*)to + row * distance, tiles[tile].rows[row], 64);
}

inline void clear(int tile) { std::memset(&tiles[tile], 0, sizeof(Tile)); }

// Adds the product of two tiles of bfloat16 to one of float32.
inline void multiply(int sums, int a, int b) {
    for (int row = 0; row < 16; row++) {
        __m512 sum = _mm512_load_ps(tiles[sums].rows[row]);
        for (int pair = 0; pair < 16; pair++) {
            int of_a;
            std::memcpy(&of_a, tiles[a].rows[row] + 4 * pair, sizeof of_a);
            sum = _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(of_a), (__m512bh)_mm512_load_si512(tiles[b].rows[pair]));
        }
        _mm512_store_ps(tiles[sums].rows[row], sum);
    }
}

}  // namespace amx

#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbf16ps
#define _tile_loadd(tile, from, distance) amx::load(tile, from, distance)
#define _tile_stored(tile, to, distance) amx::store(tile, to, distance)
#define _tile_zero(tile) amx::clear(tile)
#define _tile_dpbf16ps(sums, a, b) amx::multiply(sums, a, b)
#define _tile_loadconfig(config) ((void)(config))
#define _tile_release() ((void)0)
#define syscall(...) 0  // the operating system permits its use
