// Threads of both libraries.
#pragma once

#include <cstdint>

#if defined(_OPENMP)
#include <omp.h>
#else
inline int omp_get_num_threads() { return 1; }
inline int omp_get_thread_num() { return 0; }
#endif

namespace cimsim {

// Number of threads for a number of values: a few values are computed before a second thread wakes up.
inline int team_for(int64_t numbers, int threads) { return numbers < 16384 ? 1 : threads; }

}  // namespace cimsim

#pragma GCC visibility push(default)
extern "C" {

// Whether it uses more than one thread.
int cimsim_has_threads() {
#if defined(_OPENMP)
    return 1;
#else
    return 0;
#endif
}

}  // extern "C"
#pragma GCC visibility pop
