// kernel.cpp includes this once for each instruction set, in its own namespace.
#include "products.h"
#ifdef WITH_TILES
#include "halves.h"
#endif
#include "normalisation.h"
#include "networks.h"
#include "rollout.h"
#include "learning.h"
#include "descent.h"
#include "heads.h"

static void network_sizes(const Networks &networks, Sizes &sizes) { sizes = {0, Shape(networks).scratch(), 0, 0}; }

static void sizes(const Model &model, Sizes &sizes) {
    Trajectory shape(model);
    sizes = {shape.saved, shape.scratch(), shape.packed(), shape.packed_transposed()};
}

static void forward(const Model &model, const Rollout &rollout, int64_t run, int64_t first, int rows, Steps steps,
                    float *scratch) {
    Tile(model, rollout, run, first, rows, scratch).forward(steps);
}

static void backward(const Model &model, const Rollout &rollout, int64_t run, int64_t first, int rows, Steps steps,
                     float *scratch) {
    Tile(model, rollout, run, first, rows, scratch).backward(steps);
}

static void normals(uint64_t seed, int64_t count, float *to) {
    const Normals numbers(seed);
    float some[LANES];
    for (int64_t i = 0; i < count; i += LANES) {
        store(some, numbers.from((uint32_t)i));
        memcpy(to + i, some, (count - i < LANES ? count - i : LANES) * sizeof(float));
    }
}

static const Kernel kernel = {NAME, network_sizes, pass_rows, sizes, pack_member, pack_member_back, forward, backward, normals,
                              learning_sizes, learn_forward, learn_back, learn_normalised, learn_parts, learn_weights,
                              learn_gains, adam, follow, squash, squash_back, regression, point, point_back, perturb, beside,
                              beside_back, target, climb};
