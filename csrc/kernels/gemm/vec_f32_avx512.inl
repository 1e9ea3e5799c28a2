// float32 vectors of AVX-512, for tile_f32.inl. Included inside an anonymous namespace.
using Vec = __m512;
constexpr int kLanes = 16;

inline __mmask16 FirstLanes(int64_t n) { return static_cast<__mmask16>((1u << n) - 1); }
inline Vec Zero() { return _mm512_setzero_ps(); }
inline Vec Splat(float x) { return _mm512_set1_ps(x); }
inline Vec Load(const float* p) { return _mm512_loadu_ps(p); }
inline Vec LoadFirst(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(FirstLanes(n), p); }
inline void Store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
inline void StoreFirst(float* p, Vec v, int64_t n) { _mm512_mask_storeu_ps(p, FirstLanes(n), v); }
inline Vec Broadcast(const float* p) { return _mm512_set1_ps(*p); }
inline Vec MulAdd(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
inline Vec Add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
// max and min return their second operand if one is NaN: a NaN stays.
inline Vec ClampVec(Vec v, Vec low, Vec high) { return _mm512_min_ps(high, _mm512_max_ps(low, v)); }
inline Vec LoadEven(const char* pairs) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(pairs), 16));
}
inline Vec LoadOdd(const char* pairs) {
  return _mm512_castsi512_ps(
      _mm512_and_si512(_mm512_loadu_si512(pairs), _mm512_set1_epi32(static_cast<int>(0xffff0000))));
}
