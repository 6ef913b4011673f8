// What the outputs of policies and critics become. Included after descent.h.

// ln (1 + e^x), of whatever size x has.
static inline Vec softplus(Vec x) {
    const Vec above = x > 0.0f ? x : Vec{}, size = x > 0.0f ? x : -x;
    return above + logarithm(1.0f + exponential(-clamped(size, 87.0f)));
}

// Actions that are the tanh of a normal: action = tanh(raw) with raw = mean + std · noise, and its log density.
static void squash(const Squash &of) {
    const int actions = (int)of.actions;
    for (int64_t r = 0; r < of.rows; r++) {
        Vec density{};
        for (int j = 0; j < actions; j += LANES) {
            const int some = actions - j < LANES ? actions - j : LANES;
            const Vec log_std = some_of(of.log_std + r * of.std_stride + j, some);
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

// The gradients of all three back to mean and log std. Those of the density are d/draw = 2 tanh(raw) and d/dln std = -1.
static void squash_back(const Squash &of) {
    const int actions = (int)of.actions;
    for (int64_t r = 0; r < of.rows; r++)
        for (int j = 0; j < actions; j += LANES) {
            const int some = actions - j < LANES ? actions - j : LANES;
            const long place = r * actions + j;
            const Vec log_std = some_of(of.log_std + r * of.std_stride + j, some);
            const Vec action = some_of(of.action + place, some), given = Vec{} + of.density_grad[r];
            const Vec raw = some_of(of.action_grad + place, some) * (1.0f - action * action)
                          + some_of(of.raw_grad + place, some) + 2.0f * given * action;
            const Vec std = exponential(clamped(log_std, 87.0f));
            put(of.mean_grad + place, raw, some);
            put(of.std_grad + place, raw * std * some_of(of.noise + place, some) - given, some);
        }
}

static void regression(const Regression &of) {
    const float scale = 2.0f / (float)of.rows;
    double squares = 0, values = 0;  // of many, in one order
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
