// Convolutions of float32 images on the matrix unit of the processor, without unfolding them in memory of their own.
//
// Images are packed row by row, once for each column of the kernel, shifted by it. What a row of the output needs of one
// column of the kernel are then rows of memory at equal distances, which are loaded as they are:
// the forward product sums over rows of the kernel and pairs of channels, the gradient of the kernel over places.

#pragma once
#include "products.h"

#if defined(CIMSIM_MATRIX_UNIT)

namespace cimsim {

// Images [images, tiles * channels, height, width], kernels [tiles, columns, channels, kernel_height, kernel_width] and
// outputs [images, tiles, columns, out_height, out_width].
struct Convolution {
    int64_t images, tiles, channels, columns, height, width, kernel_height, kernel_width;
    int64_t stride_down, stride_right, padding_down, padding_right, out_height, out_width;
};

// The number in `column`, `channel`, `row` and `place` of the kernels of a tile is at data[tile * .tile + ...].
struct Kernels {
    const float* data;
    int64_t tile, column, channel, row, place;
    int parts;
};

// Images side by side whose rows are packed together, and rows of the output that are computed at a time.
struct Packing {
    int64_t together, length, rows;  // length: places of a packed row, a multiple of `multiple`
};

constexpr int64_t kPacked = 768 << 10;  // bytes that stay in the second cache, beside kernels and outputs

constexpr int64_t kEnough = 4;              // rows of the output, so that few rows of the input are packed twice

// As many rows as fit in the cache, of so many images that few of the places are empty (an eighth is few) and enough rows fit.
inline Packing packing_of(const Convolution& c, int64_t multiple, int64_t bytes_of_place, int64_t bytes_of_row) {
    const auto of = [&](int64_t images) {
        const int64_t length = blocks_of(images * c.out_width, multiple) * multiple, per_input_row = bytes_of_place * length, per_row = bytes_of_row * length;
        const int64_t rows = (kPacked - c.kernel_height * per_input_row) / (c.stride_down * per_input_row + per_row);
        return Packing{images, length, std::min(c.out_height, std::max<int64_t>(1, rows))};
    };
    Packing best = of(1);
    for (int64_t images = 2; images <= std::min(c.images, multiple) && 8 * best.length > 9 * best.together * c.out_width; images++) {
        const Packing next = of(images);
        if (next.rows < std::min(c.out_height, kEnough)) break;
        if (next.length * best.together < best.length * next.together) best = next;
    }
    return best;
}

// Numbers of images: float32; whole numbers of one byte, or their squares, which are rounded to bfloat16.
enum SquareOfSigned : int8_t {};
enum SquareOfUnsigned : uint8_t {};

// Sixteen numbers, `which` of them are read and the others 0; neighbors in memory (kStride 1), or every second one.
template <int kStride>
__m512 load_places(const float* from, __mmask16 which) {
    if constexpr (kStride == 1) return _mm512_maskz_loadu_ps(which, from);
    const uint32_t read = _pdep_u32(which, 0x55555555);
    const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    return _mm512_permutex2var_ps(_mm512_maskz_loadu_ps(read & 0xffff, from), even, _mm512_maskz_loadu_ps(read >> 16, from + kSide));
}
template <int kStride, class Byte>
__m128i load_bytes(const Byte* from, __mmask16 which) {
    if constexpr (kStride == 1) return _mm_maskz_loadu_epi8(which, from);
    return _mm256_cvtepi16_epi8(_mm256_maskz_loadu_epi8(_pdep_u32(which, 0x55555555), from));
}
template <int kStride>
__m512 load_places(const int8_t* from, __mmask16 which) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load_bytes<kStride>(from, which))); }
template <int kStride>
__m512 load_places(const uint8_t* from, __mmask16 which) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(load_bytes<kStride>(from, which))); }
inline __m512 rounded_square(__m512 x) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_mul_ps(x, x))), 16));
}
template <int kStride>
__m512 load_places(const SquareOfSigned* from, __mmask16 which) { return rounded_square(load_places<kStride>((const int8_t*)from, which)); }
template <int kStride>
__m512 load_places(const SquareOfUnsigned* from, __mmask16 which) { return rounded_square(load_places<kStride>((const uint8_t*)from, which)); }

// Where 16 places side by side come from: for each of their images, from which to which place shows it, and where the first of
// the 16 would be in memory.
struct Places {
    struct {
        int64_t at, begin, end;
        __mmask16 which;
    } of[kSide];
    int count = 0;
    int64_t stride;

    // The places from `first` on of `images` images side by side, each `out_width` wide and `apart` from the next in memory.
    // Place p of an image is number stride * p + shift of its rows of `width` numbers, or 0 outside of them.
    Places(int64_t first, int64_t images, int64_t out_width, int64_t apart, int64_t width, int64_t stride, int64_t shift) : stride(stride) {
        for (int64_t image = first / out_width; image < images && image * out_width < first + kSide; image++) {
            const int64_t place = image * out_width - first;
            const int64_t low = shift < 0 ? blocks_of(-shift, stride) : 0, high = std::min(out_width, width > shift ? blocks_of(width - shift, stride) : 0);
            const int64_t begin = std::max<int64_t>(0, place + low), end = std::min(kSide, place + high);
            if (begin < end) of[count++] = {image * apart - place * stride + shift, begin, end, __mmask16(first_of(end) & ~first_of(begin))};
        }
    }

    template <class T>
    __m512 load(const T* row) const {
        __m512 numbers = _mm512_setzero_ps();
        if (stride == 1)
            for (int i = 0; i < count; i++) numbers = _mm512_or_ps(numbers, load_places<1>(row + of[i].at, of[i].which));
        else if (stride == 2)
            for (int i = 0; i < count; i++) numbers = _mm512_or_ps(numbers, load_places<2>(row + of[i].at, of[i].which));
        else {
            alignas(64) T apart[kSide] = {};
            for (int i = 0; i < count; i++)
                for (int64_t place = of[i].begin; place < of[i].end; place++) apart[place] = row[of[i].at + place * stride];
            numbers = load_places<1>(apart, 0xffff);
        }
        return numbers;
    }
};

// What is packed of the input for rows of the output: `count` rows from `first` on, some of which may be outside of the images.
struct Rows {
    int64_t first, count;

    Rows(const Convolution& c, int64_t top, int64_t rows) : first(top * c.stride_down - c.padding_down), count((rows - 1) * c.stride_down + c.kernel_height) {}
};

// packed[part][column of the kernel][row][pair of channels][place] of `images` images from `x` on, one pair of bfloat16 each.
// A number with one part is a bfloat16, such as a whole number up to 256.
template <int kParts, class T>
void pack_pairs(const Convolution& c, const Packing& packing, const Rows& rows, const T* x, int64_t images, Pair* packed) {
    const int64_t area = c.height * c.width, apart = c.tiles * c.channels * area, pairs = blocks_of(c.channels, 2);
    const int64_t copy = rows.count * pairs * packing.length;
    for (int64_t k = 0; k < c.kernel_width; k++)
        for (int64_t first = 0; first < packing.length; first += kSide) {
            const Places places(first, images, c.out_width, apart, c.width, c.stride_right, k - c.padding_right);
            Pair* to = packed + k * copy + first;
            for (int64_t r = rows.first; r < rows.first + rows.count; r++)
                for (int64_t pair = 0; pair < pairs; pair++, to += packing.length) {
                    __m512i both[2] = {};
                    if (r >= 0 && r < c.height) {
                        const T* const row = x + 2 * pair * area + r * c.width;
                        const __m512 even = places.load(row), odd = 2 * pair + 1 < c.channels ? places.load(row + area) : _mm512_setzero_ps();
                        if constexpr (kParts == 1)
                            both[0] = _mm512_or_si512(_mm512_srli_epi32(_mm512_castps_si512(even), 16), _mm512_castps_si512(odd));
                        else
                            pair_up(even, odd, both[0], both[1]);
                    }
                    for (int part = 0; part < kParts; part++) _mm512_store_si512(to + part * c.kernel_width * copy, both[part]);
                }
        }
}

// packed[part][column of the kernel][row][channel][place], one bfloat16 each.
template <int kParts, class T>
void pack_halves(const Convolution& c, const Packing& packing, const Rows& rows, const T* x, int64_t images, Pair* packed) {
    const int64_t area = c.height * c.width, apart = c.tiles * c.channels * area, length = packing.length / 2;  // in pairs
    const int64_t copy = rows.count * c.channels * length;
    for (int64_t k = 0; k < c.kernel_width; k++)
        for (int64_t first = 0; first < length; first += kSide) {
            const Places low(2 * first, images, c.out_width, apart, c.width, c.stride_right, k - c.padding_right);
            const Places high(2 * first + kSide, images, c.out_width, apart, c.width, c.stride_right, k - c.padding_right);
            Pair* to = packed + k * copy + first;
            for (int64_t r = rows.first; r < rows.first + rows.count; r++)
                for (int64_t channel = 0; channel < c.channels; channel++, to += length) {
                    __m512i both[2] = {};
                    if (r >= 0 && r < c.height) {
                        const T* const row = x + channel * area + r * c.width;
                        split_up(low.load(row), high.load(row), both[0], both[1]);
                    }
                    for (int part = 0; part < kParts; part++) _mm512_store_si512(to + part * c.kernel_width * copy, both[part]);
                }
        }
}

// packed[part][block of columns][row][step][pair of places][column] of `rows` rows of the output's gradient from `dz` on.
inline void pack_gradients(const Convolution& c, const Packing& packing, int64_t rows, const float* dz, int64_t images, Pair* packed, int64_t of_part) {
    const int64_t area = c.out_height * c.out_width, apart = c.tiles * c.columns * area, steps = packing.length / (2 * kSide);
    for (int64_t step = 0; step < steps; step++) {
        const Places low(2 * step * kSide, images, c.out_width, apart, c.out_width, 1, 0), high((2 * step + 1) * kSide, images, c.out_width, apart, c.out_width, 1, 0);
        for (int64_t block = 0; block < blocks_of(c.columns, kSide); block++)
            for (int64_t r = 0; r < rows; r++) {
                __m512i first[kSide] = {}, rest[kSide] = {};
                for (int64_t i = 0; i < std::min(kSide, c.columns - block * kSide); i++) {
                    const float* const row = dz + (block * kSide + i) * area + r * c.out_width;
                    split_up(low.load(row), high.load(row), first[i], rest[i]);
                }
                transpose(first);
                transpose(rest);
                Pair* const to = packed + ((block * rows + r) * steps + step) * kUnits;
                for (int64_t i = 0; i < kSide; i++) _mm512_store_si512(to + i * kSide, first[i]), _mm512_store_si512(to + of_part + i * kSide, rest[i]);
            }
    }
}

// Number of blocks of 16 pairs that the rows of a kernel take for each of its columns.
inline int64_t steps_of(const Convolution& c) { return blocks_of(c.kernel_height * blocks_of(c.channels, 2), kSide); }

// All kernels as packed[part][tile][block of columns][column of the kernel][step][column][pair].
inline void pack_kernels(const Convolution& c, const Kernels& w, Pair* packed) {
    const int64_t lines = blocks_of(c.channels, 2), steps = steps_of(c), blocks = blocks_of(c.columns, kSide);
    const int64_t all = c.tiles * blocks * c.kernel_width * steps;
#pragma omp for schedule(static) nowait
    for (int64_t each = 0; each < all; each++) {
        const int64_t step = each % steps, place = each / steps % c.kernel_width, block = each / (steps * c.kernel_width) % blocks, tile = each / (steps * c.kernel_width * blocks);
        alignas(64) int even_at[kSide], odd_at[kSide];
        __mmask16 even = 0, odd = 0;
        for (int i = 0; i < kSide; i++) {
            const int64_t pair = step * kSide + i, row = pair / lines, channel = 2 * (pair % lines);
            const bool inside = row < c.kernel_height;
            if (inside) even |= 1 << i;
            if (inside && channel + 1 < c.channels) odd |= 1 << i;
            even_at[i] = inside ? int(row * w.row + channel * w.channel) : 0;
            odd_at[i] = int(even_at[i] + w.channel);
        }
        for (int64_t i = 0; i < kSide; i++) {
            const int64_t column = block * kSide + i;
            __m512i pairs[2] = {};
            if (column < c.columns) {
                const float* const from = w.data + tile * w.tile + column * w.column + place * w.place;
                const __m512 none = _mm512_setzero_ps();
                pair_up(_mm512_mask_i32gather_ps(none, even, _mm512_load_si512(even_at), from, 4), _mm512_mask_i32gather_ps(none, odd, _mm512_load_si512(odd_at), from, 4), pairs[0], pairs[1]);
            }
            for (int part = 0; part < w.parts; part++) _mm512_storeu_si512(packed + (part * all + each) * kUnits + i * kSide, pairs[part]);
        }
    }
}

// The convolution of `x` with the kernels `w`.
template <int kParts, class T>
void convolve(const Convolution& c, const T* x, const Kernels& w, float* out, int threads) {
    const int64_t lines = blocks_of(c.channels, 2), steps = steps_of(c), blocks = blocks_of(c.columns, kSide), across = c.kernel_width * steps;
    Packing packing = packing_of(c, kSide, kParts * c.kernel_width * lines * sizeof(Pair), 0);
    const int64_t groups = blocks_of(c.images, packing.together), places = c.out_height * c.out_width;
    const int team = team_for(c.images * c.tiles * c.columns * places, threads);
    packing.rows = std::min(packing.rows, std::max<int64_t>(1, blocks_of(c.out_height * groups * c.tiles, 2 * team)));  // enough for all threads
    const int64_t bands = blocks_of(c.out_height, packing.rows), line = packing.length, wide = line / kSide;
    const int64_t of_kernels = c.tiles * blocks * across * kUnits;
    const int64_t of_images = kParts * c.kernel_width * ((packing.rows - 1) * c.stride_down + c.kernel_height) * lines * line;
    const int64_t own = of_images + kSide * line;
    Pair* const kernels = room_for(w.parts * of_kernels + team * own);
#pragma omp parallel num_threads(team)
    {
        pack_kernels(c, w, kernels);
#pragma omp barrier
        use_tiles();
        Pair* const images = kernels + w.parts * of_kernels + omp_get_thread_num() * own;
#pragma omp for schedule(static)
        for (int64_t each = 0; each < groups * c.tiles * bands; each++) {
            const int64_t top = each % bands * packing.rows, tile = each / bands % c.tiles, from = each / (bands * c.tiles) * packing.together;
            const int64_t rows = std::min(packing.rows, c.out_height - top), to = std::min(c.images, from + packing.together);
            const Rows read(c, top, rows);
            const int64_t copy = read.count * lines * line;
            // The last step of the last row reads behind the images, times kernels of 0.
            std::memset(images + kParts * c.kernel_width * copy, 0, kSide * line * sizeof(Pair));
            const T* const source = x + (from * c.tiles + tile) * c.channels * c.height * c.width;
            pack_pairs<kParts>(c, packing, read, source, to - from, images);
            const auto image_at = [&](int64_t place) { return images + place / wide * c.stride_down * lines * line + place % wide * kSide; };
            const auto kernel_at = [&](int64_t block) { return kernels + (tile * blocks + block) * across * kUnits; };
            const auto put = [&](int64_t block, int64_t place, const float* sums) {
                const int64_t row = top + place / wide, first = place % wide * kSide;
                for (int64_t image = first / c.out_width; image < to - from; image++) {
                    const int64_t begin = image * c.out_width - first;
                    if (begin >= kSide) break;
                    const __mmask16 some = first_of(begin + c.out_width) & ~first_of(begin);
                    float* const at = out + (((from + image) * c.tiles + tile) * c.columns + block * kSide) * places + row * c.out_width - begin;
                    for (int64_t i = 0; i < std::min(kSide, c.columns - block * kSide); i++) _mm512_mask_storeu_ps(at + i * places, some, _mm512_load_ps(sums + i * kSide));
                }
            };
            const int64_t all = rows * wide;
            for (int64_t block = 0; block < blocks;) {
                const bool two = block + 1 < blocks;
                for (int64_t place = 0; place < all; place += two ? 2 : 4) {
                    const auto nth = [&](int64_t i) { return std::min(place + i, all - 1); };
                    Blocks a = {{kernel_at(block), kernel_at(block + two)}, 64, kUnits, steps * kUnits};
                    Blocks b = {{image_at(nth(0)), image_at(nth(1)), image_at(nth(2)), image_at(nth(3))}, line * int64_t(sizeof(Pair)), kSide * line, copy};
                    clear_sums();
                    for (int which = 0; which < 3; which++) {  // of the parts: the first of both, and the rest of one
                        const int part_a = which == 1, part_b = which == 2;
                        if (part_a >= w.parts || part_b >= kParts) continue;
                        const Blocks of_a = a.from(part_a * of_kernels), of_b = b.from(part_b * c.kernel_width * copy);
                        two ? add_two_by_two(of_a, of_b, c.kernel_width, steps) : add_one_by_four(of_a, of_b, c.kernel_width, steps);
                    }
                    alignas(64) float sums[4][kUnits];
                    float* const to_sums[4] = {sums[0], sums[1], sums[2], sums[3]};
                    store_sums(to_sums);
                    for (int64_t i = 0; i < 4; i++) {
                        const int64_t ahead = two ? i % 2 : i;
                        if (place + ahead < all) put(block + (two ? i / 2 : 0), place + ahead, sums[i]);
                    }
                }
                block += 1 + two;
            }
        }
        _tile_release();
    }
}

constexpr int64_t kMostSums = 16;          // of groups of images, so that results do not depend on the number of threads
constexpr int64_t kSumBytes = 64 << 20;

// The gradient of the kernels [tiles, columns, channels, kernel_height, kernel_width] for the gradient `dz` of the output, in two parts.
template <int kParts, class T>
void correlate(const Convolution& c, const T* x, const float* dz, float* out, int threads) {
    constexpr int kGradientParts = 2;
    const int64_t places = c.out_height * c.out_width, per_tile = c.kernel_width * c.kernel_height;
    const int64_t of_channels = blocks_of(c.channels, kSide), blocks = blocks_of(c.columns, kSide), lines = per_tile * of_channels;
    const Packing packing = packing_of(c, 2 * kSide, kParts * c.kernel_width * c.channels * sizeof(uint16_t), kGradientParts * blocks * kSide * sizeof(uint16_t));
    const int64_t groups = blocks_of(c.images, packing.together), bands = blocks_of(c.out_height, packing.rows), wide = packing.length / (2 * kSide);
    const int64_t of_sums = lines * blocks * kUnits, sums = std::max<int64_t>(1, std::min({groups, kMostSums, kSumBytes / (of_sums * c.tiles * 4)}));
    const int team = team_for(c.images * c.tiles * c.columns * places, threads);
    const int64_t most_rows = (packing.rows - 1) * c.stride_down + c.kernel_height;
    // In pairs; the last block of channels reads behind the images.
    const int64_t of_images = (kParts * c.kernel_width * most_rows * c.channels + kSide) * packing.length / 2;
    const int64_t of_gradients = blocks * packing.rows * wide * kUnits, own = of_images + kGradientParts * of_gradients;
    Pair* const room = room_for(sums * c.tiles * of_sums + team * own);
#pragma omp parallel num_threads(team)
    {
        use_tiles();
        Pair* const images = room + sums * c.tiles * of_sums + omp_get_thread_num() * own;
        Pair* const gradients = images + of_images;
#pragma omp for schedule(static)
        for (int64_t each = 0; each < sums * c.tiles; each++) {
            const int64_t sum = each / c.tiles, tile = each % c.tiles;
            float* const total = (float*)(room + each * of_sums);
            std::memset(total, 0, of_sums * sizeof(float));
            for (int64_t part = groups * sum / sums * bands; part < groups * (sum + 1) / sums * bands; part++) {
                const int64_t from = part / bands * packing.together, to = std::min(c.images, from + packing.together), top = part % bands * packing.rows;
                const int64_t rows = std::min(packing.rows, c.out_height - top);
                const Rows read(c, top, rows);
                const int64_t copy = read.count * c.channels * packing.length / 2, first = from * c.tiles + tile;
                pack_halves<kParts>(c, packing, read, x + first * c.channels * c.height * c.width, to - from, images);
                pack_gradients(c, packing, rows, dz + first * c.columns * places + top * c.out_width, to - from, gradients, of_gradients);
                const auto image_at = [&](int64_t l) {
                    const int64_t block = l % of_channels, down = l / of_channels % c.kernel_height, right = l / (of_channels * c.kernel_height);
                    return images + right * copy + (down * c.channels + block * kSide) * packing.length / 2;
                };
                const auto gradient_at = [&](int64_t block) { return gradients + block * rows * wide * kUnits; };
                for (int64_t block = 0; block < blocks;) {
                    const bool two = block + 1 < blocks;
                    for (int64_t l = 0; l < lines; l += two ? 2 : 4) {
                        const auto nth = [&](int64_t i) { return std::min(l + i, lines - 1); };
                        Blocks a = {{image_at(nth(0)), image_at(nth(1)), image_at(nth(2)), image_at(nth(3))}, packing.length * 2, kSide, c.stride_down * c.channels * packing.length / 2};
                        Blocks b = {{gradient_at(block), gradient_at(block + two)}, 64, kUnits, wide * kUnits};
                        // Behind the last line, the last one is summed again.
                        const auto sum_at = [&](int64_t i) { return total + ((two ? nth(i / 2) : nth(i)) * blocks + block + (two ? i % 2 : 0)) * kUnits; };
                        float* const to_sums[4] = {sum_at(0), sum_at(1), sum_at(2), sum_at(3)};
                        load_sums(to_sums);
                        for (int which = 0; which < 3; which++) {
                            const int part_a = which == 1, part_b = which == 2;
                            if (part_a >= kParts) continue;
                            const Blocks of_a = a.from(part_a * c.kernel_width * copy), of_b = b.from(part_b * of_gradients);
                            two ? add_two_by_two(of_a, of_b, rows, wide) : add_four_by_one(of_a, of_b, rows, wide);
                        }
                        store_sums(to_sums);
                    }
                    block += 1 + two;
                }
            }
        }
#pragma omp for schedule(static)
        for (int64_t each = 0; each < c.tiles * c.columns * c.channels; each++) {
            const int64_t channel = each % c.channels, column = each / c.channels % c.columns, tile = each / (c.channels * c.columns);
            for (int64_t down = 0; down < c.kernel_height; down++)
                for (int64_t right = 0; right < c.kernel_width; right++) {
                    const int64_t l = (right * c.kernel_height + down) * of_channels + channel / kSide;
                    const int64_t at = (l * blocks + column / kSide) * kUnits + channel % kSide * kSide + column % kSide;
                    float total = 0;
                    for (int64_t sum = 0; sum < sums; sum++) total += ((const float*)room)[(sum * c.tiles + tile) * of_sums + at];
                    out[(each * c.kernel_height + down) * c.kernel_width + right] = total;
                }
        }
        _tile_release();
    }
}

}  // namespace cimsim

#endif
