// u8 × s8 micro-kernel for AVX2, exact: x is widened to 16 bits once a tile, and the weights of two panels once a tile too,
// into a piece of L1 from which up to 3 rows × 32 outputs of vpmaddwd sums in registers are fed, or 6 rows × 16 outputs of a
// last panel. For tiles of many rows: a few rows do not earn back what widening the weights costs.
#include <immintrin.h>
#include <string.h>

#include "kernels/gemm/tile.h"

namespace planish {
namespace {

#include "kernels/gemm/rows_avx2.inl"
#include "kernels/gemm/widen.inl"

constexpr int kRowsAtOnce = 6, kWideRowsAtOnce = 3;
constexpr int64_t kChunkBytes = 16 << 10;  // of widened weights: half of the smallest L1
constexpr int64_t kQuadBytes = 64;         // of a packed panel
constexpr int64_t kMostSums = kMaxTileRows * 32;

inline __m256i LoadVector(const char* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline __m256i LoadHalves(const void* low, const void* high) {
  return _mm256_loadu2_m128i(static_cast<const __m128i*>(high), static_cast<const __m128i*>(low));
}
inline void StoreVector(char* p, __m256i v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }

// Packed int8 quads → int16 [quads][pair 0, 1][outputs][2]. One or two vectors of eight outputs are the first of a panel, with
// room for 16. Of four vectors, which are 32 outputs, vector v holds the outputs 4v … 4v + 3 of two panels, `apart` bytes apart,
// in its lower and its upper half.
template <int kVecs>
void Widen(const char* packed, int64_t apart, int64_t quads, char* to) {
  // A byte that stands above a zero byte is shifted down with its sign.
  const __m256i first = _mm256_setr_epi8(-1, 0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13,  //
                                         -1, 0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13);
  const __m256i second = _mm256_or_si256(first, _mm256_set1_epi16(0x0200));
  constexpr int64_t kPair = kVecs == 4 ? 128 : 64;
  for (int64_t q = 0; q < quads; ++q, packed += kQuadBytes, to += 2 * kPair) {
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) {
      const __m256i w =
          kVecs == 4 ? LoadHalves(packed + 16 * v, packed + apart + 16 * v) : LoadVector(packed + 32 * v);
      StoreVector(to + 32 * v, _mm256_srai_epi16(_mm256_shuffle_epi8(w, first), 8));
      StoreVector(to + kPair + 32 * v, _mm256_srai_epi16(_mm256_shuffle_epi8(w, second), 8));
    }
  }
}

// A part of a panel's depth, widened.
struct Chunk {
  const char* weights;
  int64_t first_quad, quads;
};

template <int kRows, int kVecs>
inline __attribute__((always_inline)) void Accumulate(const TileArgs& a, const Chunk& c, int row0,
                                                      Ints (&sum)[kRows][kVecs]) {
  const char* x[kRows];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) x[r] = a.rows[row0 + r] + c.first_quad * 8;
  const char* w = c.weights;
  for (int64_t pair = 0; pair < c.quads * 2; ++pair, w += kVecs == 4 ? 128 : 64) {
    Ints b[kVecs];
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) b[v] = LoadVector(w + 32 * v);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      int32_t two;
      memcpy(&two, x[r] + pair * 4, sizeof two);
      const Ints xv = SplatInt(two);
#pragma GCC unroll 16
      for (int v = 0; v < kVecs; ++v) sum[r][v] = AddInts(sum[r][v], _mm256_madd_epi16(xv, b[v]));
    }
  }
}

template <int kRows, int kVecs>
__attribute__((noinline)) void Rows(const TileArgs& a, const Panel& p, const Chunk& c, int row0) {
  Ints sum[kRows][kVecs];
  Begin<kRows, kVecs>(a, p, row0, sum);
  Accumulate<kRows, kVecs>(a, c, row0, sum);
  Finish<kRows, kVecs>(a, p, row0, sum);
}

// What two whole panels need per output, in the order of Widen's vectors, in which two rounds of packing write bytes one after
// another.
struct WidePanel {
  static constexpr int kVecs = 4;
  alignas(32) int32_t bias[32], zero[32];
  alignas(32) float scale[32];

  WidePanel(const TileArgs& a, int64_t column) {
    for (int v = 0; v < kVecs; ++v) {
      const auto copy = [&](const void* from, void* to) {
        const char* at = static_cast<const char*>(from) + (column + 4 * v) * 4;
        StoreVector(static_cast<char*>(to) + 32 * v, from ? LoadHalves(at, at + 64) : _mm256_setzero_si256());
      };
      copy(a.bias, bias);
      copy(a.weight_zero, zero);
      copy(a.scale, scale);
    }
  }
};

// Adds a chunk's products to the sums [rows][32], which a chunk that is the first begins.
template <int kRows>
__attribute__((noinline)) void SumWide(const TileArgs& a, const Panel& p, const Chunk& c, int row0) {
  int32_t* sums = p.sums + row0 * 32;
  Ints sum[kRows][4];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) sum[r][v] = p.first ? SplatInt(0) : LoadInts(sums + r * 32 + v * kLanes);
  }
  Accumulate<kRows, 4>(a, c, row0, sum);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) StoreInts(sums + r * 32 + v * kLanes, sum[r][v]);
  }
}

template <int kRows>
void SumWideRest(const TileArgs& a, const Panel& p, const Chunk& c, int row0, int rows) {
  if (rows >= kRows) return SumWide<kRows>(a, p, c, row0);
  if constexpr (kRows > 1) SumWideRest<kRows - 1>(a, p, c, row0, rows);
}

// The sum v of a row, complete.
inline __attribute__((always_inline)) Ints WideSum(const TileArgs& a, const Panel& p, const WidePanel& w,
                                                   int row, int v) {
  const Ints sum = AddInts(LoadInts(p.sums + row * 32 + v * kLanes), LoadInts(w.bias + v * kLanes));
  if (!a.weight_zero) return sum;
  return SubInts(sum, MulInts(LoadInts(w.zero + v * kLanes), SplatInt(p.x_sums[row])));
}

void WriteWideBytes(const TileArgs& a, const Panel& p, const WidePanel& w, int rows) {
  const Requantizer requantizer(a);
  for (int r = 0; r < rows; ++r) {
    const auto round = [&](int v) {
      return requantizer.Round(WideSum(a, p, w, r, v), LoadFloats(w.scale + v * kLanes));
    };
    const __m256i low = requantizer.Words(round(0), round(1)), high = requantizer.Words(round(2), round(3));
    StoreVector(a.out[r] + a.out_offset + p.column, requantizer.Clamped(_mm256_packus_epi16(low, high)));
  }
}

void WriteWide(const TileArgs& a, const Panel& p, const WidePanel& w, int rows) {
  if (a.output == kTileU8) return WriteWideBytes(a, p, w, rows);
  for (int r = 0; r < rows; ++r) {
    for (int v = 0; v < 4; v += 2) {
      const Ints even = WideSum(a, p, w, r, v), odd = WideSum(a, p, w, r, v + 1);
      const int64_t at = p.column + 4 * v;
      WriteInts(a, r, at, kLanes, _mm256_permute2x128_si256(even, odd, 0x20));
      WriteInts(a, r, at + 16, kLanes, _mm256_permute2x128_si256(even, odd, 0x31));
    }
  }
}

template <int kRows, int kVecs>
void Rest(const TileArgs& a, const Panel& p, const Chunk& c, int row0, int rows) {
  if (rows >= kRows) return Rows<kRows, kVecs>(a, p, c, row0);
  if constexpr (kRows > 1) Rest<kRows - 1, kVecs>(a, p, c, row0, rows);
}

// Widens a panel, or two, chunk by chunk, and lets `multiply` take all rows with each.
template <int kVecs, class Multiply>
void RunPanel(const TileArgs& a, Panel& p, char* widened, const Multiply& multiply) {
  constexpr int64_t kChunkQuads = kChunkBytes / (kVecs == 4 ? 256 : 128);
  const int64_t quads = a.depth / 4;
  const char* packed = a.weights + p.column / 16 * a.panel_bytes;
  Chunk c{widened, 0, 0};
  do {
    c.quads = quads - c.first_quad < kChunkQuads ? quads - c.first_quad : kChunkQuads;
    p.first = c.first_quad == 0;
    p.last = c.first_quad + c.quads == quads;
    Widen<kVecs>(packed + c.first_quad * kQuadBytes, a.panel_bytes, c.quads, widened);
    multiply(c);
    c.first_quad += c.quads;
  } while (c.first_quad < quads);
}

void RunWidePanel(const TileArgs& a, Panel& p, char* widened, int rows) {
  const WidePanel w(a, p.column);
  RunPanel<4>(a, p, widened, [&](const Chunk& c) {
    for (int row = 0; row < rows; row += kWideRowsAtOnce)
      SumWideRest<kWideRowsAtOnce>(a, p, c, row, rows - row);
  });
  WriteWide(a, p, w, rows);
}

template <int kVecs>
void RunLastPanel(const TileArgs& a, Panel& p, char* widened, int rows) {
  RunPanel<kVecs>(a, p, widened, [&](const Chunk& c) {
    for (int row = 0; row < rows; row += kRowsAtOnce) Rest<kRowsAtOnce, kVecs>(a, p, c, row, rows - row);
  });
}

}  // namespace

void TileU8S8Avx2Panel(const TileArgs& args, int rows) {
  int32_t x_sums[kMaxTileRows] = {};
  SumRows(args, rows, x_sums);
  const Widened widened(args, rows);
  alignas(32) char weights[kChunkBytes];
  alignas(32) int32_t sums[kMostSums];
  Panel panel{0, 32, true, true, sums, x_sums};
  for (; args.outputs - panel.column >= 32; panel.column += 32)
    RunWidePanel(widened.args, panel, weights, rows);
  for (; panel.column < args.outputs; panel.column += 16) {
    panel.count = args.outputs - panel.column < 16 ? args.outputs - panel.column : 16;
    panel.count > kLanes ? RunLastPanel<2>(widened.args, panel, weights, rows)
                         : RunLastPanel<1>(widened.args, panel, weights, rows);
  }
}

}  // namespace planish
