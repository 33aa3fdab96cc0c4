// Convolutions on a unit that multiplies numbers of 16 bits.
//
// Rows of images are packed once for each column of the kernel, shifted by it. For one column of the kernel, a block of the
// unfolded images is then a number of rows of memory at equal distances, which the unit loads without copying them:
// the outputs sum over rows of the kernel and pairs of channels, the gradients of kernels over places.

#pragma once
#include "products.h"

#if defined(CIMSIM_PRODUCTS)

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
    bool whole;  // on the matrix unit, whether bfloat16 represents its numbers
};

// What is packed at a time: the rows of so many images side by side, each `length` places long, for so many rows of the output.
struct Packing {
    int64_t together, length, rows;
};

constexpr int64_t kPacked = 768 << 10;  // bytes that stay in the second cache, beside kernels and outputs
constexpr int64_t kEnoughRows = 4;      // of the output, so that few rows of the input are packed twice
constexpr int64_t kEnoughBands = 16;    // for the threads; not by their number, so that they do not change the results

// As many rows as fit in the cache, of so many images that at most an eighth of the places is empty, or as few as possible while
// enough rows fit. The length is a multiple of `multiple`.
inline Packing packing_of(const Convolution& c, int64_t multiple, int64_t bytes_of_place, int64_t bytes_of_row) {
    const auto of = [&](int64_t images) {
        const int64_t length = blocks_of(images * c.out_width, multiple) * multiple, per_input_row = bytes_of_place * length, per_row = bytes_of_row * length;
        const int64_t rows = (kPacked - c.kernel_height * per_input_row) / (c.stride_down * per_input_row + per_row);
        return Packing{images, length, std::min(c.out_height, std::max<int64_t>(1, rows))};
    };
    Packing best = of(1);
    for (int64_t images = 2; images <= std::min(c.images, multiple) && 8 * best.length > 9 * best.together * c.out_width; images++) {
        const Packing next = of(images);
        if (next.rows < std::min(c.out_height, kEnoughRows)) break;
        if (next.length * best.together < best.length * next.together) best = next;
    }
    const int64_t few = blocks_of(c.out_height * blocks_of(c.images, best.together) * c.tiles, kEnoughBands);
    best.rows = std::min(best.rows, std::max(kEnoughRows, few));
    return best;
}

// The numbers of images in memory, from one of them on. `load` reads sixteen: neighbors (kStride 1) or every second one; those
// that are not in `which` are 0 and not read.
struct Pixels {
    const float* at;

    Pixels operator+(int64_t numbers) const { return {at + numbers}; }
    float operator[](int64_t i) const { return at[i]; }
    template <int kStride>
    __m512 load(__mmask16 which) const {
        if constexpr (kStride == 1) return _mm512_maskz_loadu_ps(which, at);
        const uint32_t read = _pdep_u32(which, 0x55555555);
        const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
        return _mm512_permutex2var_ps(_mm512_maskz_loadu_ps(read & 0xffff, at), even, _mm512_maskz_loadu_ps(read >> 16, at + kSide));
    }
};

// Whole numbers of one byte, signed or not.
struct Codes {
    const uint8_t* at;
    uint8_t sign;  // 128 if they are signed, otherwise 0

    Codes operator+(int64_t numbers) const { return {at + numbers, sign}; }
    float operator[](int64_t i) const { return float((at[i] ^ sign) - sign); }
    template <int kStride>
    __m512 load(__mmask16 which) const {
        __m128i bytes;
        if constexpr (kStride == 1)
            bytes = _mm_maskz_loadu_epi8(which, at);
        else
            bytes = _mm256_cvtepi16_epi8(_mm256_maskz_loadu_epi8(_pdep_u32(which, 0x55555555), at));
        const __m512i shifted = _mm512_cvtepu8_epi32(_mm_xor_si128(bytes, _mm_set1_epi8(char(sign))));
        return _mm512_cvtepi32_ps(_mm512_sub_epi32(shifted, _mm512_set1_epi32(sign)));
    }
};

#if defined(CIMSIM_MATRIX_UNIT)
// Their squares, rounded to bfloat16.
struct SquaredCodes {
    Codes of;

    SquaredCodes operator+(int64_t numbers) const { return {of + numbers}; }
    float operator[](int64_t i) const { return _mm512_cvtss_f32(rounded(_mm512_set1_ps(of[i]))); }
    template <int kStride>
    __m512 load(__mmask16 which) const { return rounded(of.load<kStride>(which)); }

  private:
    static __m512 rounded(__m512 x) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_mul_ps(x, x))), 16)); }
};
#endif

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

    template <class Images>
    __m512 load(const Images& row) const {
        __m512 numbers = _mm512_setzero_ps();
        if (stride == 1)
            for (int i = 0; i < count; i++) numbers = _mm512_or_ps(numbers, (row + of[i].at).template load<1>(of[i].which));
        else if (stride == 2)
            for (int i = 0; i < count; i++) numbers = _mm512_or_ps(numbers, (row + of[i].at).template load<2>(of[i].which));
        else {
            alignas(64) float apart[kSide] = {};
            for (int i = 0; i < count; i++)
                for (int64_t place = of[i].begin; place < of[i].end; place++) apart[place] = row[of[i].at + place * stride];
            numbers = _mm512_load_ps(apart);
        }
        return numbers;
    }
};

// Rows from `top` on of the output of a tile, of images from `from` on.
struct Band {
    int64_t tile, from, images, top, rows;

    Band(const Convolution& c, const Packing& packing, int64_t tile, int64_t group, int64_t number)
        : tile(tile), from(group * packing.together), images(std::min(packing.together, c.images - from)), top(number * packing.rows), rows(std::min(packing.rows, c.out_height - top)) {}

    // The first row of the input that it depends on, which may be outside of the images, and their number.
    int64_t first_input(const Convolution& c) const { return top * c.stride_down - c.padding_down; }
    int64_t inputs(const Convolution& c) const { return (rows - 1) * c.stride_down + c.kernel_height; }
};

// The input of a band as packed[part of the numbers][column of the kernel][row][pair of channels][place].
// Numbers of one part are whole, up to 256, or bfloat16.
template <class Unit, int kParts, class Images>
void pack_pairs(const Convolution& c, const Packing& packing, const Band& band, const Images& x, Pair* packed) {
    const int64_t area = c.height * c.width, apart = c.tiles * c.channels * area, pairs = blocks_of(c.channels, 2);
    const int64_t begin = band.first_input(c), end = begin + band.inputs(c), copy = band.inputs(c) * pairs * packing.length;
    const Images source = x + (band.from * c.tiles + band.tile) * c.channels * area;
    for (int64_t k = 0; k < c.kernel_width; k++)
        for (int64_t first = 0; first < packing.length; first += kSide) {
            const Places places(first, band.images, c.out_width, apart, c.width, c.stride_right, k - c.padding_right);
            Pair* to = packed + k * copy + first;
            for (int64_t r = begin; r < end; r++)
                for (int64_t pair = 0; pair < pairs; pair++, to += packing.length) {
                    __m512i both[2] = {};
                    if (r >= 0 && r < c.height) {
                        const Images row = source + (2 * pair * area + r * c.width);
                        const __m512 even = places.load(row), odd = 2 * pair + 1 < c.channels ? places.load(row + area) : _mm512_setzero_ps();
                        if constexpr (kParts == 1)
                            both[0] = Unit::pair_whole(even, odd);
                        else
                            Unit::pair_places(even, odd, both[0], both[1]);
                    }
                    for (int part = 0; part < kParts; part++) _mm512_store_si512(to + part * c.kernel_width * copy, both[part]);
                }
        }
}

// The input of a band as packed[part of the numbers][column of the kernel][row][channel][place], half a pair each.
template <class Unit, int kParts, class Images>
void pack_halves(const Convolution& c, const Packing& packing, const Band& band, const Images& x, Pair* packed) {
    const int64_t area = c.height * c.width, apart = c.tiles * c.channels * area, length = packing.length / 2;  // in pairs
    const int64_t begin = band.first_input(c), end = begin + band.inputs(c), copy = band.inputs(c) * c.channels * length;
    const Images source = x + (band.from * c.tiles + band.tile) * c.channels * area;
    for (int64_t k = 0; k < c.kernel_width; k++)
        for (int64_t first = 0; first < length; first += kSide) {
            const Places low(2 * first, band.images, c.out_width, apart, c.width, c.stride_right, k - c.padding_right);
            const Places high(2 * first + kSide, band.images, c.out_width, apart, c.width, c.stride_right, k - c.padding_right);
            Pair* to = packed + k * copy + first;
            for (int64_t r = begin; r < end; r++)
                for (int64_t channel = 0; channel < c.channels; channel++, to += length) {
                    __m512i both[2] = {};
                    if (r >= 0 && r < c.height) {
                        const Images row = source + (channel * area + r * c.width);
                        Unit::pair_neighbors(low.load(row), high.load(row), both[0], both[1]);
                    }
                    for (int part = 0; part < kParts; part++) _mm512_store_si512(to + part * c.kernel_width * copy, both[part]);
                }
        }
}

// The output's gradient as packed[part of the numbers][block of columns][row][step][pair of places][column], and what the numbers
// of each column are multiples of.
template <class Unit>
void pack_gradients(const Convolution& c, const Packing& packing, const Band& band, const float* dz, Pair* packed, int64_t of_part, float* scale) {
    const int64_t area = c.out_height * c.out_width, apart = c.tiles * c.columns * area, steps = packing.length / (2 * kSide);
    const float* const source = dz + (band.from * c.tiles + band.tile) * c.columns * area + band.top * c.out_width;
    if constexpr (Unit::kScales)
        for (int64_t column = 0; column < c.columns; column += kSide) {
            __m512i largest = _mm512_setzero_si512();
            for (int64_t i = 0; i < std::min(kSide, c.columns - column); i++) {
                __m512i most = _mm512_setzero_si512();
                for (int64_t image = 0; image < band.images; image++) most = Unit::larger(most, source + image * apart + (column + i) * area, band.rows * c.out_width);
                largest = _mm512_mask_set1_epi32(largest, 1 << i, int(_mm512_reduce_max_epu32(most)));
            }
            _mm512_storeu_ps(scale + column, Unit::scale_for(largest, false));
        }
    for (int64_t step = 0; step < steps; step++) {
        const Places low(2 * step * kSide, band.images, c.out_width, apart, c.out_width, 1, 0);
        const Places high((2 * step + 1) * kSide, band.images, c.out_width, apart, c.out_width, 1, 0);
        for (int64_t block = 0; block < blocks_of(c.columns, kSide); block++) {
            const Relative<Unit> relative(scale + block * kSide);
            for (int64_t r = 0; r < band.rows; r++) {
                __m512i parts[Unit::kParts][kSide] = {}, rest;
                for (int64_t i = 0; i < std::min(kSide, c.columns - block * kSide); i++) {
                    const Pixels row{source + (block * kSide + i) * area + r * c.out_width};
                    Unit::pair_neighbors(relative.of_line(i, low.load(row)), relative.of_line(i, high.load(row)), parts[0][i], Unit::kParts > 1 ? parts[Unit::kParts - 1][i] : rest);
                }
                Pair* const to = packed + ((block * band.rows + r) * steps + step) * kUnits;
                for (int part = 0; part < Unit::kParts; part++) {
                    transpose(parts[part]);
                    for (int64_t i = 0; i < kSide; i++) _mm512_store_si512(to + part * of_part + i * kSide, parts[part][i]);
                }
            }
        }
    }
}

// Number of blocks of 16 pairs that the rows of a kernel take for each of its columns.
inline int64_t steps_of(const Convolution& c) { return blocks_of(c.kernel_height * blocks_of(c.channels, 2), kSide); }

// What the numbers of each column of the kernels are multiples of: scale[tile][block of columns][column].
template <class Unit>
void find_kernel_scales(const Convolution& c, const Kernels& w, float* scale) {
    if constexpr (Unit::kScales) {
        const int64_t lines = blocks_of(c.columns, kSide) * kSide;
#pragma omp for schedule(static)
        for (int64_t first = 0; first < c.tiles * lines; first += kSide) {
            alignas(64) uint32_t largest[kSide] = {};
            for (int64_t i = 0; i < std::min(kSide, c.columns - first % lines); i++) {
                const float* const from = w.data + first / lines * w.tile + (first % lines + i) * w.column;
                for (int64_t channel = 0; channel < c.channels; channel++)
                    for (int64_t row = 0; row < c.kernel_height; row++)
                        for (int64_t place = 0; place < c.kernel_width; place++) {
                            uint32_t bits;
                            std::memcpy(&bits, from + channel * w.channel + row * w.row + place * w.place, sizeof bits);
                            largest[i] = std::max(largest[i], bits & 0x7fffffff);
                        }
            }
            _mm512_storeu_ps(scale + first, Unit::scale_for(_mm512_load_si512(largest), false));
        }
    }
}

// All kernels as packed[part][tile][block of columns][column of the kernel][step][column][pair].
template <class Unit>
void pack_kernels(const Convolution& c, const Kernels& w, const float* scale, Pair* packed) {
    const int64_t lines = blocks_of(c.channels, 2), steps = steps_of(c), blocks = blocks_of(c.columns, kSide);
    const int64_t all = c.tiles * blocks * c.kernel_width * steps;
#pragma omp for schedule(static) nowait
    for (int64_t each = 0; each < all; each++) {
        const int64_t step = each % steps, place = each / steps % c.kernel_width, block = each / (steps * c.kernel_width) % blocks, tile = each / (steps * c.kernel_width * blocks);
        const Relative<Unit> relative(scale + (tile * blocks + block) * kSide);
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
                const __m512 evens = _mm512_mask_i32gather_ps(none, even, _mm512_load_si512(even_at), from, 4), odds = _mm512_mask_i32gather_ps(none, odd, _mm512_load_si512(odd_at), from, 4);
                Unit::pair_places(relative.of_line(i, evens), relative.of_line(i, odds), pairs[0], pairs[1]);
            }
            for (int part = 0; part < parts_of<Unit>(w.whole); part++) _mm512_storeu_si512(packed + (part * all + each) * kUnits + i * kSide, pairs[part]);
        }
    }
}

// Writes 16 places from number `first` of a packed row on, for a block of columns.
inline void put_sums(const Convolution& c, const Band& band, int64_t block, int64_t row, int64_t first, const float* sums, float* out) {
    const int64_t places = c.out_height * c.out_width, columns = std::min(kSide, c.columns - block * kSide);
    for (int64_t image = first / c.out_width; image < band.images && image * c.out_width < first + kSide; image++) {
        const int64_t begin = image * c.out_width - first;
        const __mmask16 which = first_of(begin + c.out_width) & ~first_of(begin);
        float* const to = out + (((band.from + image) * c.tiles + band.tile) * c.columns + block * kSide) * places + (band.top + row) * c.out_width - begin;
        for (int64_t i = 0; i < columns; i++) _mm512_mask_storeu_ps(to + i * places, which, _mm512_load_ps(sums + i * kSide));
    }
}

// The convolution of `x` with the kernels `w`. Returns whether there was enough memory.
template <class Unit, int kParts, class Images>
bool convolve(const Convolution& c, const Images& x, const Kernels& w, float* out, int threads) {
    const int64_t pairs = blocks_of(c.channels, 2), steps = steps_of(c), blocks = blocks_of(c.columns, kSide);
    const Packing packing = packing_of(c, kSide, kParts * c.kernel_width * pairs * sizeof(Pair), 0);
    const int64_t groups = blocks_of(c.images, packing.together), line = packing.length, wide = line / kSide;
    const int64_t bands = blocks_of(c.out_height, packing.rows), of_block = c.kernel_width * steps * kUnits, of_kernels = c.tiles * blocks * of_block;
    const int64_t all_bands = groups * c.tiles * bands, most_rows = (packing.rows - 1) * c.stride_down + c.kernel_height;
    const int team = std::min<int64_t>(all_bands, team_for(c.images * c.tiles * c.columns * c.out_height * c.out_width, threads));
    const int64_t own = kParts * c.kernel_width * most_rows * pairs * line + kSide * line;
    const int kernel_parts = parts_of<Unit>(w.whole);
    Pair* const kernels = room_for(kernel_parts * of_kernels + team * own + c.tiles * blocks * kSide);
    if (!kernels) return false;
    float* const scale = (float*)(kernels + kernel_parts * of_kernels + team * own);
#pragma omp parallel num_threads(team)
    {
        find_kernel_scales<Unit>(c, w, scale);
        pack_kernels<Unit>(c, w, scale, kernels);
#pragma omp barrier
        const Unit unit;
        Pair* const images = kernels + kernel_parts * of_kernels + omp_get_thread_num() * own;
#pragma omp for schedule(static)
        for (int64_t each = 0; each < all_bands; each++) {
            const Band band(c, packing, each / bands % c.tiles, each / (bands * c.tiles), each % bands);
            const int64_t copy = band.inputs(c) * pairs * line, all = band.rows * wide;
            pack_pairs<Unit, kParts>(c, packing, band, x, images);
            // The last step of a row reads behind the rows of its kernel, times kernels of 0: of the last row, behind the images.
            std::memset(images + kParts * c.kernel_width * copy, 0, kSide * line * sizeof(Pair));
            const Pair* const of_tile = kernels + band.tile * blocks * of_block;
            for (int64_t block = 0; block < blocks; block += 2) {
                const bool two = block + 1 < blocks;
                for (int64_t place = 0; place < all; place += two ? 2 : 4) {
                    const auto image_at = [&](int64_t ahead) {
                        const int64_t at = std::min(place + ahead, all - 1);
                        return images + at / wide * c.stride_down * pairs * line + at % wide * kSide;
                    };
                    const float* const of_columns = scale + (band.tile * blocks + block) * kSide;
                    const Blocks a = {{of_tile + block * of_block, of_tile + (block + two) * of_block}, 64, kUnits, steps * kUnits, kernel_parts, of_kernels, {of_columns, of_columns + two * kSide}};
                    const Blocks b = {{image_at(0), image_at(1), image_at(2), image_at(3)}, line * int64_t(sizeof(Pair)), kSide * line, copy, kParts, c.kernel_width * copy};
                    alignas(64) float sums[4][kUnits];
                    float* const to_sums[4] = {sums[0], sums[1], sums[2], sums[3]};
                    two ? unit.template multiply<2, 2>(a, b, c.kernel_width, steps, false, to_sums) : unit.template multiply<1, 4>(a, b, c.kernel_width, steps, false, to_sums);
                    for (int64_t i = 0; i < 4; i++) {
                        const int64_t at = place + (two ? i % 2 : i);
                        if (at < all) put_sums(c, band, block + (two ? i / 2 : 0), at / wide, at % wide * kSide, sums[i], out);
                    }
                }
            }
        }
    }
    return true;
}

constexpr int64_t kSumBytes = 64 << 20;  // of partial sums, which are added up at the end

// The gradient of the kernels [tiles, columns, channels, kernel_height, kernel_width] for the gradient `dz` of the output.
// A line of the sums is a place of the kernels and a block of channels. Returns whether there was enough memory.
template <class Unit, int kParts, class Images>
bool correlate(const Convolution& c, const Images& x, const float* dz, float* out, int threads) {
    const int64_t of_channels = blocks_of(c.channels, kSide), blocks = blocks_of(c.columns, kSide), lines = c.kernel_width * c.kernel_height * of_channels;
    const Packing packing = packing_of(c, 2 * kSide, kParts * c.kernel_width * c.channels * sizeof(uint16_t), Unit::kParts * blocks * kSide * sizeof(uint16_t));
    const int64_t bands = blocks_of(c.out_height, packing.rows), all = blocks_of(c.images, packing.together) * bands;
    const int64_t half = packing.length / 2, wide = half / kSide, of_sums = lines * blocks * kUnits;  // in pairs
    const int64_t sums = std::max<int64_t>(1, std::min({all, kEnoughBands, kSumBytes / (of_sums * c.tiles * int64_t(sizeof(float)))}));
    const int team = std::min<int64_t>(sums * c.tiles, team_for(c.images * c.tiles * c.columns * c.out_height * c.out_width, threads));
    // The last block of channels reads behind the images.
    const int64_t of_images = (kParts * c.kernel_width * ((packing.rows - 1) * c.stride_down + c.kernel_height) * c.channels + kSide) * half;
    const int64_t of_gradients = blocks * packing.rows * wide * kUnits, own = of_images + Unit::kParts * of_gradients + blocks * kSide;
    Pair* const room = room_for(sums * c.tiles * of_sums + team * own);
    if (!room) return false;
#pragma omp parallel num_threads(team)
    {
        const Unit unit;
        Pair* const images = room + sums * c.tiles * of_sums + omp_get_thread_num() * own;
        Pair* const gradients = images + of_images;
        float* const scale = (float*)(gradients + Unit::kParts * of_gradients);
#pragma omp for schedule(static)
        for (int64_t each = 0; each < sums * c.tiles; each++) {
            const int64_t sum = each / c.tiles;
            float* const totals = (float*)(room + each * of_sums);
            std::memset(totals, 0, of_sums * sizeof(float));
            for (int64_t index = all * sum / sums; index < all * (sum + 1) / sums; index++) {
                const Band band(c, packing, each % c.tiles, index / bands, index % bands);
                const int64_t copy = band.inputs(c) * c.channels * half;
                pack_halves<Unit, kParts>(c, packing, band, x, images);
                pack_gradients<Unit>(c, packing, band, dz, gradients, of_gradients, scale);
                for (int64_t block = 0; block < blocks; block += 2) {
                    const bool two = block + 1 < blocks;
                    for (int64_t line = 0; line < lines; line += two ? 2 : 4) {
                        const auto nth = [&](int64_t ahead) { return std::min(line + ahead, lines - 1); };  // the last one is summed again, to the same sums
                        const auto image_at = [&](int64_t ahead) {
                            const int64_t at = nth(ahead), right = at / (of_channels * c.kernel_height), down = at / of_channels % c.kernel_height;
                            return images + right * copy + (down * c.channels + at % of_channels * kSide) * half;
                        };
                        const auto gradient_at = [&](int64_t at) { return gradients + at * band.rows * wide * kUnits; };
                        const auto sum_at = [&](int64_t i) { return totals + (two ? nth(i / 2) * blocks + block + i % 2 : nth(i) * blocks + block) * kUnits; };
                        const Blocks a = {{image_at(0), image_at(1), image_at(2), image_at(3)}, half * int64_t(sizeof(Pair)), kSide, c.stride_down * c.channels * half, kParts, c.kernel_width * copy};
                        const float* const of_columns = scale + block * kSide;
                        const Blocks b = {{gradient_at(block), gradient_at(block + two)}, 64, kUnits, wide * kUnits, Unit::kParts, of_gradients, {of_columns, of_columns + two * kSide}};
                        float* const to_sums[4] = {sum_at(0), sum_at(1), sum_at(2), sum_at(3)};
                        two ? unit.template multiply<2, 2>(a, b, band.rows, wide, true, to_sums) : unit.template multiply<4, 1>(a, b, band.rows, wide, true, to_sums);
                    }
                }
            }
        }
#pragma omp for schedule(static)
        for (int64_t each = 0; each < c.tiles * blocks * of_channels; each++) {
            const int64_t tile = each / (blocks * of_channels), block = each / of_channels % blocks, of_channel = each % of_channels;
            for (int64_t place = 0; place < c.kernel_height * c.kernel_width; place++) {
                const int64_t line = (place % c.kernel_width * c.kernel_height + place / c.kernel_width) * of_channels + of_channel;
                const float* const first = (const float*)room + tile * of_sums + (line * blocks + block) * kUnits;
                alignas(64) float total[kUnits] = {};
                for (int64_t sum = 0; sum < sums; sum++)
                    for (int64_t i = 0; i < kUnits; i++) total[i] += first[sum * c.tiles * of_sums + i];
                for (int64_t column = block * kSide; column < std::min((block + 1) * kSide, c.columns); column++)
                    for (int64_t channel = of_channel * kSide; channel < std::min((of_channel + 1) * kSide, c.channels); channel++)
                        out[((tile * c.columns + column) * c.channels + channel) * c.kernel_height * c.kernel_width + place] = total[channel % kSide * kSide + column % kSide];
            }
        }
    }
    return true;
}

}  // namespace cimsim

#endif
