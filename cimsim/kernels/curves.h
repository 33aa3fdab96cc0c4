// Arithmetic on as many numbers at a time as a register holds, with or without a derivative, and the profile's curves.

#pragma once
#include <algorithm>

#include "random.h"

// Curves are evaluated for the numbers of one register: too few to pay for a call.
#define CIMSIM_INLINE __attribute__((always_inline)) inline

namespace cimsim {

// Values and their derivatives by one variable.
struct Dual {
    Floats value, slope;
};

inline Floats splat(float x) { return x - (Floats){}; }
inline Floats load(const float* p) {
    Floats f;
    std::memcpy(&f, p, sizeof f);
    return f;
}
inline void store(float* p, Floats f) { std::memcpy(p, &f, sizeof f); }
// One number for each lane, or as many as there are; the rest is zero.
inline Floats load_some(const float* p, int64_t left) {
    if (left >= kLanes) return load(p);
    Floats f = splat(0);
    std::memcpy(&f, p, left * sizeof(float));
    return f;
}
// True in the first `lanes` lanes.
inline Ints some(int lanes) {
    Ints lane_number;
    for (int lane = 0; lane < kLanes; lane++) lane_number[lane] = lane;
    return lane_number < lanes;
}
inline void store_some(float* p, Floats f, int64_t left) {
    if (left >= kLanes) return store(p, f);
    std::memcpy(p, &f, left * sizeof(float));
}
inline Floats where(Ints mask, Floats yes, Floats no) {
    return mask ? yes : no;
}
inline Floats absolute(Floats x) { return as_floats(as_words(x) & 0x7fffffffu); }
inline float total(Floats x) {
    float sum = 0;
    for (int lane = 0; lane < kLanes; lane++) sum += x[lane];
    return sum;
}

// e^x, x held in what float can express (polynomial of Cephes' expf).
inline Floats exp_of(Floats x) {
    x = where(x < -87.0f, splat(-87.0f), where(x > 88.0f, splat(88.0f), x));
    const Ints n = __builtin_convertvector(x * 1.44269504088896341f + where(x < 0, splat(-0.5f), splat(0.5f)), Ints);
    const Floats k = __builtin_convertvector(n, Floats);
    x = x - k * 0.693359375f + k * 2.12194440e-4f;
    Floats p = x * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * x + 8.3334519073e-3f;
    p = p * x + 4.1665795894e-2f;
    p = p * x + 1.6666665459e-1f;
    p = p * x + 5.0000001201e-1f;
    p = p * x * x + x + 1.0f;
    return as_floats((Words)((Ints)as_words(p) + (n << 23)));
}

inline Floats value_of(Floats x) { return x; }
inline Floats value_of(const Dual& x) { return x.value; }
inline Dual operator+(const Dual& a, const Dual& b) { return {a.value + b.value, a.slope + b.slope}; }
inline Dual operator+(const Dual& a, Floats b) { return {a.value + b, a.slope}; }
inline Dual operator-(const Dual& a, Floats b) { return {a.value - b, a.slope}; }
inline Dual operator*(const Dual& a, const Dual& b) { return {a.value * b.value, a.value * b.slope + a.slope * b.value}; }
inline Dual operator*(const Dual& a, Floats b) { return {a.value * b, a.slope * b}; }
inline Dual operator+(const Dual& a, float b) { return {a.value + b, a.slope}; }
inline Dual operator-(const Dual& a, float b) { return {a.value - b, a.slope}; }
inline Dual operator*(const Dual& a, float b) { return {a.value * b, a.slope * b}; }
inline Dual where(Ints mask, const Dual& yes, const Dual& no) {
    return {where(mask, yes.value, no.value), where(mask, yes.slope, no.slope)};
}
inline Dual absolute(const Dual& x) {
    return {absolute(x.value), where(x.value < 0, -x.slope, x.slope)};
}
inline Dual log_of(const Dual& x) { return {log_of(x.value), x.slope / x.value}; }
inline Dual exp_of(const Dual& x) {
    const Floats e = exp_of(x.value);
    return {e, e * x.slope};
}

template <class T>
T constant(float x);
template <>
inline Floats constant<Floats>(float x) { return splat(x); }
template <>
inline Dual constant<Dual>(float x) { return {splat(x), splat(0)}; }

template <class T>
T at_least(T x, float low) { return where(value_of(x) < low, constant<T>(low), x); }
template <class T>
T at_most(T x, float high) { return where(value_of(x) > high, constant<T>(high), x); }

// The kinds of PackedCurve in cimsim/kernels/packing.py. In memory a curve is its length (of all of it, in
// numbers), its kind and its numbers.
enum class Shape { kPolynomial, kClippedLog, kCappedPower, kLogPolynomial, kSaturating, kTable, kPiecewise };
constexpr float kFloor = 1e-7f;

inline const float* behind(const float* curve) { return curve + int(curve[0]); }

// What a curve is evaluated at; its logarithm is computed at the first use.
template <class T>
struct Argument {
    T r, kept_log;
    bool has_log = false;

    explicit Argument(T r) : r(r) {}
    T log() {
        if (!has_log) kept_log = log_of(at_least(r, kFloor)), has_log = true;
        return kept_log;
    }
};

template <class T>
T horner(const float* c, int count, T r) {
    T value = constant<T>(c[count - 1]);
    for (int k = count - 2; k >= 0; k--) value = value * r + c[k];
    return value;
}

template <class T>
CIMSIM_INLINE T simple_curve(const float* p, Argument<T>& at) {
    const int count = int(p[0]) - 2;
    const Shape shape = Shape(int(p[1]));
    const T r = at.r;
    p += 2;
    switch (shape) {
        case Shape::kClippedLog:  // slope, intercept, min, max
            return at_most(at_least(at.log() * p[0] + p[1], p[2]), p[3]);
        case Shape::kCappedPower:  // coefficient, exponent, ln(max / coefficient)
            return exp_of(at_most(at.log() * p[1], p[2])) * p[0];
        case Shape::kLogPolynomial:
            return horner(p, count, at.log() * 0.43429448190325f);
        case Shape::kSaturating:  // amplitude, -1 / scale
            return (exp_of(r * p[1]) - 1.0f) * -p[0];
        case Shape::kTable: {  // r, value, slope to the next, for each point
            T value = constant<T>(p[1]);
            for (int k = 0; k < count; k += 3)
                value = where(value_of(r) >= p[k], (r - p[k]) * p[k + 2] + p[k + 1], value);
            return value;
        }
        default:
            return horner(p, count, r);
    }
}

template <class T>
__attribute__((noinline)) T piecewise(const float* p, Argument<T>& at) {  // at, two curves
    return where(value_of(at.r) < p[2], simple_curve(p + 3, at), simple_curve(behind(p + 3), at));
}

template <class T>
CIMSIM_INLINE T curve(const float* p, Argument<T>& at) {
    return Shape(int(p[1])) == Shape::kPiecewise ? piecewise(p, at) : simple_curve(p, at);
}

// Whether the curve is the same number everywhere.
inline bool is_constant(const float* p) { return Shape(int(p[1])) == Shape::kPolynomial && p[0] == 3; }

}  // namespace cimsim
