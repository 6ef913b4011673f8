// A whole rollout in one launch, on GPUs with tensor cores for bfloat16 (compute capability 8.0 or newer).
//
// A block keeps one member's weights in shared memory and steps ROWS trajectories of that member through time. Each warp
// computes 16 columns of every layer. Products are of bfloat16 and are added in float32. The first layer's inputs and
// weights are sums of two bfloat16 numbers, and it has three of four products (16 significant bits).
//
// dynamics/cuda_rollout.py compiles this file for one shape. It defines
//   STATE, ACTION, FEATURES   sizes of a state, an action and the networks' view of a state
//   LAYERS, WIDTH, OUTPUTS    hidden layers, their width, and outputs: STATE, or 2 · STATE with a variance
//   ACTIVATIONS, LEAK         initialiser of LAYERS numbers, and the slope below 0, as in interface.h
//   NORMALISED                number of first hidden layers with a layer normalisation
//   TILES                     rows of a block, in sixteens
//   KINDS, ENTRIES            initialisers of FEATURES numbers, as in interface.h
// A test compiles it for the CPU, with functions of its own in place of those in "the machine".

#define LANES 32
#define WARPS ((WIDTH + 15) / 16)
#define THREADS (WARPS * LANES)
#define ROWS (TILES * 16)
#define INPUTS (FEATURES + ACTION)
#define DEEP WARPS                            // sixteens of a hidden layer's inputs
#define DEEP_FIRST ((3 * INPUTS + 15) / 16)   // of the first layer's: high parts, low parts, high parts again
#define EMPTY (16 * DEEP_FIRST - 3 * INPUTS)   // places of the first layer's inputs that none has
#define BLOCKS_LAST ((OUTPUTS + 15) / 16)     // sixteens of outputs, which lie as float32 where inputs lay
#define LARGER(a, b) ((a) > (b) ? (a) : (b))
#define DEEPEST LARGER(LARGER(DEEP, DEEP_FIRST), 2 * BLOCKS_LAST)
#define PARTS(count) (((count) + THREADS - 1) / THREADS)  // how many of `count` things a thread has
#define HAS_VARIANCE (OUTPUTS > STATE)

// --- the machine -----------------------------------------------------------------------------------------------------

#ifndef ON_CPU
typedef unsigned int Word;  // two bfloat16 numbers, the first in the low half

struct alignas(16) Words {
    Word word[4];
};

__device__ inline void synchronise() { __syncthreads(); }

__device__ inline float of_lane(float x, int lane) { return __shfl_sync(0xffffffffu, x, lane); }

__device__ inline Word pair(float low, float high) {
    Word both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}

__device__ inline float fast_tanh(float x) {
    float y;
    asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// sum (16, 8) += a (16, 16) · b (16, 8), spread over a warp's lanes as PTX defines it for mma.m16n8k16.
__device__ inline void multiply(float *sum, const Words &a, Word b0, Word b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(a.word[0]), "r"(a.word[1]), "r"(a.word[2]), "r"(a.word[3]), "r"(b0), "r"(b1));
}

extern __shared__ __align__(16) char shared[];
#endif

// --- arguments -------------------------------------------------------------------------------------------------------

struct Layer {
    const float *weight, *bias, *gain, *offset;  // (M, in, out), (M, out), and a normalised layer's (M, out) twice
};

struct Arguments {
    Layer layers[LAYERS + 1];
    const float *relative;               // (S): 1 if the networks predict a change, 0 if they predict the entry
    const float *low, *high;             // (M, S): the variance is low + high σ(raw)
    const float *state, *actions;        // (problems, S), (R, H, A)
    const float *epsilon;                // (P, R or 1, H, S) by strides
    float *states;                       // (R, P, H, S)
    long long particle_stride, row_stride, step_stride;
    int rows, candidates, particles, horizon, share;  // candidates: rows of a problem; share: particles of a member
};

// Shared memory, in order. A hidden layer reads one of `between` and writes the other.
struct Memory {
    Words weights[LARGER(LAYERS - 1, 1)][DEEP][WARPS][LANES];
    Words last[DEEP][BLOCKS_LAST][LANES];
    Words between[2][TILES][DEEPEST][LANES];
#if NORMALISED
    float sums[WARPS][ROWS][2];          // of a warp's columns: Σ z and Σ z²
#endif
    float now[ROWS][STATE];
};

// --- numbers of two halves -------------------------------------------------------------------------------------------

__device__ inline float low_of(Word both) { return __uint_as_float(both << 16); }

__device__ inline float rounded(float x) { return low_of(pair(x, 0.0f)); }

// The number at an input's place: its high part, or what the high part leaves.
__device__ inline float part_of(float x, bool high) { return high ? rounded(x) : x - rounded(x); }

// A weight of the first layer at row k of its three blocks: high, high, low.
__device__ inline float first_weight(const float *weight, int k, int column) {
    const int block = k / INPUTS, input = k % INPUTS;
    return block > 2 || column >= WIDTH ? 0.0f : part_of(weight[input * WIDTH + column], block < 2);
}

__device__ inline float weight_at(const float *weight, int in, int out, int k, int column) {
    return k >= in || column >= out ? 0.0f : weight[k * out + column];
}

// The 16 × 16 numbers of a weight matrix from row 16 · deep and column 16 · block on, as a lane holds them.
template <class At>
__device__ inline Words held_by(int lane, int deep, int block, At at) {
    Words found;
    for (int i = 0; i < 4; i++) {  // two blocks of 8 columns, each with two words
        const int column = 16 * block + 8 * (i / 2) + lane / 4, k = 16 * deep + 8 * (i % 2) + 2 * (lane % 4);
        found.word[i] = pair(at(k, column), at(k + 1, column));
    }
    return found;
}

// --- a layer ---------------------------------------------------------------------------------------------------------

__device__ inline float activated(float x, int activation) {
    const float half = 0.5f * x;
    switch (activation) {
        case 0: return half + half * fast_tanh(half);  // SiLU
        case 1: return fast_tanh(x);
        case 2: return x > 0 ? x : LEAK * x;
        default: return x > 0 ? x : expf(x) - 1;  // ELU
    }
}

// A warp's 16 columns of a layer for all rows of the block. A lane has 8 numbers of each sixteen rows: columns 2t, 2t + 1
// of rows g and g + 8, then the same 8 columns further on, with g = lane / 4 and t = lane % 4.
struct Sums {
    float of[TILES][8];

    __device__ void begin(const float bias[4]) {
        for (int tile = 0; tile < TILES; tile++)
            for (int i = 0; i < 8; i++) of[tile][i] = bias[2 * (i / 4) + i % 2];
    }

    __device__ void add(const Words (*inputs)[DEEPEST][LANES], int deep, int lane, const Words &weights) {
        for (int tile = 0; tile < TILES; tile++) {
            const Words a = inputs[tile][deep][lane];
            multiply(of[tile], a, weights.word[0], weights.word[1]);
            multiply(of[tile] + 4, a, weights.word[2], weights.word[3]);
        }
    }

    // A lane's columns of a layer are its inputs in the next layer.
    __device__ void give(Words (*inputs)[DEEPEST][LANES], int warp, int lane, int activation) const {
        for (int tile = 0; tile < TILES; tile++) {
            float y[8];
            for (int i = 0; i < 8; i++) y[i] = activated(of[tile][i], activation);
            inputs[tile][warp][lane] = {{pair(y[0], y[1]), pair(y[2], y[3]), pair(y[4], y[5]), pair(y[6], y[7])}};
        }
    }
};

__device__ inline int column_of(int lane, int i) { return 8 * (i / 2) + 2 * (lane % 4) + i % 2; }  // of a lane's four

// A lane's four numbers of a row (out) from column 16 · block on; 0 beyond the row.
__device__ inline void four_of(const float *row, int out, int block, int lane, float found[4]) {
    for (int i = 0; i < 4; i++) {
        const int column = 16 * block + column_of(lane, i);
        found[i] = column < out ? row[column] : 0.0f;
    }
}

#if NORMALISED
// gain · (z - mean) / std + offset, over the columns of each row. The columns beyond WIDTH are 0 before and after.
__device__ inline void normalise(Sums &z, Memory &memory, const float gain[4], const float offset[4], int warp, int lane) {
    for (int tile = 0; tile < TILES; tile++)
        for (int below = 0; below < 2; below++) {  // row g, then row g + 8
            float sum = 0, squares = 0;
            for (int i = 0; i < 4; i++) {
                const float x = z.of[tile][4 * (i / 2) + 2 * below + i % 2];
                sum += x;
                squares += x * x;
            }
            for (int apart = 1; apart < 4; apart *= 2) {
                sum += of_lane(sum, lane ^ apart);
                squares += of_lane(squares, lane ^ apart);
            }
            if (lane % 4 == 0) {
                float *to = memory.sums[warp][16 * tile + 8 * below + lane / 4];
                to[0] = sum;
                to[1] = squares;
            }
        }
    synchronise();
    for (int tile = 0; tile < TILES; tile++) {
        float sum = 0, squares = 0;  // a lane adds half of the warps for one of the sixteen rows
        for (int other = lane / 16; other < WARPS; other += 2) {
            sum += memory.sums[other][16 * tile + lane % 16][0];
            squares += memory.sums[other][16 * tile + lane % 16][1];
        }
        sum += of_lane(sum, lane ^ 16);
        squares += of_lane(squares, lane ^ 16);
        const float mean = sum / WIDTH, scale = rsqrtf(fmaxf(squares / WIDTH - mean * mean, 0.0f) + 1e-5f);
        for (int below = 0; below < 2; below++) {
            const float centre = of_lane(mean, lane / 4 + 8 * below), by = of_lane(scale, lane / 4 + 8 * below);
            for (int i = 0; i < 4; i++) {
                float &x = z.of[tile][4 * (i / 2) + 2 * below + i % 2];
                x = gain[i] * (x - centre) * by + offset[i];
            }
        }
    }
}
#endif

// --- a step ----------------------------------------------------------------------------------------------------------

// Writes the k-th number of a row of inputs.
__device__ inline void place(Words (*inputs)[DEEPEST][LANES], int row, int k, float x) {
    const int within = k % 16, lane = 4 * (row % 8) + within % 8 / 2, word = row % 16 / 8 + 2 * (within / 8);
    ((unsigned short *)&inputs[row / 16][k / 16][lane].word[word])[within % 2] = (unsigned short)pair(x, 0.0f);
}

// Writes an input of a row at its three places: high part, low part, high part.
__device__ inline void put(Words (*inputs)[DEEPEST][LANES], int row, int input, float x) {
    for (int block = 0; block < 3; block++) place(inputs, row, block * INPUTS + input, part_of(x, block != 1));
}

__constant__ int kinds[FEATURES] = KINDS, entries[FEATURES] = ENTRIES;

__device__ inline float feature(const float *state, int number) {
    const float x = state[entries[number]];
    return kinds[number] == 0 ? x : kinds[number] == 1 ? sinf(x) : cosf(x);
}

// A trajectory of a member: its particle and candidate.
struct Trajectory {
    int particle, row;
    bool real;  // the last block can have rows beyond the last trajectory; they repeat it and are not stored

    __device__ Trajectory(const Arguments &given, int member, long long number) {
        const long long count = (long long)given.share * given.rows;
        real = number < count;
        number = real ? number : count - 1;
        particle = member * given.share + (int)(number / given.rows);
        row = (int)(number % given.rows);
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, 1) rollout(const Arguments given) {
    Memory &memory = *(Memory *)shared;
    constexpr int activations[LAYERS] = ACTIVATIONS;
    const int thread = threadIdx.x, warp = thread / LANES, lane = thread % LANES, member = blockIdx.y;

    // The member's weights: the first layer's in registers, the others in shared memory.
    Words first[DEEP_FIRST];
    const float *weight = given.layers[0].weight + (long long)member * INPUTS * WIDTH;
#pragma unroll
    for (int deep = 0; deep < DEEP_FIRST; deep++)
        first[deep] = held_by(lane, deep, warp, [&](int k, int n) { return first_weight(weight, k, n); });
    for (int layer = 1; layer < LAYERS; layer++) {
        weight = given.layers[layer].weight + (long long)member * WIDTH * WIDTH;
        for (int deep = 0; deep < DEEP; deep++)
            memory.weights[layer - 1][deep][warp][lane] =
                held_by(lane, deep, warp, [&](int k, int n) { return weight_at(weight, WIDTH, WIDTH, k, n); });
    }
    weight = given.layers[LAYERS].weight + (long long)member * WIDTH * OUTPUTS;
    for (int i = warp; i < DEEP * BLOCKS_LAST; i += WARPS)
        memory.last[i / BLOCKS_LAST][i % BLOCKS_LAST][lane] =
            held_by(lane, i / BLOCKS_LAST, i % BLOCKS_LAST, [&](int k, int n) { return weight_at(weight, WIDTH, OUTPUTS, k, n); });
    float bias[LAYERS][4];
#pragma unroll
    for (int layer = 0; layer < LAYERS; layer++)
        four_of(given.layers[layer].bias + (long long)member * WIDTH, WIDTH, warp, lane, bias[layer]);
#if NORMALISED
    float gain[NORMALISED][4], offset[NORMALISED][4];
#pragma unroll
    for (int layer = 0; layer < NORMALISED; layer++) {
        four_of(given.layers[layer].gain + (long long)member * WIDTH, WIDTH, warp, lane, gain[layer]);
        four_of(given.layers[layer].offset + (long long)member * WIDTH, WIDTH, warp, lane, offset[layer]);
    }
#endif
    const float *last_bias = given.layers[LAYERS].bias + (long long)member * OUTPUTS;
    const float *low = given.low + (long long)member * STATE, *high = given.high + (long long)member * STATE;

    const long long count = (long long)given.share * given.rows;
    for (long long begin = (long long)blockIdx.x * ROWS; begin < count; begin += (long long)gridDim.x * ROWS) {
        // What a thread loads in every step: entries of states with their noise, and actions.
        const float *noise[PARTS(ROWS * STATE)];
        float *to[PARTS(ROWS * STATE)];
#pragma unroll
        for (int i = 0; i < PARTS(ROWS * STATE); i++) {
            const int number = thread + i * THREADS, row = number / STATE, entry = number % STATE;
            const Trajectory one(given, member, begin + row);
            to[i] = nullptr;
            noise[i] = nullptr;
            if (number >= ROWS * STATE) continue;
            memory.now[row][entry] = given.state[(long long)(one.row / given.candidates) * STATE + entry];
            if (one.real) to[i] = given.states + ((long long)one.row * given.particles + one.particle) * given.horizon * STATE + entry;
            if (HAS_VARIANCE) noise[i] = given.epsilon + one.particle * given.particle_stride + one.row * given.row_stride + entry;
        }
        const float *move[PARTS(ROWS * ACTION)];
        float moves[PARTS(ROWS * ACTION)];
#pragma unroll
        for (int i = 0; i < PARTS(ROWS * ACTION); i++) {
            const int number = thread + i * THREADS, row = number / ACTION;
            const Trajectory one(given, member, begin + row);
            move[i] = number < ROWS * ACTION ? given.actions + (long long)one.row * given.horizon * ACTION + number % ACTION : nullptr;
            moves[i] = move[i] ? *move[i] : 0.0f;
        }
        synchronise();

        for (int t = 0; t < given.horizon; t++) {
            // Inputs: the view of the state, and the action.
            for (int i = thread; i < ROWS * FEATURES; i += THREADS)
                put(memory.between[0], i / FEATURES, i % FEATURES, feature(memory.now[i / FEATURES], i % FEATURES));
#if EMPTY  // their weights are 0, but the bits left there can be NaN
            for (int i = thread; i < ROWS * EMPTY; i += THREADS) place(memory.between[0], i / EMPTY, 3 * INPUTS + i % EMPTY, 0);
#endif
            float epsilon[PARTS(ROWS * STATE)];
#pragma unroll
            for (int i = 0; i < PARTS(ROWS * STATE); i++) epsilon[i] = noise[i] ? noise[i][t * given.step_stride] : 0.0f;
#pragma unroll
            for (int i = 0; i < PARTS(ROWS * ACTION); i++) {
                const int number = thread + i * THREADS;
                if (!move[i]) continue;
                put(memory.between[0], number / ACTION, FEATURES + number % ACTION, moves[i]);
                if (t + 1 < given.horizon) moves[i] = move[i][(t + 1) * ACTION];  // asked for a step ahead
            }
            synchronise();

            // The networks.
            Sums z;
#pragma unroll
            for (int layer = 0; layer < LAYERS; layer++) {
                const Words(*inputs)[DEEPEST][LANES] = memory.between[layer % 2];
                z.begin(bias[layer]);
                if (layer == 0) {
#pragma unroll
                    for (int deep = 0; deep < DEEP_FIRST; deep++) z.add(inputs, deep, lane, first[deep]);
                } else {
#pragma unroll
                    for (int deep = 0; deep < DEEP; deep++) z.add(inputs, deep, lane, memory.weights[layer - 1][deep][warp][lane]);
                }
#if NORMALISED
                if (layer < NORMALISED) normalise(z, memory, gain[layer % NORMALISED], offset[layer % NORMALISED], warp, lane);
#endif
                z.give(memory.between[1 - layer % 2], warp, lane, activations[layer]);
                synchronise();
            }
            const Words(*inputs)[DEEPEST][LANES] = memory.between[LAYERS % 2];
            float(*outputs)[16 * BLOCKS_LAST] = (float(*)[16 * BLOCKS_LAST])memory.between[1 - LAYERS % 2];
            for (int block = warp; block < BLOCKS_LAST; block += WARPS) {
                float last[4];
                four_of(last_bias, OUTPUTS, block, lane, last);
                z.begin(last);
#pragma unroll
                for (int deep = 0; deep < DEEP; deep++) z.add(inputs, deep, lane, memory.last[deep][block][lane]);
                for (int tile = 0; tile < TILES; tile++)
                    for (int i = 0; i < 8; i++)
                        outputs[16 * tile + lane / 4 + 8 * (i / 2 % 2)][16 * block + 8 * (i / 4) + 2 * (lane % 4) + i % 2] = z.of[tile][i];
            }
            synchronise();

            // The next state.
#pragma unroll
            for (int i = 0; i < PARTS(ROWS * STATE); i++) {
                const int number = thread + i * THREADS, row = number / STATE, entry = number % STATE;
                if (number >= ROWS * STATE) continue;
                float next = memory.now[row][entry] * given.relative[entry] + outputs[row][entry];
                if (HAS_VARIANCE) {
                    const float share = 1.0f / (1.0f + expf(-outputs[row][STATE + entry]));
                    next += sqrtf(low[entry] + high[entry] * share) * epsilon[i];
                }
                memory.now[row][entry] = next;
                if (to[i]) to[i][t * STATE] = next;
            }
            synchronise();
        }
    }
}
