// What the kernel is given, as networks/native.py and dynamics/native.py hand it over. All arrays are float32 and
// contiguous but where a stride is given. M networks, R rows; of a rollout, whose rows are the candidates of all
// problems, P particles and H steps; S, F, A as in dynamics/ensemble.py.
#pragma once
#include <cstdint>

enum Activation : int32_t { SILU, TANH, LEAKY, ELU };  // ELU is known to those that learn alone
enum Precision : int32_t { FLOAT32, BFLOAT16X3, BFLOAT16, FLOAT16, FASTEST };
enum Feature : int32_t { SAME, SINE, COSINE };

// M networks of one shape, with an activation after every layer but the last; layer normalisation before it in the first.
struct Networks {
    int32_t members, layers, outputs;
    int32_t starts;          // biases of a member's first layer: 1, or one for each problem
    Precision precision;     // of the numbers between the layers, where the instruction set knows it
    int32_t kept;            // members whose weights a thread keeps at a time: 1, or all where they change from row to row
    int32_t normalised;      // so many hidden layers, the first ones, have a layer normalisation before their activation
    float leak;              // slope of LEAKY below 0
    const int32_t *widths;   // (layers): what a layer is given
    const int32_t *activations;  // (layers - 1)
    const float *const *weight, *const *bias;  // a layer's (M, in, out) and (M, out); of the first (M, starts, out)
    const float *const *gain, *const *offset;  // a normalised layer's (M, out)
};

// Rows through networks.
struct Pass {
    int64_t rows, problem;   // rows of every member; rows that share a bias of the first layer
    int64_t member_stride;   // of the inputs: 0 where all members see the same
    const float *inputs;     // (M or 1, R, in)
    float *outputs;          // (M, R, out)
    float *scratch;          // (threads, what `sizes` says)
    int64_t threads;
};

// Networks as a model of the world: what they see of a state, and what they say of the next.
struct Model {
    const Networks *networks;
    int32_t state, action, features;
    int32_t mixed;           // members that a step takes the mean of: 1, or all of them
    const int32_t *entry;    // (F): a feature is this entry of the state,
    const int32_t *kind;     // (F): itself, its sine or its cosine
    const float *relative;   // (S): 1 where the networks predict a change, 0 where they predict the entry
    const float *low, *high;  // (M, S): the variance is low + high σ(raw); null is no variance and no noise
};

// Trajectories through a model.
struct Rollout {
    int64_t rows, candidates, particles, horizon;  // candidates: rows of one problem
    int64_t share;             // particles in a row that meet the same members
    const int32_t *met;        // (P / share, H or 1, mixed): members, by strides
    int64_t met_run, met_step;
    const float *state;        // (rows / candidates, S)
    const float *actions;      // (R, H, A)
    const float *epsilon;      // (P, R or 1, H, S) by strides; null, where there is a variance, is noise from `seed`
    int64_t particle_stride, row_stride, step_stride;
    uint64_t seed;
    float *states;             // (R, P, H, S)
    float *saved;              // (P, R, H, what `sizes` says), for gradients; null is none
    const float *states_grad;  // (R, P, H, S)
    float *actions_grad;       // (P, R, H, A)
    float *state_grad;         // (P, R, S)
    float *scratch;            // (threads, what `sizes` says)
    int64_t threads;
};

// Networks that learn from rows: through them, and back.
struct Learning {
    const Networks *networks;    // float32; how the weights lie is told here
    int32_t linear;              // 1: weights are (out, in), as nn.Linear's
    int64_t members;             // of the networks, the first ones
    int64_t rows, member_stride;  // as in Pass
    const float *inputs;         // (M or 1, R, in)
    float *outputs;              // (M, R, out)
    float *kept;                 // (M, R, what `sizes` says), for gradients, which write on it; null is none
    const float *outputs_grad;   // (M, R, out)
    float *inputs_grad;          // (M, R, in); null is none
    float *const *weight_grad, *const *bias_grad, *const *gain_grad, *const *offset_grad;  // as what they are of; null is none
    float *scratch;              // (threads, what `sizes` says)
    int64_t threads;
};

struct LearningSizes {
    int64_t kept, scratch;  // floats: for a row of a member, and for a thread
};

// Arrays of a module, and a step of all of them.
struct Adam {
    int64_t arrays;
    const int64_t *sizes;           // (arrays)
    float *const *weight, *const *mean, *const *square, *const *count;  // count: of the steps, raised by one
    const float *const *gradient;
    float rate, beta1, beta2, epsilon;  // the rate is divided by 1 - β₁ᵗ
    float unbiased;                 // 1 / √(1 - β₂ᵗ)
    float decay;                    // of the weights, added to the gradient,
    float shrinkage;                // or taken off them, in AdamW
    int64_t threads;
};

struct Follow {
    int64_t arrays;
    const int64_t *sizes;
    float *const *slow;
    const float *const *fast;
    float tau;
    int64_t threads;
};

// Actions that are the tanh of a normal, and back.
struct Squash {
    int64_t rows, actions, mean_stride, std_stride, grad_stride;  // a row of means apart from the next
    float low, high;                        // between which ln of the standard deviation is kept
    const float *mean, *log_std, *noise;    // (R, A); the first two by strides
    float *action, *raw, *density;          // (R, A), (R, A), (R)
    const float *action_grad, *raw_grad, *density_grad;  // null is 0; of the density, `density_rate` in all rows
    float density_rate;
    float *mean_grad, *std_grad;            // (R, A) by a stride: of the mean, and of ln of the standard deviation
};

// Actions that are the tanh of outputs, and back.
struct Point {
    int64_t count;
    const float *outputs;
    float *action;
    const float *action_grad;
    float *outputs_grad;
};

// Actions with clipped noise, in the cube [-1, 1]^A.
struct Perturb {
    int64_t count;
    const float *action, *noise;
    float *to;
    float spread, clip;
};

// The rows of two arrays side by side; back, the second one's part of the gradient, summed over members.
struct Beside {
    int64_t members, rows, left, right;  // columns of each
    const float *first, *second;         // (R, left), (R, right)
    float *both;                         // (R, left + right)
    const float *both_grad;              // (M, R, left + right)
    float *second_grad;                  // (R, right)
};

// What critics should say: r + γ (min over members - α ln π), without a future for what terminated.
struct Target {
    int64_t members, rows;
    const float *values, *reward, *density;  // (M, R), (R), (R): null is an α of 0
    const bool *terminated;                  // (R)
    float discount, alpha;
    float *target;                           // (R)
};

// What a policy descends: the mean of α ln π - min over members.
struct Climb {
    int64_t members, rows;
    const float *values, *density;  // (M, R), (R): null is an α of 0
    float alpha;
    float *loss, *rates;            // rates: (M, R), of the values
};

// Values of members towards what they should be.
struct Regression {
    int64_t members, rows;
    const float *values, *target;  // (M, R), (R)
    float *loss, *mean, *rates;    // Σ over members of the mean of (value - target)²; the mean of all values; (M, R): the gradient
};

// Rows of several columns at once.
struct Gather {
    int64_t columns, rows;
    const int64_t *bytes, *index;  // (columns): of a row; (rows)
    const char *const *from;
    char *const *to;
};

struct Sizes {
    int64_t saved, scratch;  // floats: for a row's step, and for a thread
};

// A function of the library and what it is given; many are one call.
struct Step {
    void (*function)(const void *);
    const void *given;
};
