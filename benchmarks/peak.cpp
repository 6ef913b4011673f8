// The number of vector instructions that a core starts in a second, from registers: the limit of every matrix product.
//
//     mkdir -p build && g++ -O3 -march=native benchmarks/peak.cpp -o build/peak && build/peak
//
// Needs AVX-512. It skips float16, bfloat16 and tiles if the processor does not have them. A tile instruction makes
// 8,192 products; each of the others makes 16 or 32.

#include <chrono>
#include <cstdio>
#include <immintrin.h>
#ifdef __AMX_BF16__
#include <cstdint>
#include <sys/syscall.h>
#include <unistd.h>
#endif

template <class Sum, class Vector, class Fma>
static void peak(const char *name, Vector a, Vector b, Fma fma) {
    const int chains = 12;  // independent of each other, so none waits
    const long rounds = 100000000;
    Sum sums[chains] = {};
    for (Sum &sum : sums) asm volatile("" : "+v"(sum));  // the compiler must not merge them
    const auto began = std::chrono::steady_clock::now();
    for (long i = 0; i < rounds; i++) {
#pragma GCC unroll 12
        for (int j = 0; j < chains; j++) sums[j] = fma(a, b, sums[j]);
        asm volatile("" : "+v"(a), "+v"(b));
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - began;
    float kept = 0;
    for (auto &sum : sums) kept += (float)sum[0];
    std::printf("%-9s %.1f billion a second%s\n", name, rounds * chains / seconds.count() / 1e9, kept == 1 ? " " : "");
}

#ifdef __AMX_BF16__
static void peak_of_tiles() {
    const int ASK = 0x1023, TILE_DATA = 18;  // of arch_prctl
    if (syscall(SYS_arch_prctl, ASK, TILE_DATA)) return;
    struct {
        uint8_t palette = 1, start = 0, none[14] = {};
        uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
        uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } shapes;
    _tile_loadconfig(&shapes);
    _tile_zero(4);
    _tile_zero(5);
    const long rounds = 5000000;
    const auto began = std::chrono::steady_clock::now();
    for (long i = 0; i < rounds; i++) {
        _tile_dpbf16ps(0, 4, 5);
        _tile_dpbf16ps(1, 4, 5);
        _tile_dpbf16ps(2, 4, 5);
        _tile_dpbf16ps(3, 4, 5);
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - began;
    _tile_release();
    std::printf("%-9s %.2f billion a second\n", "tiles", 4 * rounds / seconds.count() / 1e9);
}
#endif

int main() {
    const __m512 one = _mm512_set1_ps(1), little = _mm512_set1_ps(1e-3f);
    peak<__m512>("float32", one, little, [](__m512 a, __m512 b, __m512 sum) { return _mm512_fmadd_ps(a, b, sum); });
#ifdef __AVX512FP16__
    peak<__m512h>("float16", (__m512h)one, (__m512h)little,
                  [](__m512h a, __m512h b, __m512h sum) { return _mm512_fmadd_ph(a, b, sum); });
#endif
#ifdef __AVX512BF16__
    peak<__m512>("bfloat16", (__m512bh)one, (__m512bh)little,
                 [](__m512bh a, __m512bh b, __m512 sum) { return _mm512_dpbf16_ps(sum, a, b); });
#endif
#ifdef __AMX_BF16__
    peak_of_tiles();
#endif
}
