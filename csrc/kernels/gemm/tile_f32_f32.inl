// The float micro-kernel for weights dense_f32: see tile_f32.inl.
#include "kernels/gemm/tile_f32.inl"

// One element of K: of all rows of x, and of the outputs' weights at w. What is fewer stays in registers.
template <int kRows, int kVecs>
inline __attribute__((always_inline)) void AccumulateOne(const float* const* x, int64_t k, const char* w,
                                                         int64_t panel_bytes, Vec (&sum)[kRows][kVecs]) {
  const auto weights = [&](int v) __attribute__((always_inline)) {
    return Load(reinterpret_cast<const float*>(w + v / kPanelVecs * panel_bytes) + v % kPanelVecs * kLanes);
  };
  if constexpr (kRows < kVecs) {
    Vec xv[kRows];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) xv[r] = Broadcast(x[r] + k);
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) {
      const Vec b = weights(v);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) sum[r][v] = MulAdd(xv[r], b, sum[r][v]);
    }
  } else {
    Vec b[kVecs];
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) b[v] = weights(v);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Vec xv = Broadcast(x[r] + k);
#pragma GCC unroll 16
      for (int v = 0; v < kVecs; ++v) sum[r][v] = MulAdd(xv, b[v], sum[r][v]);
    }
  }
}

template <int kRows, int kVecs>
inline __attribute__((always_inline)) void Accumulate(const TileArgs& a, int first, const char* weights,
                                                      Vec (&sum)[kRows][kVecs]) {
  constexpr int64_t kStep = kPanelLanes * static_cast<int64_t>(sizeof(float));  // bytes of an element of K
  constexpr int kUnrolled = kRows < kVecs ? 4 : 2;  // measured
  for (int64_t s = 0; s < a.segments; ++s) {
    const float* x[kRows];
    for (int r = 0; r < kRows; ++r)
      x[r] = reinterpret_cast<const float*>(a.rows[s * a.row_pitch + first + r] + a.row_offset);
    const char* w = weights + s * a.depth * kStep;
    int64_t k = 0;
    for (; k + kUnrolled <= a.depth; k += kUnrolled, w += kUnrolled * kStep) {
#pragma GCC unroll 16
      for (int u = 0; u < kUnrolled; ++u)
        AccumulateOne<kRows, kVecs>(x, k + u, w + u * kStep, a.panel_bytes, sum);
    }
    for (; k < a.depth; ++k, w += kStep) AccumulateOne<kRows, kVecs>(x, k, w, a.panel_bytes, sum);
  }
}
