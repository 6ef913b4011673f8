// Networks that learn: the forward pass of rows, and gradients for rows and weights. Included after networks.h.

static const int FEW = 8;  // with fewer rows, packing nn.Linear's weights takes longer than it saves

// The layout of a row's numbers. Every hidden layer has its y = f(z); the backward pass replaces it by its gradient.
// After y is z, if f' needs it. A normalised layer has z̄ = (z - mean) / std and 1 / std instead of z.
struct Lesson : Shape {
    const Learning &learning;

    explicit Lesson(const Learning &learning) : Shape(*learning.networks), learning(learning) {}

    int beside(int l) const {
        return normalised(l) ? columns(l) + LANES : networks.activations[l] == SILU ? columns(l) : 0;
    }
    long place(int l) const {
        long floats = 0;
        for (int k = 0; k < l; k++) floats += columns(k) + beside(k);
        return floats;
    }
    // An odd number of vectors, so that the same column of several rows has different places in the cache.
    long kept() const { return (place(networks.layers - 1) / LANES | 1) * LANES; }

    // A layer's matrix, and whether products can read it in place, without packing.
    const float *matrix(int l, int64_t member) const { return networks.weight[l] + member * in(l) * out(l); }
    bool direct(int l) const { return learning.linear ? learning.rows < FEW : out(l) % LANES == 0 && !halves(); }
    bool direct_back(int l) const { return learning.linear && in(l) % LANES == 0 && !halves(); }

#ifdef WITH_TILES
    bool halves() const { return networks.precision == BFLOAT16X3 && learning.rows >= FEW; }
    long room() const {
        long back = 0;
        for (int l = 0; l < networks.layers; l++) back += 2L * halved(out(l)) * padded(in(l));
        return back > Shape::room() ? back : Shape::room();
    }
    long packed_matrix(int l) const { return (halves() ? 2L * halved(in(l)) : in(l)) * columns(l); }
    long spare() const { return (long)TILE * widest; }  // floats for a tile of rows as halves
    long panel() const { return halves() ? 2L * halved((int)learning.rows) * (TILE + widest) : learning.rows * SPAN * LANES; }
#else
    bool halves() const { return false; }
    long packed_matrix(int l) const { return (long)in(l) * columns(l); }
    long spare() const { return 0; }
    long panel() const { return learning.rows * SPAN * LANES; }
#endif

    // The scratch floats of a thread: the weights of a member, then a tile or a panel.
    long scratch() const {
        const long tile = spare() + TILE * kept();
        return LANES + room() + (tile > panel() ? tile : panel());
    }
};

// The inputs of a layer, or the gradient of its outputs, for a member's rows from `first` on.
static Rows given_to(const Lesson &lesson, int l, int64_t member, int64_t first) {
    const Learning &learning = lesson.learning;
    const int in = lesson.in(0);
    if (l == 0) return {(float *)learning.inputs + member * learning.member_stride + first * in, in};
    return {learning.kept + (member * learning.rows + first) * lesson.kept() + lesson.place(l - 1), lesson.kept()};
}

static Rows gradient_of(const Lesson &lesson, int l, int64_t member, int64_t first) {
    if (!lesson.last(l)) return given_to(lesson, l + 1, member, first);
    const int out = lesson.out(l);
    return {(float *)lesson.learning.outputs_grad + (member * lesson.learning.rows + first) * out, out};
}

// --- weights ---------------------------------------------------------------------------------------------------------

// A matrix (depth, columns) in panels. transposed: it is stored as (columns, depth).
static float *pack_matrix(const Lesson &lesson, const float *w, int depth, int columns, bool transposed, float *to) {
#ifdef WITH_TILES
    if (lesson.halves() && transposed) return pack_halves_transposed({(float *)w, depth}, depth, columns, to);
    if (lesson.halves()) return pack_halves({(float *)w, columns}, depth, columns, to);
#endif
    laid_out(columns, [&](int first, int vectors) {
        for (int k = 0; k < depth; k++)
            for (int j = first; j < first + vectors * LANES; j += LANES, to += LANES) {
                const int left = columns - j < LANES ? columns - j : LANES;
                store(to, transposed ? every(depth, w + (long)j * depth + k, left) : some_of(w + (long)k * columns + j, left));
            }
    });
    return to;
}

// A member's layers: for each its bias, then its matrix, unless products read it in place.
static void pack_lesson(const Lesson &lesson, int member, float *to) {
    for (int l = 0; l < lesson.networks.layers; l++) {
        const int in = lesson.in(l), out = lesson.out(l), columns = lesson.columns(l);
        const float *bias = lesson.networks.bias[l] + (long)member * out;
        for (int j = 0; j < columns; j++) to[j] = j < out ? bias[j] : 0.0f;
        to += columns;
        if (!lesson.direct(l)) to = pack_matrix(lesson, lesson.matrix(l, member), in, out, lesson.learning.linear, to);
    }
}

// Rows (rows, depth) times a matrix (depth, columns) + bias. packed: the matrix is in panels. spare: see Lesson.
template <class Sink>
static void multiply_with(const Lesson &lesson, Rows a, int rows, int depth, int columns, const float *matrix,
                          const float *bias, Sink sink, bool packed, float *spare) {
#ifdef WITH_TILES
    if (lesson.halves()) {
        const int entries = halved(depth);
        split(a, rows, depth, spare, 2 * entries);
        return multiply(along((const Halves *)spare, 2 * entries), rows, entries, columns, matrix, bias, sink);
    }
#endif
    (void)spare;
    multiply(along((const Float32 *)a.first, a.apart), rows, depth, columns, matrix, bias, sink, packed);
}

// --- forward ---------------------------------------------------------------------------------------------------------

// `multiply` for a matrix that is stored as (columns, depth): every number is a product of two rows.
template <class Sink>
static void multiply_rows(Rows a, int rows, int depth, int columns, const float *matrix, const float *bias, Sink sink) {
    const int TOGETHER = 4;  // sums at a time
    alignas(64) float z[LANES];
    for (int i = 0; i < rows; i++)
        for (int first = 0; first < columns; first += LANES) {
            for (int n = 0; n < LANES; n += TOGETHER) {
                Vec sum[TOGETHER]{};
                for (int k = 0; k < depth; k += LANES) {
                    const Vec x = of_layer(a.first + i * a.apart, k, depth);
                    for (int t = 0; t < TOGETHER && first + n + t < columns; t++)
                        sum[t] += x * of_layer(matrix + (long)(first + n + t) * depth, k, depth);
                }
                for (int t = 0; t < TOGETHER; t++)
                    z[n + t] = first + n + t < columns ? total(sum[t]) + bias[first + n + t] : 0.0f;
            }
            sink(i, 1, first, LANES, z);
        }
}

// z of rows, stored in the place of z̄ -> z̄ and y = f(gain · z̄ + offset).
static void activate_normalised(const Lesson &lesson, int l, int64_t member, float *y, int rows) {
    const long apart = lesson.kept();
    const int out = lesson.out(l), columns = lesson.columns(l);
    const float *gain = lesson.networks.gain[l] + member * out, *offset = lesson.networks.offset[l] + member * out;
    Moments of[TILE];
    moments(y + columns, apart, rows, out, columns, of);
    for (int i = 0; i < rows; i++) keep_normal(of[i], y + columns + i * apart, out, columns, y + columns + i * apart);
    with_activation(lesson.networks, l, [&](auto f) {
        for (int j = 0; j < columns; j += LANES) {
            const Vec scale = of_layer(gain, j, out), shift = of_layer(offset, j, out);
            for (float *row = y + j; row < y + j + rows * apart; row += apart)
                store(row, f(load(row + columns) * scale + shift));
        }
    });
}

// The forward pass of a member's rows from `first` on.
static void learn_forward(const Learning &learning, int64_t member, int64_t first, int rows, float *scratch) {
    const Lesson lesson(learning);
    Packed packed(lesson, scratch);
    const float *bias = packed.of([&](int m, float *to) { pack_lesson(lesson, m, to); }, (int)member);
    const long apart = lesson.kept();
    float *spare = packed.end();
    float *kept = learning.kept ? learning.kept + (member * learning.rows + first) * apart : spare + lesson.spare();
    Rows from = given_to(lesson, 0, member, first);
    for (int l = 0; l < learning.networks->layers; l++) {
        const int in = lesson.in(l), out = lesson.out(l), columns = lesson.columns(l);
        const bool direct = lesson.direct(l);
        const float *matrix = direct ? lesson.matrix(l, member) : bias + columns;
        auto pass = [&](auto sink) {
            if (direct && learning.linear) return multiply_rows(from, rows, in, out, matrix, bias, sink);
            multiply_with(lesson, from, rows, in, out, matrix, bias, sink, !direct, spare);
        };
        auto copied = [&](float *to, long apart, int most) {
            return [=](int m, int some, int column, int wide, const float *z) {
                const int count = most - column < wide ? most - column : wide;
                for (int i = m; i < m + some; i++, z += wide) memcpy(to + i * apart + column, z, count * sizeof(float));
            };
        };
        float *y = kept + lesson.place(l);
        if (lesson.last(l)) {
            pass(copied(learning.outputs + (member * learning.rows + first) * out, out, out));
        } else if (lesson.normalised(l)) {
            pass(copied(y + columns, apart, columns));
            activate_normalised(lesson, l, member, y, rows);
        } else {
            with_activation(lesson.networks, l, [&](auto f) {
                pass([&](int m, int some, int column, int wide, const float *z) {
                    for (int i = m; i < m + some; i++, z += wide)
                        for (int j = 0; j < wide; j += LANES) {
                            float *to = y + i * apart + column + j;
                            store(to, f(load(z + j)));
                            if (f.OF_Z) store(to + columns, load(z + j));
                        }
                });
            });
        }
        bias += columns + (direct ? 0 : lesson.packed_matrix(l));
        from = {y, apart};
    }
}

// --- backward --------------------------------------------------------------------------------------------------------

// The gradient of a layer's z, for a member's rows from `first` on -> the gradient of the z of the layer before it, in
// the place of its y. If that layer is normalised: of the inputs of its activation. In the first layer: of the
// network's inputs.
static void learn_back(const Learning &learning, int l, int64_t member, int64_t first, int rows, float *scratch) {
    const Lesson lesson(learning);
    const int in = lesson.in(l), out = lesson.out(l), columns = padded(in);
    const bool direct = lesson.direct_back(l);
    Packed packed(lesson, scratch);
    const float *matrix = direct ? lesson.matrix(l, member) : packed.of([&](int m, float *to) {
        pack_matrix(lesson, lesson.matrix(l, m), out, in, !learning.linear, to);
    }, (int)member);
    const Rows from = gradient_of(lesson, l, member, first);
    auto pass = [&](auto sink) {
        multiply_with(lesson, from, rows, out, in, matrix, nullptr, sink, !direct, packed.end());
    };
    if (l == 0) {
        float *to = learning.inputs_grad + (member * learning.rows + first) * in;
        return pass([&](int m, int some, int column, int wide, const float *z) {
            const int count = in - column < wide ? in - column : wide;
            for (int i = m; i < m + some; i++, z += wide) memcpy(to + i * in + column, z, count * sizeof(float));
        });
    }
    const Rows to = given_to(lesson, l, member, first);
    const bool normalised = lesson.normalised(l - 1);
    const float *gain = normalised ? lesson.networks.gain[l - 1] + member * in : nullptr;
    const float *offset = normalised ? lesson.networks.offset[l - 1] + member * in : nullptr;
    with_activation(lesson.networks, l - 1, [&](auto f) {
        pass([&](int m, int some, int column, int wide, const float *z) {
            for (int i = m; i < m + some; i++, z += wide)
                for (int j = column; j < column + wide; j += LANES) {
                    float *y = to.first + i * to.apart + j;
                    Vec asked{};
                    if (f.OF_Z) asked = load(y + columns);
                    if (f.OF_Z && normalised) asked = asked * of_layer(gain, j, in) + of_layer(offset, j, in);
                    store(y, load(z + j - column) * f.slope(load(y), asked));
                }
        });
    });
}

// In a normalised layer: the gradient of the activation's inputs, through gain and normalisation -> the gradient of z.
static void learn_normalised(const Learning &learning, int l, int64_t member, int64_t first, int rows, float *) {
    const Lesson lesson(learning);
    const int out = lesson.out(l), columns = lesson.columns(l);
    const float *gain = lesson.networks.gain[l] + member * out;
    const Rows of = gradient_of(lesson, l, member, first);
    for (int i = 0; i < rows; i++) {
        float *rate = of.first + i * of.apart, *normal = rate + columns;
        for (int j = 0; j < columns; j += LANES) store(rate + j, load(rate + j) * of_layer(gain, j, out));
        normalise_back(rate, normal, out, columns);
    }
}

// --- weights' gradients ----------------------------------------------------------------------------------------------

#ifdef WITH_TILES
// `weigh` for halves: the rows first, …, end - 1 of the product.
static void weigh_halves(Rows left, int first, int end, Rows right, int b, int rows, float *panels, float *to) {
    float *some_rows = pack_halves(right, rows, b, panels);
    const int entries = halved(rows);
    for (int m = first; m < end; m += TILE) {
        const int some = end - m < TILE ? end - m : TILE;
        for (int i = 0; i < some; i += LANES)
            split_columns(left, m + i, some - i < LANES ? some - i : LANES, rows, some_rows + i * 2L * entries, 2 * entries);
        multiply(along((const Halves *)some_rows, 2 * entries), some, entries, padded(b), panels, (const float *)nullptr,
                 [&](int i, int rows, int column, int wide, const float *z) {
            const int count = b - column < wide ? b - column : wide;
            for (int k = i; k < i + rows; k++, z += wide) memcpy(to + (long)(m + k) * b + column, z, count * sizeof(float));
        });
    }
}
#endif

// Left factor (R, a) and right factor (R, b) -> `vectors` vectors of their product (a, b), from a column on.
static void weigh(Rows left, int a, Rows right, int b, int column, int vectors, int64_t rows, float *panel, float *to) {
    const int wide = vectors * LANES, count = b - column < wide ? b - column : wide;
    const bool half = count <= wide - LANES / 2;
    for (int64_t r = 0; r < rows; r++)
        for (int j = 0; j < wide; j += LANES)
            store(panel + r * wide + j, of_layer(right.first + r * right.apart, column + j, b));
    alignas(64) float z[(ROWS * SPAN + 1) * LANES];
    const int blocks = (a + ROWS - 1) / ROWS;
    for (int i = 0; i < blocks; i++) {
        const int m = a * i / blocks, some = a * (i + 1) / blocks - m;
        const Across<Float32> across{(const Float32 *)left.first + m, left.apart};
        block(some, vectors, across, (int)rows, panel, 0L, half, (const float *)nullptr, z);
        for (int k = 0; k < some; k++) memcpy(to + (long)(m + k) * b + column, z + k * wide, count * sizeof(float));
    }
}

// The sum over rows of x (R, columns). If by > 0: of x times the number `by` floats after it.
static void summed(Rows x, long by, int64_t rows, int columns, float *to) {
    for (int j = 0; j < columns; j += LANES) {
        Vec sum{};
        for (float *row = x.first; row < x.first + rows * x.apart; row += x.apart)
            sum += by ? of_layer(row, j, columns) * load(row + by + j) : of_layer(row, j, columns);
        memcpy(to + j, &sum, (columns - j < LANES ? columns - j : LANES) * sizeof(float));
    }
}

// The number of parts of a layer's weights. A part is a panel; the first part includes the biases.
static int64_t learn_parts(const Learning &learning, int l) {
    const Lesson lesson(learning);
    if (lesson.halves()) return learning.members > 1 ? 1 : 2;  // each part packs all panels itself
    return Panels(learning.linear ? lesson.in(l) : lesson.out(l)).count;
}

static void learn_weights(const Learning &learning, int l, int64_t member, int64_t part, float *scratch) {
    const Lesson lesson(learning);
    const int in = lesson.in(l), out = lesson.out(l);
    const Rows x = given_to(lesson, l, member, 0), rate = gradient_of(lesson, l, member, 0);
    float *to = learning.weight_grad[l] + member * in * out;
    if (part == 0) summed(rate, 0, learning.rows, out, learning.bias_grad[l] + member * out);
#ifdef WITH_TILES
    if (lesson.halves()) {
        const int a = learning.linear ? out : in, parts = (int)learn_parts(learning, l);
        const int from = a * (int)part / parts, end = a * ((int)part + 1) / parts;
        if (learning.linear) return weigh_halves(rate, from, end, x, in, (int)learning.rows, scratch, to);
        return weigh_halves(x, from, end, rate, out, (int)learning.rows, scratch, to);
    }
#endif
    int64_t number = 0;
    laid_out(learning.linear ? in : out, [&](int column, int vectors) {
        if (number++ != part) return;
        if (learning.linear)
            weigh(rate, out, x, in, column, vectors, learning.rows, scratch, to);
        else
            weigh(x, in, rate, out, column, vectors, learning.rows, scratch, to);
    });
}

// The gradients of gain and offset of a normalised layer. It must run before `learn_normalised`.
static void learn_gains(const Learning &learning, int l, int64_t member) {
    const Lesson lesson(learning);
    const int out = lesson.out(l);
    const Rows rate = gradient_of(lesson, l, member, 0);
    summed(rate, 0, learning.rows, out, learning.offset_grad[l] + member * out);
    summed(rate, lesson.columns(l), learning.rows, out, learning.gain_grad[l] + member * out);
}

static void learning_sizes(const Learning &learning, LearningSizes &sizes) {
    const Lesson lesson(learning);
    sizes = {lesson.kept(), lesson.scratch()};
}
