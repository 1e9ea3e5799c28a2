// How the AVX2 kernels that keep rows × 16 outputs of sums in registers begin and end. Included inside an anonymous namespace;
// kVecs registers of 8 outputs cover a panel, or its first half where no more outputs are left.
#include "kernels/gemm/requantize_avx2.inl"

// One panel of a tile; its depth may be summed in parts, between which the sums rest in memory.
struct Panel {
  int64_t column, count;  // its outputs
  bool first, last;       // part of the depth
  int32_t* sums;          // [rows][16] between parts
  const int32_t* x_sums;
};

// The sums begin with bias − weight_zero · Σx.
template <int kRows, int kVecs>
inline __attribute__((always_inline)) void Begin(const TileArgs& a, const Panel& p, int row0,
                                                 Ints (&sum)[kRows][kVecs]) {
#pragma GCC unroll 16
  for (int v = 0; v < kVecs; ++v) {
    if (!p.first) {
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) sum[r][v] = LoadInts(p.sums + (row0 + r) * 16 + v * kLanes);
      continue;
    }
    const int64_t at = p.column + v * kLanes, left = p.count - v * kLanes;
    const auto load = [&](const int32_t* from) {
      return left >= kLanes ? LoadInts(from + at) : LoadFirstInts(from + at, left);
    };
    const Ints bias = a.bias ? load(static_cast<const int32_t*>(a.bias)) : SplatInt(0);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) sum[r][v] = bias;
    if (a.weight_zero) {
      const Ints zero = load(a.weight_zero);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r)
        sum[r][v] = SubInts(sum[r][v], MulInts(zero, SplatInt(p.x_sums[row0 + r])));
    }
  }
}

template <int kRows, int kVecs>
inline __attribute__((always_inline)) void FinishBytes(const TileArgs& a, const Panel& p, int row0,
                                                       const Ints (&sum)[kRows][kVecs]) {
  const Requantizer requantizer(a);
  Floats scale[2] = {SplatFloat(0), SplatFloat(0)};
#pragma GCC unroll 2
  for (int v = 0; v < kVecs; ++v) {
    const float* at = a.scale + p.column + v * kLanes;
    const int64_t left = p.count - v * kLanes;
    scale[v] = left >= kLanes ? LoadFloats(at) : LoadFirstFloats(at, left);
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    const Ints first = requantizer.Round(sum[r][0], scale[0]);
    const Ints second = kVecs > 1 ? requantizer.Round(sum[r][kVecs - 1], scale[1]) : first;
    StoreFirstBytes(a.out[row0 + r] + a.out_offset + p.column, requantizer.Bytes(first, second), p.count);
  }
}

template <int kRows, int kVecs>
inline __attribute__((always_inline)) void Finish(const TileArgs& a, const Panel& p, int row0,
                                                  const Ints (&sum)[kRows][kVecs]) {
  if (!p.last) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < kVecs; ++v) StoreInts(p.sums + (row0 + r) * 16 + v * kLanes, sum[r][v]);
    }
    return;
  }
  if (a.output == kTileU8) return FinishBytes<kRows, kVecs>(a, p, row0, sum);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) {
      const int64_t left = p.count - v * kLanes;
      if (left > 0) WriteInts(a, row0 + r, p.column + v * kLanes, left, sum[r][v]);
    }
  }
}
