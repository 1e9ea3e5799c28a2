// int32 and float32 vectors of AVX2, with the epilogue and the sums of rows on them. Included inside an anonymous namespace.
using Ints = __m256i;
using Floats = __m256;
constexpr int kLanes = 8;

// All ones in the first n lanes.
inline __m256i FirstLanes(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline Ints SplatInt(int32_t x) { return _mm256_set1_epi32(x); }
inline Ints LoadInts(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline Ints LoadFirstInts(const int32_t* p, int64_t n) { return _mm256_maskload_epi32(p, FirstLanes(n)); }
inline Ints MulInts(Ints a, Ints b) { return _mm256_mullo_epi32(a, b); }
inline Ints AddInts(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
inline Ints SubInts(Ints a, Ints b) { return _mm256_sub_epi32(a, b); }
inline void StoreInts(int32_t* p, Ints v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
inline void StoreFirstInts(int32_t* p, Ints v, int64_t n) { _mm256_maskstore_epi32(p, FirstLanes(n), v); }
inline Floats ToFloats(Ints v) { return _mm256_cvtepi32_ps(v); }
inline Floats SplatFloat(float x) { return _mm256_set1_ps(x); }
inline Floats LoadFloats(const float* p) { return _mm256_loadu_ps(p); }
inline Floats LoadFirstFloats(const float* p, int64_t n) { return _mm256_maskload_ps(p, FirstLanes(n)); }
inline Floats MulFloats(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
// max and min return their second operand if one is NaN.
inline Floats ClampFloats(Floats v, Floats low, Floats high) {
  return _mm256_min_ps(high, _mm256_max_ps(low, v));
}
inline Ints ClampToInts(Floats v, Floats low, Floats high) {
  return _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(v, low), high));
}
inline void StoreFloats(float* p, Floats v) { _mm256_storeu_ps(p, v); }
inline void StoreFirstFloats(float* p, Floats v, int64_t n) { _mm256_maskstore_ps(p, FirstLanes(n), v); }
// Eight numbers from 0 to 255 as bytes.
inline int64_t PackBytes(Ints v) {
  const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  return _mm_cvtsi128_si64(_mm_packus_epi16(words, words));
}
inline void StoreBytes(char* p, Ints v) {
  const int64_t bytes = PackBytes(v);
  memcpy(p, &bytes, sizeof bytes);
}
inline void StoreFirstBytes(char* p, Ints v, int64_t n) {
  const int64_t bytes = PackBytes(v);
  memcpy(p, &bytes, static_cast<size_t>(n));
}

// Σ of n bytes, modulo 2^32.
inline uint32_t SumBytes(const char* x, int64_t n) {
  __m256i sum = _mm256_setzero_si256();
  int64_t k = 0;
  for (; k + 32 <= n; k += 32) {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + k));
    sum = _mm256_add_epi64(sum, _mm256_sad_epu8(bytes, _mm256_setzero_si256()));
  }
  uint64_t lanes[4];
  memcpy(lanes, &sum, sizeof lanes);
  uint64_t total = lanes[0] + lanes[1] + lanes[2] + lanes[3];
  for (; k < n; ++k) total += static_cast<uint8_t>(x[k]);
  return static_cast<uint32_t>(total);
}

#include "kernels/gemm/epilogue_u8.inl"
#include "kernels/gemm/sum_rows.inl"
#include "kernels/gemm/write_sums.inl"
