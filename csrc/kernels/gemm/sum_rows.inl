// Included inside an anonymous namespace that has defined SumBytes(x, n).

// Σ of each row over all segments, where weight zero points need it.
inline void SumRows(const TileArgs& a, int rows, int32_t* x_sums) {
  if (!a.weight_zero) return;
  for (int r = 0; r < rows; ++r) {
    uint32_t sum = 0;
    for (int64_t s = 0; s < a.segments; ++s)
      sum += SumBytes(a.rows[s * a.row_pitch + r] + a.row_offset, a.depth);
    x_sums[r] = static_cast<int32_t>(sum);
  }
}
