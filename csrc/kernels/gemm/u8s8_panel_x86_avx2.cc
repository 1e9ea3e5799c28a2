// u8 × s8 micro-kernel for AVX2, exact: x is widened to 16 bits once a tile, and a panel of weights once a tile too, into a
// piece of L1 from which up to 6 rows × 16 outputs of vpmaddwd sums in registers are fed. For tiles of many rows: a few rows
// do not earn back what widening the panel costs.
#include <immintrin.h>
#include <string.h>

#include "kernels/gemm/tile.h"

namespace planish {
namespace {

#include "kernels/gemm/requantize_avx2.inl"
#include "kernels/gemm/widen.inl"

constexpr int kRowsAtOnce = 6;
constexpr int64_t kChunkQuads = 128;        // widened weights of a chunk: 16 KiB, half of the smallest L1
constexpr int64_t kQuadBytes = 64;          // of a packed panel
constexpr int64_t kWidenedQuadBytes = 128;  // two pairs of inputs × 16 outputs × int16[2]

inline __m256i LoadVector(const char* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline void StoreVector(char* p, __m256i v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }

// Packed int8 [quads][16][4] → int16 [quads][pair 0, 1][16][2]; the outputs behind the first 8 · kVecs are left out.
template <int kVecs>
void WidenPanel(const char* packed, int64_t quads, char* to) {
  // A byte that stands above a zero byte is shifted down with its sign.
  const __m256i first = _mm256_setr_epi8(-1, 0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13,  //
                                         -1, 0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13);
  const __m256i second = _mm256_or_si256(first, _mm256_set1_epi16(0x0200));
  for (int64_t q = 0; q < quads; ++q, packed += kQuadBytes, to += kWidenedQuadBytes) {
#pragma GCC unroll 2
    for (int v = 0; v < kVecs; ++v) {
      const __m256i w = LoadVector(packed + 32 * v);
      StoreVector(to + 32 * v, _mm256_srai_epi16(_mm256_shuffle_epi8(w, first), 8));
      StoreVector(to + 64 + 32 * v, _mm256_srai_epi16(_mm256_shuffle_epi8(w, second), 8));
    }
  }
}

// One chunk of a panel against a tile.
struct Chunk {
  const char* weights;  // widened
  int64_t quads;
  int64_t first_quad;
  bool last;
  int64_t column, count;  // outputs of the panel
  int32_t* sums;          // [rows][16] between chunks
  const int32_t* x_sums;
};

// The sums begin with bias − weight_zero · Σx.
template <int kRows, int kVecs>
inline __attribute__((always_inline)) void Begin(const TileArgs& a, const Chunk& c, int row0,
                                                 Ints (&sum)[kRows][kVecs]) {
#pragma GCC unroll 16
  for (int v = 0; v < kVecs; ++v) {
    if (c.first_quad) {
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) sum[r][v] = LoadInts(c.sums + (row0 + r) * 16 + v * kLanes);
      continue;
    }
    const int64_t at = c.column + v * kLanes, left = c.count - v * kLanes;
    const auto load = [&](const int32_t* p) {
      return left >= kLanes ? LoadInts(p + at) : LoadFirstInts(p + at, left);
    };
    const Ints bias = a.bias ? load(static_cast<const int32_t*>(a.bias)) : SplatInt(0);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) sum[r][v] = bias;
    if (a.weight_zero) {
      const Ints zero = load(a.weight_zero);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r)
        sum[r][v] = SubInts(sum[r][v], MulInts(zero, SplatInt(c.x_sums[row0 + r])));
    }
  }
}

template <int kRows, int kVecs>
inline __attribute__((always_inline)) void Accumulate(const TileArgs& a, const Chunk& c, int row0,
                                                      Ints (&sum)[kRows][kVecs]) {
  const char* x[kRows];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) x[r] = a.rows[row0 + r] + c.first_quad * 8;
  const char* w = c.weights;
  for (int64_t pair = 0; pair < c.quads * 2; ++pair, w += kWidenedQuadBytes / 2) {
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
inline __attribute__((always_inline)) void FinishBytes(const TileArgs& a, const Chunk& c, int row0,
                                                       const Ints (&sum)[kRows][kVecs]) {
  const Requantizer requantizer(a);
  Floats scale[2] = {SplatFloat(0), SplatFloat(0)};
#pragma GCC unroll 2
  for (int v = 0; v < kVecs; ++v) {
    const float* at = a.scale + c.column + v * kLanes;
    const int64_t left = c.count - v * kLanes;
    scale[v] = left >= kLanes ? LoadFloats(at) : LoadFirstFloats(at, left);
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    const Ints first = requantizer.Round(sum[r][0], scale[0]);
    const Ints second = kVecs > 1 ? requantizer.Round(sum[r][kVecs - 1], scale[1]) : first;
    StoreFirstBytes(a.out[row0 + r] + a.out_offset + c.column, requantizer.Bytes(first, second), c.count);
  }
}

template <int kRows, int kVecs>
inline __attribute__((always_inline)) void Finish(const TileArgs& a, const Chunk& c, int row0,
                                                  const Ints (&sum)[kRows][kVecs]) {
  if (!c.last) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < kVecs; ++v) StoreInts(c.sums + (row0 + r) * 16 + v * kLanes, sum[r][v]);
    }
    return;
  }
  if (a.output == kTileU8) return FinishBytes<kRows, kVecs>(a, c, row0, sum);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v)
      WriteInts(a, row0 + r, c.column + v * kLanes, c.count - v * kLanes, sum[r][v]);
  }
}

template <int kRows, int kVecs>
__attribute__((noinline)) void Rows(const TileArgs& a, const Chunk& c, int row0) {
  Ints sum[kRows][kVecs];
  Begin<kRows, kVecs>(a, c, row0, sum);
  Accumulate<kRows, kVecs>(a, c, row0, sum);
  Finish<kRows, kVecs>(a, c, row0, sum);
}

template <int kRows, int kVecs>
void Rest(const TileArgs& a, const Chunk& c, int row0, int rows) {
  if (rows == kRows) return Rows<kRows, kVecs>(a, c, row0);
  if constexpr (kRows > 1) Rest<kRows - 1, kVecs>(a, c, row0, rows);
}

template <int kVecs>
void Panel(const TileArgs& a, Chunk& c, char* widened, int rows) {
  const int64_t quads = a.depth / 4;
  const char* packed = a.weights + c.column / 16 * a.panel_bytes;
  c.weights = widened;
  c.first_quad = 0;
  do {
    c.quads = quads - c.first_quad < kChunkQuads ? quads - c.first_quad : kChunkQuads;
    c.last = c.first_quad + c.quads == quads;
    WidenPanel<kVecs>(packed + c.first_quad * kQuadBytes, c.quads, widened);
    for (int row = 0; row < rows; row += kRowsAtOnce)
      Rest<kRowsAtOnce, kVecs>(a, c, row, rows - row < kRowsAtOnce ? rows - row : kRowsAtOnce);
    c.first_quad += c.quads;
  } while (c.first_quad < quads);
}

}  // namespace

void TileU8S8Avx2Panel(const TileArgs& args, int rows) {
  int32_t x_sums[kMaxTileRows] = {};
  SumRows(args, rows, x_sums);
  const Widened widened(args, rows);
  alignas(32) char weights[kChunkQuads * kWidenedQuadBytes];
  alignas(32) int32_t sums[kMaxTileRows * 16];
  Chunk chunk{};
  chunk.sums = sums;
  chunk.x_sums = x_sums;
  for (; chunk.column < args.outputs; chunk.column += 16) {
    chunk.count = args.outputs - chunk.column < 16 ? args.outputs - chunk.column : 16;
    chunk.count > kLanes ? Panel<2>(widened.args, chunk, weights, rows)
                         : Panel<1>(widened.args, chunk, weights, rows);
  }
}

}  // namespace planish
