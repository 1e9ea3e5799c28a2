// How integer accumulators leave a kernel (tile.h, requantize.h). Included inside an anonymous namespace that has defined
//   Ints, kLanes           int32 vector; SplatInt, LoadInts(p), LoadFirstInts(p, n), AddInts, StoreInts(p, v),
//                          StoreFirstInts(p, v, n), StoreBytes(p, v), StoreFirstBytes(p, v, n)
//   Floats                 ToFloats, SplatFloat, LoadFloats, LoadFirstFloats, MulFloats, ClampFloats (a NaN stays),
//                          StoreFloats, StoreFirstFloats, ClampToInts(v, low, high) (NaN → low, to nearest even)

// Writes kLanes outputs of one row: `acc` is complete. `left`: how many outputs remain, counted from this vector's first.
inline __attribute__((always_inline)) void WriteInts(const TileArgs& a, int r, int64_t at, int64_t left,
                                                     Ints acc) {
  const bool whole = left >= kLanes;
  char* out = a.out[r] + a.out_offset;
  if (a.output == kTileS32) {
    int32_t* y = reinterpret_cast<int32_t*>(out) + at;
    return whole ? StoreInts(y, acc) : StoreFirstInts(y, acc, left);
  }
  const Floats v =
      MulFloats(ToFloats(acc), whole ? LoadFloats(a.scale + at) : LoadFirstFloats(a.scale + at, left));
  const Floats low = SplatFloat(a.low), high = SplatFloat(a.high);
  if (a.output == kTileF32) {
    float* y = reinterpret_cast<float*>(out) + at;
    const Floats clamped = ClampFloats(v, low, high);
    return whole ? StoreFloats(y, clamped) : StoreFirstFloats(y, clamped, left);
  }
  const Ints y = AddInts(ClampToInts(v, low, high), SplatInt(a.y_zero));
  whole ? StoreBytes(out + at, y) : StoreFirstBytes(out + at, y, left);
}
