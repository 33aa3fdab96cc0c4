// Crossbars with resistive lines, solved by joining patches, and the gradient: see cimsim/circuits/wires.py.
//
// A patch is the symmetric matrix of (i_L, i_B, -v_R, -v_T) by (v_L, v_B, i_R, i_T). These are the second derivatives of a
// function, and the sum of the functions of two patches is stationary in the voltages and currents of their interface.
// Let Z be those voltages and currents for a unit at each port of the joined patch. Then Z gives the joined matrix, and a
// gradient D by the joined matrix is U D U' by the matrix of either patch, with rows of the identity and of Z in U.
//
// Patches of up to 16 x 16 cells (tiles) are computed in the lanes of vectors, one in each lane. Larger patches are
// matrices of numbers, whose products take vectors along rows. Both are the same code.

#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "curves.h"
#include "threads.h"

namespace cimsim {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif
// Rows of the result of a product that are summed at a time: as many as there are registers for.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kRows = 8;
#else
constexpr int kRows = 4;
#endif
constexpr int64_t kTile = 16;  // cells along a side of the patches that are computed in lanes

// Patches of numbers T.
template <class T, bool kInLanes>
struct Patches {
    typedef T Vector __attribute__((vector_size(kVectorBytes)));
    using Scalar = T;
    using Element = T;
    static constexpr bool in_lanes = false;
    static constexpr int64_t per_vector = sizeof(Vector) / sizeof(T);
};
// Patches of vectors, one patch in each lane.
template <class T>
struct Patches<T, true> {
    typedef T Vector __attribute__((vector_size(kVectorBytes)));
    using Scalar = T;
    typedef T Element __attribute__((vector_size(kVectorBytes)));
    static constexpr bool in_lanes = true;
    static constexpr int64_t per_vector = 1;
};
template <class T>
constexpr int64_t kPatchLanes = kVectorBytes / sizeof(T);

template <class E>
struct View {
    E* at;
    int64_t stride;

    E* row(int64_t i) const { return at + i * stride; }
    View block(int64_t row, int64_t column) const { return {at + row * stride + column, stride}; }
};

// Memory of one thread that is taken and given back in order, and reused from call to call.
template <class T>
class Stack {
  public:
    using Vector = typename Patches<T, true>::Vector;

    static Stack& own() {
        static thread_local Stack stack;
        return stack;
    }

    // A matrix, uninitialized. Rows are an odd number of vectors apart, for caches.
    template <class P>
    View<typename P::Element> matrix(int64_t rows, int64_t columns) {
        const int64_t vectors = row_vectors<P>(columns);
        return {(typename P::Element*)take(rows * vectors), vectors * P::per_vector};
    }
    template <class P>
    static int64_t row_vectors(int64_t columns) {
        return ((columns + P::per_vector - 1) / P::per_vector) | 1;
    }
    Vector* take(int64_t vectors) {
        for (; part_ < parts_.size(); part_++, used_ = 0)
            if (used_ + vectors <= parts_[part_].count) break;
        if (part_ == parts_.size()) {
            const int64_t count = std::max<int64_t>(vectors, (1 << 19) / kVectorBytes);
            parts_.push_back({std::unique_ptr<Vector[]>(new Vector[count]), count});
        }
        used_ += vectors;
        return parts_[part_].memory.get() + used_ - vectors;
    }

    // Gives back at its end what was taken in its lifetime.
    class Frame {
      public:
        explicit Frame(Stack& stack) : stack_(stack), part_(stack.part_), used_(stack.used_) {}
        ~Frame() {
            stack_.part_ = part_, stack_.used_ = used_;
            if (part_ == 0 && used_ == 0 && stack_.vectors() > kKeptVectors) stack_.parts_.clear();
        }

      private:
        Stack& stack_;
        const size_t part_;
        const int64_t used_;
    };

  private:
    static constexpr int64_t kKeptVectors = (64 << 20) / kVectorBytes;  // from call to call
    struct Part {
        std::unique_ptr<Vector[]> memory;
        int64_t count;
    };

    int64_t vectors() const {
        int64_t sum = 0;
        for (const Part& part : parts_) sum += part.count;
        return sum;
    }

    std::vector<Part> parts_;
    size_t part_ = 0;
    int64_t used_ = 0;
};

// Products.

// The operands of out = base + sign * left @ right, with out [m, n] and k numbers summed; no base is zero.
template <class P>
struct Product {
    using E = typename P::Element;
    using V = typename P::Vector;
    View<E> out;
    const E* base;
    int64_t base_stride;
    typename P::Scalar sign;
    const E* left;
    int64_t left_row, left_k;
    View<const E> right;
    int64_t m, n, k;

    // Which numbers of vectors along a row: all, the first of a row that is shorter than one, or the last of a row, whose
    // others are stored by the vectors before.
    enum Which { kAll, kFirst, kLast };
    template <Which which>
    static V load(const E* p, int64_t some) {
        V v = {};
        if constexpr (P::in_lanes)
            v = *p;
        else
            std::memcpy(&v, p, which == kFirst ? some * sizeof(E) : sizeof v);
        return v;
    }
    template <Which which>
    static void store(E* p, V v, int64_t some) {
        const int64_t before = which == kLast ? P::per_vector - some : 0;
        if constexpr (P::in_lanes)
            *p = v;
        else
            std::memcpy(p + before, (const E*)&v + before, which == kAll ? sizeof v : some * sizeof(E));
    }

    template <int R, int C, Which which>
    CIMSIM_INLINE void tile(int64_t i, int64_t j, int64_t some) const {
        V sum[R][C] = {};
        const E *x = left + i * left_row, *y = right.at + j;
        for (int64_t l = 0; l < k; l++, x += left_k, y += right.stride) {
            V row[C];
#pragma GCC unroll 8
            for (int c = 0; c < C; c++) row[c] = load<which>(y + c * P::per_vector, some);
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) {
                const E factor = x[r * left_row];
#pragma GCC unroll 8
                for (int c = 0; c < C; c++) sum[r][c] += factor * row[c];
            }
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; r++)
#pragma GCC unroll 8
            for (int c = 0; c < C; c++) {
                const int64_t at = j + c * P::per_vector;
                V value = sum[r][c] * sign;
                if (base) value += load<which>(base + (i + r) * base_stride + at, some);
                store<which>(out.row(i + r) + at, value, some);
            }
    }

    // Columns j to j + C vectors, rows i to end.
    template <int R, int C, Which which>
    void columns(int64_t i, int64_t end, int64_t j, int64_t some) const {
        for (; i + R <= end; i += R) tile<R, C, which>(i, j, some);
        if constexpr (R > 1)
            if (i < end) columns<R / 2, C, which>(i, end, j, some);
    }

    void rows(int64_t first, int64_t end) const {
        constexpr int R = P::in_lanes ? kRows / 2 : kRows, C = P::in_lanes ? kRows / 2 : 2;
        constexpr int64_t per = P::per_vector;
        int64_t j = 0;
        for (; j + C * per <= n; j += C * per) columns<R, C, kAll>(first, end, j, per);
        if constexpr (C == 4)
            for (; j + 2 * per <= n; j += 2 * per) columns<R, 2, kAll>(first, end, j, per);
        for (; j + per <= n; j += per) columns<R, 1, kAll>(first, end, j, per);
        if constexpr (per > 1) {
            if (n < per)
                columns<R, 1, kFirst>(first, end, 0, n);
            else if (j < n)
                columns<R, 1, kLast>(first, end, n - per, n - j);
        }
    }

    void run() const {
        if (P::in_lanes && k <= 2) return sum_few();
        compute();
    }

    // Without tiles, which take longer than the few sums of small patches.
    void sum_few() const {
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++) {
                E sum = {};
                for (int64_t l = 0; l < k; l++) sum += left[i * left_row + l * left_k] * right.row(l)[j];
                sum *= sign;
                if (base) sum += base[i * base_stride + j];
                out.row(i)[j] = sum;
            }
    }

    // In parts of whole `kRows`, whose results do not depend on their number.
    __attribute__((noinline)) void compute() const {
        const int64_t team = P::in_lanes || m * n * k < (1 << 21) ? 1 : omp_get_num_threads();
        if (team == 1) return rows(0, m);
        const int64_t part = std::max<int64_t>(1, m / (2 * team * kRows)) * kRows;
#pragma omp taskloop grainsize(1)
        for (int64_t i = 0; i < m; i += part) rows(i, std::min(m, i + part));
    }
};

template <class E>
struct Left {
    const E* at;
    int64_t row, k;

    Left(View<E> plain) : at(plain.at), row(plain.stride), k(1) {}
    static Left transposed(View<E> plain) {
        Left left(plain);
        std::swap(left.row, left.k);
        return left;
    }
};

template <class P, class E>
void multiply(View<E> out, typename P::Scalar sign, Left<E> x, View<E> y, int64_t m, int64_t n, int64_t k) {
    Product<P>{out, nullptr, 0, sign, x.at, x.row, x.k, {y.at, y.stride}, m, n, k}.run();
}
template <class P, class E>
void multiply_add(View<E> out, View<E> base, typename P::Scalar sign, Left<E> x, View<E> y, int64_t m, int64_t n, int64_t k) {
    Product<P>{out, base.at, base.stride, sign, x.at, x.row, x.k, {y.at, y.stride}, m, n, k}.run();
}

template <class E>
void copy(View<E> to, View<E> from, int64_t rows, int64_t columns) {
    for (int64_t i = 0; i < rows; i++) std::copy_n(from.row(i), columns, to.row(i));
}
template <class E>
void copy_transposed(View<E> to, View<E> from, int64_t rows, int64_t columns) {
    constexpr int64_t kSide = 8;
    for (int64_t top = 0; top < rows; top += kSide)
        for (int64_t first = 0; first < columns; first += kSide)
            for (int64_t i = top; i < std::min(rows, top + kSide); i++)
                for (int64_t j = first; j < std::min(columns, first + kSide); j++) to.row(i)[j] = from.row(j)[i];
}
template <class E>
void fill_zero(View<E> m, int64_t rows, int64_t columns) {
    for (int64_t i = 0; i < rows; i++) std::fill_n(m.row(i), columns, E{});
}
template <class E>
void fill_identity(View<E> m, int64_t size) {
    for (int64_t i = 0; i < size; i++) {
        std::fill_n(m.row(i), size, E{});
        m.row(i)[i] = E{} + 1;
    }
}

// Inverse of 1 + RR LL in place by Gauss-Jordan elimination. It needs no search for pivots, because all leading minors
// are positive. The minor of the first ports is det(1 + RR LL) times the minor of the inverse for the others. That
// minor belongs to the voltages of these ports by sources in series with them, while the first ports are connected:
// S^-1 (Y_aa + Y_ba), of the admittances Y between the ports of both sides. S is positive definite, and Y_aa + Y_ba has no
// positive elements off the diagonal and columns that add up to at least 0, so that neither determinant is negative. In
// random networks over 12 decades all pivots are at least 1.
template <class P, class E>
void invert_small(View<E> m, int64_t size) {
    for (int64_t p = 0; p < size; p++) {
        E* const __restrict own = m.row(p);
        const E scale = typename P::Scalar(1) / own[p];
        own[p] = E{} + 1;
        for (int64_t j = 0; j < size; j++) own[j] *= scale;
        for (int64_t i = 0; i < size; i++) {
            if (i == p) continue;
            E* const __restrict other = m.row(i);
            const E factor = other[p];
            other[p] = E{};
            for (int64_t j = 0; j < size; j++) other[j] -= factor * own[j];
        }
    }
}

// The same with blocks for pivots.
template <class P, class E, class T>
void invert(View<E> m, int64_t size, Stack<T>& stack) {
    constexpr int64_t kBlock = 16;
    if (size <= kBlock) return invert_small<P>(m, size);
    const typename Stack<T>::Frame frame(stack);
    const View<E> pivot = stack.template matrix<P>(kBlock, kBlock), own = stack.template matrix<P>(kBlock, size);
    const View<E> factors = stack.template matrix<P>(size, kBlock);
    for (int64_t p = 0; p < size; p += kBlock) {
        const int64_t block = std::min(kBlock, size - p), after = p + block;
        copy(pivot, m.block(p, p), block, block);
        invert_small<P>(pivot, block);
        copy(factors, m.block(0, p), size, block);
        for (int64_t i = 0; i < size; i++) std::fill_n(m.row(i) + p, block, E{});
        fill_identity(m.block(p, p), block);
        multiply<P, E>(own, 1, pivot, m.block(p, 0), block, size, block);
        multiply_add<P, E>(m, m, -1, factors, own, p, size, block);
        multiply_add<P, E>(m.block(after, 0), m.block(after, 0), -1, factors.block(after, 0), own, size - after, size, block);
        copy(m.block(p, 0), own, block, size);
    }
}

// The order of joining.

enum Side { kLeft, kBottom, kRight, kTop };
constexpr Side kSides[] = {kLeft, kBottom, kRight, kTop};

struct Ports {
    int64_t count[4];

    int64_t offset(int side) const {
        int64_t sum = 0;
        for (int s = 0; s < side; s++) sum += count[s];
        return sum;
    }
    int64_t total() const { return offset(4); }
};

// Some of the ports of one side of a joined patch: where they are in it and in the patch (the second?) they come from.
struct Piece {
    Side side;
    bool second;
    int64_t count, from, to;
};

// A patch, and the two that it is made of: the first is at the left of the second, or below it.
struct Node {
    Ports ports;
    bool needed[4][4];  // blocks of the matrix, by sides: what is not needed is not computed
    int64_t row, column, cells;  // rows count from below
    std::unique_ptr<Node> first, second;
    Side first_side, second_side;  // of the interface
    int64_t interface;
    std::vector<Piece> pieces;
    int64_t z;  // where Z is kept, in vectors
    int64_t group;  // of a patch whose tiles are in the lanes of one group, else -1
    std::vector<const Node*> tiles;  // of that group
    bool grouped;  // whether it is such a patch or a part of one
    int64_t lane;  // of a tile

    bool is_leaf() const { return !first; }
};

// All patches of rows x columns leaves, which are `side` cells wide and high but for the last. The last ends of lines are
// open if `open`, and then have no ports.
struct Tree {
    int64_t side, rows, columns;
    bool open;
    int64_t lanes;  // leaves in a group
    std::unique_ptr<Node> root;
    int64_t z_vectors = 0, groups = 0;

    template <class P>
    static Tree of(int64_t side, int64_t rows, int64_t columns, bool open, int64_t lanes) {
        Tree tree{side, rows, columns, open, lanes, nullptr};
        tree.root = tree.rectangle<P>(0, (rows + side - 1) / side, 0, (columns + side - 1) / side, false);
        bool needed[4][4] = {};
        for (const Side x : kSides)
            for (const Side y : kSides) needed[x][y] = !open || x + y == kLeft + kBottom;
        set_needed(*tree.root, needed);
        return tree;
    }

  private:
    template <class P>
    std::unique_ptr<Node> rectangle(int64_t bottom, int64_t top, int64_t left, int64_t right, bool grouped) {
        auto node = std::make_unique<Node>();
        const int64_t height = std::min(top * side, rows) - bottom * side, width = std::min(right * side, columns) - left * side;
        node->ports = {{height, width, open && right * side >= columns ? 0 : height, open && top * side >= rows ? 0 : width}};
        node->row = bottom * side, node->column = left * side, node->cells = height * width;
        node->group = -1, node->lane = 0;
        const bool starts = !grouped && lanes && (top - bottom) * (right - left) <= lanes;
        if (starts) node->group = groups++;
        node->grouped = grouped || starts;
        if (top - bottom > 1 || right - left > 1) {
            const bool along = right - left > top - bottom;
            const int64_t middle = along ? (left + right + 1) / 2 : (bottom + top + 1) / 2;
            node->first = along ? rectangle<P>(bottom, top, left, middle, node->grouped) : rectangle<P>(bottom, middle, left, right, node->grouped);
            node->second = along ? rectangle<P>(bottom, top, middle, right, node->grouped) : rectangle<P>(middle, top, left, right, node->grouped);
            node->first_side = along ? kRight : kTop, node->second_side = along ? kLeft : kBottom;
            node->interface = node->second->ports.count[node->second_side];
            set_pieces(*node);
            node->z = z_vectors;
            z_vectors += 2 * node->interface * Stack<typename P::Scalar>::template row_vectors<P>(node->ports.total());
        }
        if (starts) number_tiles(*node, node->tiles);
        return node;
    }

    static void set_pieces(Node& node) {
        for (const bool second : {false, true}) {
            const Ports& ports = (second ? node.second : node.first)->ports;
            for (const Side side : kSides) {
                if (side == (second ? node.second_side : node.first_side) || !ports.count[side]) continue;
                const int64_t before = second && side != node.first_side ? node.first->ports.count[side] : 0;
                node.pieces.push_back({side, second, ports.count[side], ports.offset(side), node.ports.offset(side) + before});
            }
        }
        // Pieces of one side stay in order: the first patch's are first.
        std::stable_sort(node.pieces.begin(), node.pieces.end(), [](const Piece& a, const Piece& b) { return a.side < b.side; });
    }

    static void number_tiles(Node& node, std::vector<const Node*>& tiles) {
        if (node.is_leaf()) {
            node.lane = tiles.size();
            tiles.push_back(&node);
            return;
        }
        number_tiles(*node.first, tiles), number_tiles(*node.second, tiles);
    }

    static void set_needed(Node& node, const bool (&needed)[4][4]) {
        std::memcpy(node.needed, needed, sizeof needed);
        if (node.is_leaf()) return;
        for (const bool second : {false, true}) {
            bool of_part[4][4];
            std::memcpy(of_part, needed, sizeof needed);
            const Side interface = second ? node.second_side : node.first_side;
            for (const Side side : kSides) of_part[side][interface] = of_part[interface][side] = true;
            set_needed(second ? *node.second : *node.first, of_part);
        }
    }
};

// Joins two patches. Of each pair of different sides, only the block with the lower side first is there.
template <class P, class E, class T>
void join(const Node& node, View<E> first, View<E> second, View<E> out, View<E> z, Stack<T>& stack) {
    const typename Stack<T>::Frame frame(stack);
    const int64_t size = node.interface;
    const int64_t at_first = node.first->ports.offset(node.first_side), at_second = node.second->ports.offset(node.second_side);
    const View<E> minus_RR = first.block(at_first, at_first), LL = second.block(at_second, at_second);
    const View<E> inverse = stack.template matrix<P>(size, size);
    fill_identity(inverse, size);
    multiply_add<P, E>(inverse, inverse, -1, minus_RR, LL, size, size, size);
    invert<P>(inverse, size, stack);

    // The responses to all ports of one patch that follow one another in the joined one.
    const View<E> currents = z, voltages = z.block(size, 0), coupling = stack.template matrix<P>(size, node.ports.total());
    const std::vector<Piece>& pieces = node.pieces;
    for (size_t n = 0, end; n < pieces.size(); n = end) {
        int64_t count = 0;
        for (end = n; end < pieces.size() && pieces[end].second == pieces[n].second; end++) {
            const Piece& piece = pieces[end];
            const View<E> of = piece.second ? second : first, to = coupling.block(0, piece.to);
            const int64_t at = piece.second ? at_second : at_first;
            if (piece.side > (piece.second ? node.second_side : node.first_side))
                copy(to, of.block(at, piece.from), size, piece.count);
            else
                copy_transposed(to, of.block(piece.from, at), size, piece.count);
            count += piece.count;
        }
        const View<E> c = coupling.block(0, pieces[n].to), i = currents.block(0, pieces[n].to), v = voltages.block(0, pieces[n].to);
        if (pieces[n].second) {
            multiply<P, E>(i, -1, Left<E>::transposed(inverse), c, size, count, size);
            multiply<P, E>(v, -1, minus_RR, i, size, count, size);
        } else {
            multiply<P, E>(v, -1, inverse, c, size, count, size);
            multiply<P, E>(i, -1, LL, v, size, count, size);
        }
    }
    for (size_t n = 0; n < pieces.size(); n++) {
        const Piece& x = pieces[n];
        const Left<E> c = Left<E>::transposed(coupling.block(0, x.to));
        const View<E> response = x.second ? voltages : currents;
        for (size_t l = n, end; l < pieces.size(); l = end) {
            int64_t count = 0;
            for (end = l; end < pieces.size() && node.needed[x.side][pieces[end].side]; end++) {
                const Piece& y = pieces[end];
                const View<E> to = out.block(x.to, y.to);
                if (x.second == y.second)
                    copy(to, (x.second ? second : first).block(x.from, y.from), x.count, y.count);
                else
                    fill_zero(to, x.count, y.count);
                count += y.count;
            }
            const View<E> to = out.block(x.to, pieces[l].to);
            if (count) multiply_add<P, E>(to, to, 1, c, response.block(0, pieces[l].to), x.count, count, size);
            end = std::max(end, l + 1);
        }
        if (n + 1 < pieces.size() && pieces[n + 1].side == x.side && node.needed[x.side][x.side]) {
            const Piece& y = pieces[n + 1];
            copy_transposed(out.block(y.to, x.to), out.block(x.to, y.to), y.count, x.count);
        }
    }
}

// The gradient by one of two patches from that by the joined patch; both are whole.
template <class P, class E, class T>
void pull(const Node& node, bool second, View<E> gradient, View<E> z, View<E> out, Stack<T>& stack) {
    const typename Stack<T>::Frame frame(stack);
    const Node& part = second ? *node.second : *node.first;
    const Side interface = second ? node.second_side : node.first_side;
    const int64_t size = node.interface, total = node.ports.total(), at = part.ports.offset(interface);
    const View<E> response = z.block(second ? size : 0, 0), product = stack.template matrix<P>(size, total);
    for (const Side y : kSides) {
        bool begun = false;
        for (int x = 0, end; x < 4; x = end) {
            int64_t count = 0;  // of ports on the needed sides from x to the next that is not
            for (end = x; end < 4 && node.needed[end][y]; end++) count += node.ports.count[end];
            end = std::max(end, x + 1);
            if (!count) continue;
            const View<E> to = product.block(0, node.ports.offset(y)), left = response.block(0, node.ports.offset(x));
            const View<E> right = gradient.block(node.ports.offset(x), node.ports.offset(y));
            if (begun)
                multiply_add<P, E>(to, to, 1, left, right, size, node.ports.count[y], count);
            else
                multiply<P, E>(to, 1, left, right, size, node.ports.count[y], count);
            begun = true;
        }
    }
    for (const Piece& x : node.pieces) {
        if (x.second != second) continue;
        for (const Piece& y : node.pieces)
            if (y.second == second && node.needed[x.side][y.side]) copy(out.block(x.from, y.from), gradient.block(x.to, y.to), x.count, y.count);
        copy(out.block(at, x.from), product.block(0, x.to), size, x.count);
        copy_transposed(out.block(x.from, at), product.block(0, x.to), x.count, size);
    }
    const View<E> turned = stack.template matrix<P>(total, size);
    copy_transposed(turned, response, total, size);
    multiply<P, E>(out.block(at, at), 1, product, turned, size, size, total);
}

// Crossbars.

template <class T>
class Crossbars {
    using Wide = Patches<T, false>;
    using InLanes = Patches<T, true>;
    using V = typename InLanes::Vector;

  public:
    // resistances in ohm: word segment, first segment with source, bit segment, last segment with sink.
    Crossbars(int64_t rows, int64_t columns, const double* resistances) : rows_(rows), columns_(columns) {
        std::copy_n(resistances, 4, ohm_);
        int64_t side = 1;
        while (side < kTile && side < std::max(rows, columns)) side *= 2;
        while (side > 4 && 2 * rows * columns <= cells_in_lanes(side)) side /= 2;
        cells_ = &tree_of_cells(side);
        tiles_ = Tree::of<Wide>(side, rows, columns, true, kPatchLanes<T>);
    }

    void solve(const T* g, T* out) const {
        Stack<T>& stack = Stack<T>::own();
        const typename Stack<T>::Frame frame(stack);
        const View<T> patch = matrix(stack, tiles_.root->ports.total());
        solve(*tiles_.root, {g, nullptr, {}}, patch, {}, stack);
        for (int64_t i = 0; i < rows_; i++)
            for (int64_t j = 0; j < columns_; j++) out[(rows_ - 1 - i) * columns_ + j] = -patch.row(i)[rows_ + j];
    }

    // dL/dg from the gradient dL/d(solution).
    void pull_back(const T* g, const T* gradient, T* out) const {
        Stack<T>& stack = Stack<T>::own();
        const typename Stack<T>::Frame frame(stack);
        const std::unique_ptr<V[]> z_of_tiles(new V[tiles_.z_vectors]), z_of_cells(new V[tiles_.groups * cells_->z_vectors]);
        const Kept kept{z_of_tiles.get(), z_of_cells.get()};
        const View<T> patch = matrix(stack, tiles_.root->ports.total());
        solve(*tiles_.root, {g, nullptr, {}}, patch, kept, stack);
        for (int64_t i = 0; i < rows_; i++)
            for (int64_t j = 0; j < columns_; j++)
                patch.row(i)[rows_ + j] = patch.row(rows_ + j)[i] = T(-0.5) * gradient[(rows_ - 1 - i) * columns_ + j];
        pull_back(*tiles_.root, {g, nullptr, {}}, patch, kept, stack, out);
    }

    // Calls a part of the work. Without memory it fails, and no exception may leave a task.
    template <class Work>
    void attempt(Work work) const {
        try {
            work();
        } catch (const std::bad_alloc&) {
            failed_ = true;
        }
    }
    bool failed() const { return failed_; }

  private:
    // Z of all patches, for the gradient; null if no gradient is computed.
    struct Kept {
        V *tiles = nullptr, *cells = nullptr;
    };
    // The crossbar, and the tiles in lanes, [4 side, 4 side].
    struct Source {
        const T* g;
        const std::vector<const Node*>* tiles;
        View<V> lanes;
    };

    // The tree of side x side cells, a power of two up to kTile.
    static const Tree& tree_of_cells(int64_t side) {
        static_assert(kTile == 16);
        static const Tree trees[] = {of_cells(1), of_cells(2), of_cells(4), of_cells(8), of_cells(16)};
        return *std::find_if(trees, std::end(trees), [side](const Tree& tree) { return tree.rows == side; });
    }
    // As many cells as the lanes hold that the tiles take.
    int64_t cells_in_lanes(int64_t side) const {
        const int64_t tiles = ((rows_ + side - 1) / side) * ((columns_ + side - 1) / side), lanes = kPatchLanes<T>;
        return (tiles + lanes - 1) / lanes * lanes * side * side;
    }
    static Tree of_cells(int64_t side) { return Tree::of<InLanes>(1, side, side, false, 0); }

    static View<T> matrix(Stack<T>& stack, int64_t size) { return stack.template matrix<Wide>(size, size); }
    static View<V> lane_matrix(Stack<T>& stack, int64_t size) { return stack.template matrix<InLanes>(size, size); }

    template <class P>
    static View<typename P::Element> z_of(const Node& node, V* kept, Stack<T>& stack) {
        const int64_t total = node.ports.total();
        if (!kept) return stack.template matrix<P>(2 * node.interface, total);
        return {(typename P::Element*)(kept + node.z), Stack<T>::template row_vectors<P>(total) * P::per_vector};
    }

    void solve(const Node& node, Source source, View<T> out, const Kept& kept, Stack<T>& stack) const {
        const typename Stack<T>::Frame frame(stack);
        if (node.group >= 0) {
            source.tiles = &node.tiles, source.lanes = lane_matrix(stack, cells_->root->ports.total());
            solve_in_lanes(*cells_->root, source, source.lanes, kept.cells ? kept.cells + node.group * cells_->z_vectors : nullptr, stack);
        }
        if (node.is_leaf())
            return each_port_pair(node, false, [&](int64_t i, int64_t j, int64_t in_i, int64_t in_j) { out.row(i)[j] = source.lanes.row(in_i)[in_j][node.lane]; });
        const View<T> first = matrix(stack, node.first->ports.total()), second = matrix(stack, node.second->ports.total());
        if (starts_task(node)) {
#pragma omp task default(shared)
            attempt([&] { solve(*node.first, source, first, kept, Stack<T>::own()); });
            attempt([&] { solve(*node.second, source, second, kept, stack); });
#pragma omp taskwait
        } else {
            solve(*node.first, source, first, kept, stack);
            solve(*node.second, source, second, kept, stack);
        }
        join<Wide>(node, first, second, out, z_of<Wide>(node, kept.tiles, stack), stack);
    }

    void solve_in_lanes(const Node& node, const Source& source, View<V> out, V* kept, Stack<T>& stack) const {
        if (node.is_leaf()) return cell(node, source, out);
        const typename Stack<T>::Frame frame(stack);
        const View<V> first = lane_matrix(stack, node.first->ports.total()), second = lane_matrix(stack, node.second->ports.total());
        solve_in_lanes(*node.first, source, first, kept, stack);
        solve_in_lanes(*node.second, source, second, kept, stack);
        join<InLanes>(node, first, second, out, z_of<InLanes>(node, kept, stack), stack);
    }

    void pull_back(const Node& node, Source source, View<T> gradient, const Kept& kept, Stack<T>& stack, T* out) const {
        const typename Stack<T>::Frame frame(stack);
        if (node.group >= 0) {
            const int64_t total = cells_->root->ports.total();
            source.tiles = &node.tiles, source.lanes = lane_matrix(stack, total);
            for (int64_t i = 0; i < total; i++) std::fill_n(source.lanes.row(i), total, V{});
        }
        if (node.is_leaf()) {
            each_port_pair(node, true, [&](int64_t i, int64_t j, int64_t in_i, int64_t in_j) { source.lanes.row(in_i)[in_j][node.lane] = gradient.row(i)[j]; });
        } else {
            const View<T> first = matrix(stack, node.first->ports.total()), second = matrix(stack, node.second->ports.total());
            const View<T> z = z_of<Wide>(node, kept.tiles, stack);
            pull<Wide>(node, false, gradient, z, first, stack);
            pull<Wide>(node, true, gradient, z, second, stack);
            if (starts_task(node)) {
#pragma omp task default(shared)
                attempt([&] { pull_back(*node.first, source, first, kept, Stack<T>::own(), out); });
                attempt([&] { pull_back(*node.second, source, second, kept, stack, out); });
#pragma omp taskwait
            } else {
                pull_back(*node.first, source, first, kept, stack, out);
                pull_back(*node.second, source, second, kept, stack, out);
            }
        }
        if (node.group >= 0) pull_back_in_lanes(*cells_->root, source, source.lanes, kept.cells + node.group * cells_->z_vectors, stack, out);
    }

    void pull_back_in_lanes(const Node& node, const Source& source, View<V> gradient, V* kept, Stack<T>& stack, T* out) const {
        if (node.is_leaf()) return cell_gradient(node, source, gradient, out);
        const typename Stack<T>::Frame frame(stack);
        for (const bool second : {false, true}) {
            const Node& part = second ? *node.second : *node.first;
            const View<V> own = lane_matrix(stack, part.ports.total());
            pull<InLanes>(node, second, gradient, z_of<InLanes>(node, kept, stack), own, stack);
            pull_back_in_lanes(part, source, own, kept, stack, out);
        }
    }

    // Whether the first of two patches is worth another thread.
    static bool starts_task(const Node& node) { return !node.grouped && node.cells >= 64 * 64 && omp_get_num_threads() > 1; }

    // Calls use(i, j, in_i, in_j) for every needed element of a tile, and where it is in a tile without missing ports; for
    // those of a block with the higher side first only if `all`.
    template <class Use>
    void each_port_pair(const Node& tile, bool all, Use use) const {
        for (const Side x : kSides)
            for (const Side y : kSides) {
                if (!tile.needed[x][y] || (x > y && !all)) continue;
                const int64_t at_x = tile.ports.offset(x), at_y = tile.ports.offset(y);
                const int64_t in_x = x * tiles_.side, in_y = y * tiles_.side;
                for (int64_t i = 0; i < tile.ports.count[x]; i++)
                    for (int64_t j = 0; j < tile.ports.count[y]; j++) use(at_x + i, at_y + j, in_x + i, in_y + j);
            }
    }

    // The cell of every tile at one place in it, and its wires.
    struct Cell {
        V g = {}, left, below;
    };
    Cell cell_at(const Node& node, const Source& source) const {
        Cell cell;
        cell.left = V{} + T(ohm_[0]), cell.below = V{} + T(ohm_[2]);
        int lane = 0;
        for (const Node* tile : *source.tiles) {
            const int64_t row = tile->row + node.row, column = tile->column + node.column;
            if (row < rows_ && column < columns_) cell.g[lane] = source.g[(rows_ - 1 - row) * columns_ + column];
            if (column == 0) cell.left[lane] = T(ohm_[1]);
            if (row == 0) cell.below[lane] = T(ohm_[3]);
            lane++;
        }
        return cell;
    }

    void cell(const Node& node, const Source& source, View<V> out) const {
        const Cell cell = cell_at(node, source);
        const V per_all = T(1) / (T(1) + cell.g * (cell.left + cell.below)), y = cell.g * per_all;
        const V word = (T(1) + cell.g * cell.below) * per_all, bit = (T(1) + cell.g * cell.left) * per_all;
        const V rows[4][4] = {{y, -y, -word, -(cell.below * y)},
                              {-y, y, -(cell.left * y), -bit},
                              {-word, -(cell.left * y), -(cell.left * word), -(cell.left * cell.below * y)},
                              {-(cell.below * y), -bit, -(cell.left * cell.below * y), -(cell.below * bit)}};
        for (int i = 0; i < 4; i++) std::copy_n(rows[i], 4, out.row(i));
    }

    // With the voltage across the cell for a unit at each port.
    void cell_gradient(const Node& node, const Source& source, View<V> gradient, T* out) const {
        const Cell cell = cell_at(node, source);
        const V per_all = T(1) / (T(1) + cell.g * (cell.left + cell.below));
        const V across[4] = {per_all, -per_all, cell.left * per_all, -(cell.below * per_all)};
        V sum = {};
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < 4; j++) sum += across[i] * across[j] * gradient.row(i)[j];
        int lane = 0;
        for (const Node* tile : *source.tiles) {
            const int64_t row = tile->row + node.row, column = tile->column + node.column;
            if (row < rows_ && column < columns_) out[(rows_ - 1 - row) * columns_ + column] = sum[lane];
            lane++;
        }
    }

    int64_t rows_, columns_;
    double ohm_[4];
    const Tree* cells_;
    Tree tiles_;
    mutable std::atomic<bool> failed_{false};
};

}  // namespace cimsim
