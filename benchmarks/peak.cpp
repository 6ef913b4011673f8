// How many vector instructions a core starts in a second, from registers: what no product of matrices can pass.
//
//     mkdir -p build && g++ -O3 -march=native examples/peak.cpp -o build/peak && build/peak
//
// Needs AVX-512; float16 and bfloat16 are left out where the processor does not know them.

#include <chrono>
#include <cstdio>
#include <immintrin.h>

template <class Sum, class Vector, class Fma>
static void peak(const char *name, Vector a, Vector b, Fma fma) {
    const int chains = 12;  // independent of each other, so that none waits
    const long rounds = 100000000;
    Sum sums[chains] = {};
    for (Sum &sum : sums) asm volatile("" : "+v"(sum));  // to the compiler no two of them are the same
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
}
