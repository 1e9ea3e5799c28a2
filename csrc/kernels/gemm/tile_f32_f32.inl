// The float micro-kernel for weights dense_f32: see tile_f32.inl.
#include "kernels/gemm/tile_f32.inl"

template <int kRows, int kVecs>
inline __attribute__((always_inline)) void Accumulate(const TileArgs& a, const char* weights,
                                                      Vec (&sum)[kRows][kVecs]) {
  for (int64_t s = 0; s < a.segments; ++s) {
    const float* x[kRows];
    for (int r = 0; r < kRows; ++r)
      x[r] = reinterpret_cast<const float*>(a.rows[s * a.row_pitch + r] + a.row_offset);
    const char* w = weights + s * a.depth * static_cast<int64_t>(kPanelLanes * sizeof(float));
    for (int64_t k = 0; k < a.depth; ++k) {
      Vec b[kVecs];
#pragma GCC unroll 16
      for (int v = 0; v < kVecs; ++v) {
        const char* panel = w + v / kPanelVecs * a.panel_bytes;
        b[v] = Load(reinterpret_cast<const float*>(panel) + k * kPanelLanes + v % kPanelVecs * kLanes);
      }
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const Vec xv = Broadcast(x[r] + k);
#pragma GCC unroll 16
        for (int v = 0; v < kVecs; ++v) sum[r][v] = MulAdd(xv, b[v], sum[r][v]);
      }
    }
  }
}
