// The largest value of every window of an image, where it is in its window, and the gradient by that.

#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "curves.h"
#include "threads.h"

namespace cimsim {

// `Windows` of types.py.
struct Windows {
    int64_t images, height, width, kernel_height, kernel_width, stride_down, stride_right, padding_down, padding_right, out_height, out_width;

    explicit Windows(const int64_t* dims) { std::memcpy(this, dims, sizeof *this); }

    int64_t pixels() const { return height * width; }
    int64_t outputs() const { return out_height * out_width; }
    // The rows of the image in the windows of a row of outputs.
    int64_t first_row(int64_t out_row) const { return std::max<int64_t>(0, out_row * stride_down - padding_down); }
    int64_t last_row(int64_t out_row) const { return std::min(height, out_row * stride_down - padding_down + kernel_height); }
};

// Rows of a padded image whose columns are sorted by their remainder of the stride, so that neighboring windows read
// neighboring numbers. No number is larger than the padding. Columns between the windows are left out.
class SortedRows {
  public:
    explicit SortedRows(const Windows& w)
        : windows_(w),
          remainders_(std::min(w.stride_right, w.kernel_width)),
          columns_(w.out_width + (w.kernel_width - 1) / w.stride_right + kLanes),
          kept_(w.kernel_height * remainders_ * columns_, -INFINITY) {}

    void start(const float* image) { image_ = image, next_ = 0; }

    // Reads the rows up to `last`; those of the last kernel_height are kept.
    void read_to(int64_t last) {
        for (next_ = std::max(next_, last - windows_.kernel_height); next_ < last; next_++)
            for (int64_t remainder = 0; remainder < remainders_; remainder++) read(next_, remainder);
    }

    // Column `column` of the windows of a row of outputs, in this row of the image.
    const float* of_windows(int64_t row, int64_t column) const {
        return kept_.data() + place(row, column % windows_.stride_right) + column / windows_.stride_right;
    }

  private:
    int64_t place(int64_t row, int64_t remainder) const { return (row % windows_.kernel_height * remainders_ + remainder) * columns_; }

    void read(int64_t row, int64_t remainder) {
        const int64_t stride = windows_.stride_right, padding = windows_.padding_right;
        // Further columns belong to no window.
        const int64_t width = std::min(windows_.width, (windows_.out_width - 1) * stride + windows_.kernel_width - padding);
        const int64_t first = remainder < padding ? (padding - remainder + stride - 1) / stride : 0;
        const int64_t from = first * stride + remainder - padding;
        copy(image_ + row * windows_.width + from, stride, (width - from + stride - 1) / stride, kept_.data() + place(row, remainder) + first);
    }

    static void copy(const float* __restrict from, int64_t stride, int64_t count, float* __restrict to) {
        if (stride == 2)  // which compilers make vectors of
            for (int64_t i = 0; i < count; i++) to[i] = from[2 * i];
        else
            for (int64_t i = 0; i < count; i++) to[i] = from[i * stride];
    }

    const Windows windows_;
    const int64_t remainders_, columns_;
    std::vector<float> kept_;
    const float* image_ = nullptr;
    int64_t next_ = 0;
};

// One row of outputs. As in torch, the first of equal values and the last NaN win; where all are -infinity, the first value of
// the window that is not padding.
template <class Store>
void pool_row(const Windows& w, const SortedRows& rows, int64_t out_row, const int32_t* first_columns, Store store_part) {
    const int64_t top = out_row * w.stride_down - w.padding_down, first = w.first_row(out_row), last = w.last_row(out_row);
    for (int64_t i = 0; i < w.out_width; i += kLanes) {
        Floats largest = splat(-INFINITY);
        Ints at;
        std::memcpy(&at, first_columns + i, sizeof at);
        at += int32_t((first - top) * w.kernel_width);
        for (int64_t row = first; row < last; row++) {
            for (int64_t column = 0; column < w.kernel_width; column++) {
                const Floats value = load(rows.of_windows(row, column) + i);
                const Ints wins = (value > largest) | (value != value);
                largest = where(wins, value, largest);
                at = wins ? (Ints{} + int32_t((row - top) * w.kernel_width + column)) : at;
            }
        }
        store_part(i, largest, at);
    }
}

// Windows have at most 256 positions. `positions` may be null.
inline void max_pool(const Windows& w, const float* x, float* y, uint8_t* positions, int threads) {
    typedef uint8_t Bytes __attribute__((vector_size(kLanes)));
    std::vector<int32_t> first_columns(w.out_width + kLanes);
    for (int64_t i = 0; i < w.out_width; i++) first_columns[i] = int32_t(std::max<int64_t>(0, w.padding_right - i * w.stride_right));
    const int team = team_for(w.images * w.pixels(), threads);
    // A few images are divided into bands of rows.
    const int64_t bands = w.images < 4 * team ? std::min<int64_t>(w.out_height, team) : 1;
    std::vector<SortedRows> of_threads(team, SortedRows(w));
#pragma omp parallel for num_threads(team) schedule(static) collapse(2)
    for (int64_t image = 0; image < w.images; image++) {
        for (int64_t band = 0; band < bands; band++) {
            SortedRows& rows = of_threads[omp_get_thread_num()];
            rows.start(x + image * w.pixels());
            for (int64_t row = band * w.out_height / bands; row < (band + 1) * w.out_height / bands; row++) {
                rows.read_to(w.last_row(row));
                const int64_t out = image * w.outputs() + row * w.out_width;
                pool_row(w, rows, row, first_columns.data(), [&](int64_t i, Floats largest, Ints at) {
                    const int64_t left = w.out_width - i;
                    store_some(y + out + i, largest, left);
                    if (!positions) return;
                    const Bytes bytes = __builtin_convertvector(at, Bytes);
                    std::memcpy(positions + out + i, &bytes, std::min<int64_t>(left, kLanes));
                });
            }
        }
    }
}

// Adds every number of dy to the pixel at its position; all others are 0.
inline void max_unpool(const Windows& w, const float* dy, const uint8_t* positions, float* dx, int threads) {
    std::vector<int64_t> offsets(w.kernel_height * w.kernel_width);
    for (size_t at = 0; at < offsets.size(); at++) offsets[at] = int64_t(at) / w.kernel_width * w.width + int64_t(at) % w.kernel_width;
#pragma omp parallel for num_threads(team_for(w.images * w.pixels(), threads)) schedule(static)
    for (int64_t image = 0; image < w.images; image++) {
        float* pixels = dx + image * w.pixels();
        std::fill_n(pixels, w.pixels(), 0.0f);
        for (int64_t row = 0; row < w.out_height; row++) {
            const int64_t out = image * w.outputs() + row * w.out_width;
            const int64_t first = (row * w.stride_down - w.padding_down) * w.width - w.padding_right;
            for (int64_t i = 0; i < w.out_width; i++) pixels[first + i * w.stride_right + offsets[positions[out + i]]] += dy[out + i];
        }
    }
}

}  // namespace cimsim
