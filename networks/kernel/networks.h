// The forward and backward passes of rows through networks. Included after products.h.

// Calls work(a number of the type asked for), or of Float32 if these instructions do not have it. Tiles of bfloat16 are
// the fastest; without tiles, float16 is (see docs/performance).
template <class Work>
static inline auto with(Precision asked, Work work) {
#ifdef WITH_TILES
    if (asked == BFLOAT16X3) return work(Halves{});
    if (asked == FASTEST) return work(BFloat16{});
#endif
#ifdef WITH_FLOAT16
    if (asked == FLOAT16 || asked == FASTEST) return work(Float16{});
#endif
#ifdef WITH_BFLOAT16
    if (asked == BFLOAT16 || asked == FASTEST) return work(BFloat16{});
#endif
    (void)asked;
    return work(Float32{});
}

// The layout of a layer's numbers in its rows.
struct Kind {
    int pair, parts, deep;

    template <class Number>
    static Kind of(Number) {
        return {Number::PAIR, Number::PARTS, Number::DEEP};
    }
    // entries of each part in a row
    int entries(int numbers) const { return ((numbers + pair - 1) / pair + deep - 1) / deep * deep; }
};

// The layout of the numbers of networks.
struct Shape {
    const Networks &networks;
    const long beside;  // floats stored after a member's layers
    Kind first, others;
    int inputs, hidden, widest;

    // most: the most columns read from an output
    explicit Shape(const Networks &networks, int most = 0, long beside = 0)
        : networks(networks), beside(beside), hidden(0) {
        first = with(networks.precision, [](auto number) { return Kind::of(typename decltype(number)::First{}); });
        others = with(networks.precision, [](auto number) { return Kind::of(number); });
        inputs = padded(in(0));
        widest = most > networks.outputs ? padded(most) : padded(networks.outputs);
        for (int l = 0; l < networks.layers; l++) {
            if (l) hidden += slopes(l - 1);
            const int wide = first.deep > 1 ? 2 * padded((in(l) + 1) / 2) : padded(in(l));
            widest = widest > wide ? widest : wide;
        }
        widest += widest % (first.deep > 1 ? 2 * LANES : LANES);  // half of it must be whole vectors
    }
    bool last(int layer) const { return layer == networks.layers - 1; }
    int in(int layer) const { return networks.widths[layer]; }
    int out(int layer) const { return last(layer) ? networks.outputs : networks.widths[layer + 1]; }
    int columns(int layer) const { return padded(out(layer)); }
    bool normalised(int layer) const { return layer < networks.normalised; }
    // numbers of a hidden layer's row for the backward pass: f'(z); in a normalised layer z̄ and 1 / std
    int slopes(int layer) const { return columns(layer) + (normalised(layer) ? LANES : 0); }
    const Kind &kind(int layer) const { return layer ? others : first; }
    int depth(int layer) const { return kind(layer).entries(in(layer)); }
    long matrix(int layer) const { return (long)depth(layer) * kind(layer).parts * columns(layer); }

    long packed() const {  // floats of a member, see `pack`
        long size = beside;
        for (int l = 0; l < networks.layers; l++) size += columns(l) + matrix(l);
        return size;
    }
    long packed_transposed() const {
        long size = 0;
        for (int l = 0; l < networks.layers; l++) size += (long)out(l) * padded(in(l));
        return size;
    }
    long room() const { return packed() > packed_transposed() ? packed() : packed_transposed(); }
    long tile() const { return (long)TILE * (inputs + 2 * widest) + widest; }
    // the scratch floats of a thread: the index of its packed member, the member's weights, its tile
    long scratch() const { return LANES + room() + tile(); }
};

// --- weights ---------------------------------------------------------------------------------------------------------

static inline Vec every(int stride, const float *from, int count) {  // every stride-th number; beyond count, 0
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

// A layer of a member: its bias as numbers of type Z, then its matrix in panels.
template <class Number, class Z>
static float *pack_layer(const Shape &shape, int l, int member, float *to, Z *bias) {
    const Networks &networks = shape.networks;
    const int in = shape.in(l), out = shape.out(l), columns = shape.columns(l);
    const float *w = networks.weight[l] + (long)member * in * out;
    const float *b = networks.bias[l] + (long)member * (l ? 1 : networks.starts) * out;
    auto left = [&](int column) { return out - column < LANES ? out - column : LANES; };
    for (int j = 0; j < columns; j += LANES) Number::keep(some_of(b + j, left(j)), bias + j);
    to += columns;
    laid_out(columns, [&](int first, int vectors) {
        for (int part = 0; part < Number::PARTS; part++)
            for (int k = 0; k < shape.depth(l) * Number::PAIR; k += Number::PAIR)
                for (int j = first; j < first + vectors * LANES; j += LANES, to += LANES) {
                    auto row = [&](int k) { return k < in ? some_of(w + (long)k * out + j, left(j)) : Vec{}; };
                    store(to, Number::packed(row(k), row(k + 1), part));
                }
    });
    return to;
}

// Packs a member's layers. Returns their end.
static float *pack(const Shape &shape, int member, float *to) {
    for (int l = 0; l < shape.networks.layers; l++)
        to = with(shape.networks.precision, [&](auto number) {
            typedef decltype(number) Number;
            if (l == 0) return pack_layer<typename Number::First>(shape, l, member, to, to);
            if (shape.last(l)) return pack_layer<Number>(shape, l, member, to, to);
            return pack_layer<Number>(shape, l, member, to, (typename Number::Between *)to);
        });
    return to;
}

// Packs the transposed matrices, for gradients.
static void pack_transposed(const Shape &shape, int member, float *to) {
    for (int l = 0; l < shape.networks.layers; l++) {
        const int in = shape.in(l), out = shape.out(l);
        const float *w = shape.networks.weight[l] + (long)member * in * out;
        laid_out(padded(in), [&](int first, int vectors) {
            for (int k = 0; k < out; k++)
                for (int j = first; j < first + vectors * LANES; j += LANES, to += LANES)
                    store(to, every(out, w + (long)j * out + k, in - j));
        });
    }
}

// The member whose weights a thread has packed in this call. They are near its core, and dropped after the call.
struct Packed {
    const Shape &shape;
    int32_t &number;       // the member; -1 is none
    float *const weights;  // (room)

    Packed(const Shape &shape, float *scratch) : shape(shape), number(*(int32_t *)scratch), weights(scratch + LANES) {}

    float *end() const { return weights + shape.room(); }

    template <class Pack>
    const float *of(Pack pack, int member) {
        if (number != member) pack(member, weights);
        number = member;
        return weights;
    }
};

// --- layers ----------------------------------------------------------------------------------------------------------

// A tile of rows between the layers.
struct Layers {
    const Shape &shape;
    const int rows;
    float *x, *a, *b;  // (rows, padded inputs); (rows, widest), twice
    float *start;      // (widest): the first values of the first layer's sums, if each problem has its own

    Layers(const Shape &shape, int rows, float *tile) : shape(shape), rows(rows), x(tile) {
        a = x + TILE * shape.inputs;
        b = a + TILE * shape.widest;
        start = b + TILE * shape.widest;
    }

    // The first values of the first layer's sums, for a problem.
    const float *begun(int member, int64_t problem, const float *bias) {
        const Networks &networks = shape.networks;
        if (networks.starts == 1) return bias;
        const int width = shape.out(0);
        const float *own = networks.bias[0] + (member * (long)networks.starts + problem) * width;
        for (int j = 0; j < width; j += LANES) store(start + j, some_of(own + j, width - j < LANES ? width - j : LANES));
        return start;
    }

    // The inputs of the activation for some columns of z̄: gain · z̄ + offset.
    Vec shifted(Vec normal, int l, int member, int column) const {
        const int out = shape.out(l);
        const Vec gain = of_layer(shape.networks.gain[l] + (long)member * out, column, out);
        const Vec offset = of_layer(shape.networks.offset[l] + (long)member * out, column, out);
        return normal * gain + offset;
    }

    // A normalised layer's sums in float32 -> y = f(gain · z̄ + offset). normals(row): the place for z̄, if SAVE.
    template <bool SAVE, class Number, class Normals>
    void normalised(int l, int member, float *sums, float *y, Normals normals) const {
        const int columns = shape.columns(l), VECTORS = 2;  // the numbers of an entry
        alignas(64) float z[VECTORS * LANES];
        Moments of[TILE];
        moments(sums, shape.widest, rows, shape.out(l), columns, of);
        with_activation(shape.networks, l, [&](auto f) {
            for (int i = 0; i < rows; i++, sums += shape.widest, y += shape.widest) {
                if constexpr (SAVE) keep_normal(of[i], sums, shape.out(l), columns, normals(i));
                for (int j = 0; j < columns; j += VECTORS * LANES) {
                    const int some = columns - j < VECTORS * LANES ? columns - j : VECTORS * LANES;
                    for (int k = 0; k < some; k += LANES)
                        store(z + k, shifted(of[i].normal(load(sums + j + k)), l, member, j + k));
                    Number::activate(f, z, some, y + j / Number::PAIR, shape.widest / 2);
                }
            }
        });
    }

    // The gradient of a normalised layer's y -> the gradient of its sums, in place.
    template <class Normals>
    void normalised_back(int l, int member, float *rates, Normals normals) const {
        const int out = shape.out(l), columns = shape.columns(l);
        const float *gain = shape.networks.gain[l] + (long)member * out;
        with_activation(shape.networks, l, [&](auto f) {
            for (int i = 0; i < rows; i++) {
                float *rate = rates + i * (long)shape.widest;
                const float *normal = normals(i);
                for (int j = 0; j < columns; j += LANES) {
                    Vec slope;
                    f(shifted(load(normal + j), l, member, j), slope);
                    store(rate + j, load(rate + j) * slope * of_layer(gain, j, out));
                }
                normalise_back(rate, normal, out, columns);
            }
        });
    }

    // The forward pass of x through a member's packed layers -> (rows, widest); the first columns are its outputs.
    // slopes(row): the place for the numbers that `backward` needs, if SAVE.
    template <bool SAVE, class Number, class Slopes>
    const float *forward(const float *packed, int member, int64_t problem, Slopes slopes) {
        typedef typename Number::First First;
        const float *bias = packed, *from = x;
        float *to = a, *spare = b;
        long stride = shape.inputs, offset = 0;
#ifdef WITH_TILES
        if constexpr (First::PARTS > 1) {
            split({x, stride}, rows, shape.in(0), spare, shape.widest);
            from = spare;
            stride = shape.widest;
        }
#endif
        for (int l = 0; l < shape.networks.layers; l++) {
            const float *matrix = bias + shape.columns(l);
            auto activate = [&](int m, int some, int column, int columns, const auto *z) {
                if (shape.normalised(l)) {  // the normalisation needs the complete row
                    for (int i = m; i < m + some; i++, z += columns)
                        for (int j = 0; j < columns; j += LANES)
                            store(to + i * (long)shape.widest + column + j, Number::widened(z + j));
                    return;
                }
                with_activation(shape.networks, l, [&](auto f) {
                    for (int i = m; i < m + some; i++, z += columns) {
                        float *y = to + i * (long)shape.widest;
                        if constexpr (SAVE) {
                            float *saved = slopes(i) + offset + column;
                            for (int j = 0; j < columns; j += LANES) {
                                Vec slope;
                                store(y + column + j, f(load(z + j), slope));
                                store(saved + j, slope);
                            }
                        } else {
                            Number::activate(f, z, columns, y + column / Number::PAIR, shape.widest / 2);
                        }
                    }
                });
            };
            auto keep = [&](int m, int some, int column, int columns, const float *z) {
                for (int i = 0; i < some; i++, z += columns)
                    memcpy(to + (m + i) * (long)shape.widest + column, z, columns * sizeof(float));
            };
            auto pass = [&](const auto *entries, const auto *bias, auto sink) {
                multiply(along(entries, stride), rows, shape.depth(l), shape.out(l), matrix, bias, sink);
            };
            if (l && shape.last(l))
                pass((const Number *)from, bias, keep);
            else if (l)
                pass((const Number *)from, (const typename Number::Between *)bias, activate);
            else if (shape.last(l))
                pass((const First *)from, begun(member, problem, bias), keep);
            else
                pass((const First *)from, begun(member, problem, bias), activate);
            if (shape.normalised(l)) {
                normalised<SAVE, Number>(l, member, to, spare, [&](int i) { return slopes(i) + offset; });
                std::swap(to, spare);
            }
            if (Number::DEEP > 1 && !shape.last(l) && shape.columns(l) % (2 * LANES))
                for (int i = 0; i < rows; i++)
                    for (int part = 0; part < Number::PARTS; part++)
                        memset(to + i * shape.widest + (part * shape.widest + shape.columns(l)) / 2, 0, LANES / 2 * sizeof(float));
            bias = matrix + shape.matrix(l);
            offset += shape.slopes(l);
            stride = shape.widest;
            from = to;
            to = spare;
            spare = (float *)from;
        }
        return from;
    }

    // The gradient of the outputs, in a, through a member's transposed matrices -> the gradient of x (rows, widest).
    template <class Slopes>
    const float *backward(const float *transposed, int member, Slopes slopes) {
        float *from = a, *to = b;
        const float *matrix = transposed + shape.packed_transposed();
        long offset = shape.hidden;
        for (int l = shape.networks.layers - 1; l >= 0; l--) {
            const int columns = padded(shape.in(l));
            matrix -= (long)shape.out(l) * columns;
            if (l > 0) offset -= shape.slopes(l - 1);
            const bool plain = l > 0 && !shape.normalised(l - 1), after = l > 0 && !plain;
            auto slope = [&](int m, int some, int column, int wide, const float *z) {
                for (int i = m; i < m + some; i++, z += wide) {
                    float *y = to + i * (long)shape.widest + column;
                    const float *saved = slopes(i) + offset + column;
                    for (int j = 0; j < wide; j += LANES)
                        store(y + j, plain ? load(z + j) * load(saved + j) : load(z + j));
                }
            };
            multiply(along((const Float32 *)from, shape.widest), rows, shape.out(l), shape.in(l), matrix,
                     (const float *)nullptr, slope);
            if (after) normalised_back(l - 1, member, to, [&](int i) { return slopes(i) + offset; });
            float *done = from;
            from = to;
            to = done;
        }
        return from;
    }
};

// --- a pass ----------------------------------------------------------------------------------------------------------

// A pass of a member's rows from `first` on. If problems have their own biases, all rows are of one problem.
static void pass_rows(const Networks &networks, const Pass &pass, int64_t member, int64_t first, int rows,
                      float *scratch) {
    const Shape shape(networks);
    Packed packed(shape, scratch);
    Layers layers(shape, rows, packed.end());
    const int in = shape.in(0), out = networks.outputs;
    const float *inputs = pass.inputs + member * pass.member_stride + first * in;
    for (int i = 0; i < rows; i++) memcpy(layers.x + i * shape.inputs, inputs + (long)i * in, in * sizeof(float));
    const float *weights = packed.of([&](int m, float *to) { pack(shape, m, to); }, (int)member);
    const float *found = with(networks.precision, [&](auto number) {
        return layers.forward<false, decltype(number)>(weights, (int)member, first / pass.problem, [](int) { return (float *)nullptr; });
    });
    float *to = pass.outputs + (member * pass.rows + first) * out;
    for (int i = 0; i < rows; i++) memcpy(to + (long)i * out, found + i * (long)shape.widest, out * sizeof(float));
}
