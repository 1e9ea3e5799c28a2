// The float micro-kernel for weights dense_bf16: see tile_f32.inl. The two numbers of a pair are widened where they lie, in the
// halves of a float's bits; x is not rounded. vec_f32_*.inl has also defined
//   LoadEven(p), LoadOdd(p): the first and the second numbers of kLanes pairs.
#include "kernels/gemm/tile_f32.inl"

// One element of K: of all rows of x, and of every output's pair, which `take` takes out.
template <int kRows, int kVecs, class Take>
inline __attribute__((always_inline)) void AccumulateOne(const float* const* x, int64_t k, const char* pair,
                                                         int64_t panel_bytes, Take take,
                                                         Vec (&sum)[kRows][kVecs]) {
  Vec b[kVecs];
#pragma GCC unroll 16
  for (int v = 0; v < kVecs; ++v)
    b[v] = take(pair + v / kPanelVecs * panel_bytes + v % kPanelVecs * kLanes * 4);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    const Vec xv = Broadcast(x[r] + k);
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) sum[r][v] = MulAdd(xv, b[v], sum[r][v]);
  }
}

template <int kRows, int kVecs>
inline __attribute__((always_inline)) void Accumulate(const TileArgs& a, int first, const char* weights,
                                                      Vec (&sum)[kRows][kVecs]) {
  constexpr int64_t kPairBytes = kPanelLanes * 4;
  const auto even = [](const char* p) { return LoadEven(p); };
  const auto odd = [](const char* p) { return LoadOdd(p); };
  const int64_t pairs = (a.depth + 1) / 2;
  for (int64_t s = 0; s < a.segments; ++s) {
    const float* x[kRows];
    for (int r = 0; r < kRows; ++r)
      x[r] = reinterpret_cast<const float*>(a.rows[s * a.row_pitch + first + r] + a.row_offset);
    const char* w = weights + s * pairs * kPairBytes;
    int64_t k = 0;
    for (; k + 2 <= a.depth; k += 2, w += kPairBytes) {
      AccumulateOne<kRows, kVecs>(x, k, w, a.panel_bytes, even, sum);
      AccumulateOne<kRows, kVecs>(x, k + 1, w, a.panel_bytes, odd, sum);
    }
    if (k < a.depth) AccumulateOne<kRows, kVecs>(x, k, w, a.panel_bytes, even, sum);
  }
}
