// Arithmetic on as many numbers at a time as a register holds, with or without a derivative, and the profile's curves.

#pragma once
#include <algorithm>

#include "random.h"

// What a loop does with the numbers of one register: too few to pay for a call.
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
inline bool any(Ints mask) {
    int32_t bits = 0;
    for (int lane = 0; lane < kLanes; lane++) bits |= mask[lane];
    return bits != 0;
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

inline float total(const float* p, int64_t count) {
    Floats sum = splat(0);
    for (int64_t i = 0; i < count; i += kLanes) sum += load_some(p + i, count - i);
    return total(sum);
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
enum class Shape { kPolynomial, kClippedLog, kCappedPower, kLogPolynomial, kSaturating, kTable, kPiecewise, kMagnitude };
constexpr float kFloor = 1e-7f;

inline const float* behind(const float* curve) { return curve + int(curve[0]); }

// One number for each cell of a part of a block, with its derivative where T is Dual.
constexpr int64_t kPart = 256;
template <class T>
struct Part;
template <>
struct Part<Floats> {
    alignas(64) float value[kPart];

    Floats get(int64_t i) const { return load(value + i); }
    void set(int64_t i, Floats x) { store(value + i, x); }
};
template <>
struct Part<Dual> {
    alignas(64) float value[kPart], slope[kPart];

    Dual get(int64_t i) const { return {load(value + i), load(slope + i)}; }
    void set(int64_t i, const Dual& x) { store(value + i, x.value), store(slope + i, x.slope); }
};

// Calls use(i) for the first number of every register that has one of the first `count` numbers of a part.
template <class Use>
CIMSIM_INLINE void registers(int64_t count, Use use) {
    for (int64_t i = 0; i < count; i += kLanes) use(i);
}

// What a curve is evaluated at: `count` numbers. Their logarithms are computed at the first use.
template <class T>
struct Argument {
    Part<T> r;
    int64_t count = 0;

    // The numbers x(i).
    template <class X>
    void set(int64_t how_many, X x) {
        count = how_many, has_logs_ = false;
        registers(count, [&](int64_t i) { r.set(i, x(i)); });
    }
    const Part<T>& logs() {
        if (!has_logs_) registers(count, [&](int64_t i) { logs_.set(i, log_of(at_least(r.get(i), kFloor))); });
        has_logs_ = true;
        return logs_;
    }

  private:
    Part<T> logs_;
    bool has_logs_ = false;
};

template <class T>
CIMSIM_INLINE void horner(const float* c, int degree, const Part<T>& r, float factor, int64_t count, Part<T>& out) {
    registers(count, [&](int64_t i) {
        const T x = r.get(i) * factor;
        T value = constant<T>(c[degree]);
        for (int k = degree - 1; k >= 0; k--) value = value * x + c[k];
        out.set(i, value);
    });
}

template <class T>
void simple_curve(const float* p, Argument<T>& at, Part<T>& out) {
    const int numbers = int(p[0]) - 2;
    const Shape shape = Shape(int(p[1]));
    const int64_t count = at.count;
    p += 2;
    switch (shape) {
        case Shape::kClippedLog: {
            const float slope = p[0], intercept = p[1], min = p[2], max = p[3];
            const Part<T>& logs = at.logs();
            registers(count, [&](int64_t i) { out.set(i, at_most(at_least(logs.get(i) * slope + intercept, min), max)); });
            return;
        }
        case Shape::kCappedPower: {
            const float coefficient = p[0], exponent = p[1], max_log = p[2];  // ln(max / coefficient)
            const Part<T>& logs = at.logs();
            registers(count, [&](int64_t i) { out.set(i, exp_of(at_most(logs.get(i) * exponent, max_log)) * coefficient); });
            return;
        }
        case Shape::kLogPolynomial:
            return horner(p, numbers - 1, at.logs(), 0.43429448190325f, count, out);
        case Shape::kSaturating: {  // amplitude, -1 / scale
            const float amplitude = p[0], rate = p[1];
            registers(count, [&](int64_t i) { out.set(i, (exp_of(at.r.get(i) * rate) - 1.0f) * -amplitude); });
            return;
        }
        case Shape::kTable:  // r, value, slope to the next, for each point
            registers(count, [&](int64_t i) {
                const T r = at.r.get(i);
                T value = constant<T>(p[1]);
                for (int k = 0; k < numbers; k += 3)
                    value = where(value_of(r) >= p[k], (r - p[k]) * p[k + 2] + p[k + 1], value);
                out.set(i, value);
            });
            return;
        case Shape::kMagnitude:  // its derivative at 0 is 0, the mean of those on both sides
            registers(count, [&](int64_t i) {
                const T r = at.r.get(i);
                out.set(i, where(value_of(r) == 0, constant<T>(0), absolute(r)));
            });
            return;
        default:
            return horner(p, numbers - 1, at.r, 1.0f, count, out);
    }
}

template <class T>
void curve(const float* p, Argument<T>& at, Part<T>& out) {
    if (Shape(int(p[1])) != Shape::kPiecewise) return simple_curve(p, at, out);
    Part<T> above;  // at, two curves
    simple_curve(p + 3, at, out), simple_curve(behind(p + 3), at, above);
    registers(at.count, [&](int64_t i) { out.set(i, where(value_of(at.r.get(i)) < p[2], out.get(i), above.get(i))); });
}

// Whether the curve is the same number everywhere.
inline bool is_constant(const float* p) { return Shape(int(p[1])) == Shape::kPolynomial && p[0] == 3; }

}  // namespace cimsim
