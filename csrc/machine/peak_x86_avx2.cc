// Peaks of AVX2: FMA, exact u8×s8 products through 16 bits (vpmaddwd + vpaddd), and byte products whose pairs fit into 16
// bits (vpmaddubsw + vpmaddwd + vpaddd).
#include <immintrin.h>

#include "machine/limits.h"

namespace planish {

double PeakF32Avx2(int64_t iterations) {
  __m256 a[12];
#pragma GCC unroll 16
  for (int i = 0; i < 12; ++i) a[i] = _mm256_set1_ps(static_cast<float>(i));
  const __m256 x = _mm256_set1_ps(0.5f), y = _mm256_set1_ps(0.25f);
  for (int64_t n = 0; n < iterations; ++n) {
#pragma GCC unroll 16
    for (int i = 0; i < 12; ++i) {
      a[i] = _mm256_fmadd_ps(a[i], x, y);
      __asm__ volatile("" : "+x"(a[i]));
    }
  }
  return static_cast<double>(iterations) * 12 * 8 * 2;
}

double PeakU8S8Avx2(int64_t iterations) {
  __m256i a[10];
#pragma GCC unroll 16
  for (int i = 0; i < 10; ++i) a[i] = _mm256_set1_epi32(i);
  __m256i x = _mm256_set1_epi16(3);
  const __m256i y = _mm256_set1_epi16(5);
  for (int64_t n = 0; n < iterations; ++n) {
#pragma GCC unroll 16
    for (int i = 0; i < 10; ++i) {
      __asm__ volatile("" : "+x"(x));
      a[i] = _mm256_add_epi32(a[i], _mm256_madd_epi16(x, y));
      __asm__ volatile("" : "+x"(a[i]));
    }
  }
  return static_cast<double>(iterations) * 10 * 16 * 2;
}

double PeakU8S8PairsAvx2(int64_t iterations) {
  __m256i a[10];
#pragma GCC unroll 16
  for (int i = 0; i < 10; ++i) a[i] = _mm256_set1_epi32(i);
  __m256i x = _mm256_set1_epi8(3);
  const __m256i y = _mm256_set1_epi8(5), ones = _mm256_set1_epi16(1);
  for (int64_t n = 0; n < iterations; ++n) {
#pragma GCC unroll 16
    for (int i = 0; i < 10; ++i) {
      __asm__ volatile("" : "+x"(x));
      a[i] = _mm256_add_epi32(a[i], _mm256_madd_epi16(_mm256_maddubs_epi16(x, y), ones));
      __asm__ volatile("" : "+x"(a[i]));
    }
  }
  return static_cast<double>(iterations) * 10 * 32 * 2;
}

uint64_t SumAvx2(const uint64_t* data, int64_t words) {
  __m256i sum[4] = {};
  for (int64_t i = 0; i + 16 <= words; i += 16) {
    for (int k = 0; k < 4; ++k) {
      sum[k] = _mm256_add_epi64(sum[k], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data + i + 4 * k)));
    }
  }
  const __m256i total = _mm256_add_epi64(_mm256_add_epi64(sum[0], sum[1]), _mm256_add_epi64(sum[2], sum[3]));
  alignas(32) uint64_t lanes[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), total);
  return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

}  // namespace planish
