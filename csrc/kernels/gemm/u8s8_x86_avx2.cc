// u8 × s8 micro-kernel for AVX2, exact: both sides are widened to 16 bits (x once a tile, the weights in registers) and
// multiplied by vpmaddwd. Up to 2 rows × 16 outputs in registers.
#include <immintrin.h>
#include <string.h>

#include "kernels/gemm/tile.h"

namespace planish {
namespace {

#include "kernels/gemm/vec_int_avx2.inl"

// A register of sums holds, for four outputs, the sums over the even and the odd pairs of inputs.
using Weights = __m256i;
using Sums = __m256i;
using Inputs = __m256i;
constexpr int kPanelVecs = 4;
constexpr int kXQuad = 8;
constexpr bool kSignedInputs = false;

inline Inputs LoadInputs(const char* p) {
  int64_t quad;
  memcpy(&quad, p, sizeof quad);
  return _mm256_set1_epi64x(quad);
}
inline Weights LoadWeights(const char* panel, int v) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(panel + v * 16)));
}
inline Sums SumWeights(Sums sum, Weights) { return sum; }
inline Sums NoSums() { return _mm256_setzero_si256(); }
inline Sums Dot(Sums sum, Inputs x, Weights w) { return _mm256_add_epi32(sum, _mm256_madd_epi16(x, w)); }
inline void ReduceSums(const Sums (&sum)[kPanelVecs], Ints (&out)[2]) {
  for (int i = 0; i < 2; ++i) {
    out[i] = _mm256_permute4x64_epi64(_mm256_hadd_epi32(sum[2 * i], sum[2 * i + 1]), _MM_SHUFFLE(3, 1, 2, 0));
  }
}
constexpr int MaxPanels(int rows) { return rows <= 1 ? 2 : 1; }

#include "kernels/gemm/tile_u8s8.inl"
#include "kernels/gemm/widen.inl"

}  // namespace

void TileU8S8Avx2(const TileArgs& args, int rows) {
  int32_t x_sums[kMaxTileRows] = {};
  SumRows(args, rows, x_sums);
  const Widened widened(args, rows);
  Dispatch<2>(widened.args, x_sums, rows);
}

}  // namespace planish
