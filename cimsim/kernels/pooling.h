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
};

// A padded image whose columns are sorted by their remainder of the stride, so that neighboring windows read neighboring
// numbers. No number is larger than the padding.
class SortedImage {
  public:
    explicit SortedImage(const Windows& w)
        : windows_(w), columns_(w.out_width + (w.kernel_width - 1) / w.stride_right + kLanes), kept_(w.height * w.stride_right * columns_, -INFINITY) {}

    void read(const float* image) {
        const int64_t stride = windows_.stride_right, padding = windows_.padding_right;
        // Further columns belong to no window.
        const int64_t width = std::min(windows_.width, (windows_.out_width - 1) * stride + windows_.kernel_width - padding);
        for (int64_t row = 0; row < windows_.height; row++) {
            for (int64_t rest = 0; rest < stride; rest++) {
                const int64_t first = rest < padding ? (padding - rest + stride - 1) / stride : 0;
                const int64_t from = first * stride + rest - padding;
                copy(image + row * windows_.width + from, stride, (width - from + stride - 1) / stride, at(row, rest) + first);
            }
        }
    }

    // Column `column` of the windows of a row of outputs, in this row of the image.
    const float* of_windows(int64_t row, int64_t column) const {
        const int64_t stride = windows_.stride_right;
        return kept_.data() + (row * stride + column % stride) * columns_ + column / stride;
    }

  private:
    float* at(int64_t row, int64_t rest) { return kept_.data() + (row * windows_.stride_right + rest) * columns_; }

    static void copy(const float* __restrict from, int64_t stride, int64_t count, float* __restrict to) {
        if (stride == 2)  // which compilers make vectors of
            for (int64_t i = 0; i < count; i++) to[i] = from[2 * i];
        else
            for (int64_t i = 0; i < count; i++) to[i] = from[i * stride];
    }

    const Windows windows_;
    const int64_t columns_;
    std::vector<float> kept_;
};

// One row of outputs. As in torch, the first of equal values and the last NaN win, and without any larger than -infinity the
// first value of the image.
template <class Store>
void pool_row(const Windows& w, const SortedImage& image, int64_t out_row, const int32_t* first_columns, Store store_part) {
    const int64_t top = out_row * w.stride_down - w.padding_down;
    const int64_t first_row = std::max<int64_t>(0, -top), last_row = std::min(w.kernel_height, w.height - top);
    for (int64_t i = 0; i < w.out_width; i += kLanes) {
        Floats largest = splat(-INFINITY);
        Ints at;
        std::memcpy(&at, first_columns + i, sizeof at);
        at += int32_t(first_row * w.kernel_width);
        for (int64_t row = first_row; row < last_row; row++) {
            for (int64_t column = 0; column < w.kernel_width; column++) {
                const Floats value = load(image.of_windows(top + row, column) + i);
                const Ints wins = (value > largest) | (value != value);
                largest = where(wins, value, largest);
                at = wins ? (Ints{} + int32_t(row * w.kernel_width + column)) : at;
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
#pragma omp parallel num_threads(team_for(w.images * w.pixels(), threads))
    {
        SortedImage sorted(w);
#pragma omp for schedule(static)
        for (int64_t image = 0; image < w.images; image++) {
            sorted.read(x + image * w.pixels());
            for (int64_t row = 0; row < w.out_height; row++) {
                const int64_t out = image * w.outputs() + row * w.out_width;
                pool_row(w, sorted, row, first_columns.data(), [&](int64_t i, Floats largest, Ints at) {
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
