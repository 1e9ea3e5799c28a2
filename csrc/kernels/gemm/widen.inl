// Rows of u8 widened to 16 bits in scratch, all segments side by side, each padded to whole quads. What stands in the padding
// does not matter: the weights there are zero. Included inside an anonymous namespace by micro-kernels that multiply 16-bit
// numbers.

// Writes depth numbers, rounded up to whole quads, and up to 15 more; reads up to 15 bytes behind `from`.
#if defined(__AVX2__)
inline void WidenRow(const char* from, int64_t depth, uint16_t* to) {
  for (int64_t k = 0; k < depth; k += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + k));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + k), _mm256_cvtepu8_epi16(bytes));
  }
}
#else
inline void WidenRow(const char* from, int64_t depth, uint16_t* to) {
  for (int64_t k = 0; k < depth; ++k) to[k] = static_cast<uint8_t>(from[k]);
  for (int64_t k = depth; k % 4; ++k) to[k] = 0;
}
#endif

struct Widened {
  TileArgs args;
  const char* rows[kMaxTileRows];

  Widened(const TileArgs& a, int count) : args(a) {
    const int64_t padded = (a.depth + 3) / 4 * 4, length = a.segments * padded;
    for (int r = 0; r < count; ++r) {
      uint16_t* to = reinterpret_cast<uint16_t*>(a.scratch) + r * length;
      rows[r] = reinterpret_cast<const char*>(to);
      for (int64_t s = 0; s < a.segments; ++s, to += padded)
        WidenRow(a.rows[s * a.row_pitch + r] + a.row_offset, a.depth, to);
    }
    args.rows = rows;
    args.row_offset = 0;
    args.depth = length;
    args.segments = 1;
  }
};
