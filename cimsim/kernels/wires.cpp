// Crossbars with resistive lines on the CPU: a library of its own, because it takes longer to compile than all other
// kernels, and few profiles have wires. See wires.py beside this file for the arguments.

#include <algorithm>
#include <new>

#include "threads.h"
#include "wires.h"

using namespace cimsim;

namespace {

// Returns whether there was enough memory.
template <class T>
bool solve_wires(const void* g, const void* gradient, const int64_t* dims, const double* resistances, void* out, int threads) {
    const Crossbars<T> crossbars(dims[1], dims[2], resistances);
    const int64_t cells = dims[1] * dims[2];
    // A cell takes as long as several of the numbers of other functions.
#pragma omp parallel num_threads(team_for(8 * dims[0] * cells, threads))
#pragma omp single
#pragma omp taskloop grainsize(1)
    for (int64_t at = 0; at < dims[0] * cells; at += cells) {
        crossbars.attempt([&] {
            if (gradient)
                crossbars.pull_back((const T*)g + at, (const T*)gradient + at, (T*)out + at);
            else
                crossbars.solve((const T*)g + at, (T*)out + at);
        });
    }
    return !crossbars.failed();
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

// Effective conductances of crossbars with resistive lines; with `gradient` by them, that by g instead. dims: arrays, rows,
// columns. resistances in ohm: word segment, first segment with source, bit segment, last segment with sink. All
// numbers are double or float. `solved` is 0 if memory is lacking.
void cimsim_wires(const void* g, const void* gradient, const int64_t* dims, const double* resistances, int is_double, void* out, int* solved,
                  int threads) {
    try {
        *solved = is_double ? solve_wires<double>(g, gradient, dims, resistances, out, threads)
                            : solve_wires<float>(g, gradient, dims, resistances, out, threads);
    } catch (const std::bad_alloc&) {
        *solved = 0;
    }
}

// Whether the library works on this processor.
int cimsim_wires_work() {
    const int64_t dims[3] = {1, 20, 20};
    const double resistances[4] = {1, 1, 1, 1};
    double g[400], out[400];
    std::fill(g, g + 400, 1e-4);
    int solved = 0;
    cimsim_wires(g, nullptr, dims, resistances, 1, out, &solved, 1);
    return solved && out[0] > 0 && out[0] < 1e-4;
}

}  // extern "C"
#pragma GCC visibility pop
