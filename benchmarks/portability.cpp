// Runs every function of kernels.cpp and wires.cpp on fixed inputs and writes the results: the same program for
// every compiler and processor, see portability.py.
//
//     portability PROFILES RESULTS THREADS
//
// PROFILES: a count, and for each profile 4 counts (numbers, seeds, whether it reads, whether it
// drifts) as int64, and its numbers as float32. RESULTS: for each result its name (32 bytes), whether
// it holds floats (int64), its size in bytes (int64), and its content.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "kernels.cpp"
#include "wires.cpp"

namespace {

using Numbers = std::vector<float>;
using Bytes = std::vector<uint8_t>;

// Multiples of 2^-23 in [-1, 1): the same on every machine.
Numbers numbers(int64_t count, uint64_t seed) {
    Numbers values(count);
    uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
    for (float& value : values) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        value = float(int32_t(state >> 40) - (1 << 23)) / float(1 << 23);
    }
    return values;
}

void write(FILE* to, const std::string& name, const void* data, int64_t bytes, int64_t floats) {
    char label[32] = {};
    std::strncpy(label, name.c_str(), sizeof label - 1);
    if (std::fwrite(label, sizeof label, 1, to) != 1 || std::fwrite(&floats, 8, 1, to) != 1 ||
        std::fwrite(&bytes, 8, 1, to) != 1 || (bytes && std::fwrite(data, bytes, 1, to) != 1))
        std::exit(4);
}
void write(FILE* to, const std::string& name, const Numbers& v) { write(to, name, v.data(), 4 * v.size(), 1); }
void write(FILE* to, const std::string& name, const Bytes& v) { write(to, name, v.data(), v.size(), 0); }

template <class T>
T take(FILE* from) {
    T value;
    if (std::fread(&value, sizeof value, 1, from) != 1) std::exit(5);
    return value;
}

void physics(FILE* from, FILE* to, int threads) {
    const int64_t tiles = 3, columns = 70, rows = 133;  // no multiples of anything
    const int64_t dims[5] = {tiles, columns, rows, columns * rows, rows};
    Numbers weight = numbers(tiles * columns * rows, 1);
    const Numbers gradient = numbers(tiles * columns * rows, 2);
    for (size_t i = 0; i < weight.size(); i += 10) weight[i] = i % 20 ? -0.0f : 0.0f;  // which have slopes of their own
    const float full = 1.5f;
    const int64_t profiles = take<int64_t>(from);
    for (int64_t k = 0; k < profiles; k++) {
        int64_t counts[5];
        for (int64_t& count : counts) count = take<int64_t>(from);
        Numbers packed(counts[0]);
        for (float& number : packed) number = take<float>(from);
        // One normal number for every draw of programming and drift, a sum of two for every read noise.
        std::vector<int64_t> parts(counts[1], 1);
        parts.resize(counts[1] + counts[4], 2);
        std::vector<uint64_t> seeds(counts[1] + 2 * counts[4] + 1);
        Numbers sizes(seeds.size(), 1.0f);
        for (size_t i = 0; i < seeds.size(); i++) seeds[i] = 1000 * k + i;
        for (size_t i = counts[1]; i < sizes.size(); i++) sizes[i] = i % 2 ? 1.25f : 2.5f;
        Numbers scale(tiles * columns), relative(weight.size()), slope(weight.size()), variance(weight.size());
        const std::string name = "profile " + std::to_string(k);
        cimsim_program(weight.data(), scale.data(), 1, dims, packed.data(), parts.data(), seeds.data(), sizes.data(), 3600.0, relative.data(),
                       nullptr, counts[2] ? variance.data() : nullptr, 0, counts[3] ? 1 + int(k % 2) : 0, threads);
        write(to, name + " scale", scale);
        write(to, name + " currents", relative);
        if (counts[2]) write(to, name + " variance", variance);
        cimsim_program(weight.data(), scale.data(), 1, dims, packed.data(), parts.data(), seeds.data(), sizes.data(), 3600.0, relative.data(),
                       slope.data(), nullptr, 0, 0, threads);
        write(to, name + " slope", slope);
        for (const bool again : {false, true}) {
            Numbers pulled(weight.size());
            cimsim_vjp_programming(weight.data(), scale.data(), dims, packed.data(), parts.data(), seeds.data(), sizes.data(), 3600.0, again ? nullptr : relative.data(),
                        again ? nullptr : slope.data(), gradient.data(), &full, 127.0f, pulled.data(), threads);
            write(to, name + (again ? " pull again" : " pull"), pulled);
        }
    }
}

void converters(FILE* to, int threads) {
    Numbers normal(100003);
    cimsim_normal(normal.data(), normal.size(), 20260101, threads);
    write(to, "normal", Bytes((uint8_t*)normal.data(), (uint8_t*)(normal.data() + normal.size())));

    const Numbers x = numbers(50001, 3);
    const float full = 0.75f;
    Numbers codes(x.size()), squares(x.size());
    std::vector<int8_t> kept(x.size());
    Bytes mask((x.size() + 7) / 8);
    cimsim_encode(x.data(), x.size(), &full, 127.0f, -127.0f, codes.data(), squares.data(), 0, kept.data(), mask.data(), nullptr, threads);
    write(to, "DAC codes", Bytes((uint8_t*)codes.data(), (uint8_t*)(codes.data() + codes.size())));
    write(to, "DAC squares", Bytes((uint8_t*)squares.data(), (uint8_t*)(squares.data() + squares.size())));
    write(to, "DAC bytes", Bytes((uint8_t*)kept.data(), (uint8_t*)(kept.data() + kept.size())));
    mask.back() &= (1u << x.size() % 8) - 1;  // what bits of no value contain depends on the width of the registers
    write(to, "DAC mask", mask);
    for (const bool by_mask : {false, true}) {
        Numbers dx = x;
        Numbers by_full(by_mask ? 0 : (x.size() + 4095) / 4096);
        cimsim_mask_gradient(dx.data(), by_mask ? nullptr : x.data(), by_mask ? mask.data() : nullptr, x.size(), &full, 127.0f, -127.0f,
                             by_mask ? nullptr : by_full.data(), threads);
        if (!by_mask) write(to, "range gradient", by_full);
        write(to, by_mask ? "gate by mask" : "gate", Bytes((uint8_t*)dx.data(), (uint8_t*)(dx.data() + dx.size())));
    }

    Numbers rectified(x.size()), passed(x.size());
    Bytes passes(mask.size());
    cimsim_rectify(x.data(), x.size(), 0.5f, rectified.data(), passes.data(), threads);
    cimsim_pass_gradient(codes.data(), passes.data(), codes.size(), passed.data(), threads);
    passes.back() &= (1u << x.size() % 8) - 1;
    write(to, "ReLU", Bytes((uint8_t*)rectified.data(), (uint8_t*)(rectified.data() + rectified.size())));
    write(to, "ReLU mask", passes);
    write(to, "ReLU gradient", Bytes((uint8_t*)passed.data(), (uint8_t*)(passed.data() + passed.size())));

    for (const int64_t stride : {1, 2, 3}) {
        const int64_t images = 37, height = 19, width = 23, kernel = 3, padding = 1;
        const int64_t rows = (height + 2 * padding - kernel) / stride + 1, columns = (width + 2 * padding - kernel) / stride + 1;
        const int64_t windows[11] = {images, height, width, kernel, kernel, stride, stride, padding, padding, rows, columns};
        const Numbers pixels = numbers(images * height * width, 11), dy = numbers(images * rows * columns, 12);
        Numbers largest(dy.size()), dx(pixels.size());
        Bytes positions(dy.size());
        cimsim_max_pool(pixels.data(), windows, largest.data(), positions.data(), threads);
        cimsim_max_unpool(dy.data(), positions.data(), windows, dx.data(), threads);
        const std::string by = " of windows by " + std::to_string(stride);
        write(to, "maxima" + by, Bytes((uint8_t*)largest.data(), (uint8_t*)(largest.data() + largest.size())));
        write(to, "positions" + by, positions);
        write(to, "gradient" + by, Bytes((uint8_t*)dx.data(), (uint8_t*)(dx.data() + dx.size())));
    }

    const int64_t grid_columns = 301, grid_rows = x.size() / grid_columns;
    const Numbers steps = numbers(grid_columns, 9), offsets = numbers(grid_columns, 10);
    Numbers on_grid(grid_rows * grid_columns);
    std::vector<int8_t> found(on_grid.size());
    int exact = 0;
    cimsim_values_on_grid(kept.data(), grid_rows, grid_columns, steps.data(), offsets.data(), on_grid.data(), threads);
    cimsim_codes_on_grid(on_grid.data(), grid_rows, grid_columns, steps.data(), offsets.data(), found.data(), &exact, threads);
    write(to, "values on a grid", Bytes((uint8_t*)on_grid.data(), (uint8_t*)(on_grid.data() + on_grid.size())));
    write(to, "codes on a grid", Bytes((uint8_t*)found.data(), (uint8_t*)(found.data() + found.size())));
    write(to, "codes are exact", Bytes(1, uint8_t(exact)));

    for (const int64_t of_columns : {0, 1}) {
        const int64_t outer = 2, groups = 1, tiles = 4, lines = of_columns ? 61 : 77, line = of_columns ? 77 : 61;
        const int64_t dims[6] = {outer, groups, tiles, lines, line, of_columns}, columns = 77;
        const std::string layout = of_columns ? " of columns" : " of lines";
        const Numbers z = numbers(outer * tiles * lines * line, 4), bias = numbers(columns, 6);
        Numbers variance = numbers(z.size(), 5), scale = numbers(groups * tiles * columns, 7);
        for (float& v : variance) v = 1e-3f * v * v;
        const float adc_full = 0.875f;
        for (const bool noisy : {false, true}) {
            // Without noise and digital sums, y is the code: a power of two times a whole number.
            const Numbers ones(scale.size(), 1.0f);
            const float unit = 127.0f / 128.0f;
            Numbers y(outer * lines * line);
            Bytes marks(z.size() / line * ((line + 7) / 8));
            cimsim_digitize(z.data(), noisy ? variance.data() : nullptr, 0, dims, noisy ? &full : nullptr, noisy ? 127.0f : 1.0f,
                           noisy ? &adc_full : &unit, 0, noisy ? scale.data() : ones.data(), noisy ? bias.data() : nullptr,
                           -128.0f, 127.0f, noisy ? 0.5f : 0.0f, 11, 12, y.data(), marks.data(), threads);
            const std::string name = (noisy ? "ADC with noise" : "ADC codes") + layout;
            if (noisy)
                write(to, name, y);
            else
                write(to, name, Bytes((uint8_t*)y.data(), (uint8_t*)(y.data() + y.size())));
            write(to, name + " mask", marks);
            Numbers dz(z.size());
            cimsim_scatter_to_columns(numbers(y.size(), 8).data(), marks.data(), dims, scale.data(), dz.data(), threads);
            if (!noisy) write(to, "spread" + layout, dz);
        }
    }
}

// The unit that multiplies numbers of 16 bits; 0 for none.
int unit() { return cimsim_has_unit(1) ? 1 : cimsim_has_unit(2) ? 2 : 0; }

// The largest number of each line of weights: those of 16 bits are then multiples of 2^-15.
constexpr float kMost = 32767.0f / 32768;
void to_16_bits(float& value) { value = std::min(std::nearbyint(32768 * value) / 32768, kMost); }

// Products of numbers that two bfloat16 numbers or one of 16 bits represent, for both orders in memory. Without a unit,
// plain loops compute them.
void products(FILE* to, int threads) {
    const int64_t batch = 2, m = 37, k = 45, n = 70;
    Numbers a = numbers(batch * m * k, 11), b = numbers(batch * k * n, 12);
    for (float& value : a) value = std::nearbyint(256 * value);
    for (const bool across : {false, true}) {
        const int64_t dims[10] = {batch, m, k, n, m * k, across ? 1 : k, across ? m : 1, k * n, across ? 1 : n, across ? k : 1};
        for (float& value : b) to_16_bits(value);
        for (int64_t each = 0; each < batch * n; each++) b[each / n * dims[7] + each % n * dims[9]] = kMost;
        Numbers out(batch * m * n);
        int failed = 0;
        if (unit()) {
            cimsim_multiply(unit(), a.data(), b.data(), out.data(), dims, 1, 0, &failed, threads);
        } else {
            for (int64_t each = 0; each < batch; each++)
                for (int64_t i = 0; i < m; i++)
                    for (int64_t j = 0; j < n; j++) {
                        double sum = 0;
                        for (int64_t l = 0; l < k; l++)
                            sum += double(a[each * dims[4] + i * dims[5] + l * dims[6]]) * b[each * dims[7] + l * dims[8] + j * dims[9]];
                        out[(each * m + i) * n + j] = float(sum);
                    }
        }
        write(to, across ? "product across" : "product", out);
    }
}

// A convolution of such numbers, upside down or not, and the gradient of its kernels.
void convolutions(FILE* to, int threads) {
    const int64_t images = 3, tiles = 2, channels = 5, columns = 18, height = 7, width = 9, kernel = 3, down = 2, out_height = 4;
    const int64_t dims[14] = {images, tiles, channels, columns, height, width, kernel, kernel, down, 1, 1, 1, out_height, width};
    const auto whole = [](Numbers values, float most) {
        for (float& value : values) value = std::nearbyint(most * value);
        return values;
    };
    const Numbers x = whole(numbers(images * tiles * channels * height * width, 13), 127);
    Numbers w = numbers(tiles * columns * channels * kernel * kernel, 14), dz = whole(numbers(images * tiles * columns * out_height * width, 15), 1);
    for (float& value : dz) value *= 128;  // the largest number or 0
    for (float& value : w) to_16_bits(value);
    for (int64_t column = 0; column < tiles * columns; column++) w[column * channels * kernel * kernel] = kMost;
    for (const bool back : {false, true}) {
        Numbers out(dz.size());
        std::vector<double> sums(dz.size()), by_kernels(w.size());
        for (int64_t image = 0; image < images; image++)
            for (int64_t tile = 0; tile < tiles; tile++)
                for (int64_t column = 0; column < columns; column++)
                    for (int64_t row = 0; row < out_height; row++)
                        for (int64_t place = 0; place < width; place++)
                            for (int64_t channel = 0; channel < channels; channel++)
                                for (int64_t k = 0; k < kernel * kernel; k++) {
                                    const int64_t r = row * down + k / kernel - 1, p = place + k % kernel - 1;
                                    if (r < 0 || r >= height || p < 0 || p >= width) continue;
                                    const int64_t z = (((image * tiles + tile) * columns + column) * out_height + row) * width + place;
                                    const float value = x[(((image * tiles + tile) * channels + channel) * height + r) * width + p];
                                    const int64_t straight = ((tile * columns + column) * channels + channel) * kernel * kernel + k;
                                    const int64_t turned = ((tile * channels + channel) * columns + column) * kernel * kernel + kernel * kernel - 1 - k;
                                    sums[z] += double(value) * w[back ? turned : straight];
                                    by_kernels[straight] += double(value) * dz[z];
                                }
        Numbers gradient(by_kernels.begin(), by_kernels.end());
        std::copy(sums.begin(), sums.end(), out.begin());
        if (unit()) {
            int failed = 0;
            const std::vector<int8_t> bytes(x.begin(), x.end());
            cimsim_convolve(unit(), bytes.data(), 1, 0, w.data(), 0, out.data(), dims, back, &failed, threads);
            cimsim_correlate(unit(), bytes.data(), 1, dz.data(), gradient.data(), dims, &failed, threads);
        }
        write(to, back ? "convolution back" : "convolution", out);
        if (!back) write(to, "gradient of kernels", gradient);
    }
}

template <class T>
void wires(FILE* to, const std::string& kind, int threads) {
    const int64_t dims[3] = {2, 21, 70}, cells = dims[0] * dims[1] * dims[2];
    const double resistances[4] = {1.0, 11.0, 2.0, 0.0};
    const Numbers wanted = numbers(cells, 9), by = numbers(cells, 10);
    std::vector<T> g(cells), gradient(by.begin(), by.end()), out(cells);
    for (int64_t i = 0; i < cells; i++) g[i] = i % 7 ? T(1e-4) * std::fabs(wanted[i]) : T(0);
    for (const bool back : {false, true}) {
        int solved = 0;
        cimsim_wires(g.data(), back ? gradient.data() : nullptr, dims, resistances, sizeof(T) == 8, out.data(), &solved, threads);
        if (!solved) std::exit(6);
        write(to, "wires " + kind + (back ? " pull" : ""), Numbers(out.begin(), out.end()));
    }
}

}  // namespace

int main(int count, char** words) {
    if (count != 4) return 2;
    FILE *from = std::fopen(words[1], "rb"), *to = std::fopen(words[2], "wb");
    if (!from || !to) return 3;
    physics(from, to, std::atoi(words[3]));
    converters(to, std::atoi(words[3]));
    products(to, std::atoi(words[3]));
    convolutions(to, std::atoi(words[3]));
    wires<float>(to, "float", std::atoi(words[3]));
    wires<double>(to, "double", std::atoi(words[3]));
    std::fclose(from);
    return std::fclose(to) ? 4 : 0;
}
