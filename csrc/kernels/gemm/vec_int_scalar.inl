// int32 and float32 vectors of 16 bytes in portable C++, with the epilogue and the sums of rows on them. Included inside an anonymous namespace.
typedef int32_t Ints __attribute__((vector_size(16)));
typedef float Floats __attribute__((vector_size(16)));
constexpr int kLanes = 4;

template <class V, class T>
inline V LoadVec(const T* p) {
  V v;
  memcpy(&v, p, sizeof v);
  return v;
}
template <class V, class T>
inline V LoadFirst(const T* p, int64_t n) {
  V v = {};
  for (int64_t i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
template <class V, class T>
inline void StoreFirst(T* p, V v, int64_t n) {
  for (int64_t i = 0; i < n; ++i) p[i] = static_cast<T>(v[i]);
}
inline Ints SplatInt(int32_t x) { return Ints{x, x, x, x}; }
inline Ints LoadInts(const int32_t* p) { return LoadVec<Ints>(p); }
inline Ints LoadFirstInts(const int32_t* p, int64_t n) { return LoadFirst<Ints>(p, n); }
typedef uint32_t Unsigned __attribute__((vector_size(16)));
inline Ints MulInts(Ints a, Ints b) { return (Ints)((Unsigned)a * (Unsigned)b); }
inline Ints AddInts(Ints a, Ints b) { return (Ints)((Unsigned)a + (Unsigned)b); }
inline Ints SubInts(Ints a, Ints b) { return (Ints)((Unsigned)a - (Unsigned)b); }
inline void StoreInts(int32_t* p, Ints v) { memcpy(p, &v, sizeof v); }
inline void StoreFirstInts(int32_t* p, Ints v, int64_t n) { StoreFirst(p, v, n); }
inline Floats ToFloats(Ints v) { return __builtin_convertvector(v, Floats); }
inline Floats SplatFloat(float x) { return Floats{x, x, x, x}; }
inline Floats LoadFloats(const float* p) { return LoadVec<Floats>(p); }
inline Floats LoadFirstFloats(const float* p, int64_t n) { return LoadFirst<Floats>(p, n); }
inline Floats MulFloats(Floats a, Floats b) { return a * b; }
inline Floats ClampFloats(Floats v, Floats low, Floats high) {
  v = low > v ? low : v;
  return high < v ? high : v;
}
// Adding and subtracting 1.5·2^23 rounds a number below 2^22 to the nearest even whole one.
inline Ints ClampToInts(Floats v, Floats low, Floats high) {
  v = v > low ? v : low;
  v = v < high ? v : high;
  const Floats magic = SplatFloat(12582912.0f);
  return __builtin_convertvector((v + magic) - magic, Ints);
}
inline void StoreFloats(float* p, Floats v) { memcpy(p, &v, sizeof v); }
inline void StoreFirstFloats(float* p, Floats v, int64_t n) { StoreFirst(p, v, n); }
inline void StoreFirstBytes(char* p, Ints v, int64_t n) { StoreFirst(reinterpret_cast<uint8_t*>(p), v, n); }
inline void StoreBytes(char* p, Ints v) { StoreFirstBytes(p, v, kLanes); }

// Σ of n bytes, modulo 2^32.
inline uint32_t SumBytes(const char* x, int64_t n) {
  uint32_t sum = 0;
  for (int64_t k = 0; k < n; ++k) sum += static_cast<uint8_t>(x[k]);
  return sum;
}

#include "kernels/gemm/epilogue_u8.inl"
#include "kernels/gemm/sum_rows.inl"
#include "kernels/gemm/write_sums.inl"
