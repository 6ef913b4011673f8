// Actions, targets and losses from the outputs of policies and critics. Included after descent.h.

// ln (1 + e^x), for any size of x.
static inline Vec softplus(Vec x) {
    const Vec above = x > 0.0f ? x : Vec{}, size = x > 0.0f ? x : -x;
    return above + logarithm(1.0f + exponential(-clamped(size, 87.0f)));
}

static inline Vec between(Vec x, float low, float high) {  // NaN stays NaN
    x = x < low ? Vec{} + low : x;
    return x > high ? Vec{} + high : x;
}

// Actions that are the tanh of a normal, and their log density: action = tanh(raw), raw = mean + std · noise.
static void squash(const Squash &of) {
    const int actions = (int)of.actions;
    for (int64_t r = 0; r < of.rows; r++) {
        Vec density{};
        for (int j = 0; j < actions; j += LANES) {
            const int some = actions - j < LANES ? actions - j : LANES;
            const Vec log_std = between(some_of(of.log_std + r * of.std_stride + j, some), of.low, of.high);
            const Vec noise = some_of(of.noise + r * actions + j, some);
            const Vec raw = some_of(of.mean + r * of.mean_stride + j, some) + exponential(clamped(log_std, 87.0f)) * noise;
            const Vec slope = 2.0f * (0.693147181f - raw - softplus(-2.0f * raw));  // ln (1 - tanh²)
            const Vec all = -0.5f * noise * noise - log_std - 0.918938533f - slope;
            const Vec tanh = Tanh{}(raw);
            put(of.raw + r * actions + j, raw, some);
            put(of.action + r * actions + j, tanh, some);
            for (int n = 0; n < some; n++) density[n] += all[n];
        }
        of.density[r] = total(density);
    }
}

// The gradients of all three back to mean and log std. The density has d/draw = 2 tanh(raw) and d/dln std = -1.
static void squash_back(const Squash &of) {
    const int actions = (int)of.actions;
    for (int64_t r = 0; r < of.rows; r++)
        for (int j = 0; j < actions; j += LANES) {
            const int some = actions - j < LANES ? actions - j : LANES;
            const long place = r * actions + j, to = r * of.grad_stride + j;
            const Vec asked = some_of(of.log_std + r * of.std_stride + j, some), log_std = between(asked, of.low, of.high);
            const Vec action = some_of(of.action + place, some);
            const Vec given = Vec{} + (of.density_grad ? of.density_grad[r] : of.density_rate);
            Vec raw = some_of(of.action_grad + place, some) * (1.0f - action * action) + 2.0f * given * action;
            if (of.raw_grad) raw += some_of(of.raw_grad + place, some);
            const Vec std = exponential(clamped(log_std, 87.0f)), rate = raw * std * some_of(of.noise + place, some) - given;
            put(of.mean_grad + to, raw, some);
            put(of.std_grad + to, (asked < of.low) | (asked > of.high) ? Vec{} : rate, some);
        }
}

static void point(const Point &of) {
    by_lanes(0, of.count, [&](int64_t i, int some) { put(of.action + i, Tanh{}(some_of(of.outputs + i, some)), some); });
}

static void point_back(const Point &of) {
    by_lanes(0, of.count, [&](int64_t i, int some) {
        const Vec action = some_of(of.action + i, some);
        put(of.outputs_grad + i, some_of(of.action_grad + i, some) * (1.0f - action * action), some);
    });
}

static void perturb(const Perturb &of) {
    by_lanes(0, of.count, [&](int64_t i, int some) {
        const Vec noise = between(of.spread * some_of(of.noise + i, some), -of.clip, of.clip);
        put(of.to + i, between(some_of(of.action + i, some) + noise, -1.0f, 1.0f), some);
    });
}

static void beside(const Beside &of) {
    const int64_t left = of.left, right = of.right;
    for (int64_t r = 0; r < of.rows; r++) {
        memcpy(of.both + r * (left + right), of.first + r * left, left * sizeof(float));
        memcpy(of.both + r * (left + right) + left, of.second + r * right, right * sizeof(float));
    }
}

static void beside_back(const Beside &of) {
    const int64_t columns = of.left + of.right;
    for (int64_t r = 0; r < of.rows; r++)
        for (int64_t j = 0; j < of.right; j++) {
            float sum = 0;
            for (int64_t m = 0; m < of.members; m++) sum += of.both_grad[(m * of.rows + r) * columns + of.left + j];
            of.second_grad[r * of.right + j] = sum;
        }
}

static inline float least(const float *values, int64_t members, int64_t apart) {  // NaN if any value is NaN
    float found = values[0];
    for (int64_t m = 1; m < members; m++) {
        const float value = values[m * apart];
        if (value < found || value != value) found = value;
    }
    return found;
}

static void target(const Target &of) {
    for (int64_t r = 0; r < of.rows; r++) {
        float future = least(of.values + r, of.members, of.rows);
        if (of.density) future -= of.alpha * of.density[r];
        of.target[r] = of.reward[r] + of.discount * future * (of.terminated[r] ? 0.0f : 1.0f);
    }
}

// If several members have the least value, they share the gradient.
static void climb(const Climb &of) {
    const float each = -1.0f / (float)of.rows;
    double sum = 0;
    for (int64_t r = 0; r < of.rows; r++) {
        const float value = least(of.values + r, of.members, of.rows);
        float same = 0;
        for (int64_t m = 0; m < of.members; m++) same += of.values[m * of.rows + r] == value ? 1.0f : 0.0f;
        for (int64_t m = 0; m < of.members; m++)
            of.rates[m * of.rows + r] = (of.values[m * of.rows + r] == value ? each : 0.0f) / same;
        sum += (of.density ? of.alpha * of.density[r] : 0.0f) - value;
    }
    *of.loss = (float)(sum / (double)of.rows);
}

static void regression(const Regression &of) {
    const float scale = 2.0f / (float)of.rows;
    double squares = 0, values = 0;  // sums of many numbers, always in the same order
    for (int64_t m = 0; m < of.members; m++)
        for (int64_t r = 0; r < of.rows; r++) {
            const float value = of.values[m * of.rows + r], error = value - of.target[r];
            of.rates[m * of.rows + r] = scale * error;
            squares += (double)error * error;
            values += value;
        }
    *of.loss = (float)(squares / (double)of.rows);
    *of.mean = (float)(values / (double)(of.members * of.rows));
}
