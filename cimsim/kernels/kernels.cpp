// The measured hot spots of cimsim on the CPU, in float32, each in one pass over memory.
//
// Every function has a plain-torch reference that it is tested against; see native.py beside this
// file for their arguments. Results do not depend on the number of threads.

#if defined(_OPENMP)
#include <omp.h>
#else
inline int omp_get_num_threads() { return 1; }
inline int omp_get_thread_num() { return 0; }
#endif

#include "cells.h"
#include "converters.h"

using namespace cimsim;

extern "C" {

// Numbers N(0, 1) of one seed.
void cimsim_normal(float* out, int64_t count, uint64_t seed, int threads) {
    const int64_t blocks = (count + kBlock - 1) / kBlock;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t block = 0; block < blocks; block++) {
        float* to = out + block * kBlock;
        if (count - block * kBlock >= kBlock) {
            normal_block(seed, block, to);
        } else {
            float last[kBlock];
            normal_block(seed, block, last);
            std::memcpy(to, last, (count - block * kBlock) * sizeof(float));
        }
    }
}

// Weights on cells, programmed and aged. dims: tiles, columns, rows, and the weight's strides of tiles
// and columns. `scale` [tiles, columns] is an input, or the largest weight of each column if
// `find_scale`. `slope` is d relative / d (weight / scale), `variance` that of the relative currents,
// `sums` [2, tiles * columns] of |relative| fresh and aged; each may be null. The outputs have
// `out_columns >= columns` columns for each tile.
void cimsim_program(const float* weight, float* scale, int find_scale, const int64_t* dims, const float* recipe,
                    const uint64_t* seeds, double age_s, int64_t out_columns, float* relative, float* slope, float* variance, double* sums,
                    int threads) {
    const Field field{weight, scale, dims[0], dims[1], dims[2], dims[3], dims[4]};
    const Physics physics(recipe, seeds, age_s);
    const float offset = physics.paired ? 0.0f : (physics.g_min_uS + physics.span_uS / 2) / physics.unit_uS();
    const int64_t columns = field.count();
#pragma omp parallel num_threads(threads)
    {
        Draws draws(physics, columns * field.rows);
        const int64_t team = omp_get_num_threads(), self = omp_get_thread_num();
        const int64_t first = columns * self / team, last = columns * (self + 1) / team;
        walk(field, draws, first, last, [&](int64_t column) { if (find_scale) scale[column] = field.largest(column); },
             [&](int64_t at, int lanes, int64_t column, int64_t row, Floats r) {
                 const Programmed cells = slope ? programmed<Dual>(physics, r, draws, at, variance)
                                                : programmed<Floats>(physics, r, draws, at, variance);
                 const int64_t to = (column / field.columns * out_columns + column % field.columns) * field.rows + row;
                 store_some(relative + to, cells.relative, lanes);
                 if (slope) store_some(slope + to, cells.slope, lanes);
                 if (variance) store_some(variance + to, cells.variance, lanes);
                 if (!sums) return;
                 if (row == 0) sums[column] = sums[columns + column] = 0;
                 const Floats now = absolute(cells.relative - offset);
                 for (int lane = 0; lane < lanes; lane++) {
                     sums[column] += cells.before[lane];
                     sums[columns + column] += now[lane];
                 }
             });
    }
}

// dL/dweight from factor * gradient = dL/d relative, [tiles, columns, rows] like `relative` and
// `slope`: through the cells, and through the scale, which is the largest weight of each column.
void cimsim_pull(const float* weight, const float* scale, const int64_t* dims, float offset, int64_t out_columns,
                 const float* relative, const float* slope, const float* gradient, const float* factor, float* out, int threads) {
    const Field field{weight, scale, dims[0], dims[1], dims[2], dims[3], dims[4]};
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t column = 0; column < field.count(); column++) {
        const float* w = weight + field.offset(column);
        const int64_t from = (column / field.columns * out_columns + column % field.columns) * field.rows;
        const float *rel = relative + from, *steep = slope + from, *dr = gradient + column * field.rows;
        float* to = out + field.offset(column);
        const float full = scale[column], per_scale = 1.0f / full, times = *factor * per_scale;
        Floats through_scale = splat(0);
        int64_t largest = 0;
        for (int64_t row = 0; row < field.rows; row += kLanes) {
            const int64_t left = field.rows - row;
            const Floats own = load_some(w + row, left), d = load_some(dr + row, left), s = load_some(steep + row, left);
            const Floats value = load_some(rel + row, left) - offset;
            through_scale += where(d != 0, d * (value - own * per_scale * s), splat(0));
            largest += __builtin_popcount(bits_of(absolute(own) == full));
            store_some(to + row, d * s * times, left);
        }
        if (!largest) continue;
        const float share = total(through_scale) * times / float(largest);
        for (int64_t row = 0; row < field.rows; row++)
            if (std::fabs(w[row]) == full) to[row] += w[row] < 0 ? -share : share;
    }
}

// The DAC: codes of x and their squares, as floats for products; as bytes, and which did not saturate
// (one bit a value), to be kept. All but `codes` may be null.
void cimsim_encode(const float* x, int64_t count, const float* step, float levels, float* codes, float* squares, int8_t* kept,
                   uint8_t* mask, int threads) {
    const float unit = *step;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t part = 0; part < (count + 4095) / 4096; part++) {
        const int64_t end = std::min(count, (part + 1) * 4096);
        for (int64_t i = part * 4096; i < end; i += kLanes) {
            const int64_t left = end - i;
            const Floats v = load_some(x + i, left) / unit;
            const Floats code = rounded(clamped(v, -levels, levels));
            store_some(codes + i, code, left);
            if (squares) store_some(squares + i, code * code, left);
            if (kept) {
                typedef int8_t Bytes __attribute__((vector_size(kLanes)));
                const Bytes bytes = __builtin_convertvector(__builtin_convertvector(code, Ints), Bytes);
                std::memcpy(kept + i, &bytes, std::min<int64_t>(left, kLanes));
            }
            if (mask) store_bits(mask + i / 8, bits_of((v >= -levels) & (v <= levels)), left);
        }
    }
}

// The ADC and what is digital behind it: y = sum over tiles of scale * code(gain * z + noise), plus
// the bias. dims: outer, groups, tiles, lines, line, line_of_columns. `variance` (of z), `bias` and
// `mask` may be null; `mask` marks the conversions that did not saturate.
void cimsim_convert(const float* z, const float* variance, const int64_t* dims, const float* gain, const float* scale,
                    const float* bias, float lowest, float highest, float noise_steps, uint64_t cells_seed, uint64_t adc_seed,
                    float* y, uint8_t* mask, int threads) {
    const Currents at{dims[0], dims[1], dims[2], dims[3], dims[4], dims[5] != 0};
    const int64_t chunk = std::max<int64_t>(1, 32768 / std::max<int64_t>(1, at.line));
    const int64_t chunks = (at.lines + chunk - 1) / chunk;
#pragma omp parallel for num_threads(threads) schedule(static) collapse(2)
    for (int64_t o = 0; o < at.outer; o++) {
        for (int64_t part = 0; part < chunks; part++) {
            Stream cells, adc;
            const int64_t end = std::min(at.lines, (part + 1) * chunk);
            for (int64_t tile = 0; tile < at.tiles; tile++) {
                for (int64_t l = part * chunk; l < end; l++) {
                    const int64_t index = at.index(o, tile, l), first = index * at.line;
                    const float *gains = at.column(gain, o, tile, l), *scales = at.column(scale, o, tile, l);
                    const float* biases = bias ? bias + o % at.groups * at.columns() + (at.line_of_columns ? 0 : l) : nullptr;
                    float* out = y + (o * at.lines + l) * at.line;
                    for (int64_t i = 0; i < at.line; i += kLanes) {
                        const int64_t left = at.line - i;
                        const Floats g = at.at(gains, i);
                        Floats v = load_some(z + first + i, left) * g, xi;
                        if (variance) {
                            Floats sigma = at_least(load_some(variance + first + i, left), 0);
                            for (int lane = 0; lane < kLanes; lane++) sigma[lane] = std::sqrt(sigma[lane]);
                            cells.take(cells_seed, first + i, xi);
                            v += xi * (sigma * g);
                        }
                        if (noise_steps != 0) {
                            adc.take(adc_seed, first + i, xi);
                            v += xi * noise_steps;
                        }
                        if (mask) store_bits(mask + index * at.mask_bytes() + i / 8, bits_of((v >= lowest) & (v <= highest)), left);
                        Floats value = rounded(clamped(v, lowest, highest)) * at.at(scales, i);
                        if (tile > 0)
                            value += load_some(out + i, left);
                        else if (biases)
                            value += at.at(biases, i);
                        store_some(out + i, value, left);
                    }
                }
            }
        }
    }
}

// Back through the ADC: dz = mask * scale * dy for every tile; dims as for cimsim_convert; `mask` and
// `scale` may be null.
void cimsim_spread(const float* dy, const uint8_t* mask, const int64_t* dims, const float* scale, float* dz, int threads) {
    const Currents at{dims[0], dims[1], dims[2], dims[3], dims[4], dims[5] != 0};
#pragma omp parallel for num_threads(threads) schedule(static) collapse(2)
    for (int64_t o = 0; o < at.outer; o++) {
        for (int64_t l = 0; l < at.lines; l++) {
            const float* from = dy + (o * at.lines + l) * at.line;
            for (int64_t tile = 0; tile < at.tiles; tile++) {
                const int64_t index = at.index(o, tile, l);
                const float* scales = scale ? at.column(scale, o, tile, l) : nullptr;
                for (int64_t i = 0; i < at.line; i += kLanes) {
                    const int64_t left = at.line - i;
                    Floats d = load_some(from + i, left);
                    if (mask) d = where(mask_of(load_bits(mask + index * at.mask_bytes() + i / 8, left)), d, splat(0));
                    if (scales) d *= at.at(scales, i);
                    store_some(dz + index * at.line + i, d, left);
                }
            }
        }
    }
}

// Back through the DAC, in place: dx where x / step lies within `levels`, 0 elsewhere.
void cimsim_gate(float* dx, const float* x, const uint8_t* mask, int64_t count, const float* step, float levels, int threads) {
    const float unit = *step;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t part = 0; part < (count + 4095) / 4096; part++) {
        const int64_t end = std::min(count, (part + 1) * 4096);
        for (int64_t i = part * 4096; i < end; i += kLanes) {
            const int64_t left = end - i;
            Ints inside;
            if (mask) {
                inside = mask_of(load_bits(mask + i / 8, left));
            } else {
                const Floats v = load_some(x + i, left) / unit;
                inside = (v >= -levels) & (v <= levels);
            }
            store_some(dx + i, where(inside, load_some(dx + i, left), splat(0)), left);
        }
    }
}

}  // extern "C"
