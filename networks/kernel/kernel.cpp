// Batched networks for CPUs, and rollouts through the networks of dynamics/ensemble.py. The weights of a member stay in
// the cache while a tile of rows goes through its layers; in a rollout, through all steps. The interface is plain C. At
// loading, the library chooses the best instruction set of the machine.

#include "interface.h"

#include <atomic>
#include <cmath>
#include <cstring>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

static const int TILE = 64;  // rows that go through the layers together
static const int UNIT = 8;   // rows that stay together
static const int MANY = 16;  // tiles of a thread, of which one more or less does not matter
static const int FEW = 4;    // tiles of a thread, at most, that are cut in time; more of them go to the thread that is free

// --- instruction sets ------------------------------------------------------------------------------------------------

// Some steps of a rollout, or of its gradient, which goes back in time.
struct Steps {
    int64_t first, end;
};

typedef void (*Trajectories)(const Model &, const Rollout &, int64_t run, int64_t first, int rows, Steps, float *scratch);

typedef void (*LayerTile)(const Learning &, int layer, int64_t member, int64_t first, int rows, float *scratch);

struct Kernel {
    const char *name;
    void (*network_sizes)(const Networks &, Sizes &);
    void (*pass)(const Networks &, const Pass &, int64_t member, int64_t first, int rows, float *scratch);
    void (*sizes)(const Model &, Sizes &);
    void (*pack)(const Model &, int64_t member), (*pack_back)(const Model &, int64_t member);
    Trajectories forward, backward;
    void (*normals)(uint64_t seed, int64_t count, float *to);
    void (*learning_sizes)(const Learning &, LearningSizes &);
    void (*learn_forward)(const Learning &, int64_t member, int64_t first, int rows, float *scratch);
    LayerTile learn_back, learn_normalised;
    int64_t (*learn_parts)(const Learning &, int layer);
    void (*learn_weights)(const Learning &, int layer, int64_t member, int64_t part, float *scratch);
    void (*learn_gains)(const Learning &, int layer, int64_t member);
    void (*adam)(const Adam &, int64_t array, int64_t first, int64_t count);
    void (*follow)(const Follow &, int64_t array, int64_t first, int64_t count);
    void (*squash)(const Squash &), (*squash_back)(const Squash &);
    void (*regression)(const Regression &);
    void (*point)(const Point &), (*point_back)(const Point &);
    void (*perturb)(const Perturb &);
    void (*beside)(const Beside &), (*beside_back)(const Beside &);
    void (*target)(const Target &);
    void (*climb)(const Climb &);
};

// Functions of an instruction set are compiled for it, independent of the build's flags.
#if defined(__clang__)
#define PRAGMA(text) _Pragma(#text)
#define TARGET(set) PRAGMA(clang attribute push(__attribute__((target(set))), apply_to = function))
#define END_TARGET PRAGMA(clang attribute pop)
#else
#define PRAGMA(text) _Pragma(#text)
#define TARGET(set) PRAGMA(GCC push_options) PRAGMA(GCC target(set))
#define END_TARGET PRAGMA(GCC pop_options)
#endif

// Older compilers have no float16 arithmetic; clang does not have it inside a function's target.
#if !defined(__clang__) && __GNUC__ >= 12
#define FLOAT16_COMPILER
#endif

#define SPAN 3

#if defined(__x86_64__)

#define LANES 16
#define ROWS 8
#define WITH_BFLOAT16
#ifdef FLOAT16_COMPILER
#define WITH_FLOAT16
#define WITH_TILES
TARGET("avx512f,avx512bw,avx512dq,avx512vl,fma,avx512bf16,avx512fp16,amx-tile,amx-bf16")
namespace amx {
#define NAME "amx"
#include "kernel.h"
#undef NAME
}  // namespace amx
END_TARGET
#undef WITH_TILES

TARGET("avx512f,avx512bw,avx512dq,avx512vl,fma,avx512bf16,avx512fp16")
namespace avx512_fp16 {
#define NAME "avx512_fp16"
#include "kernel.h"
#undef NAME
}  // namespace avx512_fp16
END_TARGET
#undef WITH_FLOAT16
#endif

TARGET("avx512f,avx512bw,avx512dq,avx512vl,fma,avx512bf16")
namespace avx512_bf16 {
#define NAME "avx512_bf16"
#include "kernel.h"
#undef NAME
}  // namespace avx512_bf16
END_TARGET
#undef WITH_BFLOAT16

TARGET("avx512f,avx512bw,avx512dq,avx512vl,fma")
namespace avx512 {
#define NAME "avx512"
#include "kernel.h"
#undef NAME
}  // namespace avx512
END_TARGET
#undef LANES
#undef ROWS

#define LANES 8
#define ROWS 4
TARGET("avx2,fma")
namespace avx2 {
#define NAME "avx2"
#include "kernel.h"
#undef NAME
}  // namespace avx2
END_TARGET
#undef LANES
#undef ROWS

#endif

#define LANES 4
#define ROWS 4
namespace baseline {
#define NAME "baseline"
#include "kernel.h"
}  // namespace baseline

// Whether the processor has tiles of bfloat16, and the system allows them.
static bool tiles() {
#if defined(__linux__) && defined(FLOAT16_COMPILER)
    const int ASK = 0x1023, TILE_DATA = 18;  // of arch_prctl
    return __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-bf16") && !syscall(SYS_arch_prctl, ASK, TILE_DATA);
#else
    return false;
#endif
}

static std::vector<Kernel> supported() {
    std::vector<Kernel> kernels;
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("fma") &&
                __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    bool short_numbers = wide && __builtin_cpu_supports("avx512bf16");
#ifdef FLOAT16_COMPILER
    const bool halves = short_numbers && __builtin_cpu_supports("avx512fp16");
    if (halves && tiles()) kernels.push_back(amx::kernel);
    if (halves) kernels.push_back(avx512_fp16::kernel);
#endif
    if (short_numbers) kernels.push_back(avx512_bf16::kernel);
    if (wide) kernels.push_back(avx512::kernel);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) kernels.push_back(avx2::kernel);
#endif
    kernels.push_back(baseline::kernel);
    return kernels;
}

static const std::vector<Kernel> KERNELS = supported();
static const Kernel *chosen = &KERNELS[0];

// --- threads ---------------------------------------------------------------------------------------------------------

// The entry of the OpenMP library whose threads torch uses. These threads stay awake between two calls, so other
// threads would have to share the cores with them. If the entry is not known, a call starts its own threads.
typedef void (*Parallel)(void (*)(void *), void *data, unsigned threads, unsigned flags);
static Parallel parallel = nullptr;

// While it lives, this thread treats numbers below 1e-38 as 0. They have no effect on learning, and take a hundred
// times as long as others. The averages of a gradient that has become 0 get so small, and would stay there.
struct Flushing {
#if defined(__SSE2__)
    const unsigned before = _mm_getcsr();
    Flushing() { _mm_setcsr(before | 0x8040); }
    ~Flushing() { _mm_setcsr(before); }
#endif
};

// Calls work(thread, 0), …, work(thread, count - 1) once each, on at most `threads` threads. Each thread starts with
// its own share, so that a core finds its data in its cache from call to call. Then it takes work from other shares.
template <class Work>
static void shared(int64_t threads, int64_t count, Work work) {
    threads = threads < count ? threads : count;
    if (threads < 2) {
        for (int64_t i = 0; i < count; i++) work(0, i);
        return;
    }
    struct Share {
        std::atomic<int64_t> next;
        int64_t end;
    };
    struct Loop {
        Work &work;
        std::vector<Share> shares;
        const std::thread::id caller = std::this_thread::get_id();
        std::atomic<int64_t> others{0};

        Loop(Work &work, int64_t threads, int64_t count) : work(work), shares(threads) {
            for (int64_t i = 0; i < threads; i++) {
                shares[i].next = count * i / threads;
                shares[i].end = count * (i + 1) / threads;
            }
        }
        void operator()() {
            const int64_t threads = shares.size(), thread = std::this_thread::get_id() == caller ? 0 : ++others;
            for (int64_t k = 0; k < threads; k++) {
                Share &share = shares[(thread + k) % threads];
                for (int64_t i; (i = share.next++) < share.end;) work(thread, i);
            }
        }
    } loop(work, threads, count);
    if (parallel) return parallel([](void *data) { (*(Loop *)data)(); }, &loop, (unsigned)threads, 0);
    std::vector<std::thread> others;
    try {
        for (int64_t thread = 1; thread < threads; thread++) others.emplace_back([&] { loop(); });
    } catch (const std::system_error &) {  // no more threads: continue with fewer
    }
    loop();
    for (std::thread &other : others) other.join();
}

// Calls work(thread, item, steps) for all steps of all items, on threads that take equally long. Two threads share an item
// by McNaughton's rule: one begins with its first steps, and the other ends with its last ones. There must be more items
// than threads.
template <class Work>
static void cut_in_time(int64_t threads, int64_t items, int64_t steps, Work work) {
    const int64_t total = items * steps;
    std::vector<std::atomic<bool>> begun(items);  // whether the first steps of a shared item are done
    shared(threads, threads, [&](int64_t thread, int64_t k) {
        const int64_t range = threads - 1 - k, end = total * (range + 1) / threads;  // it waits for a range taken before it
        for (int64_t at = total * range / threads; at < end;) {
            const int64_t item = at / steps, before = at % steps, left = steps - before, some = left < end - at ? left : end - at;
            if (some == left) {
                work(thread, item, Steps{0, some});
                begun[item].store(true, std::memory_order_release);
            } else {
                while (!begun[item].load(std::memory_order_acquire)) std::this_thread::yield();
                work(thread, item, Steps{steps - some, steps});
            }
            at += some;
        }
    });
}

// Calls work(run, first row, rows, steps, scratch) for all rows in tiles. run: rows with the same members. part: rows of a
// run with the same first bias. The tiles of a part have about the same size. If there are few and a thread would wait for
// the others, tiles are cut in time, or the threads get ranges of rows instead, which are cut where members or biases change.
template <class Work>
static void tiled(int64_t runs, int64_t run, int64_t part, int64_t steps, int64_t threads, float *scratch, int64_t size,
                  Work work) {
    for (int64_t i = 0; i < threads; i++) *(int32_t *)(scratch + i * size) = -1;  // nothing is packed yet
    const int64_t units = (part + UNIT - 1) / UNIT, parts = runs * (run / part), tiles = (part + TILE - 1) / TILE;
    auto tile = [&](int64_t thread, int64_t which, int64_t first, int64_t end, Steps some) {  // units of a part
        const int64_t rows = (end * UNIT < part ? end * UNIT : part) - first * UNIT, before = which * part;
        work(before / run, before % run + first * UNIT, (int)rows, some, scratch + thread * size);
    };
    auto whole = [&](int64_t thread, int64_t i, Steps some) {
        const int64_t k = i % tiles;
        tile(thread, i / tiles, units * k / tiles, units * (k + 1) / tiles, some);
    };
    const Steps all{0, steps};
    if (parts * tiles % threads == 0 || parts * tiles > MANY * threads)
        return shared(threads, parts * tiles, [&](int64_t thread, int64_t i) { whole(thread, i, all); });
    if (steps > 1 && parts * tiles > threads && parts * tiles <= FEW * threads)
        return cut_in_time(threads, parts * tiles, steps, whole);
    const int64_t total = parts * units, most = TILE / UNIT;
    int64_t ranges = (total + most - 1) / most;
    ranges = (ranges + threads - 1) / threads * threads;
    shared(threads, ranges, [&](int64_t thread, int64_t range) {
        const int64_t end = total * (range + 1) / ranges;
        for (int64_t unit = total * range / ranges; unit < end;) {
            const int64_t first = unit % units, left = units - first < end - unit ? units - first : end - unit;
            const int64_t some = left < most ? left : most;
            tile(thread, unit / units, first, first + some, all);
            unit += some;
        }
    });
}

static void trajectories(const Model &model, const Rollout &rollout, Trajectories work) {
    Sizes sizes;
    chosen->sizes(model, sizes);
    const int64_t run = rollout.share * rollout.rows;
    tiled(rollout.particles / rollout.share, run, run, rollout.horizon, rollout.threads, rollout.scratch, sizes.scratch,
          [&](int64_t which, int64_t first, int rows, Steps steps, float *scratch) {
              work(model, rollout, which, first, rows, steps, scratch);
          });
}

// Some of the members, and the scratch memory of the threads that compute them.
struct Crew {
    int64_t first, members, threads;
    float *scratch;
    int64_t size;

    // Calls work(member, first row, rows, scratch) for all rows of these members.
    template <class Work>
    void rows(const Learning &learning, Work work) const {
        tiled(members, learning.rows, learning.rows, 1, threads, scratch, size,
              [&](int64_t member, int64_t row, int rows, Steps, float *scratch) { work(first + member, row, rows, scratch); });
    }
};

// Layer by layer, last first: the gradients of its weights, then the gradient for the layer before it.
static void back(const Learning &learning, Crew crew) {
    const Flushing flushing;
    for (int l = learning.networks->layers - 1; l >= 0; l--) {
        auto tiles = [&](LayerTile work, int layer) {
            crew.rows(learning, [&](int64_t member, int64_t first, int rows, float *scratch) {
                const Flushing flushing;
                work(learning, layer, member, first, rows, scratch);
            });
        };
        const int64_t parts = chosen->learn_parts(learning, l);
        if (learning.weight_grad)
            shared(crew.threads, crew.members * parts, [&](int64_t thread, int64_t i) {
                const Flushing flushing;
                chosen->learn_weights(learning, l, crew.first + i / parts, i % parts, crew.scratch + thread * crew.size);
            });
        if (l || learning.inputs_grad) tiles(chosen->learn_back, l);
        if (!l || l > learning.networks->normalised) continue;
        for (int64_t i = 0; learning.weight_grad && i < crew.members; i++)
            chosen->learn_gains(learning, l - 1, crew.first + i);
        tiles(chosen->learn_normalised, l - 1);
    }
}

// Takes a step of all numbers of all arrays, in shares large enough to be worth a thread.
template <class Step>
static void stepped(const Step &step, void (*work)(const Step &, int64_t array, int64_t first, int64_t count)) {
    const int64_t SHARE = 16384;
    std::vector<int64_t> ends;  // the last share of each array, plus 1
    int64_t total = 0;
    for (int64_t i = 0; i < step.arrays; i++) ends.push_back(total += (step.sizes[i] + SHARE - 1) / SHARE);
    shared(step.threads, total, [&](int64_t, int64_t share) {
        int64_t array = 0;
        while (share >= ends[array]) array++;
        const Flushing flushing;
        const int64_t first = (share - (array ? ends[array - 1] : 0)) * SHARE, left = step.sizes[array] - first;
        work(step, array, first, left < SHARE ? left : SHARE);
    });
}

// --- the interface ---------------------------------------------------------------------------------------------------

#if defined(_WIN32)
#define EXPORT extern "C" __declspec(dllexport)
#else
#define EXPORT extern "C" __attribute__((visibility("default")))
#endif

EXPORT void elites_threads(Parallel openmp) { parallel = openmp; }

EXPORT const char *elites_kernel(int i) { return i < (int)KERNELS.size() ? KERNELS[i].name : nullptr; }

EXPORT void elites_choose(int i) { chosen = &KERNELS[i]; }

EXPORT void elites_normals(uint64_t seed, int64_t count, float *to) { chosen->normals(seed, count, to); }

EXPORT void elites_pass_sizes(const Networks *networks, Sizes *sizes) { chosen->network_sizes(*networks, *sizes); }

EXPORT void elites_pass(const Networks *networks, const Pass *pass) {
    Sizes sizes;
    chosen->network_sizes(*networks, sizes);
    const int64_t part = networks->starts > 1 ? pass->problem : pass->rows;
    tiled(networks->members, pass->rows, part, 1, pass->threads, pass->scratch, sizes.scratch,
          [&](int64_t member, int64_t first, int rows, Steps, float *scratch) {
              chosen->pass(*networks, *pass, member, first, rows, scratch);
          });
}

EXPORT void elites_rollout_sizes(const Model *model, Sizes *sizes) { chosen->sizes(*model, *sizes); }

static void each_member(const Model &model, int64_t threads, void (*work)(const Model &, int64_t member)) {
    shared(threads, model.networks->members, [&](int64_t, int64_t member) { work(model, member); });
}

EXPORT void elites_rollout_pack(const Model *model, const int64_t *threads) { each_member(*model, *threads, chosen->pack); }

EXPORT void elites_rollout_pack_back(const Model *model, const int64_t *threads) {
    each_member(*model, *threads, chosen->pack_back);
}

EXPORT void elites_rollout(const Model *model, const Rollout *rollout) { trajectories(*model, *rollout, chosen->forward); }

EXPORT void elites_rollout_backward(const Model *model, const Rollout *rollout) {
    trajectories(*model, *rollout, chosen->backward);
}

EXPORT void elites_learning_sizes(const Learning *learning, LearningSizes *sizes) { chosen->learning_sizes(*learning, *sizes); }

EXPORT void elites_learn_forward(const Learning *learning) {
    LearningSizes sizes;
    chosen->learning_sizes(*learning, sizes);
    const Crew all{0, learning->members, learning->threads, learning->scratch, sizes.scratch};
    all.rows(*learning, [&](int64_t member, int64_t first, int rows, float *scratch) {
        const Flushing flushing;
        chosen->learn_forward(*learning, member, first, rows, scratch);
    });
}

EXPORT void elites_learn_backward(const Learning *learning) {
    LearningSizes sizes;
    chosen->learning_sizes(*learning, sizes);
    const int64_t members = learning->members, threads = learning->threads;
    if (members % threads) return back(*learning, {0, members, threads, learning->scratch, sizes.scratch});
    shared(threads, members, [&](int64_t thread, int64_t member) {  // threads do not wait for each other
        back(*learning, {member, 1, 1, learning->scratch + thread * sizes.scratch, sizes.scratch});
    });
}

EXPORT void elites_gather(const Gather *gather) {
    for (int64_t i = 0; i < gather->columns; i++) {
        const int64_t bytes = gather->bytes[i];
        for (int64_t r = 0; r < gather->rows; r++)  // starts all loads before it waits for the first
            for (int64_t k = 0; k < bytes; k += 64) __builtin_prefetch(gather->from[i] + gather->index[r] * bytes + k);
        for (int64_t r = 0; r < gather->rows; r++)
            memcpy(gather->to[i] + r * bytes, gather->from[i] + gather->index[r] * bytes, (size_t)bytes);
    }
}

EXPORT void elites_adam(const Adam *step) {
    for (int64_t i = 0; i < step->arrays; i++) ++*step->count[i];
    stepped(*step, chosen->adam);
}

EXPORT void elites_follow(const Follow *step) { stepped(*step, chosen->follow); }

EXPORT void elites_squash(const Squash *squash) { chosen->squash(*squash); }

EXPORT void elites_squash_back(const Squash *squash) { chosen->squash_back(*squash); }

EXPORT void elites_regression(const Regression *regression) { chosen->regression(*regression); }

EXPORT void elites_point(const Point *point) { chosen->point(*point); }

EXPORT void elites_point_back(const Point *point) { chosen->point_back(*point); }

EXPORT void elites_perturb(const Perturb *perturb) { chosen->perturb(*perturb); }

EXPORT void elites_beside(const Beside *beside) { chosen->beside(*beside); }

EXPORT void elites_beside_back(const Beside *beside) { chosen->beside_back(*beside); }

EXPORT void elites_target(const Target *target) { chosen->target(*target); }

EXPORT void elites_climb(const Climb *climb) { chosen->climb(*climb); }

EXPORT void elites_steps(int64_t count, const Step *steps) {
    for (int64_t i = 0; i < count; i++) steps[i].function(steps[i].given);
}
