// Completes and writes a block of sums. Included inside an anonymous namespace after epilogue_u8.inl and its vectors, which
// have also defined MulInts and SubInts.

// How the last step is done for one type of output: Put(out, acc, scale, n) writes the first n numbers of a vector.
struct PutInts {
  explicit PutInts(const TileArgs&) {}
  static constexpr int64_t kItem = 4;
  template <bool kWhole>
  void Put(char* out, Ints acc, const float*, int64_t n) const {
    int32_t* y = reinterpret_cast<int32_t*>(out);
    kWhole ? StoreInts(y, acc) : StoreFirstInts(y, acc, n);
  }
};

struct PutFloats {
  explicit PutFloats(const TileArgs& a) : low(SplatFloat(a.low)), high(SplatFloat(a.high)) {}
  static constexpr int64_t kItem = 4;
  template <bool kWhole>
  void Put(char* out, Ints acc, const float* scale, int64_t n) const {
    const Floats s = kWhole ? LoadFloats(scale) : LoadFirstFloats(scale, n);
    const Floats v = ClampFloats(MulFloats(ToFloats(acc), s), low, high);
    float* y = reinterpret_cast<float*>(out);
    kWhole ? StoreFloats(y, v) : StoreFirstFloats(y, v, n);
  }
  Floats low, high;
};

struct PutBytes {
  explicit PutBytes(const TileArgs& a)
      : low(SplatFloat(a.low)), high(SplatFloat(a.high)), zero(SplatInt(a.y_zero)) {}
  static constexpr int64_t kItem = 1;
  template <bool kWhole>
  void Put(char* out, Ints acc, const float* scale, int64_t n) const {
    const Floats s = kWhole ? LoadFloats(scale) : LoadFirstFloats(scale, n);
    const Ints y = AddInts(ClampToInts(MulFloats(ToFloats(acc), s), low, high), zero);
    kWhole ? StoreBytes(out, y) : StoreFirstBytes(out, y, n);
  }
  Floats low, high;
  Ints zero;
};

// Rows [first, rows) of the tile, `count` outputs from `column` on; row r of `sums` begins at (r − first) · pitch.
template <class Putter>
inline void WriteRows(const TileArgs& a, const int32_t* x_sums, int first, int rows, int64_t column,
                      int64_t count, const int32_t* sums, int64_t pitch) {
  const Putter putter(a);
  const int32_t* bias = a.bias ? static_cast<const int32_t*>(a.bias) + column : nullptr;
  const int32_t* zero = a.weight_zero ? a.weight_zero + column : nullptr;
  const float* scale = a.scale + column;
  for (int r = first; r < rows; ++r, sums += pitch) {
    char* out = a.out[r] + a.out_offset + column * Putter::kItem;
    int64_t n = 0;
    for (; n + kLanes <= count; n += kLanes) {
      Ints acc = LoadInts(sums + n);
      if (bias) acc = AddInts(acc, LoadInts(bias + n));
      if (zero) acc = SubInts(acc, MulInts(LoadInts(zero + n), SplatInt(x_sums[r])));
      putter.template Put<true>(out + n * Putter::kItem, acc, scale + n, kLanes);
    }
    if (n < count) {
      Ints acc = LoadInts(sums + n);
      if (bias) acc = AddInts(acc, LoadFirstInts(bias + n, count - n));
      if (zero) acc = SubInts(acc, MulInts(LoadFirstInts(zero + n, count - n), SplatInt(x_sums[r])));
      putter.template Put<false>(out + n * Putter::kItem, acc, scale + n, count - n);
    }
  }
}

__attribute__((noinline)) inline void WriteSums(const TileArgs& a, const int32_t* x_sums, int first, int rows,
                                                int64_t column, int64_t count, const int32_t* sums,
                                                int64_t pitch) {
  switch (a.output) {
    case kTileS32:
      return WriteRows<PutInts>(a, x_sums, first, rows, column, count, sums, pitch);
    case kTileF32:
      return WriteRows<PutFloats>(a, x_sums, first, rows, column, count, sums, pitch);
    case kTileU8:
      return WriteRows<PutBytes>(a, x_sums, first, rows, column, count, sums, pitch);
  }
}
