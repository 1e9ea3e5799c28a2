// float32 micro-kernel for AVX-512: up to 14 rows × 32 outputs in registers; fewer rows take more outputs.
#include <immintrin.h>

#include "kernels/gemm/tile.h"

namespace planish {
namespace {

#include "kernels/gemm/vec_f32_avx512.inl"

constexpr int MaxPanels(int rows) { return rows <= 3 ? 8 : rows <= 6 ? 4 : 2; }

#include "kernels/gemm/tile_f32_f32.inl"

}  // namespace

void TileF32Avx512(const TileArgs& args, int rows) { Dispatch<14>(args, rows); }

}  // namespace planish
