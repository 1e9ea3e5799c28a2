// u8 × s8 micro-kernel for AVX-VNNI: up to 6 rows × 16 outputs in registers; fewer rows take more outputs.
//
// With PLANISH_EMULATE_AVXVNNI the dot product is computed exactly from AVX2 instructions and the kernel gets another
// name: how tests run its logic on machines that lack the instruction.
#include <immintrin.h>
#include <string.h>

#include "kernels/gemm/tile.h"

#if defined(PLANISH_EMULATE_AVXVNNI)
#define TileU8S8AvxVnni TileU8S8AvxVnniEmulated
#endif

namespace planish {
namespace {

#include "kernels/gemm/vec_int_avx2.inl"

using Weights = __m256i;
using Sums = __m256i;
using Inputs = __m256i;
constexpr int kPanelVecs = 2;
constexpr int kXQuad = 4;
constexpr bool kSignedInputs = false;

inline Inputs LoadInputs(const char* p) {
  int32_t quad;
  memcpy(&quad, p, sizeof quad);
  return _mm256_set1_epi32(quad);
}
inline Weights LoadWeights(const char* panel, int v) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(panel) + v);
}
inline Sums SumWeights(Sums sum, Weights) { return sum; }
inline Sums NoSums() { return _mm256_setzero_si256(); }
inline Sums Dot(Sums sum, Inputs x, Weights w) {
#if defined(PLANISH_EMULATE_AVXVNNI)
  const __m256i even = _mm256_madd_epi16(_mm256_and_si256(x, _mm256_set1_epi16(255)),
                                         _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8));
  const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(x, 8), _mm256_srai_epi16(w, 8));
  return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
#else
  return _mm256_dpbusd_avx_epi32(sum, x, w);
#endif
}
inline void ReduceSums(const Sums (&sum)[kPanelVecs], Ints (&out)[2]) {
  out[0] = sum[0];
  out[1] = sum[1];
}
constexpr int MaxPanels(int rows) { return rows <= 1 ? 4 : rows <= 3 ? 2 : 1; }

#include "kernels/gemm/tile_u8s8.inl"

}  // namespace

void TileU8S8AvxVnni(const TileArgs& args, int rows) {
  int32_t x_sums[kMaxTileRows] = {};
  SumRows(args, rows, x_sums);
  Dispatch<6>(args, x_sums, rows);
}

}  // namespace planish
