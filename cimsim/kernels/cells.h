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

// A normal number of every cell, or of all cells of a weight: the sum of some, each of a seed and a size.
struct Draw {
    const uint64_t* seeds;
    const float* sizes;
    int64_t count;
    bool each;
};

// A number of the other cell of a pair, whose target is the lowest, and its derivative by the size of the relative weight
// that the cell would carry.
struct AtRest {
    float value, slope;

    AtRest operator*(float factor) const { return {value * factor, slope * factor}; }
    AtRest at_least_zero() const { return value < 0 ? AtRest{0, 0} : *this; }
    AtRest towards(const AtRest& other, float share) const {
        return {value + (other.value - value) * share, slope + (other.slope - slope) * share};
    }
};

struct Programming {
    float per_uS, sigma, bias;  // 1 / g_ref and factors
    const float *sigma_curve, *bias_curve;
    AtRest rest_sigma, rest_bias;
    bool even;
};

struct Drift {
    bool power_law;
    float per_uS, elapsed;       // power law: ln(1 + t / t0); otherwise the share between two ages
    float mean, spread;          // factors
    const float *mean_curve[2], *spread_curve[2];
    AtRest rest_mean, rest_spread;
};

struct Read {
    bool of_target, times_g;
    float per_uS, size, growth;  // factors; growth: of the variance, for what is new for every read
    const float* sigma_curve;
    float rest;  // the curve at the target of the other cell of a pair
    bool slow;   // whether it has a part that does not change
};

// A profile's physics, resolved for one age.
struct Physics {
    float offset;  // subtracted from relative currents
    bool paired;
    float g_min_uS, span_uS, floor_uS, ceiling_uS;
    std::vector<Programming> programming;
    std::vector<Drift> drift;
    std::vector<Read> read;
    std::vector<Draw> draws;  // of programming, drift and the slow parts of read noise, in this order

    float unit_uS() const { return paired ? span_uS : span_uS / 2; }

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
            e.even = is_constant(e.sigma_curve) && is_constant(e.bias_curve);
            e.rest_sigma = at_rest(e.sigma_curve, e.per_uS).at_least_zero() * e.sigma;
            e.rest_bias = at_rest(e.bias_curve, e.per_uS) * e.bias;
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
            const auto rest = [&](const float* const* curves) {
                const AtRest low = at_rest(curves[0], e.per_uS);
                return curves[0] == curves[1] ? low : low.towards(at_rest(curves[1], e.per_uS), e.elapsed);
            };
            e.rest_mean = rest(e.mean_curve) * e.mean;
            const AtRest spread = rest(e.spread_curve);
            e.rest_spread = (e.power_law ? spread : spread.at_least_zero()) * e.spread;
            if (e.power_law && age_s == 0) continue;
            draws.push_back(draw), drift.push_back(e);
        }
        for (int count = in.count(); count > 0; count--) {  // PackedRead
            Read e{};
            e.of_target = in.flag(), e.times_g = in.flag(), e.per_uS = in.number(), e.size = in.number();
            const float before_s = in.number(), session_s = in.number(), read_s = in.number();
            e.growth = 1, e.sigma_curve = in.curve();
            if (read_s > 0)  // flicker noise
                e.growth = float(std::max(0.0, std::log((std::min(age_s + before_s, double(session_s)) + read_s) / (2.0 * read_s))));
            e.rest = paired ? at_rest(e.sigma_curve, e.per_uS).value : 0;
            const Draw draw = next_draw(false);
            if (draw.count) draws.push_back(draw), e.slow = true;
            read.push_back(e);
        }
    }

  private:
    // A curve of the conductance over a reference, at the lowest target.
    AtRest at_rest(const float* p, float per_uS) const {
        const Floats r = splat(g_min_uS * per_uS);
        return {first_of_curve<Floats>(p, r).value[0], first_of_curve<Dual>(p, {r, splat(span_uS * per_uS)}).slope[0]};
    }
    template <class T>
    static Part<T> first_of_curve(const float* p, const T& r) {
        Argument<T> at;
        Part<T> out;
        at.set(1, [&](int64_t) { return r; });
        curve(p, at, out);
        return out;
    }
};

// How many columns the cells have and where their weights are.
struct Field {
    const float* weight;  // of tile t, column c, row r: weight[t * tile_stride + c * column_stride + r]
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

    // Of a draw for all cells of a weight, or for its only cell.
    Floats one(size_t index, int64_t at) const { return load(kept_.data() + kEach * index + at); }

    // Of effect `index` (programming first), at `at` in the block: of the cell of a pair that carries the
    // weight, and of the other.
    void get(size_t index, int64_t at, Ints second, Floats& carrying, Floats& resting) const {
        const float* first = kept_.data() + kEach * index + at;
        const Floats a = load(first), b = load(first + kBlock + shift_);
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
    std::vector<float> kept_;
    int64_t block_ = -2;
};

template <class T>
T seeded(Floats r);
template <>
inline Floats seeded<Floats>(Floats r) { return r; }
template <>
inline Dual seeded<Dual>(Floats r) { return {r, splat(1)}; }
inline Floats negated(Ints mask, Floats x) { return where(mask, -x, x); }
inline Dual negated(Ints mask, const Dual& x) { return {negated(mask, x.value), negated(mask, x.slope)}; }

// What programming computes besides the relative currents.
struct Requested {
    bool sums, variance;
};

// The cells of a part of a block. Without slopes, T is Floats; the variance is computed only then.
template <class T>
class Cells {
  public:
    Part<Floats> weight{};  // relative weights, set by the caller
    Part<T> relative;       // relative currents, and their slopes by the relative weights
    Part<Floats> before, now, variance;  // before, now: |relative| fresh and aged, without read noise

    Cells(const Physics& physics, Requested requested) : physics_(physics), requested_(requested) {}

    // Programs `count` cells with the draws from `at` in their block on.
    void program(const Draws& draws, int64_t at, int64_t count) {
        draws_ = &draws, at_ = at, count_ = count, next_draw_ = 0;
        lay_out();
        for (const Programming& e : physics_.programming) write(e);
        if (requested_.sums) sum(before);
        for (const Drift& e : physics_.drift) age(e);
        conclude();
        if (requested_.sums) sum(now);
        read();
    }

  private:
    void lay_out() {
        const bool paired = physics_.paired;
        const float g_min = physics_.g_min_uS, span = physics_.span_uS;
        each([&](int64_t i) {
            const T r = seeded<T>(weight.get(i));
            const T target = paired ? absolute(r) * span + g_min : (r + 1.0f) * (span / 2) + g_min;
            target_.set(i, target), g_.set(i, target), rest_.set(i, splat(g_min));
        });
        per_uS_ = 0;
    }

    void write(const Programming& e) {
        const size_t draw = next_draw_++;
        const bool last = draw + 1 == physics_.programming.size();
        const float rest_bias = e.rest_bias.value, rest_sigma = e.rest_sigma.value, bias = e.bias, sigma = e.sigma;
        const auto rest = [=](Floats g, Floats xi) { return g + (rest_bias + rest_sigma * xi); };
        if (e.even) return change(draw, last, [=](int64_t, const T& g, Floats xi) { return g + (rest_bias + rest_sigma * xi); }, rest);
        curve(e.sigma_curve, target_over(e.per_uS), first_), curve(e.bias_curve, target_over(e.per_uS), second_);
        change(draw, last, [=](int64_t i, const T& g, Floats xi) { return g + second_.get(i) * bias + at_least(first_.get(i), 0) * sigma * xi; }, rest);
    }

    void age(const Drift& e) {
        const size_t draw = next_draw_++;
        const bool last = draw + 1 == physics_.programming.size() + physics_.drift.size();
        between(e.mean_curve, e, first_), between(e.spread_curve, e, second_);
        const float mean = e.mean, spread = e.spread, rest_mean = e.rest_mean.value, rest_spread = e.rest_spread.value;
        if (e.power_law) {
            const float elapsed = -e.elapsed;
            const auto drifted = [=](const auto& g, const auto& exponent) { return g * exp_of(absolute(exponent) * elapsed); };
            change(draw, last, [=](int64_t i, const T& g, Floats xi) { return drifted(g, first_.get(i) * mean + second_.get(i) * spread * xi); },
                   [=](Floats g, Floats xi) { return drifted(g, rest_mean + rest_spread * xi); });
        } else {
            change(draw, last, [=](int64_t i, const T& g, Floats xi) { return g + first_.get(i) * mean + at_least(second_.get(i), 0) * spread * xi; },
                   [=](Floats g, Floats xi) { return g + (rest_mean + rest_spread * xi); });
        }
    }

    // Replaces the conductance g of a cell that carries a weight by carrying(i, g, draw), and that of the other cell
    // by resting(g, draw); within the bounds if it is the last change.
    template <class Carrying, class Resting>
    CIMSIM_INLINE void change(size_t draw, bool last, Carrying carrying, Resting resting) {
        const float floor = last ? physics_.floor_uS : -INFINITY, ceiling = last ? physics_.ceiling_uS : INFINITY;
        const int64_t at = at_;
        const Draws& draws = *draws_;
        if (physics_.paired)
            each([&](int64_t i) {
                Floats xi, xi_rest;
                draws.get(draw, at + i, weight.get(i) < 0, xi, xi_rest);
                g_.set(i, at_most(at_least(carrying(i, g_.get(i), xi), floor), ceiling));
                rest_.set(i, at_most(at_least(resting(rest_.get(i), xi_rest), floor), ceiling));
            });
        else
            each([&](int64_t i) { g_.set(i, at_most(at_least(carrying(i, g_.get(i), draws.one(draw, at + i)), floor), ceiling)); });
    }

    // Relative currents.
    void conclude() {
        const float per_unit = 1.0f / physics_.unit_uS(), offset = physics_.offset;
        if (physics_.paired)
            each([&](int64_t i) { relative.set(i, negated(weight.get(i) < 0, (g_.get(i) - rest_.get(i)) * per_unit)); });
        else
            each([&](int64_t i) { relative.set(i, g_.get(i) * per_unit - offset); });
        if constexpr (std::is_same_v<T, Dual>)
            if (physics_.paired) average_at_zeros(per_unit);
    }

    // The slope at a weight of 0 is the mean of the slopes on both sides, where one or the other cell of the pair carries
    // the weight: half of each cell's, as in cimsim.circuits.mapping. That of one cell is already there.
    void average_at_zeros(float per_unit) {
        Ints zeros = {};
        each([&](int64_t i) { zeros |= weight.get(i) == 0; });
        if (!any(zeros)) return;
        each([&](int64_t i) {
            Dual r = relative.get(i);
            r.slope = where(weight.get(i) == 0, (r.slope + resting_slope(i) * per_unit) * 0.5f, r.slope);
            relative.set(i, r);
        });
    }

    // Of the cells that do not carry the weights, as if they did: `rest_` with its derivative by the relative weight.
    CIMSIM_INLINE Floats resting_slope(int64_t i) const {
        const Ints negative = weight.get(i) < 0;
        Dual g{splat(physics_.g_min_uS), splat(physics_.span_uS)};
        size_t draw = 0;
        const auto drawn = [&](const AtRest& mean, const AtRest& spread) {
            Floats xi, xi_rest;
            draws_->get(draw++, at_ + i, negative, xi, xi_rest);
            return Dual{mean.value + spread.value * xi_rest, mean.slope + spread.slope * xi_rest};
        };
        const auto bounded = [&](const Dual& x) { return at_most(at_least(x, physics_.floor_uS), physics_.ceiling_uS); };
        for (const Programming& e : physics_.programming) g = g + drawn(e.rest_bias, e.rest_sigma);
        if (!physics_.programming.empty()) g = bounded(g);
        for (const Drift& e : physics_.drift) {
            const Dual by = drawn(e.rest_mean, e.rest_spread);
            g = e.power_law ? g * exp_of(absolute(by) * -e.elapsed) : g + by;
        }
        if (!physics_.drift.empty()) g = bounded(g);
        return g.slope;
    }

    void sum(Part<Floats>& sizes) {
        const float per_unit = 1.0f / physics_.unit_uS(), middle = physics_.g_min_uS + physics_.span_uS / 2;
        const bool paired = physics_.paired;
        each([&](int64_t i) {
            sizes.set(i, absolute(value_of(g_.get(i)) - (paired ? rest_.get(i) : splat(middle))) * per_unit);
        });
    }

    void read() {
        if constexpr (!std::is_same_v<T, Dual>) {
            if (!requested_.variance) return;
            const float per_unit = 1.0f / physics_.unit_uS();
            each([&](int64_t i) { variance.set(i, splat(0)); });
            for (const Read& e : physics_.read) {
                spreads(e);
                const bool slow = e.slow;
                const float fast = e.growth * (per_unit * per_unit);
                const size_t draw = next_draw_;
                if (slow) next_draw_++;
                each([&](int64_t i) {
                    Floats s = at_least(first_.get(i), 0) * e.size, s_rest = at_least(second_.get(i), 0) * e.size;
                    if (e.times_g) s *= g_.get(i), s_rest *= rest_.get(i);
                    const Floats own = s * s + s_rest * s_rest;
                    variance.set(i, variance.get(i) + own * fast);
                    if (slow) relative.set(i, relative.get(i) + root_of(own) * draws_->one(draw, at_ + i) * per_unit);
                });
            }
        }
    }

    // Curves of the spread of read noise: first_ of the cells that carry the weights, second_ of the others.
    void spreads(const Read& e) {
        if (e.of_target) {
            curve(e.sigma_curve, target_over(e.per_uS), first_);
            return each([&](int64_t i) { second_.set(i, splat(e.rest)); });
        }
        per_uS_ = 0;
        over_.set(count_, [&](int64_t i) { return g_.get(i) * e.per_uS; });
        curve(e.sigma_curve, over_, first_);
        if (!physics_.paired) return each([&](int64_t i) { second_.set(i, splat(0)); });
        over_.set(count_, [&](int64_t i) { return rest_.get(i) * e.per_uS; });
        curve(e.sigma_curve, over_, second_);
    }

    // The targets over the reference of an effect; neighbors share their arguments.
    Argument<T>& target_over(float per_uS) {
        if (per_uS != per_uS_) over_.set(count_, [&](int64_t i) { return target_.get(i) * per_uS; });
        per_uS_ = per_uS;
        return over_;
    }

    void between(const float* const* curves, const Drift& e, Part<T>& out) {
        Argument<T>& at = target_over(e.per_uS);
        curve(curves[0], at, out);
        if (curves[0] == curves[1]) return;
        const float share = e.elapsed;
        curve(curves[1], at, later_);
        each([&](int64_t i) { out.set(i, out.get(i) + (later_.get(i) + out.get(i) * -1.0f) * share); });
    }

    template <class Use>
    CIMSIM_INLINE void each(Use use) {
        registers(count_, use);
    }

    const Physics& physics_;
    const Requested requested_;
    const Draws* draws_ = nullptr;
    int64_t at_ = 0, count_ = 0;
    size_t next_draw_ = 0;
    float per_uS_ = 0;
    Part<T> target_, g_, first_, second_, later_;
    Part<Floats> rest_;
    Argument<T> over_;
};

// A run of cells of one column, from `at` in their part on.
struct Run {
    int64_t column, row, at, count;
};

// Calls use(run) for each of the columns that have some of `count` cells from `cell` on.
template <class Use>
void runs(const Field& field, int64_t cell, int64_t count, Use use) {
    Run run{cell / field.rows, cell % field.rows, cell % kPart, 0};
    for (const int64_t end = cell + count; cell < end; cell += run.count, run.at += run.count) {
        run.count = std::min(field.rows - run.row, end - cell);
        use(run);
        run.column++, run.row = 0;
    }
}

inline void prefetch(const float* numbers, int64_t count) {
    constexpr int64_t kLine = 64 / sizeof(float);
    for (int64_t i = 0; i < count; i += kLine) __builtin_prefetch(numbers + i);
}

// Programs the columns [first, last) and calls use(cells, cell, at, count) for each part of them: `count` cells from
// `cell` in the field and `at` in the part on. `scale` is computed first if `find_scale`.
template <class T, class Use>
void programmed(const Field& field, const Physics& physics, float* scale, bool find_scale, Requested requested, int64_t first, int64_t last, Use use) {
    Draws draws(physics, field.count() * field.rows);
    Cells<T> cells(physics, requested);
    const int64_t end = last * field.rows;
    for (int64_t cell = first * field.rows, count; cell < end; cell += count) {
        const int64_t at = cell % kPart;
        count = std::min(kPart - at, end - cell);
        runs(field, cell, count, [&](const Run& run) {
            if (find_scale && run.row == 0) scale[run.column] = field.largest(run.column);
            const float* weight = field.weight + field.offset(run.column) + run.row;
            // The next column is read at once for its scale; processors fetch within a page only.
            if (find_scale && run.column + 1 < last) prefetch(field.weight + field.offset(run.column + 1) + run.row, run.count);
            const float per_scale = 1.0f / scale[run.column];
            for (int64_t i = 0; i < run.count; i++) cells.weight.value[run.at + i] = weight[i] * per_scale;
        });
        draws.go_to(cell / kBlock);
        cells.program(draws, (cell - at) % kBlock, at + count);
        use(cells, cell, at, count);
    }
}

}  // namespace cimsim
