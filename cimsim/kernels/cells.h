// Cells from weights: laid on conductances, programmed, aged, and what they add when read.
//
// Fields are [tiles, columns, rows], of pairs [2, tiles, columns, rows]. Their normal numbers are
// those that the plain physics of cimsim.physics draws: one seed for each effect, and the position
// in the field.

#pragma once
#include <algorithm>
#include <type_traits>
#include <vector>

#include "curves.h"

namespace cimsim {

// Reads the row of numbers that cimsim/kernels/packing.py writes: fields one after the other, a flag as a
// number, a list as its length and its entries, a curve as in curves.h.
class Reader {
  public:
    explicit Reader(const float* next) : next_(next) {}

    float number() { return *next_++; }
    bool flag() { return number() != 0; }
    int count() { return int(number()); }
    const float* numbers(int count) {
        const float* first = next_;
        next_ += count;
        return first;
    }
    const float* curve() { return numbers(int(*next_)); }
    std::vector<const float*> curves() {
        std::vector<const float*> all(count());
        for (const float*& each : all) each = curve();
        return all;
    }

  private:
    const float* next_;
};

// A profile's physics, resolved for one age.
// A normal number of every cell, or of all cells of a weight: the sum of some, each of a seed and a size.
struct Draw {
    const uint64_t* seeds;
    const float* sizes;
    int64_t count;
    bool each;
};

struct Programming {
    float per_uS, sigma, bias;  // 1 / g_ref and factors
    const float *sigma_curve, *bias_curve;
    float rest_sigma, rest_bias;
    bool even;
};

struct Drift {
    bool power_law;
    float per_uS, elapsed;       // power law: ln(1 + t / t0); otherwise the share between two ages
    float mean, spread;          // factors
    const float *mean_curve[2], *spread_curve[2];
    float rest_mean, rest_spread;
};

struct Read {
    bool of_target, times_g;
    float per_uS, size, growth;  // factors; growth: of the variance, for what is new for every read
    const float* sigma_curve;
    float rest;  // sigma of the other cell of a pair, where that depends on its target
    bool slow;   // whether it has a part that does not change
};

// A target conductance over the reference of an effect; neighbors share their arguments.
template <class T>
class Targets {
  public:
    explicit Targets(T target_uS) : target_uS_(target_uS), at_(target_uS) {}

    Argument<T>& over(float per_uS) {
        if (per_uS != per_uS_) at_ = Argument<T>(target_uS_ * per_uS), per_uS_ = per_uS;
        return at_;
    }

  private:
    T target_uS_;
    Argument<T> at_;
    float per_uS_ = 1;
};

struct Physics {
    float offset;  // subtracted from relative currents
    bool paired;
    float g_min_uS, span_uS, floor_uS, ceiling_uS;
    std::vector<Programming> programming;
    std::vector<Drift> drift;
    std::vector<Read> read;
    std::vector<Draw> draws;  // of programming, drift and the slow parts of read noise, in this order
    bool ages = false;

    // Whether cells are independent and their errors constant.
    bool textbook() const {
        return !paired && !ages && read.empty() &&
               std::all_of(programming.begin(), programming.end(), [](const Programming& e) { return e.even; });
    }
    float unit_uS() const { return paired ? span_uS : span_uS / 2; }
    template <class T>
    T bounded(T g_uS) const {
        return at_most(at_least(g_uS, floor_uS), ceiling_uS);
    }

    Physics(const float* packed, const int64_t* counts, const uint64_t* seeds, const float* sizes, double age_s) {
        const auto next_draw = [&](bool each) {
            const Draw draw{seeds, sizes, *counts++, each};
            seeds += draw.count, sizes += draw.count;
            return draw;
        };
        Reader in(packed);
        offset = in.number(), paired = in.flag(), g_min_uS = in.number(), span_uS = in.number();
        floor_uS = in.number(), ceiling_uS = in.number();
        for (int count = in.count(); count > 0; count--) {  // PackedProgramming
            draws.push_back(next_draw(true));
            Programming e{};
            e.per_uS = in.number(), e.sigma = in.number(), e.bias = in.number();
            e.sigma_curve = in.curve(), e.bias_curve = in.curve();
            Argument<Floats> rest(splat(g_min_uS * e.per_uS));
            e.even = is_constant(e.sigma_curve) && is_constant(e.bias_curve);
            e.rest_sigma = sigma(e, rest)[0], e.rest_bias = bias(e, rest)[0];
            programming.push_back(e);
        }
        for (int count = in.count(); count > 0; count--) {  // PackedDrift
            const Draw draw = next_draw(true);
            Drift e{};
            e.power_law = in.flag(), e.per_uS = in.number(), e.mean = in.number(), e.spread = in.number();
            const int times = in.count();
            const float* at_s = in.numbers(times);
            const std::vector<const float*> means = in.curves(), spreads = in.curves();
            int after = 0;
            while (after < times && at_s[after] <= age_s) after++;
            const int high = std::min(after, times - 1), low = std::max(after - 1, 0);
            if (e.power_law)
                e.elapsed = float(std::log1p(age_s / at_s[0]));
            else if (low != high)
                e.elapsed = float(std::log(age_s / at_s[low]) / std::log(double(at_s[high]) / at_s[low]));
            e.mean_curve[0] = means[low], e.mean_curve[1] = means[high];
            e.spread_curve[0] = spreads[low], e.spread_curve[1] = spreads[high];
            Argument<Floats> rest(splat(g_min_uS * e.per_uS));
            e.rest_mean = mean(e, rest)[0], e.rest_spread = spread(e, rest)[0];
            if (e.power_law && age_s == 0) continue;
            draws.push_back(draw), drift.push_back(e), ages = true;
        }
        for (int count = in.count(); count > 0; count--) {  // PackedRead
            Read e{};
            e.of_target = in.flag(), e.times_g = in.flag(), e.per_uS = in.number(), e.size = in.number();
            const float before_s = in.number(), session_s = in.number(), read_s = in.number();
            e.growth = 1, e.sigma_curve = in.curve();
            if (read_s > 0)  // flicker noise
                e.growth = float(std::max(0.0, std::log((std::min(age_s + before_s, double(session_s)) + read_s) / (2.0 * read_s))));
            Argument<Floats> rest(splat(g_min_uS * e.per_uS));
            e.rest = paired ? sigma(e, rest)[0] : 0;
            const Draw draw = next_draw(false);
            if (draw.count) draws.push_back(draw), e.slow = true;
            read.push_back(e);
        }
    }

    template <class T>
    static T sigma(const Programming& e, Argument<T>& target) {
        return at_least(curve(e.sigma_curve, target), 0) * e.sigma;
    }
    template <class T>
    static T bias(const Programming& e, Argument<T>& target) {
        return curve(e.bias_curve, target) * e.bias;
    }
    template <class T>
    static T between(const float* const* curves, float share, Argument<T>& at) {
        T low = curve(curves[0], at);
        if (curves[0] == curves[1]) return low;
        return low + (curve(curves[1], at) + low * -1.0f) * share;
    }
    template <class T>
    static T mean(const Drift& e, Argument<T>& target) {
        return between(e.mean_curve, e.elapsed, target) * e.mean;
    }
    template <class T>
    static T spread(const Drift& e, Argument<T>& target) {
        T s = between(e.spread_curve, e.elapsed, target);
        return (e.power_law ? s : at_least(s, 0)) * e.spread;
    }
    template <class T>
    static T drifted(const Drift& e, T g_uS, T mean, T spread, Floats xi) {
        T change = mean + spread * xi;
        if (!e.power_law) return g_uS + change;
        return g_uS * exp_of(absolute(change) * -e.elapsed);
    }
    // Of a read noise, in uS^2: of a cell at g_uS whose target is known, and of the other of its pair.
    Floats variance(const Read& e, Floats g_uS, Targets<Floats>& target, Floats rest_uS) const {
        Floats s, s_rest = splat(0);
        if (e.of_target) {
            s = sigma(e, target.over(e.per_uS)), s_rest += e.rest;
        } else {
            Argument<Floats> own(g_uS * e.per_uS), rest(rest_uS * e.per_uS);
            s = sigma(e, own);
            if (paired) s_rest = sigma(e, rest);
        }
        if (e.times_g) s *= g_uS, s_rest *= rest_uS;
        return s * s + s_rest * s_rest;
    }
    static Floats sigma(const Read& e, Argument<Floats>& at) { return at_least(curve(e.sigma_curve, at), 0) * e.size; }
};

// How many columns the cells have and where their weights are.
struct Field {
    const float* weight;  // of tile t, column c, row r: weight[t * tile_stride + c * column_stride + r]
    const float* scale;   // [tiles, columns]
    int64_t tiles, columns, rows, tile_stride, column_stride;

    int64_t count() const { return tiles * columns; }
    int64_t offset(int64_t column) const {
        return column / columns * tile_stride + column % columns * column_stride;
    }
    float largest(int64_t column) const {
        const float* w = weight + offset(column);
        // The bits of a float's size are in the order of the sizes, and those of NaN are the largest.
        constexpr int kChains = 4;
        Ints most[kChains];
        for (Ints& chain : most) chain = (Ints)as_words(splat(1e-30f));  // the smallest scale, see cimsim.circuits.mapping
        int64_t row = 0;
        for (; row + kChains * kLanes <= rows; row += kChains * kLanes)
            for (int k = 0; k < kChains; k++) most[k] = larger(load(w + row + k * kLanes), most[k]);
        for (; row < rows; row += kLanes) most[0] = larger(load_some(w + row, rows - row), most[0]);
        int32_t result = 0;
        for (const Ints& chain : most)
            for (int lane = 0; lane < kLanes; lane++) result = std::max(result, chain[lane]);
        float size;
        std::memcpy(&size, &result, sizeof size);
        return size;
    }
    static Ints larger(Floats x, Ints than) {
        const Ints size = (Ints)as_words(absolute(x));
        return size > than ? size : than;
    }
};

// The normal numbers of one block of a field, for every effect and device. A field's numbers follow
// one another: the second device's begin behind those of the first, anywhere in a block.
class Draws {
  public:
    Draws(const Physics& physics, int64_t cells)
        : paired_(physics.paired), ahead_(cells / kBlock), shift_(cells % kBlock), draws_(physics.draws) {
        kept_.resize(kEach * draws_.size() + kLanes);
    }

    void go_to(int64_t block) {
        if (block == block_) return;
        float* out = kept_.data();
        for (const Draw& draw : draws_) {
            sum_block(draw, block, out);
            if (paired_ && draw.each) {
                float* second = out + kBlock;
                if (block == block_ + 1 && shift_)
                    std::memcpy(second, second + kBlock, kBlock * sizeof(float));
                else
                    sum_block(draw, ahead_ + block, second);
                if (shift_) sum_block(draw, ahead_ + block + 1, second + kBlock);
            }
            out += kEach;
        }
        block_ = block;
    }

    // The errors of one block where they are the same for every target.
    const float* errors_uS(const Physics& physics) {
        if (errors_of_ == block_) return errors_.data();
        errors_.assign(kBlock, 0.0f), errors_of_ = block_;
        const float* xi = kept_.data();
        for (const Programming& e : physics.programming) {
            for (int64_t i = 0; i < kBlock; i++) errors_[i] += e.rest_bias + e.rest_sigma * xi[i];
            xi += kEach;
        }
        return errors_.data();
    }

    // Of a draw for all cells of a weight.
    Floats one(size_t index, int64_t at) const { return load(kept_.data() + kEach * index + at); }

    // Of effect `index` (programming first), at `at` in the block: of the cell that carries the
    // weight, and of the other.
    void get(size_t index, int64_t at, Ints second, Floats& carrying, Floats& resting) const {
        const float* first = kept_.data() + kEach * index + at;
        const Floats a = load(first);
        if (!paired_) {
            carrying = a, resting = splat(0);
            return;
        }
        const Floats b = load(first + kBlock + shift_);
        carrying = where(second, b, a), resting = where(second, a, b);
    }

  private:
    __attribute__((noinline)) static void sum_block(const Draw& draw, int64_t block, float* out) {
        normal_block(draw.seeds[0], block, out);
        if (draw.count == 1 && draw.sizes[0] == 1) return;
        for (int64_t i = 0; i < kBlock; i++) out[i] *= draw.sizes[0];
        float more[kBlock];
        for (int64_t part = 1; part < draw.count; part++) {
            normal_block(draw.seeds[part], block, more);
            for (int64_t i = 0; i < kBlock; i++) out[i] += draw.sizes[part] * more[i];
        }
    }

    static constexpr int64_t kEach = 3 * kBlock;
    bool paired_;
    int64_t ahead_, shift_;
    std::vector<Draw> draws_;
    std::vector<float> kept_, errors_;
    int64_t block_ = -2, errors_of_ = -2;
};

struct Programmed {
    Floats relative, slope, before, now, variance;  // before, now: |relative| fresh and aged, without read noise
};

template <class T>
T seeded(Floats r);
template <>
inline Floats seeded<Floats>(Floats r) { return r; }
template <>
inline Dual seeded<Dual>(Floats r) { return {r, splat(1)}; }
inline Floats slope_of(Floats) { return splat(0); }
inline Floats slope_of(const Dual& x) { return x.slope; }

// Relative weights, one in each lane, on their cells. The variance is computed without slopes only.
template <class T>
CIMSIM_INLINE Programmed programmed(const Physics& physics, Floats relative, const Draws& draws, int64_t at, bool want_variance) {
    const float g_min = physics.g_min_uS, span = physics.span_uS;
    const Ints negative = relative < 0;
    const T r = seeded<T>(relative);
    const T target = physics.paired ? absolute(r) * span + g_min : (r + 1.0f) * (span / 2) + g_min;
    Targets<T> targets(target);
    T g = target;
    Floats rest = splat(g_min), xi, xi_rest;
    size_t index = 0;
    for (const Programming& e : physics.programming) {
        draws.get(index++, at, negative, xi, xi_rest);
        if (e.even) {  // the same for every cell
            g = g + (e.rest_bias + e.rest_sigma * xi);
        } else {
            Argument<T>& at_target = targets.over(e.per_uS);
            g = g + physics.bias(e, at_target) + physics.sigma(e, at_target) * xi;
        }
        rest = rest + e.rest_bias + e.rest_sigma * xi_rest;
    }
    if (index) g = physics.bounded(g), rest = physics.bounded(rest);
    const T fresh = g;
    const Floats fresh_rest = rest;
    for (const Drift& e : physics.drift) {
        draws.get(index++, at, negative, xi, xi_rest);
        Argument<T>& at_target = targets.over(e.per_uS);
        g = physics.drifted(e, g, physics.mean(e, at_target), physics.spread(e, at_target), xi);
        rest = physics.drifted(e, rest, splat(e.rest_mean), splat(e.rest_spread), xi_rest);
    }
    if (physics.ages) g = physics.bounded(g), rest = physics.bounded(rest);
    Programmed out;
    const float per_unit = 1.0f / physics.unit_uS();
    if (physics.paired) {
        out.relative = (value_of(g) - rest) * per_unit;
        out.relative = where(negative, -out.relative, out.relative);
        out.slope = where(negative, -slope_of(g), slope_of(g)) * per_unit;
        out.before = absolute(value_of(fresh) - fresh_rest) * per_unit;
        out.now = absolute(out.relative);
    } else {
        const float middle = g_min + span / 2;
        out.relative = value_of(g) * per_unit - physics.offset;
        out.slope = slope_of(g) * per_unit;
        out.before = absolute(value_of(fresh) - middle) * per_unit;
        out.now = absolute(value_of(g) - middle) * per_unit;
    }
    if (want_variance) {
        if constexpr (std::is_same_v<T, Floats>) {
            Floats fast = splat(0), slow = splat(0);
            for (const Read& e : physics.read) {
                const Floats variance = physics.variance(e, g, targets, rest);
                fast += variance * e.growth;
                if (e.slow) slow += root_of(variance) * draws.one(index++, at);
            }
            out.variance = fast * (per_unit * per_unit);
            out.relative += slow * per_unit;
        }
    }
    return out;
}

// Calls begin(column) for each of the columns [first, last), and for all their cells, as many at a time
// as have their draws in one block, run(at, count, row, weights, 1 / scale).
template <class Begin, class Run>
void runs(const Field& field, Draws& draws, int64_t first, int64_t last, Begin begin, Run run) {
    int64_t block = first * field.rows / kBlock, at = first * field.rows % kBlock;
    draws.go_to(block);
    for (int64_t column = first; column < last; column++) {
        begin(column);
        const float* weight = field.weight + field.offset(column);
        const float per_scale = 1.0f / field.scale[column];
        for (int64_t row = 0; row < field.rows;) {
            if (at == kBlock) draws.go_to(++block), at = 0;
            const int64_t count = std::min(field.rows - row, kBlock - at);
            run(at, count, row, weight + row, per_scale);
            row += count, at += count;
        }
    }
}

// The same, as many cells at a time as there are lanes, or fewer: use(at, lanes, row, relative weights).
template <class Begin, class Use>
void walk(const Field& field, Draws& draws, int64_t first, int64_t last, Begin begin, Use use) {
    runs(field, draws, first, last, begin, [&](int64_t at, int64_t count, int64_t row, const float* weight, float per_scale) {
        for (int64_t i = 0; i < count; i += kLanes) {
            const int64_t lanes = std::min<int64_t>(kLanes, count - i);
            use(at + i, lanes, row + i, load_some(weight + i, lanes) * per_scale);
        }
    });
}

// Textbook cells: independent, with the same error at every conductance, at age 0. `slope`
// may be null.
inline void textbook(const Physics& physics, const float* weight, float per_scale, const float* errors_uS, int64_t count,
                     float* relative, float* slope) {
    const float half_uS = physics.span_uS / 2, middle_uS = physics.g_min_uS + half_uS;
    const float floor_uS = physics.floor_uS, ceiling_uS = physics.ceiling_uS;
    const float gain = per_scale * half_uS, per_unit = 1.0f / physics.unit_uS(), steep = half_uS * per_unit;
    for (int64_t i = 0; i < count; i++) {
        const float g_uS = weight[i] * gain + middle_uS + errors_uS[i];
        relative[i] = (g_uS < floor_uS ? floor_uS : g_uS > ceiling_uS ? ceiling_uS : g_uS) * per_unit - physics.offset;
    }
    if (!slope) return;
    for (int64_t i = 0; i < count; i++) {
        const float g_uS = weight[i] * gain + middle_uS + errors_uS[i];
        slope[i] = g_uS < floor_uS || g_uS > ceiling_uS ? 0.0f : steep;
    }
}

}  // namespace cimsim
