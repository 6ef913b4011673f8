// What rollout.cpp includes once for each instruction set, in a namespace of its own.
#include "products.h"
#include "tile.h"

static void sizes(const Model &model, Sizes &sizes) {
    Shape shape(model);
    sizes = {shape.saved, shape.scratch()};
}

static void forward(const Model &model, const Job &job, int64_t run, int64_t first, int rows, float *scratch) {
    Tile(model, job, run, first, rows, scratch).rollout();
}

static void backward(const Model &model, const Job &job, int64_t run, int64_t first, int rows, float *scratch) {
    Tile(model, job, run, first, rows, scratch).backward();
}

static void normals(uint64_t seed, int64_t count, float *to) {
    const Normals numbers(seed);
    float some[LANES];
    for (int64_t i = 0; i < count; i += LANES) {
        store(some, numbers.from((uint32_t)i));
        memcpy(to + i, some, (count - i < LANES ? count - i : LANES) * sizeof(float));
    }
}

static const Kernel kernel = {NAME, sizes, forward, backward, normals};
