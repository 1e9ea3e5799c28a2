// Peak of AVX-512: FMA.
#include <immintrin.h>

#include "machine/limits.h"

namespace planish {

double PeakF32Avx512(int64_t iterations) {
  __m512 a[12];
#pragma GCC unroll 16
  for (int i = 0; i < 12; ++i) a[i] = _mm512_set1_ps(static_cast<float>(i));
  const __m512 x = _mm512_set1_ps(0.5f), y = _mm512_set1_ps(0.25f);
  for (int64_t n = 0; n < iterations; ++n) {
#pragma GCC unroll 16
    for (int i = 0; i < 12; ++i) {
      a[i] = _mm512_fmadd_ps(a[i], x, y);
      __asm__ volatile("" : "+v"(a[i]));
    }
  }
  return static_cast<double>(iterations) * 12 * 16 * 2;
}

}  // namespace planish
