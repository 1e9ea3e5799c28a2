// int32 and float32 vectors of NEON, with the epilogue and the sums of rows on them. Included inside an anonymous namespace.
using Ints = int32x4_t;
using Floats = float32x4_t;
constexpr int kLanes = 4;

inline Ints SplatInt(int32_t x) { return vdupq_n_s32(x); }
inline Ints LoadInts(const int32_t* p) { return vld1q_s32(p); }
inline Ints LoadFirstInts(const int32_t* p, int64_t n) {
  int32_t v[kLanes] = {};
  memcpy(v, p, static_cast<size_t>(n) * sizeof *p);
  return vld1q_s32(v);
}
inline Ints MulInts(Ints a, Ints b) { return vmulq_s32(a, b); }
inline Ints AddInts(Ints a, Ints b) { return vaddq_s32(a, b); }
inline Ints SubInts(Ints a, Ints b) { return vsubq_s32(a, b); }
inline void StoreInts(int32_t* p, Ints v) { vst1q_s32(p, v); }
inline void StoreFirstInts(int32_t* p, Ints v, int64_t n) {
  memcpy(p, &v, static_cast<size_t>(n) * sizeof *p);
}
inline Floats ToFloats(Ints v) { return vcvtq_f32_s32(v); }
inline Floats SplatFloat(float x) { return vdupq_n_f32(x); }
inline Floats LoadFloats(const float* p) { return vld1q_f32(p); }
inline Floats LoadFirstFloats(const float* p, int64_t n) {
  float v[kLanes] = {};
  memcpy(v, p, static_cast<size_t>(n) * sizeof *p);
  return vld1q_f32(v);
}
inline Floats MulFloats(Floats a, Floats b) { return vmulq_f32(a, b); }
// Written as comparisons, which decide what becomes of a NaN.
inline Floats ClampFloats(Floats v, Floats low, Floats high) {
  v = vbslq_f32(vcgtq_f32(low, v), low, v);
  return vbslq_f32(vcltq_f32(high, v), high, v);
}
inline Ints ClampToInts(Floats v, Floats low, Floats high) {
  v = vbslq_f32(vcgtq_f32(v, low), v, low);
  return vcvtnq_s32_f32(vbslq_f32(vcltq_f32(v, high), v, high));
}
inline void StoreFloats(float* p, Floats v) { vst1q_f32(p, v); }
inline void StoreFirstFloats(float* p, Floats v, int64_t n) {
  memcpy(p, &v, static_cast<size_t>(n) * sizeof *p);
}
inline void StoreFirstBytes(char* p, Ints v, int64_t n) {
  const uint16x4_t words = vmovn_u32(vreinterpretq_u32_s32(v));
  const uint8x8_t bytes = vmovn_u16(vcombine_u16(words, words));
  memcpy(p, &bytes, static_cast<size_t>(n));
}
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
