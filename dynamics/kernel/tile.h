// A tile of rows through the networks and through time, there and back. Included after products.h.

// How a model's numbers lie. The last layer's columns are changes and, where there is noise, raw variances, each padded
// by itself.
struct Shape {
    const Model &model;
    int heads, state, inputs, hidden, saved, widest;

    explicit Shape(const Model &model) : model(model), heads(model.low ? 2 : 1), state(padded(model.state)), hidden(0) {
        inputs = padded(model.features + model.action);
        widest = inputs > heads * state ? inputs : heads * state;
        for (int l = 1; l < model.layers; l++) {
            hidden += padded(model.widths[l]);
            widest = widest > padded(model.widths[l]) ? widest : padded(model.widths[l]);
        }
        saved = hidden * model.mixed + state;  // of a row and step: every f'(z), and ε dσ / d raw
    }
    bool last(int layer) const { return layer == model.layers - 1; }
    int in(int layer) const { return model.widths[layer]; }
    int out(int layer) const { return last(layer) ? heads * model.state : model.widths[layer + 1]; }
    int columns(int layer) const { return last(layer) ? heads * state : padded(out(layer)); }
    // bfloat16 comes in pairs; a first layer is float32 always, as its inputs have units of their own
    int depth(int layer) const { return model.half && layer ? (in(layer) + 1) / 2 : in(layer); }

    long packed() const {  // of a member: every layer's bias and matrix
        long size = 0;
        for (int l = 0; l < model.layers; l++) size += (long)(1 + depth(l)) * columns(l);
        return size;
    }
    long packed_transposed() const {
        long size = 0;
        for (int l = 0; l < model.layers; l++) size += (long)out(l) * padded(in(l));
        return size;
    }
    long scratch() const { return (long)TILE * (2 * state + inputs + 2 * widest); }
};

// --- weights ---------------------------------------------------------------------------------------------------------

static inline uint32_t bfloat16(float x) {  // to the nearest, ties to even
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return x != x ? 0x7fc0 : (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}

static inline float pair(float first, float second) {
    uint32_t bits = bfloat16(first) | bfloat16(second) << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static void pack(const Model &model, int member) {
    Shape shape(model);
    float *to = model.packed + member * shape.packed();
    float *transposed = model.packed_transposed ? model.packed_transposed + member * shape.packed_transposed() : nullptr;
    for (int l = 0; l < model.layers; l++) {
        const int in = shape.in(l), out = shape.out(l);
        const float *w = model.weight[l] + (long)member * in * out, *b = model.bias[l] + (long)member * out;
        auto origin = [&](int j) {  // of a packed column; -1 is padding
            if (!shape.last(l)) return j < out ? j : -1;
            return j % shape.state < model.state ? j / shape.state * model.state + j % shape.state : -1;
        };
        auto element = [&](int k, int j) { return k < in && origin(j) >= 0 ? w[(long)k * out + origin(j)] : 0.0f; };
        for (int j = 0; j < shape.columns(l); j++) *to++ = origin(j) >= 0 ? b[origin(j)] : 0.0f;
        bool pairs = model.half && l > 0;
        to = laid_out(to, shape.depth(l), shape.columns(l),
                      [&](int k, int j) { return pairs ? pair(element(2 * k, j), element(2 * k + 1, j)) : element(k, j); });
        if (transposed)
            transposed = laid_out(transposed, out, padded(in), [&](int k, int j) { return j < in ? w[(long)j * out + k] : 0.0f; });
    }
}

// --- a tile ----------------------------------------------------------------------------------------------------------

struct Tile {
    const Model &model;
    const Job &job;
    const Shape shape;
    int64_t run, first;  // its rows are row `first` of its run and those after it: candidates of one particle, then of the next
    int rows;
    float *state, *next, *x, *a, *b;  // (rows, padded state), twice; (rows, padded inputs); (rows, widest), twice

    Tile(const Model &model, const Job &job, int64_t run, int64_t first, int rows, float *scratch)
        : model(model), job(job), shape(model), run(run), first(first), rows(rows) {
        state = scratch;
        next = state + TILE * shape.state;
        x = next + TILE * shape.state;
        a = x + TILE * shape.inputs;
        b = a + TILE * shape.widest;
    }

    int64_t particle(int i) const { return run * job.share + (first + i) / job.rows; }
    int64_t row(int i) const { return (first + i) % job.rows; }
    int64_t place(int i) const { return particle(i) * job.rows + row(i); }  // in (P, R)
    const float *start(int i) const { return job.state + row(i) / job.candidates * model.state; }
    const float *action(int i, int64_t t) const { return job.actions + (row(i) * job.horizon + t) * model.action; }
    int64_t trajectory(int i) const { return (row(i) * job.particles + particle(i)) * job.horizon * model.state; }
    float *saved(int i, int64_t t) const { return job.saved + (place(i) * job.horizon + t) * shape.saved; }
    int member(int64_t t, int k) const { return job.met[run * job.met_run + t * job.met_step + k]; }

    void rollout() {
        for (int i = 0; i < rows; i++) memcpy(state + i * shape.state, start(i), model.state * sizeof(float));
        for (int64_t t = 0; t < job.horizon; t++) {
            for (int i = 0; i < rows; i++) {
                see(i, t);
                for (int j = 0; j < model.state; j++) next[i * shape.state + j] = state[i * shape.state + j] * model.relative[j];
            }
            for (int k = 0; k < model.mixed; k++) {
                const float *out = job.saved ? network<true>(t, k) : network<false>(t, k);
                for (int i = 0; i < rows; i++) add(i, t, member(t, k), out + i * shape.widest);
            }
            for (int i = 0; i < rows; i++) memcpy(job.states + trajectory(i) + t * model.state, next + i * shape.state, model.state * sizeof(float));
            float *before = state;
            state = next;
            next = before;
        }
    }

    // What the networks see of a row.
    void see(int i, int64_t t) {
        const float *s = state + i * shape.state, *moved = action(i, t);
        float *to = x + i * shape.inputs;
        for (int j = 0; j < model.features; j++) {
            float value = s[model.entry[j]];
            to[j] = model.kind[j] == SAME ? value : model.kind[j] == SINE ? sinf(value) : cosf(value);
        }
        memcpy(to + model.features, moved, model.action * sizeof(float));
    }

    // The inputs through one member: (rows, widest), of which the first are means and raw variances.
    template <bool SAVE>
    const float *network(int64_t t, int k) {
        const float *bias = model.packed + member(t, k) * shape.packed();
        const float *from = x;
        float *to = a, *spare = b;
        long stride = shape.inputs, offset = (long)k * shape.hidden;
        for (int l = 0; l < model.layers; l++) {
            const float *matrix = bias + shape.columns(l);
            auto activate = [&](int m, int some, int column, int columns, const float *z) {
                for (int i = 0; i < some; i++, z += columns)
                    for (int j = 0; j < columns; j += LANES) {
                        Vec slope, y = activated<SAVE>(model, load(z + j), slope);
                        if (SAVE) store(saved(m + i, t) + offset + column + j, slope);
                        float *row = to + (m + i) * (long)shape.widest;
#ifdef HALF
                        if (model.half)
                            _mm256_storeu_si256((__m256i *)((uint16_t *)row + column + j), (__m256i)_mm512_cvtneps_pbh((__m512)y));
                        else
#endif
                            store(row + column + j, y);
                    }
            };
            auto keep = [&](int m, int some, int column, int columns, const float *z) {
                for (int i = 0; i < some; i++, z += columns)
                    memcpy(to + (m + i) * (long)shape.widest + column, z, columns * sizeof(float));
            };
            auto pass = [&](const auto *values) {
                if (shape.last(l))
                    multiply(values, stride, rows, shape.depth(l), shape.columns(l), matrix, bias, keep);
                else
                    multiply(values, stride, rows, shape.depth(l), shape.columns(l), matrix, bias, activate);
            };
#ifdef HALF
            if (model.half && l > 0)
                pass((const uint32_t *)from);
            else
#endif
                pass(from);
            bias = matrix + (long)shape.depth(l) * shape.columns(l);
            offset += shape.columns(l);
            stride = shape.widest;
            from = to;
            to = spare;
            spare = (float *)from;
        }
        return from;
    }

    // One member's change and noise onto the next state.
    void add(int i, int64_t t, int member, const float *out) {
        float *to = next + i * shape.state;
        if (!model.low) {
            for (int j = 0; j < model.state; j++) to[j] += out[j] / model.mixed;
            return;
        }
        const float *low = model.low + member * model.state, *high = model.high + member * model.state;
        const float *raw = out + shape.state, *given = nullptr;
        if (job.epsilon) given = job.epsilon + particle(i) * job.particle_stride + row(i) * job.row_stride + t * job.step_stride;
        const Normals normals(job.seed);
        float *rate = job.saved ? saved(i, t) + shape.hidden * model.mixed : nullptr;
        for (int j = 0; j < model.state; j += LANES) {
            int some = model.state - j < LANES ? model.state - j : LANES;
            float s[LANES], std[LANES], drawn[LANES];
            store(s, sigmoid(load(raw + j)));
            // numbered as in an array (P, R, H, S)
            if (!given) store(drawn, normals.from((uint32_t)((place(i) * job.horizon + t) * model.state + j)));
            const float *noise = given ? given + j : drawn;
            for (int n = 0; n < some; n++) {
                std[n] = sqrtf(low[j + n] + high[j + n] * s[n]);
                to[j + n] += out[j + n] + std[n] * noise[n];
                if (rate) rate[j + n] = noise[n] * high[j + n] * s[n] * (1 - s[n]) / (2 * std[n]);
            }
        }
    }

    // The gradient of the states (R, P, H, S) back to actions and first state, through what `rollout` saved.
    void backward() {
        memset(next, 0, (size_t)rows * shape.state * sizeof(float));
        for (int64_t t = job.horizon - 1; t >= 0; t--) {
            for (int i = 0; i < rows; i++) {
                const float *given = job.states_grad + trajectory(i) + t * model.state;
                for (int j = 0; j < model.state; j++) state[i * shape.state + j] = next[i * shape.state + j] + given[j];
                for (int j = 0; j < model.state; j++) next[i * shape.state + j] = state[i * shape.state + j] * model.relative[j];
                float *moved = job.actions_grad + (place(i) * job.horizon + t) * model.action;
                memset(moved, 0, model.action * sizeof(float));
            }
            for (int k = 0; k < model.mixed; k++) {
                const float *seen = network_backward(t, k);
                for (int i = 0; i < rows; i++) unsee(i, t, seen + i * shape.widest);
            }
        }
        for (int i = 0; i < rows; i++) memcpy(job.state_grad + place(i) * model.state, next + i * shape.state, model.state * sizeof(float));
    }

    const float *network_backward(int64_t t, int k) {
        float *from = a, *to = b;
        for (int i = 0; i < rows; i++) {
            const float *given = state + i * shape.state, *rate = saved(i, t) + shape.hidden * model.mixed;
            float *z = from + i * (long)shape.widest;
            for (int j = 0; j < model.state; j++) {
                z[j] = given[j] / model.mixed;
                if (model.low) z[model.state + j] = given[j] * rate[j];
            }
        }
        const float *matrix = model.packed_transposed + (member(t, k) + 1) * shape.packed_transposed();
        long offset = (long)(k + 1) * shape.hidden;
        for (int l = model.layers - 1; l >= 0; l--) {
            const int columns = padded(shape.in(l));
            matrix -= (long)shape.out(l) * columns;
            if (l > 0) offset -= columns;
            multiply((const float *)from, (long)shape.widest, rows, shape.out(l), columns, matrix, nullptr,
                     [&](int m, int some, int column, int wide, const float *z) {
                         for (int i = 0; i < some; i++, z += wide) {
                             float *row = to + (m + i) * (long)shape.widest + column;
                             const float *slope = saved(m + i, t) + offset + column;
                             for (int j = 0; j < wide; j += LANES) store(row + j, l > 0 ? load(z + j) * load(slope + j) : load(z + j));
                         }
                     });
            float *done = from;
            from = to;
            to = done;
        }
        return from;
    }

    void unsee(int i, int64_t t, const float *seen) {
        const float *before = t ? job.states + trajectory(i) + (t - 1) * model.state : start(i);
        float *carried = next + i * shape.state, *moved = job.actions_grad + (place(i) * job.horizon + t) * model.action;
        for (int j = 0; j < model.features; j++) {
            int e = model.entry[j], kind = model.kind[j];
            carried[e] += kind == SAME ? seen[j] : kind == SINE ? seen[j] * cosf(before[e]) : -seen[j] * sinf(before[e]);
        }
        for (int j = 0; j < model.action; j++) moved[j] += seen[model.features + j];
    }
};
