// float32 × bfloat16 micro-kernel for AVX2 and FMA: up to 5 rows × 16 outputs in registers; fewer rows take more outputs.
#include <immintrin.h>

#include "kernels/gemm/tile.h"

namespace planish {
namespace {

#include "kernels/gemm/vec_f32_avx2.inl"

constexpr int MaxPanels(int rows) { return rows <= 1 ? 4 : rows <= 2 ? 2 : 1; }

#include "kernels/gemm/tile_f32_bf16.inl"

}  // namespace

void TileBf16Avx2(const TileArgs& args, int rows) { Dispatch<5>(args, rows); }

}  // namespace planish
