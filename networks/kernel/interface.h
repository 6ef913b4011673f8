// The arguments of the kernel, as networks/ and dynamics/native_rollout.py pass them. All arrays are float32. They are
// contiguous unless a stride is given. M: networks, R: rows. In a rollout, rows are the candidates of all problems,
// P: particles, H: steps; S, F and A are as in dynamics/ensemble.py.
#pragma once
#include <cstdint>

enum Activation : int32_t { SILU, TANH, LEAKY, ELU };
enum Precision : int32_t { FLOAT32, BFLOAT16X3, BFLOAT16, FLOAT16, FASTEST };
enum Feature : int32_t { SAME, SINE, COSINE };

// M networks of one shape. Every layer but the last has an activation; the first ones can have a layer normalisation.
struct Networks {
    int32_t members, layers, outputs;
    int32_t starts;          // biases of a member's first layer: 1, or one for each problem
    Precision precision;     // of the numbers between the layers, if the instruction set has it
    int32_t normalised;      // number of first hidden layers with a layer normalisation before their activation
    float leak;              // slope of LEAKY below 0
    const int32_t *widths;   // (layers): inputs of a layer
    const int32_t *activations;  // (layers - 1)
    const float *const *weight, *const *bias;  // a layer's (M, in, out), and (M, out) or (M, starts, out) in the first
    const float *const *gain, *const *offset;  // a normalised layer's (M, out)
};

// Rows through networks.
struct Pass {
    int64_t rows, problem;   // rows of every member; rows that share a bias of the first layer
    int64_t member_stride;   // of the inputs: 0 if all members get the same
    const float *inputs;     // (M or 1, R, in)
    float *outputs;          // (M, R, out)
    float *scratch;          // (threads, the number in `sizes`)
    int64_t threads;
};

// Networks as a model of the world: their inputs from a state, and the next state from their outputs.
struct Model {
    const Networks *networks;
    int32_t state, action, features;
    int32_t mixed;           // members in the mean of a step: 1, or all
    const int32_t *entry;    // (F): the entry of the state behind a feature
    const int32_t *kind;     // (F): the entry, its sine or its cosine
    const float *relative;   // (S): 1 if the networks predict a change, 0 if they predict the entry
    const float *low, *high;  // (M, S): the variance is low + high σ(raw); null is no variance and no noise
    float *packed, *transposed;  // (M, the numbers in `sizes`): weights in the kernel's order, and transposed for gradients
};

// Policies that act in closed loop: the tanh of a network's outputs, one network for each row.
struct Policies {
    int32_t layers;
    float leak;                  // as in Networks
    const int32_t *widths;       // (layers + 1): the model's features, ..., A
    const int32_t *activations;  // (layers - 1), as in Networks
    int64_t size;                // numbers of a policy
    const float *weights;        // (R, size): weights (in, out) and biases (out) of every layer
    const float *centre, *half;  // (A), of the actions' box
    float *actions;              // (R, P, H, A)
    float *actions_grad;         // (R, P, H, A), overwritten
    float *weights_grad;         // (P, R, size)
};

// Trajectories through a model.
struct Rollout {
    int64_t rows, candidates, particles, horizon;  // candidates: rows of one problem
    int64_t share;             // consecutive particles with the same members
    const int32_t *met;        // (P / share, H or 1, mixed): members, by strides
    int64_t met_run, met_step;
    const float *state;        // (rows / candidates, S)
    const float *actions;      // (R, H, A); null with policies
    const float *epsilon;      // (P, R or 1, H, S) by strides; null with a variance is noise from `seed`
    int64_t particle_stride, row_stride, step_stride;
    uint64_t seed;
    float *states;             // (R, P, H, S)
    float *saved;              // (P, R, H, the number in `sizes`), for gradients; null is none
    const float *states_grad;  // (R, P, H, S)
    float *actions_grad;       // (P, R, H, A); null with policies
    float *state_grad;         // (P, R, S); on the way, the gradient of the state where threads share a tile
    float *scratch;            // (threads, the number in `sizes`)
    int64_t threads;
    const Policies *policies;  // null is none
};

// Networks that learn from rows: forward and backward.
struct Learning {
    const Networks *networks;    // float32; `linear` tells the layout of the weights
    int32_t linear;              // 1: weights are (out, in), like nn.Linear's
    int64_t members;             // number of first networks to compute
    int64_t rows, member_stride;  // as in Pass
    const float *inputs;         // (M or 1, R, in)
    float *outputs;              // (M, R, out)
    float *kept;                 // (M, R, the number in `sizes`), for gradients, which overwrite it; null is none
    const float *outputs_grad;   // (M, R, out)
    float *inputs_grad;          // (M, R, in); null is none
    float *const *weight_grad, *const *bias_grad, *const *gain_grad, *const *offset_grad;  // as the parameters; null is none
    float *scratch;              // (threads, the number in `sizes`)
    int64_t threads;
};

struct LearningSizes {
    int64_t kept, scratch;  // floats for a row of a member, and for a thread
};

// The arrays of a module, and an optimizer step of all.
struct Adam {
    int64_t arrays;
    const int64_t *sizes;           // (arrays)
    float *const *weight, *const *mean, *const *square, *const *count;  // count: number of steps, increased by one
    const float *const *gradient;
    float rate, beta1, beta2, epsilon;  // the rate is divided by 1 - β₁ᵗ
    float unbiased;                 // 1 / √(1 - β₂ᵗ)
    float decay;                    // weight decay, added to the gradient
    float shrinkage;                // or subtracted from the weights, in AdamW
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

// Actions that are the tanh of a normal, and their gradients.
struct Squash {
    int64_t rows, actions, mean_stride, std_stride, grad_stride;  // strides: floats from row to row
    float low, high;                        // bounds of ln of the standard deviation
    const float *mean, *log_std, *noise;    // (R, A); the first two by strides
    float *action, *raw, *density;          // (R, A), (R, A), (R)
    const float *action_grad, *raw_grad, *density_grad;  // null is 0; for the density it is `density_rate` in all rows
    float density_rate;
    float *mean_grad, *std_grad;            // (R, A) by a stride: for the mean, and for ln of the standard deviation
};

// Actions that are the tanh of outputs, and their gradients.
struct Point {
    int64_t count;
    const float *outputs;
    float *action;
    const float *action_grad;
    float *outputs_grad;
};

// Actions plus clipped noise, in the cube [-1, 1]^A.
struct Perturb {
    int64_t count;
    const float *action, *noise;
    float *to;
    float spread, clip;
};

// The rows of two arrays side by side. Backward: the second array's part of the gradient, summed over members.
struct Beside {
    int64_t members, rows, left, right;  // left, right: columns of each array
    const float *first, *second;         // (R, left), (R, right)
    float *both;                         // (R, left + right)
    const float *both_grad;              // (M, R, left + right)
    float *second_grad;                  // (R, right)
};

// Targets of critics: r + γ (min over members - α ln π); after a termination, r.
struct Target {
    int64_t members, rows;
    const float *values, *reward, *density;  // (M, R), (R), (R): null is an α of 0
    const bool *terminated;                  // (R)
    float discount, alpha;
    float *target;                           // (R)
};

// The loss of a policy: the mean of α ln π - min over members.
struct Climb {
    int64_t members, rows;
    const float *values, *density;  // (M, R), (R): null is an α of 0
    float alpha;
    float *loss, *rates;            // rates: (M, R), the gradient for the values
};

// The squared error of members' values.
struct Regression {
    int64_t members, rows;
    const float *values, *target;  // (M, R), (R)
    float *loss, *mean, *rates;    // Σ over members of the mean (value - target)²; the mean value; the gradient (M, R)
};

// Rows of several columns at once.
struct Gather {
    int64_t columns, rows;
    const int64_t *bytes, *index;  // (columns): bytes of a row; (rows)
    const char *const *from;
    char *const *to;
};

struct Sizes {
    int64_t saved, scratch;       // floats for a step of a row, and for a thread
    int64_t packed, transposed;   // floats of a member of a model
};

// A function of the library and its argument. One call can run many.
struct Step {
    void (*function)(const void *);
    const void *given;
};
