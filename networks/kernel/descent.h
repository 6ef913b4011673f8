// The steps after the gradients: Adam's step, and slow copies. Included after products.h.

// 1 / (√x · unbiased + ε)
static inline Vec inverse_root(Vec x, float unbiased, float epsilon) {
#if LANES == 16
    const Vec some = (Vec)_mm512_max_ps((__m512)x, _mm512_set1_ps(1e-37f));  // 0 has no inverse root
    const Vec guess = (Vec)_mm512_rsqrt14_ps((__m512)some), root = some * guess;
    return inverse(root * (1.5f - 0.5f * root * guess) * unbiased + epsilon);  // Newton's step
#else
    for (int n = 0; n < LANES; n++) x[n] = sqrtf(x[n]);
    return 1.0f / (x * unbiased + epsilon);
#endif
}

// Calls work(first, numbers) for `count` numbers from `first` on, LANES at a time.
template <class Work>
static inline void by_lanes(int64_t first, int64_t count, Work work) {
    const int64_t end = first + count;
    for (; first + LANES <= end; first += LANES) work(first, LANES);
    if (first < end) work(first, (int)(end - first));
}

static inline void put(float *to, Vec value, int count) {
    if (count == LANES) store(to, value);
    else memcpy(to, &value, count * sizeof(float));
}

// Adam for some numbers of an array:
// m ← m + (1 - β₁)(g - m), v ← v + (1 - β₂)(g² - v), w ← w - rate · m / (√v · unbiased + ε).
static void adam(const Adam &step, int64_t array, int64_t first, int64_t count) {
    const float beta1 = 1.0f - step.beta1, beta2 = 1.0f - step.beta2;
    float *w = step.weight[array], *mean = step.mean[array], *square = step.square[array];
    const float *gradient = step.gradient[array];
    by_lanes(first, count, [&](int64_t i, int some) {
        Vec weight = some_of(w + i, some), g = some_of(gradient + i, some);
        g += weight * step.decay;
        weight -= weight * step.shrinkage;
        Vec m = some_of(mean + i, some), v = some_of(square + i, some);
        m += beta1 * (g - m);
        v += beta2 * (g * g - v);
        put(mean + i, m, some);
        put(square + i, v, some);
        put(w + i, weight - step.rate * m * inverse_root(v, step.unbiased, step.epsilon), some);
    });
}

// slow ← slow + τ (fast - slow), for some numbers of an array.
static void follow(const Follow &step, int64_t array, int64_t first, int64_t count) {
    float *slow = step.slow[array];
    const float *fast = step.fast[array];
    by_lanes(first, count, [&](int64_t i, int some) {
        const Vec before = some_of(slow + i, some);
        put(slow + i, before + step.tau * (some_of(fast + i, some) - before), some);
    });
}
