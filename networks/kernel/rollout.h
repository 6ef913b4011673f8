// What a rollout is made of, as networks/native.py hands it over. All arrays are float32 and contiguous but where a
// stride is given. R rows are candidates of all problems, P particles, H steps; S, F, A as in dynamics/ensemble.py.
#pragma once
#include <cstdint>

enum Activation : int32_t { SILU, TANH, LEAKY };
enum Precision : int32_t { FLOAT32, BFLOAT16, FLOAT16, FASTEST };
enum Feature : int32_t { SAME, SINE, COSINE };

struct Model {
    int32_t members, layers, state, action, features, activation;
    int32_t mixed;           // members that a step takes the mean of: 1, or all of them
    int32_t starts;          // biases of a member's first layer: 1, or one for each problem
    Precision precision;     // of the numbers between a network's layers, where the instruction set knows it
    int32_t kept;            // members whose weights a thread keeps at a time: 1, or all where they change with time
    float leak;              // slope of LEAKY below 0
    const int32_t *widths;   // (layers): what a layer is given
    const int32_t *entry;    // (F): a feature is this entry of the state,
    const int32_t *kind;     // (F): itself, its sine or its cosine
    const float *relative;   // (S): 1 where the networks predict a change, 0 where they predict the entry
    const float *low, *high;  // (members, S): the variance is low + high σ(raw); null is no variance and no noise
    const float *const *weight, *const *bias;  // a layer's (members, in, out) and (members, out); (members, starts, out)
};

struct Job {
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

struct Sizes {
    int64_t saved, scratch;  // floats: for a row's step, and for a thread
};
