// Vectors, activations and matrix products, for the instruction set that the includer chooses:
//
//     LANES         floats in a vector
//     ROWS × SPAN   rows × vectors of a block of sums, as many as fit into the registers
//     WITH_BFLOAT16, WITH_FLOAT16   defined if it computes with these numbers
//     WITH_TILES    defined if it multiplies tiles of bfloat16
//
// No include guard: kernel.cpp includes this once for each set, in its own namespace.

typedef float Vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t Ints __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t Bits __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static inline Vec load(const float *x) { return *(const Vec *)x; }
static inline void store(float *x, Vec value) { *(Vec *)x = value; }
static inline Vec some_of(const float *from, int count) {  // the others are 0
    if (count == LANES) return load(from);
#if LANES == 16
    return (Vec)_mm512_maskz_loadu_ps(count > 0 ? (1u << count) - 1 : 0, from);
#else
    Vec value{};
    memcpy(&value, from, (count > 0 ? count : 0) * sizeof(float));
    return value;
#endif
}
// LANES columns of a layer's parameter; beyond the last column, 0.
static inline Vec of_layer(const float *from, int column, int columns) {
    return some_of(from + column, columns - column < LANES ? columns - column : LANES);
}
static inline int padded(int columns) { return (columns + LANES - 1) / LANES * LANES; }

// --- activations -----------------------------------------------------------------------------------------------------

// e^x for |x| <= 87: with x / ln 2 = n + f, 2^n times a polynomial for 2^f, |f| <= 1/2, of least relative error (8e-8).
static inline Vec exponential(Vec x) {
    const float log2e = 1.44269504f, magic = 12582912.0f;  // 1.5 · 2^23: adding it leaves n in the last bits
    Vec shifted = x * log2e + magic, f = x * log2e - (shifted - magic);
    Vec p = f * 0.0013276472f + 0.00967554133f;
    p = p * f + 0.0555071327f;
    p = p * f + 0.240221197f;
    p = p * f + 0.693146967f;
    p = p * f + 1.00000007f;
    return (Vec)((Bits)p + ((Bits)shifted << 23));  // for NaN, any bits are right
}

static inline Vec inverse(Vec x) {
#if LANES == 16
    Vec guess = (Vec)_mm512_rcp14_ps((__m512)x);
    return guess * (2.0f - x * guess);  // Newton's step
#else
    return 1.0f / x;
#endif
}

// x between -bound and bound; NaN stays NaN.
static inline Vec clamped(Vec x, float bound) {
    const Vec low = Vec{} - bound, high = Vec{} + bound;
#if LANES == 16
    return (Vec)_mm512_min_ps((__m512)high, _mm512_max_ps((__m512)low, (__m512)x));
#else
    x = x < low ? low : x;
    return x > high ? high : x;
#endif
}

static inline Vec sigmoid(Vec x) { return inverse(1.0f + exponential(-clamped(x, 87.0f))); }

#ifdef WITH_BFLOAT16
// A sigmoid with a relative error of 3e-4. 2^y is 2^⌊y⌋ times a cubic for the rest.
static inline Vec roughly_sigmoid(Vec x) {
    const __m512 y = (__m512)(x * -1.44269504f);
    const Vec f = (Vec)_mm512_reduce_ps(y, _MM_FROUND_TO_NEG_INF);
    const Vec power = ((f * 0.0790199f + 0.224494f) * f + 0.696487f) * f + 1.0f;
    return (Vec)_mm512_rcp14_ps(_mm512_scalef_ps((__m512)power, y) + 1.0f);
}
#endif

#ifdef WITH_FLOAT16
static inline __m512h each(float value) { return _mm512_set1_ph((_Float16)value); }

// 2^f of 32 float16 numbers in [0, 1], with a relative error of 2e-4.
static inline __m512h power_of_2(__m512h f) {
    return ((f * each(0.0790199f) + each(0.224494f)) * f + each(0.696487f)) * f + each(1.0f);
}

// A sigmoid. 2^y is 2^⌊y⌋ times 2 to the power of the rest.
static inline __m512h sigmoid(__m512h x) {
    const __m512h y = _mm512_min_ph(each(15.0f), _mm512_max_ph(each(-15.0f), x * each(-1.44269504f)));
    const __m512h f = _mm512_reduce_ph(y, _MM_FROUND_TO_NEG_INF);
    return _mm512_rcp_ph(_mm512_scalef_ph(power_of_2(f), y) + each(1.0f));
}
#endif

// Activations: f(z), and f'(z) in the second form. slope: f'(z) from y = f(z), and from z if OF_Z. For results of 16
// bits, `roughly` computes f less exactly, and float16 numbers have their own form.
struct Silu {
    static const bool OF_Z = true;

    Vec operator()(Vec z) const { return z * sigmoid(z); }
    Vec operator()(Vec z, Vec &slope) const {
        Vec s = sigmoid(z), y = z * s;
        slope = s + y * (1.0f - s);
        return y;
    }
    Vec slope(Vec y, Vec z) const {
        const Vec s = sigmoid(z);
        return s + y * (1.0f - s);
    }
#ifdef WITH_BFLOAT16
    Vec roughly(Vec z) const { return z * roughly_sigmoid(z); }
#endif
#ifdef WITH_FLOAT16
    __m512h operator()(__m512h z) const { return z * sigmoid(z); }
#endif
};

struct Tanh {
    static const bool OF_Z = false;

    Vec operator()(Vec z) const { return 2.0f * sigmoid(2.0f * z) - 1.0f; }
    Vec operator()(Vec z, Vec &slope) const {
        Vec y = (*this)(z);
        slope = 1.0f - y * y;
        return y;
    }
    Vec slope(Vec y, Vec) const { return 1.0f - y * y; }
#ifdef WITH_BFLOAT16
    Vec roughly(Vec z) const { return 2.0f * roughly_sigmoid(2.0f * z) - 1.0f; }
#endif
#ifdef WITH_FLOAT16
    __m512h operator()(__m512h z) const { return sigmoid(z + z) * each(2.0f) - each(1.0f); }
#endif
};

struct Leaky {
    static const bool OF_Z = false;
    const float leak;

    Vec operator()(Vec z) const { return z > 0.0f ? z : z * leak; }
    Vec operator()(Vec z, Vec &slope) const {
        slope = z > 0.0f ? Vec{} + 1.0f : Vec{} + leak;
        return z * slope;
    }
    Vec slope(Vec y, Vec) const { return y <= 0.0f ? Vec{} + leak : Vec{} + 1.0f; }
    Vec roughly(Vec z) const { return (*this)(z); }
#ifdef WITH_FLOAT16
    __m512h operator()(__m512h z) const {
        return _mm512_mask_mul_ph(z, _mm512_cmp_ph_mask(z, __m512h{}, _CMP_LT_OQ), z, each(leak));
    }
#endif
};

struct Elu {
    static const bool OF_Z = false;

    Vec operator()(Vec z) const { return z <= 0.0f ? exponential(clamped(z, 87.0f)) - 1.0f : z; }
    Vec operator()(Vec z, Vec &rate) const {
        Vec y = (*this)(z);
        rate = slope(y, z);
        return y;
    }
    Vec slope(Vec y, Vec) const { return y > 0.0f ? Vec{} + 1.0f : y + 1.0f; }
#ifdef WITH_BFLOAT16
    Vec roughly(Vec z) const { return (*this)(z); }
#endif
#ifdef WITH_FLOAT16
    __m512h operator()(__m512h z) const {
        const __m512h y = _mm512_min_ph(each(0.0f), _mm512_max_ph(each(-15.0f), z * each(1.44269504f)));
        const __m512h below = _mm512_scalef_ph(power_of_2(_mm512_reduce_ph(y, _MM_FROUND_TO_NEG_INF)), y) - each(1.0f);
        return _mm512_mask_blend_ph(_mm512_cmp_ph_mask(z, each(0.0f), _CMP_LT_OQ), z, below);
    }
#endif
};

// Calls work(f) for the activation after a hidden layer. It is chosen once for many numbers.
template <class Work>
static inline void with_activation(const Networks &networks, int layer, Work work) {
    if (networks.activations[layer] == SILU) return work(Silu{});
    if (networks.activations[layer] == TANH) return work(Tanh{});
    if (networks.activations[layer] == ELU) return work(Elu{});
    work(Leaky{networks.leak});
}

// --- noise -----------------------------------------------------------------------------------------------------------

// ln x for normal x > 0 (Cephes' logf).
static inline Vec logarithm(Vec x) {
    Ints bits = (Ints)x, exponent = ((bits >> 23) & 0xff) - 126;
    Vec m = (Vec)((bits & 0x007fffff) | 0x3f000000);  // in [1/2, 1)
    Ints small = m < 0.70710678f;
    Vec e = __builtin_convertvector(exponent + small, Vec);  // a true comparison is -1
    m = m - 1.0f + (Vec)((Ints)m & small);
    Vec p = m * 7.0376836292e-2f - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    Vec square = m * m;
    return m + (p * m * square - 0.5f * square) + e * 0.69314718f;
}

// Standard normals by index. Any of them can be computed alone, so threads need no common order.
struct Normals {
    uint32_t key, other;

    explicit Normals(uint64_t seed) : key((uint32_t)seed), other((uint32_t)(seed >> 32)) {}

    static Bits hash(Bits x) {  // C. Wellons's lowbias32
        x = (x ^ (x >> 16)) * 0x7feb352dU;
        x = (x ^ (x >> 15)) * 0x846ca68bU;
        return x ^ (x >> 16);
    }

    // The normals first, …, first + LANES - 1: the inverse error function (Giles 2012) of uniforms in (-1, 1).
    Vec from(uint32_t first) const {
        Bits lane;
        for (int n = 0; n < LANES; n++) lane[n] = n;
        Bits bits = hash(hash(lane + first + key) + other);
        Vec u = __builtin_convertvector((Ints)(bits >> 9), Vec) * 0x1p-22f - (1.0f - 0x1p-23f);
        Vec w = -logarithm((1.0f - u) * (1.0f + u));
        Vec a = w - 2.5f, b;
        for (int n = 0; n < LANES; n++) b[n] = sqrtf(w[n]);
        b = b - 3.0f;
        Vec p = a * 2.81022636e-08f + 3.43273939e-07f, q = b * -0.000200214257f + 0.000100950558f;
        p = p * a - 3.5233877e-06f, q = q * b + 0.00134934322f;
        p = p * a - 4.39150654e-06f, q = q * b - 0.00367342844f;
        p = p * a + 0.00021858087f, q = q * b + 0.00573950773f;
        p = p * a - 0.00125372503f, q = q * b - 0.0076224613f;
        p = p * a - 0.00417768164f, q = q * b + 0.00943887047f;
        p = p * a + 0.246640727f, q = q * b + 1.00167406f;
        p = p * a + 1.50140941f, q = q * b + 2.83297682f;
        return (w < 5.0f ? p : q) * u * 1.41421356f;
    }
};

// --- numbers ---------------------------------------------------------------------------------------------------------

// Types of the numbers between layers. An entry of 32 bits holds one number, or the pair (2k, 2k + 1) of a row:
//
//     PAIR          numbers in an entry
//     PARTS         bfloat16 numbers whose sum is a number: a row has the entries of first parts, then of second parts
//     DEEP          the number of a row's entries is a multiple of this; entries beyond its numbers are 0
//     First         the type of the first layer's inputs, which have units of their own
//     Between       the type of the sums of a middle layer
//     RUN           products after which a sum is stored, so that rounding does not add up
//     packed, keep  the weights of LANES columns for one entry, and their biases
//     times         sum += entry · weights
//     times_half    the same for the first half of a vector; the rest is undefined. Only if HALF
//     start, finish begin a sum from a bias or a stored sum, and store it
//     widened       a sum between layers as float32
//     activate      y = f(z) for columns of a row, second parts `second` floats later; may write one more vector

struct SummedInFloat32 {
    static const int PARTS = 1, DEEP = 1;
    typedef float Between;
    typedef Vec Sum;
    static constexpr int RUN(const float *) { return INT32_MAX; }
    static void keep(Vec bias, float *to) { store(to, bias); }
    static Vec start(const float *from) { return from ? load(from) : Vec{}; }
    static void finish(Vec sum, const float *, float *z) { store(z, sum); }
    static Vec widened(const float *z) { return load(z); }
};

#if LANES == 16
static inline __m256 half_of(Vec x) { return _mm512_castps512_ps256((__m512)x); }
static inline Vec begins_with(__m256 half) { return (Vec)_mm512_castps256_ps512(half); }  // the rest is undefined
static inline Vec without_rest(Vec x) { return (Vec)_mm512_zextps256_ps512(half_of(x)); }
#endif

struct Float32 : SummedInFloat32 {
    float number;

    static const int PAIR = 1;
    static const bool HALF = LANES == 16;
    typedef Float32 First;
    static Vec packed(Vec first, Vec, int = 0) { return first; }
    Vec times(Vec weights, Vec sum) const { return sum + number * weights; }
#if LANES == 16
    Vec times_half(Vec weights, Vec sum) const {
        return begins_with(half_of(sum) + number * half_of(weights));
    }
#endif
    template <class F>
    static void activate(F f, const float *z, int columns, float *y, long) {
        for (int j = 0; j < columns; j += LANES) store(y + j, f(load(z + j)));
    }
};

#ifdef WITH_BFLOAT16
static inline __m256i rounded(Vec x) { return (__m256i)_mm512_cvtneps_pbh((__m512)x); }
static inline Vec as_float(__m256i x) { return (Vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16); }

// LANES pairs of rounded numbers: each pair from both vectors, or of neighbours in a row (first, then second).
static inline Vec side_by_side(Vec first, Vec second) {
    const __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
    alignas(64) static const uint16_t IN_TURN[32] = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23,
                                                     8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return (Vec)_mm512_permutexvar_epi16(_mm512_load_si512(IN_TURN), both);
}
static inline Vec one_after_another(Vec first, Vec second) {
    return (Vec)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
}

#ifdef WITH_TILES
// A number as the sum of two bfloat16 numbers, multiplied by three products. It has 16 significant bits.
struct Halves : SummedInFloat32 {
    uint32_t pair;

    static const int PAIR = 2, PARTS = 2, DEEP = LANES;
    typedef Halves First;
    static Vec packed(Vec first, Vec second, int part = 0) {
        if (part) first -= as_float(rounded(first)), second -= as_float(rounded(second));
        return side_by_side(first, second);
    }
    template <class F>
    static void activate(F f, const float *z, int columns, float *to, long second) {
        uint16_t *y = (uint16_t *)to, *rest = (uint16_t *)(to + second);
        for (int j = 0; j < columns; j += LANES) {
            const Vec value = f(load(z + j));
            const __m256i half = rounded(value);
            _mm256_storeu_si256((__m256i *)(y + j), half);
            _mm256_storeu_si256((__m256i *)(rest + j), rounded(value - as_float(half)));
        }
    }
};
#endif

struct BFloat16 : SummedInFloat32 {
    uint32_t pair;

    static const int PAIR = 2;
#ifdef WITH_TILES
    static const int DEEP = LANES;
    typedef Halves First;
#else
    static const bool HALF = true;
    typedef Float32 First;
    Vec times(Vec weights, Vec sum) const {
        return (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int)pair), (__m512bh)weights);
    }
    Vec times_half(Vec weights, Vec sum) const {
        const __m256bh pairs = (__m256bh)half_of((Vec)_mm512_set1_epi32((int)pair));
        return begins_with(_mm256_dpbf16_ps(half_of(sum), pairs, (__m256bh)half_of(weights)));
    }
#endif
    static Vec packed(Vec first, Vec second, int = 0) { return side_by_side(first, second); }
    template <class F>
    static void activate(F f, const float *z, int columns, float *to, long) {
        uint16_t *y = (uint16_t *)to;
        for (int j = 0; j < columns; j += LANES) _mm256_storeu_si256((__m256i *)(y + j), rounded(f.roughly(load(z + j))));
    }
};
#endif

#ifdef WITH_FLOAT16
struct Float16 {
    uint32_t pair;

    static const int PAIR = 2, PARTS = 1, DEEP = 1;
    static const bool HALF = false;
    typedef Float32 First;
    typedef uint16_t Between;
    typedef __m512h Sum;  // two sums: of each pair's first numbers, and of the second
    static constexpr int RUN(const uint16_t *) { return 128; }
    static constexpr int RUN(const float *) { return 16; }
    static __m256i half(Vec x) { return _mm512_cvtps_ph((__m512)x, _MM_FROUND_TO_NEAREST_INT); }
    static Vec packed(Vec first, Vec second, int = 0) {
        return (Vec)(_mm512_cvtepu16_epi32(half(first)) | _mm512_slli_epi32(_mm512_cvtepu16_epi32(half(second)), 16));
    }
    static void keep(Vec bias, float *to) { store(to, bias); }
    static void keep(Vec bias, uint16_t *to) { _mm256_storeu_si256((__m256i *)to, half(bias)); }
    Sum times(Vec weights, Sum sum) const {
        return _mm512_fmadd_ph((__m512h)_mm512_set1_epi32((int)pair), (__m512h)weights, sum);
    }
    static Sum start(const void *) { return Sum{}; }
    static __m256i both(Sum sum) {
        return _mm512_cvtepi32_epi16((__m512i)(sum + (__m512h)_mm512_rol_epi32((__m512i)sum, 16)));
    }
    static void finish(Sum sum, const float *from, float *z) {
        store(z, load(from) + (Vec)_mm512_cvtph_ps(both(sum)));
    }
    static void finish(Sum sum, const uint16_t *from, uint16_t *z) {
        _mm256_storeu_ph(z, _mm256_loadu_ph(from) + (__m256h)both(sum));
    }
    static Vec widened(const float *z) { return load(z); }
    static Vec widened(const uint16_t *z) { return (Vec)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)z)); }
    template <class F>
    static void activate(F f, const uint16_t *z, int columns, float *to, long = 0) {
        uint16_t *y = (uint16_t *)to;
        for (int j = 0; j < columns; j += 2 * LANES) _mm512_storeu_ph(y + j, f(_mm512_loadu_ph(z + j)));
    }
    template <class F>
    static void activate(F f, const float *z, int columns, float *to, long) {
        alignas(64) uint16_t halves[(SPAN + 1) * LANES] = {};
        for (int j = 0; j < columns; j += LANES) keep(load(z + j), halves + j);
        activate(f, halves, columns, to);
    }
};
#endif

// --- products --------------------------------------------------------------------------------------------------------

static const int AHEAD = 4;  // rows of a panel to prefetch into the nearest cache

// A matrix (depth, columns) is stored in panels of at most SPAN vectors, each (depth, vectors · LANES), in order.
struct Panels {
    int count, wide, vectors;  // the first `wide` panels have one vector more

    explicit Panels(int columns) {
        int all = padded(columns) / LANES;
        count = (all + SPAN - 1) / SPAN;
        vectors = all / count;
        wide = all % count;
    }
    int width(int panel) const { return vectors + (panel < wide); }
};

// Calls panel(first column, vectors) for each panel, in order.
template <class Panel>
static inline void laid_out(int columns, Panel panel) {
    Panels panels(columns);
    for (int p = 0, column = 0; p < panels.count; column += panels.width(p) * LANES, p++) panel(column, panels.width(p));
}

// Rows of numbers: the first row, and the floats from row to row.
struct Rows {
    float *first;
    long apart;
};

// The entries of a left factor: the rows of an array (Along), or its columns, for a transposed array (Across).
template <class Number>
struct Along {
    typedef Number Entry;
    const Number *a;
    long stride;

    const Number &operator()(int m, long k) const { return a[m * stride + k]; }
    Along from(int m) const { return {a + m * stride, stride}; }
};

template <class Number>
static inline Along<Number> along(const Number *a, long stride) {
    return {a, stride};
}

template <class Number>
struct Across {
    typedef Number Entry;
    const Number *a;
    long stride;

    const Number &operator()(int m, long k) const { return a[k * stride + m]; }
    Across from(int m) const { return {a + m, stride}; }
};

// The rows of a panel are contiguous (Close), or as far apart as the columns of the whole array (Apart).
template <int N>
struct Close {
    static constexpr long row(long k) { return k * N * LANES; }
};

struct Apart {
    long columns;
    long row(long k) const { return k * columns; }
};

// HALF: the last vector has numbers in its first half only. A Zen 4 computes half a vector in half the time.
template <int M, int N, bool HALF, template <class> class Entries, class Number, class Rows, class Z>
static inline void product(Entries<Number> a, int depth, const float *panel, Rows rows, const Z *bias, Z *z) {
    auto run = [&](const Z *from, auto row, int first, int end) {  // from: the first values of the sums, row by row
        typename Number::Sum sum[M][N];
#pragma GCC unroll 8
        for (int m = 0; m < M; m++)
#pragma GCC unroll 3
            for (int n = 0; n < N; n++) sum[m][n] = Number::start(from ? from + m * row + n * LANES : nullptr);
        for (long k = first; k < end; k++, panel += rows.row(1)) {
            Vec weight[N];
            for (int n = 0; n < N; n++) weight[n] = load(panel + n * LANES);
            for (int n = 0; n < N; n++) __builtin_prefetch(panel + rows.row(AHEAD) + n * LANES);
            for (int m = 0; m < M; m++) {
                for (int n = 0; n < N - HALF; n++) sum[m][n] = a(m, k).times(weight[n], sum[m][n]);
                if constexpr (HALF) sum[m][N - 1] = a(m, k).times_half(weight[N - 1], sum[m][N - 1]);
            }
        }
#pragma GCC unroll 8
        for (int m = 0; m < M; m++)
            if constexpr (HALF) sum[m][N - 1] = without_rest(sum[m][N - 1]);
#pragma GCC unroll 8
        for (int m = 0; m < M; m++)
#pragma GCC unroll 3
            for (int n = 0; n < N; n++)
                Number::finish(sum[m][n], from + m * row + n * LANES, z + (m * N + n) * LANES);
    };
    const int most = Number::RUN(z);
    run(bias, std::integral_constant<int, 0>(), 0, depth < most ? depth : most);
    for (int k = most; k < depth; k += most)
        run(z, std::integral_constant<int, N * LANES>(), k, depth - k < most ? depth : k + most);
}

template <int M, int N, class Entries, class Z>
static inline void within(Entries a, int depth, const float *panel, long columns, bool half, const Z *bias, Z *z) {
    if (columns) return product<M, N, false>(a, depth, panel, Apart{columns}, bias, z);
    if constexpr (Entries::Entry::HALF)
        if (half) return product<M, N, true>(a, depth, panel, Close<N>(), bias, z);
    (void)half;
    product<M, N, false>(a, depth, panel, Close<N>(), bias, z);
}

template <int M, class... Arguments>
static inline void block_of(int n, Arguments... arguments) {
    static_assert(SPAN == 3, "a case for each");
    if (n == 3) return within<M, 3>(arguments...);
    if (n == 2) return within<M, 2>(arguments...);
    return within<M, 1>(arguments...);
}

template <class... Arguments>
static inline void block(int m, int n, Arguments... arguments) {
    switch (m) {
#if ROWS == 8
        case 8: return block_of<8>(n, arguments...);
        case 7: return block_of<7>(n, arguments...);
        case 6: return block_of<6>(n, arguments...);
        case 5: return block_of<5>(n, arguments...);
#endif
        case 4: return block_of<4>(n, arguments...);
        case 3: return block_of<3>(n, arguments...);
        case 2: return block_of<2>(n, arguments...);
        default: return block_of<1>(n, arguments...);
    }
}

#ifdef WITH_TILES
// While it lives, every tile has 16 rows of 16 entries. Tiles 0 to 2 are sums, 3 and 4 are of a, 5 to 7 of the matrix.
struct Tiles {
    Tiles() {
        struct {
            uint8_t palette = 1, start = 0, none[14] = {};
            uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
            uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
        } shapes;
        _tile_loadconfig(&shapes);
    }
    ~Tiles() { _tile_release(); }
};

// A block of 16 rows: one to three sums of tiles. The loads and products of each step are independent of each other.
#define EACH(N, work) work(0, 5); if (N > 1) work(1, 6); if (N > 2) work(2, 7)
template <int N, int PARTS>
static inline void product_of_tiles(const float *a, long stride, int depth, const float *panel, const float *bias, float *z) {
    const long row = N * LANES * sizeof(float), part = (long)depth * N * LANES;
    alignas(64) static const float NONE[LANES] = {};
#define BEGIN(sum, _) _tile_loadd(sum, bias ? bias + sum * LANES : NONE, 0)
#define FIRST(sum, matrix) { _tile_loadd(matrix, panel + sum * LANES, row); _tile_dpbf16ps(sum, 3, matrix); }
#define SECOND(sum, matrix) _tile_dpbf16ps(sum, 4, matrix)
#define THIRD(sum, matrix) { _tile_loadd(matrix, panel + part + sum * LANES, row); _tile_dpbf16ps(sum, 3, matrix); }
#define END(sum, _) _tile_stored(sum, z + sum * LANES, row)
    EACH(N, BEGIN);
    for (int k = 0; k < depth; k += LANES, panel += N * LANES * LANES) {
        _tile_loadd(3, a + k, stride * sizeof(float));
        EACH(N, FIRST);
        if (PARTS == 1) continue;
        _tile_loadd(4, a + stride / 2 + k, stride * sizeof(float));
        EACH(N, SECOND);
        EACH(N, THIRD);
    }
    EACH(N, END);
#undef BEGIN
#undef FIRST
#undef SECOND
#undef THIRD
#undef END
}
#undef EACH

// `multiply` for tiles. It reads as many rows as a tile has. A row's second parts start at half of its stride.
template <int PARTS, class Sink>
static void multiply_tiles(const float *a, long stride, int rows, int depth, int columns, const float *matrix,
                           const float *bias, Sink sink) {
    const Tiles tiles;
    alignas(64) float z[LANES * SPAN * LANES];
    laid_out(columns, [&](int column, int n) {
        const float *from = bias ? bias + column : nullptr;
        for (int i = 0; i < rows; i += LANES) {
            __asm__ volatile("" ::: "memory");  // the compiler does not know that tile loads read memory
            static_assert(SPAN == 3, "a case for each");
            if (n == 3) product_of_tiles<3, PARTS>(a + i * stride, stride, depth, matrix, from, z);
            if (n == 2) product_of_tiles<2, PARTS>(a + i * stride, stride, depth, matrix, from, z);
            if (n == 1) product_of_tiles<1, PARTS>(a + i * stride, stride, depth, matrix, from, z);
            sink(i, rows - i < LANES ? rows - i : LANES, column, n * LANES, z);
        }
        matrix += (long)PARTS * depth * n * LANES;
    });
}
#endif

template <class Entries, class Z, class Sink>
static inline void multiply_blocks(Entries a, int rows, int depth, int columns, const float *matrix, const Z *bias, Sink sink,
                                   bool packed) {
    alignas(64) Z z[(ROWS * SPAN + 1) * LANES] = {};
    const int blocks = (rows + ROWS - 1) / ROWS;  // of about the same size: a block of few rows would wait for its sums
    laid_out(columns, [&](int column, int n) {
        const bool half = columns <= column + n * LANES - LANES / 2;
        for (int i = 0; i < blocks; i++) {
            const int m = rows * i / blocks, some = rows * (i + 1) / blocks - m;
            block(some, n, a.from(m), depth, matrix, packed ? 0L : (long)columns, half, bias ? bias + column : nullptr, z);
            sink(m, some, column, n * LANES, z);
        }
        matrix += packed ? (long)depth * n * LANES : n * LANES;
    });
}

// a · matrix + bias. Calls sink(row, rows, column, columns, z) for each block, while it is in the nearest cache.
template <class Entries, class Z, class Sink>
static inline void multiply(Entries a, int rows, int depth, int columns, const float *matrix, const Z *bias, Sink sink,
                            bool packed = true) {
    typedef typename Entries::Entry Number;
#ifdef WITH_TILES
    if constexpr (Number::DEEP > 1)
        return multiply_tiles<Number::PARTS>((const float *)a.a, a.stride, rows, depth, columns, matrix, bias, sink);
    else
#endif
    multiply_blocks(a, rows, depth, columns, matrix, bias, sink, packed);
}
