// The u8 × s16 depthwise micro-kernel. Included inside an anonymous namespace after kernels/gemm/epilogue_u8.inl and its
// vectors, that has also defined
//   WidenX(p), WidenW(p)   kLanes numbers of u8 (s16) as int32
//   MulAddInts(x, w, sum)  x·w + sum; |x·w| < 2^24
template <int kRows, int kVecs>
inline __attribute__((always_inline)) void Channels(const DepthwiseArgs& a, int row0, int64_t c) {
  Ints sum[kRows][kVecs];
  const int32_t* bias = static_cast<const int32_t*>(a.bias);
#pragma GCC unroll 16
  for (int v = 0; v < kVecs; ++v) {
    const int64_t at = c + v * kLanes, left = a.outputs - at;
    const Ints b = !bias            ? SplatInt(0)
                   : left >= kLanes ? LoadInts(bias + at)
                                    : LoadFirstInts(bias + at, left);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) sum[r][v] = b;
  }
  for (int64_t t = 0; t < a.segments; ++t) {
    const DepthwiseTap tap = a.taps[t];
    const int16_t* w = reinterpret_cast<const int16_t*>(a.weights + t * a.panel_bytes) + c;
    Ints b[kVecs];
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) b[v] = WidenW(w + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < kVecs; ++v)
        sum[r][v] = MulAddInts(WidenX(tap.x + (row0 + r) * tap.step + c + v * kLanes), b[v], sum[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int v = 0; v < kVecs; ++v) {
    const int64_t at = c + v * kLanes;
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) WriteInts(a, row0 + r, at, a.outputs - at, sum[r][v]);
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
