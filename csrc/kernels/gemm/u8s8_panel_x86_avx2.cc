// u8 × s8 micro-kernel for AVX2, exact: x is widened to 16 bits once a tile, and a panel of weights once a tile too, into a
// piece of L1 from which up to 6 rows × 16 outputs of vpmaddwd sums in registers are fed. For tiles of many rows: a few rows
// do not earn back what widening the panel costs.
#include <immintrin.h>
#include <string.h>

#include "kernels/gemm/tile.h"

namespace planish {
namespace {

#include "kernels/gemm/rows_avx2.inl"
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
__attribute__((noinline)) void Rows(const TileArgs& a, const Panel& p, const Chunk& c, int row0) {
  Ints sum[kRows][kVecs];
  Begin<kRows, kVecs>(a, p, row0, sum);
  Accumulate<kRows, kVecs>(a, c, row0, sum);
  Finish<kRows, kVecs>(a, p, row0, sum);
}

template <int kRows, int kVecs>
void Rest(const TileArgs& a, const Panel& p, const Chunk& c, int row0, int rows) {
  if (rows == kRows) return Rows<kRows, kVecs>(a, p, c, row0);
  if constexpr (kRows > 1) Rest<kRows - 1, kVecs>(a, p, c, row0, rows);
}

template <int kVecs>
void RunPanel(const TileArgs& a, Panel& p, char* widened, int rows) {
  const int64_t quads = a.depth / 4;
  const char* packed = a.weights + p.column / 16 * a.panel_bytes;
  Chunk c{widened, 0, 0};
  do {
    c.quads = quads - c.first_quad < kChunkQuads ? quads - c.first_quad : kChunkQuads;
    p.first = c.first_quad == 0;
    p.last = c.first_quad + c.quads == quads;
    WidenPanel<kVecs>(packed + c.first_quad * kQuadBytes, c.quads, widened);
    for (int row = 0; row < rows; row += kRowsAtOnce)
      Rest<kRowsAtOnce, kVecs>(a, p, c, row, rows - row < kRowsAtOnce ? rows - row : kRowsAtOnce);
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
  Panel panel{0, 0, true, true, sums, x_sums};
  for (; panel.column < args.outputs; panel.column += 16) {
    panel.count = args.outputs - panel.column < 16 ? args.outputs - panel.column : 16;
    panel.count > kLanes ? RunPanel<2>(widened.args, panel, weights, rows)
                         : RunPanel<1>(widened.args, panel, weights, rows);
  }
}

}  // namespace planish
