// The float depthwise micro-kernel, for the vectors of kernels/gemm/vec_f32_*.inl. Included inside an anonymous namespace.
// Rows × kVecs sums stay in registers while the taps pass by.
template <int kRows, int kVecs>
inline __attribute__((always_inline)) void Channels(const DepthwiseArgs& a, int row0, int64_t c) {
  Vec sum[kRows][kVecs];
  const float* bias = static_cast<const float*>(a.bias);
#pragma GCC unroll 16
  for (int v = 0; v < kVecs; ++v) {
    const int64_t at = c + v * kLanes, left = a.outputs - at;
    const Vec b = !bias ? Zero() : left >= kLanes ? Load(bias + at) : LoadFirst(bias + at, left);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) sum[r][v] = b;
  }
  for (int64_t t = 0; t < a.segments; ++t) {
    const DepthwiseTap tap = a.taps[t];
    const float* w = reinterpret_cast<const float*>(a.weights + t * a.panel_bytes) + c;
    Vec b[kVecs];
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) b[v] = Load(w + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const float* row = reinterpret_cast<const float*>(tap.x + (row0 + r) * tap.step) + c;
#pragma GCC unroll 16
      for (int v = 0; v < kVecs; ++v) sum[r][v] = MulAdd(Load(row + v * kLanes), b[v], sum[r][v]);
    }
  }
  const Vec low = Splat(a.low), high = Splat(a.high);
#pragma GCC unroll 16
  for (int v = 0; v < kVecs; ++v) {
    const int64_t at = c + v * kLanes, left = a.outputs - at;
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Vec y = ClampVec(sum[r][v], low, high);
      float* out = reinterpret_cast<float*>(a.out[row0 + r]) + at;
      left >= kLanes ? Store(out, y) : StoreFirst(out, y, left);
    }
  }
}

template <int kRows>
__attribute__((noinline)) void Rows(const DepthwiseArgs& a, int row0) {
  int64_t c = 0;
  for (; c + 2 * kLanes <= a.outputs; c += 2 * kLanes) Channels<kRows, 2>(a, row0, c);
  for (; c < a.outputs; c += kLanes) Channels<kRows, 1>(a, row0, c);
}

// Covers the rows from `row0` on with as many at once as there are left, at most kRows.
template <int kRows>
void Dispatch(const DepthwiseArgs& a, int row0, int rows) {
  for (; rows - row0 >= kRows; row0 += kRows) Rows<kRows>(a, row0);
  if constexpr (kRows > 1) {
    if (row0 < rows) Dispatch<kRows - 1>(a, row0, rows);
  }
}
