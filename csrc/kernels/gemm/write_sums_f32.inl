// Completes and writes float sums that lie in memory. Included inside an anonymous namespace after one of vec_f32_*.inl.

// `sums` holds rows first … first + rows − 1, `pitch` apart: `count` outputs from `column` on, their bias included.
__attribute__((noinline)) inline void WriteSums(const TileArgs& a, int first, int rows, int64_t column,
                                                int64_t count, const float* sums, int64_t pitch) {
  const Vec low = Splat(a.low), high = Splat(a.high);
  for (int r = first; r < first + rows; ++r, sums += pitch) {
    float* out = reinterpret_cast<float*>(a.out[r] + a.out_offset) + column;
    const float* residual =
        a.residual ? reinterpret_cast<const float*>(a.residual[r] + a.residual_offset) + column : nullptr;
    int64_t n = 0;
    for (; n + kLanes <= count; n += kLanes) {
      Vec y = Load(sums + n);
      if (residual) y = Add(y, Load(residual + n));
      Store(out + n, ClampVec(y, low, high));
    }
    if (n < count) {
      Vec y = Load(sums + n);
      if (residual) y = Add(y, LoadFirst(residual + n, count - n));
      StoreFirst(out + n, ClampVec(y, low, high), count - n);
    }
  }
}
