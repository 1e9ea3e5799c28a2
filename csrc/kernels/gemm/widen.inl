// Rows of u8 widened to 16 bits in scratch, all segments side by side, each padded with zeros to whole quads. Included
// inside an anonymous namespace by micro-kernels that multiply 16-bit numbers.
struct Widened {
  TileArgs args;
  const char* rows[kMaxTileRows];

  Widened(const TileArgs& a, int count) : args(a) {
    const int64_t padded = (a.depth + 3) / 4 * 4, length = a.segments * padded;
    for (int r = 0; r < count; ++r) {
      uint16_t* to = reinterpret_cast<uint16_t*>(a.scratch) + r * length;
      rows[r] = reinterpret_cast<const char*>(to);
      for (int64_t s = 0; s < a.segments; ++s, to += padded) {
        const uint8_t* from = reinterpret_cast<const uint8_t*>(a.rows[s * a.row_pitch + r] + a.row_offset);
        for (int64_t k = 0; k < a.depth; ++k) to[k] = from[k];
        for (int64_t k = a.depth; k < padded; ++k) to[k] = 0;
      }
    }
    args.rows = rows;
    args.row_offset = 0;
    args.depth = length;
    args.segments = 1;
  }
};
