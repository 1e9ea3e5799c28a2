// float32 vectors of 16 bytes in portable C++, for tile_f32.inl. Included inside an anonymous namespace.
typedef float Vec __attribute__((vector_size(16)));
constexpr int kLanes = 4;

inline Vec Zero() { return Vec{0, 0, 0, 0}; }
inline Vec Splat(float x) { return Vec{x, x, x, x}; }
inline Vec Load(const float* p) {
  Vec v;
  memcpy(&v, p, sizeof v);
  return v;
}
inline void Store(float* p, Vec v) { memcpy(p, &v, sizeof v); }
inline Vec LoadFirst(const float* p, int64_t n) {
  Vec v = Zero();
  memcpy(&v, p, static_cast<size_t>(n) * sizeof(float));
  return v;
}
inline void StoreFirst(float* p, Vec v, int64_t n) { memcpy(p, &v, static_cast<size_t>(n) * sizeof(float)); }
inline Vec Broadcast(const float* p) {
  float x;
  memcpy(&x, p, sizeof x);
  return Splat(x);
}
inline Vec MulAdd(Vec a, Vec b, Vec c) { return a * b + c; }
inline Vec Add(Vec a, Vec b) { return a + b; }
// A NaN compares false and stays.
inline Vec ClampVec(Vec v, Vec low, Vec high) {
  v = low > v ? low : v;
  return high < v ? high : v;
}
typedef uint32_t Bits __attribute__((vector_size(16)));
inline Bits LoadBits(const char* pairs) {
  Bits v;
  memcpy(&v, pairs, sizeof v);
  return v;
}
inline Vec LoadEven(const char* pairs) { return reinterpret_cast<Vec>(LoadBits(pairs) << 16); }
inline Vec LoadOdd(const char* pairs) { return reinterpret_cast<Vec>(LoadBits(pairs) & 0xffff0000u); }
