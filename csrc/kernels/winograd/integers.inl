// The transforms of integers.h, for any vectors. Included inside an anonymous namespace after one of kernels/gemm/vec_int_*.inl.

// How channels are taken together: as vectors of 16-bit numbers, or one by one.
struct Lanes16 {
  typedef uint8_t Bytes __attribute__((vector_size(16)));
  typedef int16_t Words __attribute__((vector_size(32)));
};
struct Lanes8 {
  typedef uint8_t Bytes __attribute__((vector_size(8)));
  typedef int16_t Words __attribute__((vector_size(16)));
};
struct Lane {
  typedef int16_t Words;
};

inline void Widen(const uint8_t* p, Lanes16::Words& words) {
  Lanes16::Bytes bytes;
  memcpy(&bytes, p, sizeof bytes);
  words = __builtin_convertvector(bytes, Lanes16::Words);
}
inline void Widen(const uint8_t* p, Lanes8::Words& words) {
  Lanes8::Bytes bytes;
  memcpy(&bytes, p, sizeof bytes);
  words = __builtin_convertvector(bytes, Lanes8::Words);
}
inline void Widen(const uint8_t* p, Lane::Words& word) { word = *p; }

template <class Words>
inline void StoreWords(int16_t* p, const Words& words) {
  memcpy(p, &words, sizeof words);
}

// The channels from c on of a tile.
template <class Lanes>
inline void InputLanes(const uint8_t* const* taps, int64_t c, int16_t* v, int64_t slice) {
  using Words = typename Lanes::Words;
  for (int i = 0; i < 4; ++i) {
    // Row i of Bᵀ d: the difference or the sum of two rows of d.
    const int plus = i == 0 ? 0 : i == 2 ? 2 : 1, other = i == 2 ? 1 : i == 3 ? 3 : 2;
    Words t[4];
    for (int j = 0; j < 4; ++j) {
      Words a, b;
      Widen(taps[4 * plus + j] + c, a);
      Widen(taps[4 * other + j] + c, b);
      t[j] = static_cast<Words>(i == 1 ? a + b : a - b);
    }
    int16_t* to = v + 4 * i * slice + c;
    StoreWords(to, static_cast<Words>(t[0] - t[2]));
    StoreWords(to + slice, static_cast<Words>(t[1] + t[2]));
    StoreWords(to + 2 * slice, static_cast<Words>(t[2] - t[1]));
    StoreWords(to + 3 * slice, static_cast<Words>(t[1] - t[3]));
  }
}

void InputTile(const uint8_t* const* taps, int64_t channels, int16_t* v, int64_t slice) {
  int64_t c = 0;
  if constexpr (sizeof(Ints) == 32) {
    for (; c + 16 <= channels; c += 16) InputLanes<Lanes16>(taps, c, v, slice);
  }
  for (; c + 8 <= channels; c += 8) InputLanes<Lanes8>(taps, c, v, slice);
  for (; c < channels; ++c) InputLanes<Lane>(taps, c, v, slice);
  if (channels % 2) {
    for (int e = 0; e < 16; ++e) v[e * slice + channels] = 0;
  }
}

// A quarter of numbers that are multiples of four.
inline Ints Quarter(Ints v) {
  typedef int32_t Numbers __attribute__((vector_size(sizeof(Ints))));
  return (Ints)((Numbers)v >> 2);
}

void OutputTile(const int32_t* m, int64_t slice, const TileArgs& args) {
  const int32_t* bias = static_cast<const int32_t*>(args.bias);
  for (int64_t n = 0; n < args.outputs; n += kLanes) {
    const int64_t left = args.outputs - n;
    Ints sums[2][4];  // Aᵀ m
    for (int j = 0; j < 4; ++j) {
      const int32_t* at = m + j * slice + n;
      const Ints m1 = LoadInts(at + 4 * slice), m2 = LoadInts(at + 8 * slice);
      sums[0][j] = AddInts(AddInts(LoadInts(at), m1), m2);
      sums[1][j] = SubInts(SubInts(m1, m2), LoadInts(at + 12 * slice));
    }
    const Ints b = !bias ? SplatInt(0) : left >= kLanes ? LoadInts(bias + n) : LoadFirstInts(bias + n, left);
    for (int i = 0; i < 2; ++i) {
      const Ints both[2] = {AddInts(AddInts(sums[i][0], sums[i][1]), sums[i][2]),
                            SubInts(SubInts(sums[i][1], sums[i][2]), sums[i][3])};
      for (int j = 0; j < 2; ++j) {
        if (args.out[2 * i + j]) WriteInts(args, 2 * i + j, n, left, AddInts(Quarter(both[j]), b));
      }
    }
  }
}
