// u8 × s8 micro-kernel for AVX-512 VNNI: up to 14 rows × 32 outputs in registers; fewer rows take more outputs.
#include <immintrin.h>
#include <string.h>

#include "kernels/gemm/tile.h"

namespace planish {
namespace {

#include "kernels/gemm/vec_int_avx512.inl"

using Weights = __m512i;
using Sums = __m512i;
using Inputs = __m512i;
constexpr int kPanelVecs = 1;
constexpr int kXQuad = 4;
constexpr bool kSignedInputs = false;

inline Inputs LoadInputs(const char* p) {
  int32_t quad;
  memcpy(&quad, p, sizeof quad);
  return _mm512_set1_epi32(quad);
}
inline Weights LoadWeights(const char* panel, int) { return _mm512_loadu_si512(panel); }
inline Sums SumWeights(Sums sum, Weights) { return sum; }
inline Sums NoSums() { return _mm512_setzero_si512(); }
inline Sums Dot(Sums sum, Inputs x, Weights w) { return _mm512_dpbusd_epi32(sum, x, w); }
inline void ReduceSums(const Sums (&sum)[kPanelVecs], Ints (&out)[1]) { out[0] = sum[0]; }
constexpr int MaxPanels(int rows) { return rows <= 3 ? 8 : rows <= 6 ? 4 : 2; }

#include "kernels/gemm/tile_u8s8.inl"

}  // namespace

void TileU8S8Avx512Vnni(const TileArgs& args, int rows) {
  int32_t x_sums[kMaxTileRows] = {};
  SumRows(args, rows, x_sums);
  Dispatch<14>(args, x_sums, rows);
}

}  // namespace planish
