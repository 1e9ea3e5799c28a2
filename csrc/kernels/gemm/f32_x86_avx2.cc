// float32 micro-kernel for AVX2 and FMA: 3 rows × 32 or 6 rows × 16 outputs in registers. The wide form needs the fewest
// instructions a product, which is what counts where another hardware thread shares the core.
#include <immintrin.h>

#include "kernels/gemm/tile.h"

namespace planish {
namespace {

#include "kernels/gemm/vec_f32_avx2.inl"

constexpr int MaxPanels(int rows) { return rows <= 1 ? 4 : rows <= 3 ? 2 : 1; }

#include "kernels/gemm/tile_f32_f32.inl"

}  // namespace

void TileF32Avx2(const TileArgs& args, int rows) { Dispatch<6, 3>(args, rows); }

}  // namespace planish
