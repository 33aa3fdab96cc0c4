// Cells from weights: laid on conductances, programmed, aged, and what they add when read.
//
// Fields are [tiles, columns, rows], of pairs [2, tiles, columns, rows]. Their normal numbers are
// those that the plain physics of cimsim.devices draws: one seed for each effect, and the position
// in the field.

#pragma once
#include <algorithm>
#include <vector>

#include "curves.h"

namespace cimsim {

// A profile's physics, resolved for one age from the numbers of cimsim/kernels/recipe.py.
struct Programming {
    uint64_t seed;
    float per_uS, sigma, bias;  // 1 / g_ref and factors
    const float *sigma_curve, *bias_curve;
    float rest_sigma, rest_bias;
};

struct Drift {
    uint64_t seed;
    bool power_law;
    float per_uS, elapsed;       // power law: ln(1 + t / t0); otherwise the share between two ages
    float mean, spread;          // factors
    const float *mean_curve[2], *spread_curve[2];
    float rest_mean, rest_spread;
};

struct Read {
    bool of_target, times_g, root;
    float per_uS, factor;
    const float* sigma_curve;
};

struct Physics {
    bool paired;
    float g_min_uS, span_uS;
    std::vector<Programming> programming;
    std::vector<Drift> drift;
    std::vector<Read> read;
    bool ages = false;

    float unit_uS() const { return paired ? span_uS : span_uS / 2; }

    Physics(const float* p, const uint64_t* seeds, double age_s) {
        paired = *p++ != 0, g_min_uS = *p++, span_uS = *p++;
        for (int count = int(*p++); count > 0; count--) {
            Programming e{*seeds++, p[0], p[1], p[2], nullptr, nullptr, 0, 0};
            e.sigma_curve = p + 3, e.bias_curve = behind(e.sigma_curve), p = behind(e.bias_curve);
            e.rest_sigma = sigma(e, splat(g_min_uS))[0], e.rest_bias = bias(e, splat(g_min_uS))[0];
            programming.push_back(e);
        }
        for (int count = int(*p++); count > 0; count--) {
            Drift e{*seeds++, p[0] != 0, p[1], 0, p[2], p[3], {}, {}, 0, 0};
            const int times = int(p[4]);
            const float* at_s = p + 5;
            std::vector<const float*> means, spreads;
            const float* next = at_s + times;
            for (int k = 0; k < times; k++) means.push_back(next), next = behind(next);
            for (int k = 0; k < times; k++) spreads.push_back(next), next = behind(next);
            p = next;
            int after = 0;
            while (after < times && at_s[after] <= age_s) after++;
            const int high = std::min(after, times - 1), low = std::max(after - 1, 0);
            if (e.power_law)
                e.elapsed = float(std::log1p(age_s / at_s[0]));
            else if (low != high)
                e.elapsed = float(std::log(age_s / at_s[low]) / std::log(double(at_s[high]) / at_s[low]));
            e.mean_curve[0] = means[low], e.mean_curve[1] = means[high];
            e.spread_curve[0] = spreads[low], e.spread_curve[1] = spreads[high];
            e.rest_mean = mean(e, splat(g_min_uS))[0], e.rest_spread = spread(e, splat(g_min_uS))[0];
            if (e.power_law && age_s == 0) continue;
            drift.push_back(e), ages = true;
        }
        for (int count = int(*p++); count > 0; count--) {
            Read e{p[0] != 0, p[1] != 0, p[2] != 0, p[3], p[4], p + 7};
            if (p[6] > 0)  // 1/f noise grows with the age plus p[5], read for p[6] seconds
                e.factor *= float(std::sqrt(std::max(0.0, std::log((age_s + p[5] + p[6]) / (2.0 * p[6])))));
            read.push_back(e), p = behind(e.sigma_curve);
        }
    }

    template <class T>
    static T sigma(const Programming& e, T target_uS) {
        return at_least(curve(e.sigma_curve, target_uS * e.per_uS), 0) * e.sigma;
    }
    template <class T>
    static T bias(const Programming& e, T target_uS) {
        return curve(e.bias_curve, target_uS * e.per_uS) * e.bias;
    }
    template <class T>
    static T between(const float* const* curves, float share, T r) {
        T low = curve(curves[0], r);
        if (curves[0] == curves[1]) return low;
        return low + (curve(curves[1], r) + low * -1.0f) * share;
    }
    template <class T>
    static T mean(const Drift& e, T target_uS) {
        return between(e.mean_curve, e.elapsed, target_uS * e.per_uS) * e.mean;
    }
    template <class T>
    static T spread(const Drift& e, T target_uS) {
        T s = between(e.spread_curve, e.elapsed, target_uS * e.per_uS);
        return (e.power_law ? s : at_least(s, 0)) * e.spread;
    }
    template <class T>
    static T drifted(const Drift& e, T g_uS, T mean, T spread, Floats xi) {
        T change = mean + spread * xi;
        if (!e.power_law) return g_uS + change;
        return g_uS * exp_of(absolute(change) * -e.elapsed);
    }
    Floats variance(Floats g_uS, Floats target_uS) const {
        Floats sum = splat(0);
        for (const Read& e : read) {
            Floats s = at_least(curve(e.sigma_curve, (e.of_target ? target_uS : g_uS) * e.per_uS), 0) * e.factor;
            if (e.times_g) s *= g_uS;
            sum += e.root ? s * e.factor : s * s;  // a root's square is its argument
        }
        return sum;
    }
};

// How many columns the cells have and where their weights lie.
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
        Floats most = splat(1e-30f);  // the smallest scale, see cimsim.circuits.mapping
        for (int64_t row = 0; row < rows; row += kLanes) {
            const Floats size = absolute(load_some(w + row, rows - row));
            most = where((size > most) | (size != size), size, most);
        }
        float result = 0;
        for (int lane = 0; lane < kLanes; lane++)
            if (!(most[lane] <= result)) result = most[lane];
        return result;
    }
};

// The normal numbers of one block of a field, for every effect and device. A field's numbers follow
// one another: the second device's begin behind those of the first, anywhere in a block.
class Draws {
  public:
    Draws(const Physics& physics, int64_t cells)
        : paired_(physics.paired), ahead_(cells / kBlock), shift_(cells % kBlock) {
        for (const Programming& e : physics.programming) seeds_.push_back(e.seed);
        for (const Drift& e : physics.drift) seeds_.push_back(e.seed);
        kept_.resize(kEach * seeds_.size() + kLanes);
    }

    void go_to(int64_t block) {
        if (block == block_) return;
        float* out = kept_.data();
        for (uint64_t seed : seeds_) {
            normal_block(seed, block, out);
            if (paired_) {
                float* second = out + kBlock;
                if (block == block_ + 1 && shift_)
                    std::memcpy(second, second + kBlock, kBlock * sizeof(float));
                else
                    normal_block(seed, ahead_ + block, second);
                if (shift_) normal_block(seed, ahead_ + block + 1, second + kBlock);
            }
            out += kEach;
        }
        block_ = block;
    }

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
    static constexpr int64_t kEach = 3 * kBlock;
    bool paired_;
    int64_t ahead_, shift_;
    std::vector<uint64_t> seeds_;
    std::vector<float> kept_;
    int64_t block_ = -2;
};

struct Programmed {
    Floats relative, slope, before, variance;
};

template <class T>
T seeded(Floats r);
template <>
inline Floats seeded<Floats>(Floats r) { return r; }
template <>
inline Dual seeded<Dual>(Floats r) { return {r, splat(1)}; }
inline Floats slope_of(Floats) { return splat(0); }
inline Floats slope_of(const Dual& x) { return x.slope; }

// Sixteen relative weights on their cells.
template <class T>
Programmed programmed(const Physics& physics, Floats relative, const Draws& draws, int64_t at, bool want_variance) {
    const float g_min = physics.g_min_uS, span = physics.span_uS;
    const Ints negative = relative < 0;
    const T r = seeded<T>(relative);
    const T target = physics.paired ? absolute(r) * span + g_min : (r + 1.0f) * (span / 2) + g_min;
    T g = target;
    Floats rest = splat(g_min), xi, xi_rest;
    size_t index = 0;
    for (const Programming& e : physics.programming) {
        draws.get(index++, at, negative, xi, xi_rest);
        g = g + physics.bias(e, target) + physics.sigma(e, target) * xi;
        rest = rest + e.rest_bias + e.rest_sigma * xi_rest;
    }
    if (index) g = at_least(g, g_min), rest = at_least(rest, g_min);
    const T fresh = g;
    const Floats fresh_rest = rest;
    for (const Drift& e : physics.drift) {
        draws.get(index++, at, negative, xi, xi_rest);
        g = physics.drifted(e, g, physics.mean(e, target), physics.spread(e, target), xi);
        rest = physics.drifted(e, rest, splat(e.rest_mean), splat(e.rest_spread), xi_rest);
    }
    if (physics.ages) g = at_least(g, g_min), rest = at_least(rest, g_min);
    Programmed out;
    const float per_unit = 1.0f / physics.unit_uS();
    if (physics.paired) {
        out.relative = (value_of(g) - rest) * per_unit;
        out.relative = where(negative, -out.relative, out.relative);
        out.slope = where(negative, -slope_of(g), slope_of(g)) * per_unit;
        out.before = absolute(value_of(fresh) - fresh_rest) * per_unit;
    } else {
        const float middle = g_min + span / 2;
        out.relative = value_of(g) * per_unit;
        out.slope = slope_of(g) * per_unit;
        out.before = absolute(value_of(fresh) - middle) * per_unit;
    }
    if (want_variance) {
        out.variance = physics.variance(value_of(g), value_of(target));
        if (physics.paired) out.variance += physics.variance(rest, splat(g_min));
        out.variance *= per_unit * per_unit;
    }
    return out;
}

// Calls begin(column) for each of the columns [first, last), and for all their cells, sixteen or fewer
// at a time, use(at, lanes, column, row, relative weights); draws are at the right block.
template <class Begin, class Use>
void walk(const Field& field, Draws& draws, int64_t first, int64_t last, Begin begin, Use use) {
    for (int64_t column = first; column < last; column++) {
        begin(column);
        const float* weight = field.weight + field.offset(column);
        const float per_scale = 1.0f / field.scale[column];
        for (int64_t row = 0; row < field.rows;) {
            const int64_t position = column * field.rows + row;
            const int64_t at = position % kBlock;
            draws.go_to(position / kBlock);
            const int lanes = int(std::min<int64_t>({kLanes, field.rows - row, kBlock - at}));
            Floats r = splat(0);
            std::memcpy(&r, weight + row, lanes * sizeof(float));
            use(at, lanes, column, row, r * per_scale);
            row += lanes;
        }
    }
}

}  // namespace cimsim
