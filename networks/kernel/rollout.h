// A tile of rows through a model and through time, forward and backward. Included after networks.h.

// The layout of a model's numbers. The last layer's columns are changes and, with noise, raw variances.
struct Trajectory : Shape {
    const Model &model;
    int state, saved;

    explicit Trajectory(const Model &model)
        : Shape(*model.networks, model.state + padded(model.state), model.low ? 2 * padded(model.state) : 0),
          model(model), state(padded(model.state)) {
        saved = hidden * model.mixed + state;  // floats of a row's step: its layers' slopes, and ε dσ / d raw
    }
    long scratch() const { return tile() + (long)TILE * 2 * state; }
};

// Packs a member's layers, then low and high.
static void pack_member(const Model &model, int64_t which) {
    const Trajectory shape(model);
    const int member = (int)which;
    float *to = pack(shape, member, model.packed + member * shape.packed());
    for (const float *bound : {model.low, model.high})
        for (int j = 0; bound && j < shape.state; j += LANES, to += LANES)
            store(to, some_of(bound + (long)member * model.state + j, model.state - j < LANES ? model.state - j : LANES));
}

static void pack_member_back(const Model &model, int64_t member) {
    const Trajectory shape(model);
    pack_transposed(shape, (int)member, model.transposed + member * shape.packed_transposed());
}

// --- a policy --------------------------------------------------------------------------------------------------------

const int DEEPEST = 4, WIDEST = 64;  // the most layers of a policy, and units of a layer

static float activated(float x, int activation, float leak) {
    switch (activation) {
        case SILU: return x / (1.0f + expf(-x));
        case TANH: return tanhf(x);
        case LEAKY: return x < 0.0f ? leak * x : x;
        default: return x < 0.0f ? expm1f(x) : x;
    }
}

static float slope(float x, int activation, float leak) {
    switch (activation) {
        case SILU: { const float s = 1.0f / (1.0f + expf(-x)); return s * (1.0f + x * (1.0f - s)); }
        case TANH: { const float y = tanhf(x); return 1.0f - y * y; }
        case LEAKY: return x < 0.0f ? leak : 1.0f;
        default: return x < 0.0f ? expf(x) : 1.0f;
    }
}

// One policy that sees these features.
struct Acting {
    const Policies &policies;
    const float *weights, *seen;
    float before[DEEPEST][WIDEST], after[DEEPEST][WIDEST];  // a layer's outputs, before and after the activation

    Acting(const Policies &policies, const float *weights, const float *seen)
        : policies(policies), weights(weights), seen(seen) {}

    int in(int layer) const { return policies.widths[layer]; }
    int out(int layer) const { return policies.widths[layer + 1]; }
    bool last(int layer) const { return layer == policies.layers - 1; }

    void forward(float *action) {
        const float *weight = weights, *x = seen;
        for (int layer = 0; layer < policies.layers; layer++) {
            const float *bias = weight + (long)in(layer) * out(layer);
            float *z = before[layer];
            memcpy(z, bias, out(layer) * sizeof(float));
            for (int i = 0; i < in(layer); i++)
                for (int j = 0; j < out(layer); j++) z[j] += x[i] * weight[(long)i * out(layer) + j];
            for (int j = 0; j < out(layer); j++)
                after[layer][j] = last(layer) ? tanhf(z[j]) : activated(z[j], policies.activations[layer], policies.leak);
            x = after[layer];
            weight = bias + out(layer);
        }
        for (int j = 0; j < out(policies.layers - 1); j++) action[j] = policies.centre[j] + policies.half[j] * x[j];
    }

    // After `forward`: the action's gradient -> the gradient of the features; adds to the gradient of the weights.
    void backward(const float *moved, float *weights_grad, float *seen_grad) const {
        float given[2][WIDEST];
        long end = policies.size;
        for (int layer = policies.layers - 1; layer >= 0; layer--) {
            end -= (long)(in(layer) + 1) * out(layer);
            const float *weight = weights + end, *x = layer ? after[layer - 1] : seen;
            float *weight_grad = weights_grad + end, *bias_grad = weight_grad + (long)in(layer) * out(layer);
            float *z = given[layer % 2], *to = layer ? given[1 - layer % 2] : seen_grad;
            for (int j = 0; j < out(layer); j++) {
                const float y = after[layer][j];
                z[j] = last(layer) ? moved[j] * policies.half[j] * (1.0f - y * y)
                                   : z[j] * slope(before[layer][j], policies.activations[layer], policies.leak);
                bias_grad[j] += z[j];
            }
            for (int i = 0; i < in(layer); i++) {
                float sum = 0.0f;
                for (int j = 0; j < out(layer); j++) {
                    weight_grad[(long)i * out(layer) + j] += x[i] * z[j];
                    sum += weight[(long)i * out(layer) + j] * z[j];
                }
                to[i] = sum;
            }
        }
    }
};

// --- a tile ----------------------------------------------------------------------------------------------------------

// The trajectory of one particle of one candidate.
struct Row {
    const float *start, *actions, *noise;  // (S), (H, A); by steps
    const float *policy;                   // instead of actions
    float *acted, *states, *saved;         // (H, A) by the policy; (H, S); (H, saved)
    float *moved, *learned;                // the gradients of actions (H, A) and of the policy
    int64_t place;                         // its index in (P, R)
};

struct Tile {
    const Model &model;
    const Rollout &rollout;
    const Trajectory shape;
    const int64_t run;
    const int rows;
    Row row[TILE];
    Layers layers;
    float *state, *next;  // (rows, padded S), twice

    // The rows of a run from `first` on: the candidates of one particle, then of the next with the same members.
    Tile(const Model &model, const Rollout &rollout, int64_t run, int64_t first, int rows, float *scratch)
        : model(model), rollout(rollout), shape(model), run(run), rows(rows), layers(shape, rows, scratch) {
        state = scratch + shape.tile();
        next = state + TILE * shape.state;
        for (int i = 0; i < rows; i++) {
            int64_t particle = run * rollout.share + (first + i) / rollout.rows, r = (first + i) % rollout.rows;
            int64_t place = particle * rollout.rows + r;
            const int64_t steps = (r * rollout.particles + particle) * rollout.horizon;
            const Policies *policies = rollout.policies;
            row[i] = {
                rollout.state + r / rollout.candidates * model.state,
                policies ? nullptr : rollout.actions + r * rollout.horizon * model.action,
                rollout.epsilon ? rollout.epsilon + particle * rollout.particle_stride + r * rollout.row_stride : nullptr,
                policies ? policies->weights + r * policies->size : nullptr,
                policies ? policies->actions + steps * model.action : nullptr,
                rollout.states + steps * model.state,
                rollout.saved ? rollout.saved + place * rollout.horizon * shape.saved : nullptr,
                moved(place, steps),
                policies && policies->weights_grad ? policies->weights_grad + place * policies->size : nullptr,
                place,
            };
        }
    }

    int member(int64_t t, int k) const { return rollout.met[run * rollout.met_run + t * rollout.met_step + k]; }

    // The gradient of a row's actions. That of a policy's actions begins as the caller's.
    float *moved(int64_t place, int64_t steps) const {
        if (!rollout.policies) return rollout.actions_grad ? rollout.actions_grad + place * rollout.horizon * model.action : nullptr;
        return rollout.policies->actions_grad ? rollout.policies->actions_grad + steps * model.action : nullptr;
    }

    // A member's weights, and its transposed weights.
    const float *there(int member) const { return model.packed + member * shape.packed(); }
    const float *back(int member) const { return model.transposed + member * shape.packed_transposed(); }

    void forward(Steps steps) {
        for (int i = 0; i < rows; i++)
            memcpy(state + i * shape.state, before(i, steps.first), model.state * sizeof(float));
        for (int64_t t = steps.first; t < steps.end; t++) {
            for (int i = 0; i < rows; i++) {
                const float *s = state + i * shape.state;
                see(row[i], t, s, layers.x + i * shape.inputs);
                for (int j = 0; j < model.state; j++) next[i * shape.state + j] = s[j] * model.relative[j];
            }
            for (int k = 0; k < model.mixed; k++) {
                const int m = member(t, k);
                const float *weights = there(m);
                auto slopes = [&](int i) { return row[i].saved + t * shape.saved + (long)k * shape.hidden; };
                const float *out = rollout.saved
                    ? layers.forward<true, Float32>(weights, m, 0, slopes)
                    : with(model.networks->precision, [&](auto number) {
                          return layers.forward<false, decltype(number)>(weights, m, 0, slopes);
                      });
                for (int i = 0; i < rows; i++) add(i, t, weights, out + i * shape.widest);
            }
            for (int i = 0; i < rows; i++)
                memcpy(row[i].states + t * model.state, next + i * shape.state, model.state * sizeof(float));
            float *before = state;
            state = next;
            next = before;
        }
    }

    // The networks' inputs from a state and the action there.
    void see(const Row &row, int64_t t, const float *s, float *to) const {
        encode(s, to);
        if (!row.policy) {
            memcpy(to + model.features, row.actions + t * model.action, model.action * sizeof(float));
            return;
        }
        Acting(*rollout.policies, row.policy, to).forward(to + model.features);
        memcpy(row.acted + t * model.action, to + model.features, model.action * sizeof(float));
    }

    void encode(const float *s, float *to) const {
        for (int j = 0; j < model.features; j++) {
            float value = s[model.entry[j]];
            to[j] = model.kind[j] == SAME ? value : model.kind[j] == SINE ? sinf(value) : cosf(value);
        }
    }

    // Adds one member's change and noise to the next state.
    void add(int i, int64_t t, const float *weights, const float *out) {
        float *to = next + i * shape.state;
        if (!model.low) {
            for (int j = 0; j < model.state; j++) to[j] += out[j] / model.mixed;
            return;
        }
        const float *low = weights + shape.packed() - 2 * shape.state, *high = low + shape.state;
        float *rate = rollout.saved ? row[i].saved + t * shape.saved + shape.hidden * model.mixed : nullptr;
        const Normals normals(rollout.seed);
        for (int j = 0; j < model.state; j += LANES) {
            const int some = model.state - j < LANES ? model.state - j : LANES;
            Vec epsilon{}, std, s = sigmoid(load(out + model.state + j)), variance = load(low + j) + load(high + j) * s;
            if (row[i].noise)
                epsilon = some_of(row[i].noise + t * rollout.step_stride + j, some);
            else  // indexed as in an array (P, R, H, S)
                epsilon = normals.from((uint32_t)((row[i].place * rollout.horizon + t) * model.state + j));
            for (int n = 0; n < LANES; n++) std[n] = sqrtf(variance[n]);
            store(to + j, load(to + j) + load(out + j) + std * epsilon);
            if (rate) store(rate + j, epsilon * load(high + j) * s * (1.0f - s) / (2.0f * std));
        }
    }

    // The gradient of the states (R, P, H, S) -> the gradients of actions or policies and first state, with the numbers in
    // `saved`. The steps count from the last one back. Between two calls, `state_grad` holds the gradient of the state there.
    void backward(Steps steps) {
        for (int i = 0; i < rows; i++) {
            float *carried = next + i * shape.state, *held = rollout.state_grad + row[i].place * model.state;
            for (int j = 0; j < model.state; j++) carried[j] = steps.first ? held[j] : 0.0f;
            if (row[i].learned && !steps.first) memset(row[i].learned, 0, rollout.policies->size * sizeof(float));
        }
        for (int64_t t = rollout.horizon - 1 - steps.first; t >= rollout.horizon - steps.end; t--) {
            for (int i = 0; i < rows; i++) {
                const float *given = rollout.states_grad + (row[i].states - rollout.states) + t * model.state;
                float *carried = next + i * shape.state, *whole = state + i * shape.state;
                for (int j = 0; j < model.state; j++) whole[j] = carried[j] + given[j];
                for (int j = 0; j < model.state; j++) carried[j] = whole[j] * model.relative[j];
                if (!row[i].policy) memset(row[i].moved + t * model.action, 0, model.action * sizeof(float));
            }
            for (int k = 0; k < model.mixed; k++) {
                const float *seen = network_backward(t, k);
                for (int i = 0; i < rows; i++) unsee(i, t, seen + i * shape.widest);
            }
            for (int i = 0; i < rows && rollout.policies; i++) unreact(i, t);
        }
        for (int i = 0; i < rows; i++)
            memcpy(rollout.state_grad + row[i].place * model.state, next + i * shape.state, model.state * sizeof(float));
    }

    const float *network_backward(int64_t t, int k) {
        for (int i = 0; i < rows; i++) {
            const float *given = state + i * shape.state;
            const float *rate = row[i].saved + t * shape.saved + shape.hidden * model.mixed;
            float *z = layers.a + i * (long)shape.widest;
            for (int j = 0; j < model.state; j++) z[j] = given[j] / model.mixed;
            for (int j = 0; model.low && j < model.state; j++) z[model.state + j] = given[j] * rate[j];
        }
        const int m = member(t, k);
        return layers.backward(back(m), m, [&](int i) {
            return row[i].saved + t * shape.saved + (long)k * shape.hidden;
        });
    }

    const float *before(int i, int64_t t) const { return t ? row[i].states + (t - 1) * model.state : row[i].start; }

    void unsee(int i, int64_t t, const float *seen) {
        unencode(i, t, seen);
        for (int j = 0; j < model.action; j++) row[i].moved[t * model.action + j] += seen[model.features + j];
    }

    void unreact(int i, int64_t t) {
        float *seen = layers.x + i * shape.inputs, *seen_grad = layers.a + i * (long)shape.widest;
        encode(before(i, t), seen);
        Acting acting(*rollout.policies, row[i].policy, seen);
        acting.forward(seen + model.features);
        acting.backward(row[i].moved + t * model.action, row[i].learned, seen_grad);
        unencode(i, t, seen_grad);
    }

    void unencode(int i, int64_t t, const float *seen) {
        const float *s = before(i, t);
        float *carried = next + i * shape.state;
        for (int j = 0; j < model.features; j++) {
            int e = model.entry[j], kind = model.kind[j];
            carried[e] += kind == SAME ? seen[j] : kind == SINE ? seen[j] * cosf(s[e]) : -seen[j] * sinf(s[e]);
        }
    }
};
