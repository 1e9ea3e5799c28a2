// u8 × s8 micro-kernel for Armv8.2 DotProd: SDOT wants both sides signed, so x is taken minus 128 and 128·Σw
// is put back. Up to 5 rows × 16 outputs in registers.
#include <arm_neon.h>
#include <string.h>

#include "kernels/gemm/tile.h"

namespace planish {
namespace {

#include "kernels/gemm/vec_int_neon.inl"

using Weights = int8x16_t;
using Sums = int32x4_t;
using Inputs = int8x16_t;
constexpr int kPanelVecs = 4;
constexpr int kXQuad = 4;
constexpr bool kSignedInputs = true;

inline Inputs LoadInputs(const char* p) {
  uint32_t quad;
  memcpy(&quad, p, sizeof quad);
  return vreinterpretq_s8_u32(vdupq_n_u32(quad ^ 0x80808080u));
}
inline Weights LoadWeights(const char* panel, int v) {
  return vld1q_s8(reinterpret_cast<const int8_t*>(panel) + 16 * v);
}
inline Sums SumWeights(Sums sum, Weights w) { return vdotq_s32(sum, vdupq_n_s8(1), w); }
inline Sums NoSums() { return vdupq_n_s32(0); }
inline Sums Dot(Sums sum, Inputs x, Weights w) { return vdotq_s32(sum, x, w); }
inline void ReduceSums(const Sums (&sum)[kPanelVecs], Ints (&out)[4]) {
  for (int i = 0; i < 4; ++i) out[i] = sum[i];
}
constexpr int MaxPanels(int) { return 1; }

#include "kernels/gemm/tile_u8s8.inl"

}  // namespace

void TileU8S8NeonDot(const TileArgs& args, int rows) {
  int32_t x_sums[kMaxTileRows] = {};
  SumRows(args, rows, x_sums);
  Dispatch<5>(args, x_sums, rows);
}

}  // namespace planish
