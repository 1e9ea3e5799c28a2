// u8 × s8 micro-kernel for AVX2 on bytes: vpmaddubsw sums pairs in 16 bits, which saturate, so it is used only where the
// weights are proved to keep every pair in range (PairsAreSafe). Up to 4 rows × 16 outputs in registers.
#include <immintrin.h>
#include <string.h>

#include "kernels/gemm/tile.h"

namespace planish {
namespace {

#include "kernels/gemm/rows_avx2.inl"

constexpr int kRowsAtOnce = 4;
constexpr int64_t kQuadBytes = 64;  // of a packed panel

template <int kRows, int kVecs>
inline __attribute__((always_inline)) void Accumulate(const TileArgs& a, const char* weights, int row0,
                                                      Ints (&sum)[kRows][kVecs]) {
  const int64_t quads = (a.depth + 3) / 4;
  const Ints ones = _mm256_set1_epi16(1);
  for (int64_t s = 0; s < a.segments; ++s) {
    const char* x[kRows];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) x[r] = a.rows[s * a.row_pitch + row0 + r] + a.row_offset;
    for (int64_t q = 0; q < quads; ++q, weights += kQuadBytes) {
      Ints b[kVecs];
#pragma GCC unroll 16
      for (int v = 0; v < kVecs; ++v) b[v] = LoadInts(reinterpret_cast<const int32_t*>(weights + 32 * v));
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        int32_t quad;
        memcpy(&quad, x[r] + q * 4, sizeof quad);
        const Ints xv = SplatInt(quad);
#pragma GCC unroll 16
        for (int v = 0; v < kVecs; ++v)
          sum[r][v] = AddInts(sum[r][v], _mm256_madd_epi16(_mm256_maddubs_epi16(xv, b[v]), ones));
      }
    }
  }
}

template <int kRows, int kVecs>
__attribute__((noinline)) void Rows(const TileArgs& a, const Panel& p, int row0) {
  Ints sum[kRows][kVecs];
  Begin<kRows, kVecs>(a, p, row0, sum);
  Accumulate<kRows, kVecs>(a, a.weights + p.column / 16 * a.panel_bytes, row0, sum);
  Finish<kRows, kVecs>(a, p, row0, sum);
}

template <int kRows, int kVecs>
void Rest(const TileArgs& a, const Panel& p, int row0, int rows) {
  if (rows == kRows) return Rows<kRows, kVecs>(a, p, row0);
  if constexpr (kRows > 1) Rest<kRows - 1, kVecs>(a, p, row0, rows);
}

template <int kVecs>
void RunPanel(const TileArgs& a, const Panel& p, int rows) {
  for (int row = 0; row < rows; row += kRowsAtOnce)
    Rest<kRowsAtOnce, kVecs>(a, p, row, rows - row < kRowsAtOnce ? rows - row : kRowsAtOnce);
}

}  // namespace

void TileU8S8Avx2Pairs(const TileArgs& args, int rows) {
  int32_t x_sums[kMaxTileRows] = {};
  SumRows(args, rows, x_sums);
  Panel panel{0, 0, true, true, nullptr, x_sums};
  for (; panel.column < args.outputs; panel.column += 16) {
    panel.count = args.outputs - panel.column < 16 ? args.outputs - panel.column : 16;
    panel.count > kLanes ? RunPanel<2>(args, panel, rows) : RunPanel<1>(args, panel, rows);
  }
}

}  // namespace planish
