// The measured hot spots of cimsim on the CPU: in float32, each in one pass over memory. The library wires.cpp has
// those of resistive lines.
//
// Every function has a plain-torch reference that it is tested against; see cpu.py beside this
// file for their arguments. Results do not depend on the number of threads.

#include <limits>
#include <numeric>

#include "cells.h"
#include "converters.h"
#include "convolutions.h"
#include "pooling.h"
#include "products.h"
#include "threads.h"

using namespace cimsim;

namespace {

// Drift compensation by the sums of all columns together.
constexpr int kOfAll = 2;

#if defined(CIMSIM_PRODUCTS)
// The numbers of `Unit` and `_IMAGES` in cpu.py.
enum Units { kMatrixUnit = 1, kVectorUnit = 2 };
enum Images { kFloats, kSigned, kUnsigned };

constexpr std::integral_constant<int, 1> kWhole{};
constexpr std::integral_constant<int, 2> kSplit{};

template <class Unit>
struct Using {
    typedef Unit type;
};

template <class Call>
void with_unit(int unit, Call call) {
#if defined(CIMSIM_MATRIX_UNIT)
    if (unit == kMatrixUnit) call(Using<MatrixUnit>{});
#endif
#if defined(CIMSIM_VECTOR_UNIT)
    if (unit == kVectorUnit) call(Using<VectorUnit>{});
#endif
}

// Calls with images of one of the kinds that the unit reads, and the number of their parts.
template <class Unit, class Call>
void with_images(const void* x, int kind, [[maybe_unused]] bool squared, Call call) {
    const Codes bytes{(const uint8_t*)x, uint8_t(kind == kSigned ? 128 : 0)};
#if defined(CIMSIM_MATRIX_UNIT)
    if constexpr (std::is_same_v<Unit, MatrixUnit>) {
        if (kind == kFloats) return call(Pixels{(const float*)x}, kSplit);
        if (squared) return call(SquaredCodes{bytes}, kWhole);
    }
#endif
    call(bytes, kWhole);
}
#endif

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

// Whether this processor multiplies in bf16 faster than in float32.
int cimsim_has_bf16() {
#if defined(__AVX512BF16__) || defined(__ARM_FEATURE_BF16)
    return 1;
#else
    return 0;
#endif
}

// Whether `cimsim_multiply`, `cimsim_convolve` and `cimsim_correlate` compute on `unit` here.
int cimsim_has_unit(int unit) {
    int has = 0;
#if defined(CIMSIM_MATRIX_UNIT)
    if (unit == kMatrixUnit) has = has_matrix_unit();
#endif
#if defined(CIMSIM_VECTOR_UNIT)
    if (unit == kVectorUnit) has = 1;
#endif
    return has;
}

// out[batch, m, n] = a b, for each number of the batch, on a unit. dims: batch, m, k, n, then the strides of a
// [batch, m, k] and of b [batch, k, n]; in both, one stride of the last two is 1. The vector unit needs a factor of whole
// numbers. Sets `failed` if there is not enough memory.
void cimsim_multiply(int unit, const float* a, const float* b, float* out, const int64_t* dims, int a_whole, int b_whole, int* failed, int threads) {
#if defined(CIMSIM_PRODUCTS)
    const int64_t m = dims[1], k = dims[2], n = dims[3], *of_a = dims + 4, *of_b = dims + 7;
    with_unit(unit, [&](auto of) {
        for (int64_t each = 0; each < dims[0]; each++)
            if (!multiply<typename decltype(of)::type>({a + each * of_a[0], m, k, of_a[1], of_a[2], a_whole != 0}, {b + each * of_b[0], n, k, of_b[2], of_b[1], b_whole != 0}, out + each * m * n, threads)) *failed = 1;
    });
#endif
}

// out[images, tiles, columns, places] of images and kernels, on a unit; dims are those of `Convolution`.
// The vector unit reads bytes; on the matrix unit, bytes may be `squared`. The kernels' numbers may be `low`, i.e. bfloat16
// represents them. `back` convolves with kernels [tiles, channels, columns, ...] upside down.
void cimsim_convolve(int unit, const void* x, int kind, int squared, const float* kernels, int low, float* out, const int64_t* dims, int back, int* failed, int threads) {
#if defined(CIMSIM_PRODUCTS)
    Convolution c;
    std::memcpy(&c, dims, sizeof c);
    const int64_t places = c.kernel_height * c.kernel_width, tile = c.columns * c.channels * places;
    const Kernels w = back ? Kernels{kernels + places - 1, tile, places, c.columns * places, -c.kernel_width, -1, low != 0}
                           : Kernels{kernels, tile, c.channels * places, places, c.kernel_width, 1, low != 0};
    with_unit(unit, [&](auto of) {
        using Unit = typename decltype(of)::type;
        with_images<Unit>(x, kind, squared, [&](auto images, auto parts) { *failed = !convolve<Unit, parts>(c, images, w, out, threads); });
    });
#endif
}

// The gradient of the kernels by that of the output, dz[images, tiles, columns, places].
void cimsim_correlate(int unit, const void* x, int kind, const float* dz, float* out, const int64_t* dims, int* failed, int threads) {
#if defined(CIMSIM_PRODUCTS)
    Convolution c;
    std::memcpy(&c, dims, sizeof c);
    with_unit(unit, [&](auto of) {
        using Unit = typename decltype(of)::type;
        with_images<Unit>(x, kind, false, [&](auto images, auto parts) { *failed = !correlate<Unit, parts>(c, images, dz, out, threads); });
    });
#endif
}

// Numbers N(0, 1) of one seed.
void cimsim_normal(float* out, int64_t count, uint64_t seed, int threads) {
    const int64_t blocks = (count + kBlock - 1) / kBlock;
#pragma omp parallel for num_threads(team_for(count, threads)) schedule(static)
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

// Weights on cells, programmed and aged. Each draw is the sum of as many normal numbers as `counts` says, of `seeds` and `sizes`:
// those of programming and drift for every cell, then, for all cells of a weight, those of the slow parts of read noise (which are
// left out without a variance). dims: tiles, columns, rows, and the weight's strides of tiles
// and columns. `scale` [tiles, columns] is an input, or the largest weight of each column if
// `find_scale`; at the end it is multiplied by the sum of |relative| of fresh cells over that of aged cells, of
// each column (`compensation` 1), of all together (2), or not at all (0). `slope` is d relative / d (weight / scale),
// `variance` that of the relative currents; each may be null. Variances, and the squares that multiply them, may be
// bf16.
void cimsim_program(const float* weight, float* scale, int find_scale, const int64_t* dims, const float* packed,
                    const int64_t* counts, const uint64_t* seeds, const float* sizes, double age_s, float* relative, float* slope, void* variance, int bf16, int compensation,
                    int threads) {
    const Field field{weight, dims[0], dims[1], dims[2], dims[3], dims[4]};
    const Physics physics(packed, counts, seeds, sizes, age_s);
    const int64_t columns = field.count();
    const Requested requested{compensation != 0, variance != nullptr};
    std::vector<double> of_fresh(requested.sums ? columns : 0), of_aged(of_fresh.size());
#pragma omp parallel num_threads(team_for(columns * field.rows, threads))
    {
        const int64_t team = omp_get_num_threads(), self = omp_get_thread_num();
        const int64_t first = columns * self / team, last = columns * (self + 1) / team;
        const auto write = [&](const auto& cells, int64_t cell, int64_t at, int64_t count) {
            std::memcpy(relative + cell, cells.relative.value + at, count * sizeof(float));
            if (requested.sums)
                runs(field, cell, count, [&](const Run& run) {
                    of_fresh[run.column] += total(cells.before.value + run.at, run.count);
                    of_aged[run.column] += total(cells.now.value + run.at, run.count);
                });
            if (variance)
                for (int64_t i = 0; i < count; i += kLanes)
                    store_variance(variance, cell + i, load_some(cells.variance.value + at + i, count - i), count - i, bf16);
        };
        if (slope)
            programmed<Dual>(field, physics, scale, find_scale, requested, first, last, [&](const auto& cells, int64_t cell, int64_t at, int64_t count) {
                write(cells, cell, at, count);
                std::memcpy(slope + cell, cells.relative.slope + at, count * sizeof(float));
            });
        else
            programmed<Floats>(field, physics, scale, find_scale, requested, first, last, write);
    }
    if (compensation == kOfAll) {
        of_fresh.assign(columns, std::accumulate(of_fresh.begin(), of_fresh.end(), 0.0));
        of_aged.assign(columns, std::accumulate(of_aged.begin(), of_aged.end(), 0.0));
    }
    for (size_t i = 0; i < of_fresh.size(); i++) {
        constexpr double tiny = std::numeric_limits<float>::min();
        scale[i] *= float(of_fresh[i] / (of_aged[i] < tiny ? tiny : of_aged[i]));
    }
}

// dL/dweight from gradient * dac_full / dac_levels = dL/d relative, [tiles, columns, rows] like `relative`
// and `slope`: through the cells, and through the scale, which is the largest weight of each column.
// Without `relative` and `slope` the cells are programmed once more and `scale` is computed. Nothing may be
// subtracted from the currents digitally.
void cimsim_vjp_programming(const float* weight, float* scale, const int64_t* dims, const float* packed, const int64_t* counts,
                 const uint64_t* seeds, const float* sizes, double age_s, const float* relative, const float* slope, const float* gradient, const float* dac_full,
                 float dac_levels, float* out, int threads) {
    const Field field{weight, dims[0], dims[1], dims[2], dims[3], dims[4]};
    const Physics physics(packed, counts, seeds, sizes, age_s);
    const int64_t columns = field.count();
    const float factor = dac_full ? *dac_full / dac_levels : 1.0f;
#pragma omp parallel num_threads(team_for(columns * field.rows, threads))
    {
        const int64_t team = omp_get_num_threads(), self = omp_get_thread_num();
        const int64_t first = columns * self / team, last = columns * (self + 1) / team;
        Floats through_scale;
        Ints largest;
        // Of a run of one column: its relative currents and their slopes.
        const auto pull = [&](const Run& run, const float* value, const float* steep) {
            const int64_t column = run.column;
            const float *w = weight + field.offset(column), *d = gradient + column * field.rows;
            float* to = out + field.offset(column);
            const float full = scale[column], per_full = 1.0f / full, times = factor / full;
            if (run.row == 0) through_scale = splat(0), largest = (Ints){};
            for (int64_t i = 0; i < run.count; i += kLanes) {
                const int64_t left = run.count - i, row = run.row + i;
                const Floats own = load_some(w + row, left), dr = load_some(d + row, left), s = load_some(steep + i, left);
                through_scale += where(dr != 0, dr * (load_some(value + i, left) - own * per_full * s), splat(0));
                largest -= (absolute(own) == full) & some(int(std::min<int64_t>(left, kLanes)));
                store_some(to + row, dr * s * times, left);
            }
            if (run.row + run.count < field.rows) return;
            int32_t ties = 0;
            for (int lane = 0; lane < kLanes; lane++) ties -= largest[lane];
            if (!ties) return;
            const float share = total(through_scale) * times / float(-ties);
            for (int64_t i = 0; i < field.rows; i++)
                if (std::fabs(w[i]) == full) to[i] += w[i] < 0 ? -share : share;
        };
        if (relative)
            for (int64_t column = first; column < last; column++) {
                const int64_t cell = column * field.rows;
                pull({column, 0, 0, field.rows}, relative + cell, slope + cell);
            }
        else
            programmed<Dual>(field, physics, scale, true, {}, first, last, [&](const auto& cells, int64_t cell, int64_t, int64_t count) {
                runs(field, cell, count, [&](const Run& run) { pull(run, cells.relative.value + run.at, cells.relative.slope + run.at); });
            });
    }
}

// The DAC of step `*full / levels` with codes from `lowest` to `levels`: codes of x and their squares, as floats for products; as bytes;
// and which did not saturate (one bit a value). Each may be null. Sets `undefined`, if it is not null, if a code is not a number.
void cimsim_encode(const float* x, int64_t count, const float* full, float levels, float lowest, float* codes, void* squares, int bf16, int8_t* stored,
                   uint8_t* mask, int* undefined, int threads) {
    const float unit = *full / levels;
    int any = 0;
#pragma omp parallel for num_threads(team_for(count, threads)) schedule(static) reduction(| : any)
    for (int64_t part = 0; part < (count + 4095) / 4096; part++) {
        const int64_t end = std::min(count, (part + 1) * 4096);
        Floats sum = splat(0);  // not a number if one is not
        for (int64_t i = part * 4096; i < end; i += kLanes) {
            const int64_t left = end - i;
            const Floats v = load_some(x + i, left) / unit;
            const Floats code = rounded(clamped(v, lowest, levels));
            sum += code;
            if (codes) store_some(codes + i, code, left);
            if (squares) store_variance(squares, i, code * code, left, bf16);
            if (stored) {
                typedef int8_t Codes __attribute__((vector_size(kLanes)));
                const Codes bytes = __builtin_convertvector(__builtin_convertvector(code, Ints), Codes);
                if (left >= kLanes)
                    std::memcpy(stored + i, &bytes, sizeof bytes);
                else
                    std::memcpy(stored + i, &bytes, left);
            }
            if (mask) store_bits(mask, i, bits_of(inside(v, lowest, levels)), left);
        }
        any |= std::isnan(total(sum));
    }
    if (undefined) *undefined = any;
}

// The ADC and what is digital behind it: y = sum over tiles of scale * step * code(gain * z + noise),
// plus the bias, where step = *adc_full / highest (`full_dims` 0: one of all; 1: one for each tile; 2: one for each column) and gain = (dac_full
// / dac_levels) / step. dims: outer, groups, tiles, lines, line, line_of_columns. `dac_full` null is a
// DAC of step 1; `variance` (of z), `bias` and `mask` may be null; `mask` marks the conversions that
// did not saturate.
void cimsim_digitize(const float* z, const void* variance, int bf16, const int64_t* dims, const float* dac_full, float dac_levels,
                    const float* adc_full, int full_dims, const float* column_scale, const float* bias, float lowest,
                    float highest, float noise_steps, uint64_t cells_seed, uint64_t adc_seed,
                    float* y, uint8_t* mask, int threads) {
    const Currents at{dims[0], dims[1], dims[2], dims[3], dims[4], dims[5] != 0};
    std::vector<float> gain(at.groups * at.tiles * at.columns()), scale(gain.size());
    for (size_t i = 0; i < gain.size(); i++) {
        const float step = adc_full[full_dims == 0 ? 0 : full_dims == 1 ? i / at.columns() : i] / highest;
        gain[i] = (dac_full ? *dac_full / dac_levels : 1.0f) / step, scale[i] = column_scale[i] * step;
    }
    const int64_t chunk = std::max<int64_t>(1, 32768 / std::max<int64_t>(1, at.line));
    const int64_t chunks = (at.lines + chunk - 1) / chunk;
#pragma omp parallel for num_threads(team_for(at.numbers(), threads)) schedule(static) collapse(2)
    for (int64_t o = 0; o < at.outer; o++) {
        for (int64_t part = 0; part < chunks; part++) {
            Stream cells, adc;
            const int64_t end = std::min(at.lines, (part + 1) * chunk);
            for (int64_t tile = 0; tile < at.tiles; tile++) {
                for (int64_t l = part * chunk; l < end; l++) {
                    const int64_t index = at.index(o, tile, l), first = index * at.line;
                    const float *gains = at.column(gain.data(), o, tile, l), *scales = at.column(scale.data(), o, tile, l);
                    const float* biases = bias ? bias + o % at.groups * at.columns() + (at.line_of_columns ? 0 : l) : nullptr;
                    float* out = y + (o * at.lines + l) * at.line;
                    for (int64_t i = 0; i < at.line; i += kLanes) {
                        const int64_t left = at.line - i;
                        const Floats g = at.at(gains, i);
                        Floats v = load_some(z + first + i, left) * g, xi;
                        if (variance) {
                            const Floats sigma = root_of(at_least(load_variance(variance, first + i, left, bf16), 0));
                            cells.take(cells_seed, first + i, xi);
                            v += xi * (sigma * g);
                        }
                        if (noise_steps != 0) {
                            adc.take(adc_seed, first + i, xi);
                            v += xi * noise_steps;
                        }
                        if (mask) store_bits(mask + index * at.mask_bytes(), i, bits_of(inside(v, lowest, highest)), left);
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

// Back through the ADC: dz = mask * scale * dy for every tile; dims as for cimsim_digitize; `mask` and
// `scale` may be null.
void cimsim_scatter_to_columns(const float* dy, const uint8_t* mask, const int64_t* dims, const float* scale, float* dz, int threads) {
    const Currents at{dims[0], dims[1], dims[2], dims[3], dims[4], dims[5] != 0};
#pragma omp parallel for num_threads(team_for(at.numbers(), threads)) schedule(static) collapse(2)
    for (int64_t o = 0; o < at.outer; o++) {
        for (int64_t l = 0; l < at.lines; l++) {
            const float* from = dy + (o * at.lines + l) * at.line;
            for (int64_t tile = 0; tile < at.tiles; tile++) {
                const int64_t index = at.index(o, tile, l);
                const float* scales = scale ? at.column(scale, o, tile, l) : nullptr;
                for (int64_t i = 0; i < at.line; i += kLanes) {
                    const int64_t left = at.line - i;
                    Floats d = load_some(from + i, left);
                    if (mask) d = where(mask_of(load_bits(mask + index * at.mask_bytes(), i, left)), d, splat(0));
                    if (scales) d *= at.at(scales, i);
                    store_some(dz + index * at.line + i, d, left);
                }
            }
        }
    }
}

// Back through the DAC, in place: dx where x is between the lowest and the highest code, 0 elsewhere. `x` may be
// null if there is a mask. `by_full`, which needs x, may be null: for every 4096 values, the sum of dx times the
// derivative of the converted value by `*full`, straight through the rounding.
void cimsim_mask_gradient(float* dx, const float* x, const uint8_t* mask, int64_t count, const float* full, float levels, float lowest,
                 float* by_full, int threads) {
    const float unit = *full / levels;
#pragma omp parallel for num_threads(team_for(count, threads)) schedule(static)
    for (int64_t part = 0; part < (count + 4095) / 4096; part++) {
        const int64_t end = std::min(count, (part + 1) * 4096);
        Floats sum = splat(0);
        for (int64_t i = part * 4096; i < end; i += kLanes) {
            const int64_t left = end - i;
            const Floats v = x ? load_some(x + i, left) / unit : splat(0), d = load_some(dx + i, left);
            const Ints passes = mask ? mask_of(load_bits(mask, i, left)) : inside(v, lowest, levels);
            if (by_full) sum += d * (rounded(clamped(v, lowest, levels)) - where(passes, v, splat(0)));
            store_some(dx + i, where(passes, d, splat(0)), left);
        }
        if (by_full) by_full[part] = total(sum) / levels;
    }
}

// y = max(x, 0), or at most `ceiling` if that is a number, as torch computes it (of NaN it is NaN), and which values pass
// their gradient (one bit a value): all that differ from 0 and from the ceiling in y. `y` may be `x`.
void cimsim_rectify(const float* x, int64_t count, float ceiling, float* y, uint8_t* passes, int threads) {
#pragma omp parallel for num_threads(team_for(count, threads)) schedule(static)
    for (int64_t part = 0; part < (count + 4095) / 4096; part++) {
        const int64_t end = std::min(count, (part + 1) * 4096);
        for (int64_t i = part * 4096; i < end; i += kLanes) {
            const int64_t left = end - i;
            const Floats v = load_some(x + i, left);
            const Ints stopped = (v <= 0) | (v >= ceiling);
            const Floats below = where(v > ceiling, splat(ceiling), v);
#if defined(__SSE2__)
            store_some(y + i, where(v < 0, splat(0), below), left);  // -0 stays
#else
            store_some(y + i, where(v <= 0, splat(0), below), left);
#endif
            store_bits(passes, i, bits_of(~stopped), left);
        }
    }
}

// dx = dy where `passes`, 0 elsewhere. `dx` may be `dy`.
void cimsim_pass_gradient(const float* dy, const uint8_t* passes, int64_t count, float* dx, int threads) {
#pragma omp parallel for num_threads(team_for(count, threads)) schedule(static)
    for (int64_t part = 0; part < (count + 4095) / 4096; part++) {
        const int64_t end = std::min(count, (part + 1) * 4096);
        for (int64_t i = part * 4096; i < end; i += kLanes) {
            const int64_t left = end - i;
            store_some(dx + i, where(mask_of(load_bits(passes, i, left)), load_some(dy + i, left), splat(0)), left);
        }
    }
}

// y[images, out_height, out_width], the largest value of each of the `Windows` of x[images, height, width], and its
// position in the window, row by row.
void cimsim_max_pool(const float* x, const int64_t* windows, float* y, uint8_t* positions, int threads) {
    max_pool(Windows(windows), x, y, positions, threads);
}

// The gradient dx of cimsim_max_pool's x, for the gradient dy of its result.
void cimsim_max_unpool(const float* dy, const uint8_t* positions, const int64_t* windows, float* dx, int threads) {
    max_unpool(Windows(windows), dy, positions, dx, threads);
}

// The codes of x[rows, columns] = code * scale + bias, with a scale and a bias for each column. Sets `exact` if these codes,
// of one byte each, give every value of x again, bit for bit.
void cimsim_codes_on_grid(const float* x, int64_t rows, int64_t columns, const float* scale, const float* bias, int8_t* codes, int* exact,
                          int threads) {
    typedef int8_t Bytes __attribute__((vector_size(kLanes)));
    std::vector<float> per_step(columns);
    for (int64_t column = 0; column < columns; column++) per_step[column] = 1.0f / scale[column];
    int different = 0;
#pragma omp parallel for num_threads(team_for(rows * columns, threads)) schedule(static) reduction(| : different)
    for (int64_t row = 0; row < rows; row++) {
        float products[kPart];  // which are rounded before the bias is added, as in the ADC
        Words changed = {};
        for (int64_t first = 0; first < columns; first += kPart) {
            const int64_t count = std::min(kPart, columns - first);
            const float *from = x + row * columns + first, *s = scale + first, *b = bias + first, *per_s = per_step.data() + first;
            int8_t* to = codes + row * columns + first;
            for (int64_t i = 0; i < count; i += kLanes) {
                const int64_t left = count - i;
                const Floats steps = (load_some(from + i, left) - load_some(b + i, left)) * load_some(per_s + i, left);
                const Floats code = rounded(clamped(where(steps == steps, steps, splat(0)), -128, 127));
                store(products + i, code * load_some(s + i, left));
                const Bytes bytes = __builtin_convertvector(__builtin_convertvector(code, Ints), Bytes);
                if (left >= kLanes)
                    std::memcpy(to + i, &bytes, sizeof bytes);
                else
                    std::memcpy(to + i, &bytes, left);
            }
            for (int64_t i = 0; i < count; i += kLanes) {
                const Floats again = load(products + i) + load_some(b + i, count - i);
                changed |= as_words(again) ^ as_words(load_some(from + i, count - i));
            }
        }
        for (int lane = 0; lane < kLanes; lane++) different |= changed[lane] != 0;
    }
    *exact = !different;
}

// The inverse of cimsim_codes_on_grid.
void cimsim_values_on_grid(const int8_t* codes, int64_t rows, int64_t columns, const float* scale, const float* bias, float* x, int threads) {
#pragma omp parallel for num_threads(team_for(rows * columns, threads)) schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        float products[kPart];
        for (int64_t first = 0; first < columns; first += kPart) {
            const int64_t count = std::min(kPart, columns - first), at = row * columns + first;
            for (int64_t i = 0; i < count; i++) products[i] = float(codes[at + i]) * scale[first + i];
            for (int64_t i = 0; i < count; i++) x[at + i] = products[i] + bias[first + i];
        }
    }
}

// Whether the library works on this processor.
int cimsim_kernels_work() {
    float numbers[1000] = {};
    cimsim_normal(numbers, 1000, 1, 1);
    return std::any_of(numbers, numbers + 1000, [](float number) { return number != 0; });
}

// A 64-bit number of `count` bytes. A change of one 32-bit word always changes it, and so does any other change
// but by a chance of about 2^-32: each of 64 lanes is a polynomial of its words with an odd factor, and the
// lanes of a block, then the blocks, are mixed in order. The lanes are plain integers, which compilers turn into
// vector registers more than three times as fast as `Words`.
void cimsim_fingerprint(const void* bytes, int64_t count, uint64_t* out, int threads) {
    constexpr int64_t kBytes = 1 << 16, kRow = 64;
    const int64_t blocks = (count + kBytes - 1) / kBytes;
    std::vector<uint64_t> of_block(blocks);
#pragma omp parallel for num_threads(team_for(count / 4, threads)) schedule(static)
    for (int64_t block = 0; block < blocks; block++) {
        const char* from = (const char*)bytes + block * kBytes;
        const int64_t length = std::min(kBytes, count - block * kBytes);
        uint32_t state[kRow] = {}, row[kRow];
        int64_t at = 0;
        for (; at + int64_t(sizeof row) <= length; at += sizeof row) {
            std::memcpy(row, from + at, sizeof row);
            for (int64_t lane = 0; lane < kRow; lane++) state[lane] = state[lane] * 0x9e3779b1u + row[lane];
        }
        std::memset(row, 0, sizeof row);
        std::memcpy(row, from + at, length - at);
        uint64_t mix = 0;
        for (int64_t lane = 0; lane < kRow; lane++) mix = split(mix ^ (state[lane] * 0x9e3779b1u + row[lane]));
        of_block[block] = mix;
    }
    uint64_t all = split(count);
    for (const uint64_t mix : of_block) all = split(all ^ mix);
    *out = all;
}

}  // extern "C"
#pragma GCC visibility pop
