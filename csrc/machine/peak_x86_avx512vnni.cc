// Peak of AVX-512 VNNI: vpdpbusd.
#include <immintrin.h>

#include "machine/limits.h"

namespace planish {

double PeakU8S8Avx512Vnni(int64_t iterations) {
  __m512i a[12];
#pragma GCC unroll 16
  for (int i = 0; i < 12; ++i) a[i] = _mm512_set1_epi32(i);
  const __m512i x = _mm512_set1_epi8(3), y = _mm512_set1_epi8(5);
  for (int64_t n = 0; n < iterations; ++n) {
#pragma GCC unroll 16
    for (int i = 0; i < 12; ++i) {
      a[i] = _mm512_dpbusd_epi32(a[i], x, y);
      __asm__ volatile("" : "+v"(a[i]));
    }
  }
  return static_cast<double>(iterations) * 12 * 64 * 2;
}

}  // namespace planish
