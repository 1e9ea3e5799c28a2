// int32 and float32 vectors of AVX-512, with the epilogue and the sums of rows on them. Included inside an anonymous namespace.
using Ints = __m512i;
using Floats = __m512;
constexpr int kLanes = 16;

inline __mmask16 FirstLanes(int64_t n) { return static_cast<__mmask16>((1u << n) - 1); }
inline Ints SplatInt(int32_t x) { return _mm512_set1_epi32(x); }
inline Ints LoadInts(const int32_t* p) { return _mm512_loadu_si512(p); }
inline Ints LoadFirstInts(const int32_t* p, int64_t n) { return _mm512_maskz_loadu_epi32(FirstLanes(n), p); }
inline Ints MulInts(Ints a, Ints b) { return _mm512_mullo_epi32(a, b); }
inline Ints AddInts(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
inline Ints SubInts(Ints a, Ints b) { return _mm512_sub_epi32(a, b); }
inline void StoreInts(int32_t* p, Ints v) { _mm512_storeu_si512(p, v); }
inline void StoreFirstInts(int32_t* p, Ints v, int64_t n) { _mm512_mask_storeu_epi32(p, FirstLanes(n), v); }
inline Floats ToFloats(Ints v) { return _mm512_cvtepi32_ps(v); }
inline Floats SplatFloat(float x) { return _mm512_set1_ps(x); }
inline Floats LoadFloats(const float* p) { return _mm512_loadu_ps(p); }
inline Floats LoadFirstFloats(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(FirstLanes(n), p); }
inline Floats MulFloats(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
// max and min return their second operand if one is NaN.
inline Floats ClampFloats(Floats v, Floats low, Floats high) {
  return _mm512_min_ps(high, _mm512_max_ps(low, v));
}
inline Ints ClampToInts(Floats v, Floats low, Floats high) {
  return _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(v, low), high));
}
inline void StoreFloats(float* p, Floats v) { _mm512_storeu_ps(p, v); }
inline void StoreFirstFloats(float* p, Floats v, int64_t n) { _mm512_mask_storeu_ps(p, FirstLanes(n), v); }
inline void StoreBytes(char* p, Ints v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(v));
}
inline void StoreFirstBytes(char* p, Ints v, int64_t n) {
  _mm512_mask_cvtepi32_storeu_epi8(p, FirstLanes(n), v);
}

// Σ of n bytes, modulo 2^32.
inline uint32_t SumBytes(const char* x, int64_t n) {
  Ints sum = _mm512_setzero_si512();
  int64_t k = 0;
  for (; k + 64 <= n; k += 64)
    sum = _mm512_add_epi64(sum, _mm512_sad_epu8(_mm512_loadu_si512(x + k), _mm512_setzero_si512()));
  const __mmask64 rest = (1ull << (n - k)) - 1;
  sum = _mm512_add_epi64(sum, _mm512_sad_epu8(_mm512_maskz_loadu_epi8(rest, x + k), _mm512_setzero_si512()));
  uint64_t lanes[8], total = 0;
  _mm512_storeu_si512(lanes, sum);
  for (int i = 0; i < 8; ++i) total += lanes[i];
  return static_cast<uint32_t>(total);
}

#include "kernels/gemm/epilogue_u8.inl"
#include "kernels/gemm/sum_rows.inl"
#include "kernels/gemm/write_sums.inl"
