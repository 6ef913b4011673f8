// Runs networks/kernel/rollout.cu on a CPU: the threads of a block are fibers that take turns at every barrier. SOURCE is
// the file with its definitions. Products of a warp follow PTX's table of mma.m16n8k16 for bfloat16.
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#define ON_CPU
#define __device__
#define __global__
#define __constant__ static const
#define __launch_bounds__(...)

typedef uint32_t Word;
struct alignas(16) Words {
    Word word[4];
};
struct Place {
    int x, y;
};
static Place threadIdx, blockIdx, gridDim;
static char shared[1 << 20] __attribute__((aligned(16)));

static float as_float(Word bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
static float __uint_as_float(Word bits) { return as_float(bits); }
static float rsqrtf(float x) { return 1 / std::sqrt(x); }
static float fast_tanh(float x) { return std::tanh(x); }

static Word half_of(float x) {  // bfloat16, rounded to the nearest even
    Word bits;
    memcpy(&bits, &x, 4);
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
static Word pair(float low, float high) { return half_of(high) << 16 | half_of(low); }

static ucontext_t scheduler;
static std::vector<ucontext_t> fibers;
static std::vector<char> over;

struct Barrier {
    int arrived = 0, round = 0;
    void wait(int count) {
        const int mine = round;
        if (++arrived == count) {
            arrived = 0;
            round++;
            return;
        }
        const Place me = threadIdx;
        while (round == mine) swapcontext(&fibers[me.x], &scheduler);
        threadIdx = me;
    }
};
static Barrier block, warps[32];
static Word held[32][32][6];  // warp, lane: what a lane shows to its warp

static void synchronise() { block.wait((int)fibers.size()); }

static float of_lane(float x, int lane) {
    const int warp = threadIdx.x / 32;
    memcpy(held[warp][threadIdx.x % 32], &x, 4);
    warps[warp].wait(32);
    const float found = as_float(held[warp][lane][0]);
    warps[warp].wait(32);
    return found;
}

static void multiply(float *sum, const Words &a, Word b0, Word b1) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const Word mine[6] = {a.word[0], a.word[1], a.word[2], a.word[3], b0, b1};
    memcpy(held[warp][lane], mine, sizeof mine);
    warps[warp].wait(32);
    auto number = [&](int lane, int word, int half) { return as_float(held[warp][lane][word] >> 16 * half << 16); };
    for (int i = 0; i < 4; i++) {
        const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
        for (int k = 0; k < 16; k++) {
            const int of = k % 8 / 2, half = k % 2;
            sum[i] += number(4 * (row % 8) + of, row / 8 + 2 * (k / 8), half) * number(4 * column + of, 4 + k / 8, half);
        }
    }
    warps[warp].wait(32);
}

#include SOURCE

static const Arguments *arguments;

static void body(int thread) {
    threadIdx.x = thread;
    rollout(*arguments);
    over[thread] = 1;
}

extern "C" long memory_size() { return sizeof(Memory); }

extern "C" void launch(const Arguments *given, int width, int height) {
    arguments = given;
    gridDim = {width, height};
    const size_t stack = 1 << 16;
    std::unique_ptr<char[]> stacks(new char[THREADS * stack]);
    for (blockIdx.y = 0; blockIdx.y < height; blockIdx.y++)
        for (blockIdx.x = 0; blockIdx.x < width; blockIdx.x++) {
            memset(shared, 0xff, sizeof shared);  // NaN, as memory can hold anything
            fibers.assign(THREADS, {});
            over.assign(THREADS, 0);
            for (int i = 0; i < THREADS; i++) {
                getcontext(&fibers[i]);
                fibers[i].uc_stack.ss_sp = stacks.get() + i * stack;
                fibers[i].uc_stack.ss_size = stack;
                fibers[i].uc_link = &scheduler;
                makecontext(&fibers[i], (void (*)())body, 1, i);
            }
            for (int left = THREADS; left;) {
                left = 0;
                for (int i = 0; i < THREADS; i++)
                    if (!over[i]) {
                        left++;
                        swapcontext(&scheduler, &fibers[i]);
                    }
            }
        }
}
