// A tile of rows through the networks and through time, there and back. Included after products.h.

// work(a number of the kind that is asked for); of Float32, where these instructions do not know it. Where there is
// float16, it is faster than bfloat16: docs/performance.md.
template <class Work>
static inline auto with(Precision asked, Work work) {
#ifdef WITH_FLOAT16
    if (asked == FLOAT16 || asked == FASTEST) return work(Float16{});
#endif
#ifdef WITH_BFLOAT16
    if (asked == BFLOAT16 || asked == FASTEST) return work(BFloat16{});
#endif
    (void)asked;
    return work(Float32{});
}

// How a model's numbers lie. The last layer's columns are changes and, where there is noise, raw variances.
struct Shape {
    const Model &model;
    int pair, state, inputs, hidden, saved, widest;

    explicit Shape(const Model &model) : model(model), state(padded(model.state)), hidden(0) {
        pair = with(model.precision, [](auto number) { return decltype(number)::PAIR; });
        inputs = padded(model.features + model.action);
        widest = padded(model.state + state);  // of raw variances, whole vectors are read
        widest = widest > inputs ? widest : inputs;
        for (int l = 1; l < model.layers; l++) {
            hidden += padded(model.widths[l]);
            widest = widest > padded(model.widths[l]) ? widest : padded(model.widths[l]);
        }
        saved = hidden * model.mixed + state;  // of a row and step: every f'(z), and ε dσ / d raw
    }
    bool last(int layer) const { return layer == model.layers - 1; }
    int in(int layer) const { return model.widths[layer]; }
    int out(int layer) const { return last(layer) ? (model.low ? 2 : 1) * model.state : model.widths[layer + 1]; }
    int columns(int layer) const { return padded(out(layer)); }
    // entries of a row; a first layer's are float32 always, as its inputs have units of their own
    int depth(int layer) const { return layer ? (in(layer) + pair - 1) / pair : in(layer); }

    long packed() const {  // of a member, see `pack`
        long size = model.low ? 2 * state : 0;
        for (int l = 0; l < model.layers; l++) size += (long)(1 + depth(l)) * columns(l);
        return size;
    }
    long packed_transposed() const {
        long size = 0;
        for (int l = 0; l < model.layers; l++) size += (long)out(l) * padded(in(l));
        return size;
    }
    long room() const { return packed() > packed_transposed() ? packed() : packed_transposed(); }
    // what a thread works in: the numbers of the members that it has packed, then those, then its tile
    long scratch() const {
        return padded(model.kept) + model.kept * room() + (long)TILE * (2 * state + inputs + 2 * widest) + widest;
    }
};

// --- weights ---------------------------------------------------------------------------------------------------------

static inline Vec some_of(const float *from, int count) {  // the others 0
    if (count == LANES) return load(from);
    Vec value{};
    memcpy(&value, from, (count > 0 ? count : 0) * sizeof(float));
    return value;
}

static inline Vec every(int stride, const float *from, int count) {  // every stride-th; of more than count, 0
    Ints at;
    for (int n = 0; n < LANES; n++) at[n] = n * stride;
#if LANES == 16
    return (Vec)_mm512_mask_i32gather_ps(__m512{}, count < LANES ? (1u << count) - 1 : 0xffff, (__m512i)at, from, 4);
#else
    Vec value{};
    for (int n = 0; n < LANES && n < count; n++) value[n] = from[at[n]];
    return value;
#endif
}

// A layer of a member: its bias, Z each, and then its matrix in panels.
template <class Number, class Z>
static float *pack(const Shape &shape, int l, int member, float *to, Z *bias) {
    const Model &model = shape.model;
    const int in = shape.in(l), out = shape.out(l), columns = shape.columns(l);
    const float *w = model.weight[l] + (long)member * in * out, *b = model.bias[l] + (long)member * (l ? 1 : model.starts) * out;
    auto left = [&](int column) { return out - column < LANES ? out - column : LANES; };
    for (int j = 0; j < columns; j += LANES) Number::keep(some_of(b + j, left(j)), bias + j);
    to += columns;
    laid_out(columns, [&](int first, int vectors) {
        for (int k = 0; k < in; k += Number::PAIR)
            for (int j = first; j < first + vectors * LANES; j += LANES, to += LANES) {
                const float *row = w + (long)k * out + j;
                store(to, Number::packed(some_of(row, left(j)), k + 1 < in ? some_of(row + out, left(j)) : Vec{}));
            }
    });
    return to;
}

// A member's layers, then low and high.
static void pack_member(const Shape &shape, int member, float *to) {
    const Model &model = shape.model;
    for (int l = 0; l < model.layers; l++)
        to = with(l ? model.precision : FLOAT32, [&](auto number) {
            typedef decltype(number) Number;
            if (shape.last(l)) return pack<Number>(shape, l, member, to, to);
            return pack<Number>(shape, l, member, to, (typename Number::Between *)to);
        });
    for (const float *bound : {model.low, model.high})
        for (int j = 0; bound && j < shape.state; j += LANES, to += LANES)
            store(to, some_of(bound + (long)member * model.state + j, model.state - j < LANES ? model.state - j : LANES));
}

// The transposed matrices, for gradients.
static void pack_transposed(const Shape &shape, int member, float *to) {
    for (int l = 0; l < shape.model.layers; l++) {
        const int in = shape.in(l), out = shape.out(l);
        const float *w = shape.model.weight[l] + (long)member * in * out;
        laid_out(padded(in), [&](int first, int vectors) {
            for (int k = 0; k < out; k++)
                for (int j = first; j < first + vectors * LANES; j += LANES, to += LANES)
                    store(to, every(out, w + (long)j * out + k, in - j));
        });
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
    const int64_t run, problem;
    const int rows;
    Row row[TILE];
    int32_t *const packed;            // (kept): the members whose weights follow; -1 is none yet
    float *const weights;             // (kept, room)
    float *state, *next, *x, *a, *b;  // (rows, padded S), twice; (rows, padded inputs); (rows, widest), twice
    float *start;                     // (widest): where the sums of the first layer start, if that is the problem's own

    // Rows first, first + 1, … of a run: candidates of one particle, then of the next that meets the same members.
    Tile(const Model &model, const Job &job, int64_t run, int64_t first, int rows, float *scratch)
        : model(model), job(job), shape(model), run(run), problem(first % job.rows / job.candidates), rows(rows),
          packed((int32_t *)scratch), weights(scratch + padded(model.kept)) {
        state = weights + model.kept * shape.room();
        next = state + TILE * shape.state;
        x = next + TILE * shape.state;
        a = x + TILE * shape.inputs;
        b = a + TILE * shape.widest;
        start = b + TILE * shape.widest;
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

    // Its weights, packed by this thread in this call at the latest now: near to its core, and forgotten after the call.
    template <class Pack>
    const float *packed_by(Pack pack, int member) {
        const int slot = model.kept > 1 ? member : 0;
        float *to = weights + slot * shape.room();
        if (packed[slot] != member) pack(shape, member, to);
        packed[slot] = member;
        return to;
    }

    void rollout() {
        for (int i = 0; i < rows; i++) memcpy(state + i * shape.state, row[i].start, model.state * sizeof(float));
        for (int64_t t = 0; t < job.horizon; t++) {
            for (int i = 0; i < rows; i++) {
                const float *s = state + i * shape.state;
                see(s, row[i].actions + t * model.action, x + i * shape.inputs);
                for (int j = 0; j < model.state; j++) next[i * shape.state + j] = s[j] * model.relative[j];
            }
            for (int k = 0; k < model.mixed; k++) {
                const float *out = job.saved ? network<true, Float32>(t, k) : with(model.precision, [&](auto number) {
                    return network<false, decltype(number)>(t, k);
                });
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

    // What the sums of the first layer start from.
    const float *begun(int member, const float *bias) {
        if (model.starts == 1) return bias;
        const int width = shape.out(0);
        memcpy(start, model.bias[0] + (member * (long)model.starts + problem) * width, width * sizeof(float));
        return start;
    }

    // The inputs through one member: (rows, widest), of which the first are means and raw variances.
    template <bool SAVE, class Number>
    const float *network(int64_t t, int k) {
        const float *bias = packed_by(pack_member, member(t, k));
        const float *from = x;
        float *to = a, *spare = b;
        long stride = shape.inputs, offset = (long)k * shape.hidden;
        for (int l = 0; l < model.layers; l++) {
            const float *matrix = bias + shape.columns(l);
            auto activate = [&](int m, int some, int column, int columns, const auto *z) {
                with_activation(model, [&](auto f) {
                    for (int i = m; i < m + some; i++, z += columns) {
                        float *y = to + i * (long)shape.widest;
                        if constexpr (SAVE) {
                            float *slopes = row[i].saved + t * shape.saved + offset + column;
                            for (int j = 0; j < columns; j += LANES) {
                                Vec slope;
                                store(y + column + j, f(load(z + j), slope));
                                store(slopes + j, slope);
                            }
                        } else {
                            Number::activate(f, z, columns, y + column / Number::PAIR);
                        }
                    }
                });
            };
            auto keep = [&](int m, int some, int column, int columns, const float *z) {
                for (int i = 0; i < some; i++, z += columns)
                    memcpy(to + (m + i) * (long)shape.widest + column, z, columns * sizeof(float));
            };
            auto pass = [&](const auto *entries, const auto *bias, auto sink) {
                multiply(entries, stride, rows, shape.depth(l), shape.columns(l), matrix, bias, sink);
            };
            if (l && shape.last(l))
                pass((const Number *)from, bias, keep);
            else if (l)
                pass((const Number *)from, (const typename Number::Between *)bias, activate);
            else if (shape.last(l))
                pass((const Float32 *)from, begun(member(t, k), bias), keep);
            else
                pass((const Float32 *)from, begun(member(t, k), bias), activate);
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
        const float *low = packed_by(pack_member, member) + shape.packed() - 2 * shape.state, *high = low + shape.state;
        float *rate = job.saved ? row[i].saved + t * shape.saved + shape.hidden : nullptr;
        const Normals normals(job.seed);
        for (int j = 0; j < model.state; j += LANES) {
            const int some = model.state - j < LANES ? model.state - j : LANES;
            Vec epsilon{}, std, s = sigmoid(load(out + model.state + j)), variance = load(low + j) + load(high + j) * s;
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
        const float *matrix = packed_by(pack_transposed, member(t, k)) + shape.packed_transposed();
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
            multiply((const Float32 *)from, (long)shape.widest, rows, shape.out(l), columns, matrix, (const float *)nullptr, slope);
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
