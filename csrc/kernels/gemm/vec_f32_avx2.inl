// float32 vectors of AVX2 and FMA, for tile_f32.inl. Included inside an anonymous namespace.
using Vec = __m256;
constexpr int kLanes = 8;

// All ones in the first n lanes.
inline __m256i FirstLanes(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline Vec Zero() { return _mm256_setzero_ps(); }
inline Vec Splat(float x) { return _mm256_set1_ps(x); }
inline Vec Load(const float* p) { return _mm256_loadu_ps(p); }
inline Vec LoadFirst(const float* p, int64_t n) { return _mm256_maskload_ps(p, FirstLanes(n)); }
inline void Store(float* p, Vec v) { _mm256_storeu_ps(p, v); }
inline void StoreFirst(float* p, Vec v, int64_t n) { _mm256_maskstore_ps(p, FirstLanes(n), v); }
inline Vec Broadcast(const float* p) { return _mm256_broadcast_ss(p); }
inline Vec MulAdd(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
inline Vec Add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
// max and min return their second operand if one is NaN: a NaN stays.
inline Vec ClampVec(Vec v, Vec low, Vec high) { return _mm256_min_ps(high, _mm256_max_ps(low, v)); }
inline Vec LoadEven(const char* pairs) {
  return _mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(pairs)), 16));
}
inline Vec LoadOdd(const char* pairs) {
  return _mm256_and_ps(_mm256_loadu_ps(reinterpret_cast<const float*>(pairs)),
                       _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(0xffff0000))));
}
