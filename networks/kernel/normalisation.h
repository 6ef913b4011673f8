// Layer normalisation of rows, forward and backward. Included after products.h.

static inline float total(Vec x) {
#if LANES == 16
    return _mm512_reduce_add_ps((__m512)x);
#else
    float sum = 0;
    for (int n = 0; n < LANES; n++) sum += x[n];
    return sum;
#endif
}

// The first `count` numbers of x; the others are 0.
static inline Vec first_of(Vec x, int count) {
    Ints lane;
    for (int n = 0; n < LANES; n++) lane[n] = n;
    return (Vec)((Ints)x & (lane < count));
}

// z̄ = (z - mean) scale, with scale = 1 / std.
struct Moments {
    float mean, scale;

    Vec normal(Vec z) const { return (z - mean) * scale; }
};

// The moments of rows z (out), which end with zeros. Several rows at a time, because each row waits for its sums.
static void moments(const float *z, long apart, int rows, int out, int columns, Moments *found) {
    const int SOME = 4;
    for (int first = 0; first < rows; first += SOME) {
        const float *row[SOME];
        float mean[SOME];
        Vec sum[SOME]{}, squares[SOME]{};
        for (int i = 0; i < SOME; i++) row[i] = z + (first + i < rows ? first + i : rows - 1) * apart;
        for (int j = 0; j < columns; j += LANES)
            for (int i = 0; i < SOME; i++) sum[i] += load(row[i] + j);
        for (int i = 0; i < SOME; i++) mean[i] = total(sum[i]) / (float)out;
        for (int j = 0; j < columns; j += LANES)
            for (int i = 0; i < SOME; i++) {
                const Vec centred = first_of(load(row[i] + j) - mean[i], out - j);
                squares[i] += centred * centred;
            }
        for (int i = 0; i < SOME && first + i < rows; i++)  // with PyTorch's ε
            found[first + i] = {mean[i], 1.0f / sqrtf(total(squares[i]) / (float)out + 1e-5f)};
    }
}

// A row's numbers for the backward pass: z̄ (out), zeros up to `columns`, then 1 / std.
static inline void keep_normal(Moments of, const float *z, int out, int columns, float *to) {
    for (int j = 0; j < columns; j += LANES) store(to + j, first_of(of.normal(load(z + j)), out - j));
    to[columns] = of.scale;
}

// The gradient g of z̄ (out) -> of z, in place: (g - mean(g) - z̄ mean(g z̄)) / std. normal: the row of `keep_normal`.
static inline void normalise_back(float *rate, const float *normal, int out, int columns) {
    Vec sum{}, along{};
    for (int j = 0; j < columns; j += LANES) {
        sum += load(rate + j);
        along += load(rate + j) * load(normal + j);
    }
    const float mean = total(sum) / (float)out, slope = total(along) / (float)out, scale = normal[columns];
    for (int j = 0; j < columns; j += LANES)
        store(rate + j, first_of(scale * (load(rate + j) - mean - load(normal + j) * slope), out - j));
}
