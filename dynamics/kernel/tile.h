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

    long packed() const {  // of a member: every layer's bias and matrix, then low and high
        long size = model.low ? 2 * state : 0;
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

static float *pack_layer(const Shape &shape, int l, int member, float *to) {
    const int in = shape.in(l), out = shape.out(l), columns = shape.columns(l), head = shape.model.state;
    const float *w = shape.model.weight[l] + (long)member * in * out, *b = shape.model.bias[l] + (long)member * out;
    std::vector<int> origin(columns);  // of a packed column; -1 is padding
    for (int j = 0; j < columns; j++) {
        if (shape.last(l))
            origin[j] = j % shape.state < head ? j / shape.state * head + j % shape.state : -1;
        else
            origin[j] = j < out ? j : -1;
        *to++ = origin[j] < 0 ? 0.0f : b[origin[j]];
    }
    auto element = [&](int k, int j) { return k < in && origin[j] >= 0 ? w[(long)k * out + origin[j]] : 0.0f; };
    if (shape.model.half && l > 0)
        return laid_out(to, shape.depth(l), columns,
                        [&](int k, int j) { return pair(element(2 * k, j), element(2 * k + 1, j)); });
    return laid_out(to, in, columns, element);
}

static void pack(const Model &model, int member) {
    const Shape shape(model);
    float *to = model.packed + member * shape.packed();
    for (int l = 0; l < model.layers; l++) to = pack_layer(shape, l, member, to);
    for (const float *bound : {model.low, model.high})
        for (int j = 0; bound && j < shape.state; j++) *to++ = j < model.state ? bound[member * model.state + j] : 0.0f;
}

static void pack_transposed(const Model &model, int member) {
    const Shape shape(model);
    float *to = model.packed_transposed + member * shape.packed_transposed();
    for (int l = 0; l < model.layers; l++) {
        const int in = shape.in(l), out = shape.out(l);
        const float *w = model.weight[l] + (long)member * in * out;
        to = laid_out(to, out, padded(in), [&](int k, int j) { return j < in ? w[(long)j * out + k] : 0.0f; });
    }
}

// --- a tile ----------------------------------------------------------------------------------------------------------

// A trajectory of one particle of one candidate.
struct Row {
    const float *start, *actions, *noise;  // (S), (H, A); by steps
    float *states, *saved;                 // (H, S); (H, saved)
    int64_t place;                         // in (P, R)
};

struct Tile {
    const Model &model;
    const Job &job;
    const Shape shape;
    const int64_t run;
    const int rows;
    Row row[TILE];
    float *state, *next, *x, *a, *b;  // (rows, padded S), twice; (rows, padded inputs); (rows, widest), twice

    // Rows first, first + 1, … of a run: candidates of one particle, then of the next that meets the same members.
    Tile(const Model &model, const Job &job, int64_t run, int64_t first, int rows, float *scratch)
        : model(model), job(job), shape(model), run(run), rows(rows) {
        state = scratch;
        next = state + TILE * shape.state;
        x = next + TILE * shape.state;
        a = x + TILE * shape.inputs;
        b = a + TILE * shape.widest;
        for (int i = 0; i < rows; i++) {
            int64_t particle = run * job.share + (first + i) / job.rows, r = (first + i) % job.rows;
            int64_t place = particle * job.rows + r;
            row[i] = {
                job.state + r / job.candidates * model.state,
                job.actions + r * job.horizon * model.action,
                job.epsilon ? job.epsilon + particle * job.particle_stride + r * job.row_stride : nullptr,
                job.states + (r * job.particles + particle) * job.horizon * model.state,
                job.saved ? job.saved + place * job.horizon * shape.saved : nullptr,
                place,
            };
        }
    }

    int member(int64_t t, int k) const { return job.met[run * job.met_run + t * job.met_step + k]; }

    void rollout() {
        for (int i = 0; i < rows; i++) memcpy(state + i * shape.state, row[i].start, model.state * sizeof(float));
        for (int64_t t = 0; t < job.horizon; t++) {
            for (int i = 0; i < rows; i++) {
                const float *s = state + i * shape.state;
                see(s, row[i].actions + t * model.action, x + i * shape.inputs);
                for (int j = 0; j < model.state; j++) next[i * shape.state + j] = s[j] * model.relative[j];
            }
            for (int k = 0; k < model.mixed; k++) {
                const float *out = job.saved ? network<true>(t, k) : network<false>(t, k);
                for (int i = 0; i < rows; i++) add(i, t, member(t, k), out + i * shape.widest);
            }
            for (int i = 0; i < rows; i++)
                memcpy(row[i].states + t * model.state, next + i * shape.state, model.state * sizeof(float));
            float *before = state;
            state = next;
            next = before;
        }
    }

    // What the networks see of a state and an action.
    void see(const float *s, const float *moved, float *to) const {
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
                for (int i = m; i < m + some; i++, z += columns) {
                    float *y = to + i * (long)shape.widest;
                    float *slopes = SAVE ? row[i].saved + t * shape.saved + offset + column : nullptr;
                    for (int j = 0; j < columns; j += LANES) {
                        Vec slope, value = activated<SAVE>(model, load(z + j), slope);
                        if (SAVE) store(slopes + j, slope);
#ifdef HALF
                        uint16_t *halves = (uint16_t *)y + column + j;
                        if (model.half)
                            _mm256_storeu_si256((__m256i *)halves, (__m256i)_mm512_cvtneps_pbh((__m512)value));
                        else
#endif
                            store(y + column + j, value);
                    }
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
        const float *high = model.packed + (member + 1) * shape.packed() - shape.state, *low = high - shape.state;
        float *rate = job.saved ? row[i].saved + t * shape.saved + shape.hidden : nullptr;
        const Normals normals(job.seed);
        for (int j = 0; j < model.state; j += LANES) {
            const int some = model.state - j < LANES ? model.state - j : LANES;
            Vec epsilon{}, std, s = sigmoid(load(out + shape.state + j)), variance = load(low + j) + load(high + j) * s;
            if (row[i].noise)
                memcpy(&epsilon, row[i].noise + t * job.step_stride + j, some * sizeof(float));
            else  // numbered as in an array (P, R, H, S)
                epsilon = normals.from((uint32_t)((row[i].place * job.horizon + t) * model.state + j));
            for (int n = 0; n < LANES; n++) std[n] = sqrtf(variance[n]);
            store(to + j, load(to + j) + load(out + j) + std * epsilon);
            if (rate) store(rate + j, epsilon * load(high + j) * s * (1.0f - s) / (2.0f * std));
        }
    }

    // The gradient of the states (R, P, H, S) back to actions and first state, through what `rollout` saved.
    void backward() {
        memset(next, 0, (size_t)rows * shape.state * sizeof(float));
        for (int64_t t = job.horizon - 1; t >= 0; t--) {
            for (int i = 0; i < rows; i++) {
                const float *given = job.states_grad + (row[i].states - job.states) + t * model.state;
                float *carried = next + i * shape.state, *whole = state + i * shape.state;
                for (int j = 0; j < model.state; j++) whole[j] = carried[j] + given[j];
                for (int j = 0; j < model.state; j++) carried[j] = whole[j] * model.relative[j];
                memset(moved(i, t), 0, model.action * sizeof(float));
            }
            for (int k = 0; k < model.mixed; k++) {
                const float *seen = network_backward(t, k);
                for (int i = 0; i < rows; i++) unsee(i, t, seen + i * shape.widest);
            }
        }
        for (int i = 0; i < rows; i++)
            memcpy(job.state_grad + row[i].place * model.state, next + i * shape.state, model.state * sizeof(float));
    }

    float *moved(int i, int64_t t) const { return job.actions_grad + (row[i].place * job.horizon + t) * model.action; }

    const float *network_backward(int64_t t, int k) {
        float *from = a, *to = b;
        for (int i = 0; i < rows; i++) {
            const float *given = state + i * shape.state;
            const float *rate = row[i].saved + t * shape.saved + shape.hidden * model.mixed;
            float *z = from + i * (long)shape.widest;
            for (int j = 0; j < model.state; j++) z[j] = given[j] / model.mixed;
            for (int j = 0; model.low && j < model.state; j++) z[model.state + j] = given[j] * rate[j];
        }
        const float *matrix = model.packed_transposed + (member(t, k) + 1) * shape.packed_transposed();
        long offset = (long)(k + 1) * shape.hidden;
        for (int l = model.layers - 1; l >= 0; l--) {
            const int columns = padded(shape.in(l));
            matrix -= (long)shape.out(l) * columns;
            if (l > 0) offset -= columns;
            auto slope = [&](int m, int some, int column, int wide, const float *z) {
                for (int i = m; i < m + some; i++, z += wide) {
                    float *y = to + i * (long)shape.widest + column;
                    const float *slopes = row[i].saved + t * shape.saved + offset + column;
                    for (int j = 0; j < wide; j += LANES)
                        store(y + j, l > 0 ? load(z + j) * load(slopes + j) : load(z + j));
                }
            };
            multiply((const float *)from, (long)shape.widest, rows, shape.out(l), columns, matrix, nullptr, slope);
            float *done = from;
            from = to;
            to = done;
        }
        return from;
    }

    void unsee(int i, int64_t t, const float *seen) {
        const float *before = t ? row[i].states + (t - 1) * model.state : row[i].start;
        float *carried = next + i * shape.state;
        for (int j = 0; j < model.features; j++) {
            int e = model.entry[j], kind = model.kind[j];
            carried[e] += kind == SAME ? seen[j] : kind == SINE ? seen[j] * cosf(before[e]) : -seen[j] * sinf(before[e]);
        }
        for (int j = 0; j < model.action; j++) moved(i, t)[j] += seen[model.features + j];
    }
};
