// Factors and matrices as `Halves`, for products of tiles. Included after products.h if there are tiles.

// The first and second parts of two vectors. A number is the sum of its two parts.
struct Parts {
    Vec first, second;
};

// Parts of pairs with one number of each vector.
static inline Parts parts_in_turn(Vec even, Vec odd) {
    const Vec pairs = side_by_side(even, odd);
    even -= (Vec)_mm512_slli_epi32((__m512i)pairs, 16);
    odd -= (Vec)((Bits)pairs & 0xffff0000u);
    return {pairs, side_by_side(even, odd)};
}

// Parts of pairs of neighbours in a row, which is left, then right.
static inline Parts parts_in_line(Vec left, Vec right) {
    const Vec pairs = one_after_another(left, right);
    left -= as_float(_mm512_castsi512_si256((__m512i)pairs));
    right -= as_float(_mm512_extracti64x4_epi64((__m512i)pairs, 1));
    return {pairs, one_after_another(left, right)};
}

// Parts of the numbers k, …, k + 2 · LANES - 1 of a row with `numbers` numbers; beyond its end, 0.
static inline Parts parts_of(const float *row, int k, int numbers) {
    auto some = [&](int k) { return some_of(row + k, numbers - k < LANES ? numbers - k : LANES); };
    return parts_in_line(some(k), some(k + LANES));
}

// Transposes LANES vectors in place.
static inline void transpose(Vec *x) {
    __m512 a[LANES], b[LANES];
#pragma GCC unroll 8
    for (int i = 0; i < LANES; i += 2) {
        a[i] = _mm512_unpacklo_ps((__m512)x[i], (__m512)x[i + 1]);
        a[i + 1] = _mm512_unpackhi_ps((__m512)x[i], (__m512)x[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < LANES; i += 4)
#pragma GCC unroll 2
        for (int k = 0; k < 2; k++) {
            const __m512d low = (__m512d)a[i + k], high = (__m512d)a[i + 2 + k];
            b[i + 2 * k] = (__m512)_mm512_unpacklo_pd(low, high);
            b[i + 2 * k + 1] = (__m512)_mm512_unpackhi_pd(low, high);
        }
#pragma GCC unroll 2
    for (int i = 0; i < LANES; i += 8)
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            a[i + k] = _mm512_shuffle_f32x4(b[i + k], b[i + 4 + k], 0x88);
            a[i + 4 + k] = _mm512_shuffle_f32x4(b[i + k], b[i + 4 + k], 0xdd);
        }
#pragma GCC unroll 8
    for (int k = 0; k < 8; k++) {
        x[k] = (Vec)_mm512_shuffle_f32x4(a[k], a[8 + k], 0x88);
        x[8 + k] = (Vec)_mm512_shuffle_f32x4(a[k], a[8 + k], 0xdd);
    }
}

static inline int halved(int numbers) { return (numbers + 2 * LANES - 1) / (2 * LANES) * LANES; }  // entries in a row

// Rows in the form of a left factor, `apart` floats from row to row.
static void split(Rows x, int rows, int numbers, float *to, long apart) {
    for (int i = 0; i < rows; i++, to += apart, x.first += x.apart)
        for (int k = 0; k < numbers; k += 2 * LANES) {
            const Parts parts = parts_of(x.first, k, numbers);
            store(to + k / 2, parts.first);
            store(to + (apart + k) / 2, parts.second);
        }
}

// Transposes LANES rows of entries. parts(i) gives row i; put(i, part, entries) takes row i of the result.
template <class Of, class Put>
static inline void transposed(Of parts, Put put) {
    Vec first[LANES], second[LANES];
    for (int i = 0; i < LANES; i++) {
        const Parts both = parts(i);
        first[i] = both.first, second[i] = both.second;
    }
    transpose(first);
    for (int i = 0; i < LANES; i++) put(i, 0, first[i]);
    transpose(second);
    for (int i = 0; i < LANES; i++) put(i, 1, second[i]);
}

// At most LANES columns, from `first` on, of an array (depth, columns), as rows `apart` floats from each other.
static void split_columns(Rows x, int first, int columns, int depth, float *to, long apart) {
    for (int k = 0; k < 2 * halved(depth); k += 2 * LANES) {
        auto row = [&](int k) { return k < depth ? some_of(x.first + k * x.apart + first, columns) : Vec{}; };
        transposed([&](int i) { return parts_in_turn(row(k + 2 * i), row(k + 2 * i + 1)); },
                   [&](int i, int part, Vec entries) { store(to + i * apart + (part * apart + k) / 2, entries); });
    }
}

// A matrix (depth, columns) in panels: the first parts of a panel, then the second parts.
static float *pack_halves(Rows w, int depth, int columns, float *to) {
    laid_out(columns, [&](int first, int vectors) {
        const long part = (long)halved(depth) * vectors * LANES;
        for (int k = 0; k < 2 * halved(depth); k += 2)
            for (int j = first; j < first + vectors * LANES; j += LANES, to += LANES) {
                const int some = columns - j < LANES ? columns - j : LANES;
                auto row = [&](int k) { return k < depth ? some_of(w.first + k * w.apart + j, some) : Vec{}; };
                const Parts parts = parts_in_turn(row(k), row(k + 1));
                store(to, parts.first);
                store(to + part, parts.second);
            }
        to += part;
    });
    return to;
}

// The same panels of a matrix that is stored as (columns, depth).
static float *pack_halves_transposed(Rows w, int depth, int columns, float *to) {
    laid_out(columns, [&](int first, int vectors) {
        const long row = vectors * LANES, part = halved(depth) * row;
        for (int k = 0; k < 2 * halved(depth); k += 2 * LANES)
            for (int n = 0; n < vectors; n++)
                transposed([&](int i) {
                    const int j = first + n * LANES + i;
                    return j < columns ? parts_of(w.first + j * w.apart, k, depth) : Parts{};
                }, [&](int i, int half, Vec entries) { store(to + half * part + (k / 2 + i) * row + n * LANES, entries); });
        to += 2 * part;
    });
    return to;
}
