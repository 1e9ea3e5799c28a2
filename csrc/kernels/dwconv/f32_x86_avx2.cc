// float32 depthwise micro-kernel for AVX2 and FMA.
#include <immintrin.h>

#include "kernels/dwconv/tile.h"

namespace planish {
namespace {

#include "kernels/gemm/vec_f32_avx2.inl"

// The kernel on these vectors.
#include "kernels/dwconv/tile_f32.inl"

}  // namespace

void DepthwiseF32Avx2(const DepthwiseArgs& args, int rows) { CutTile(FloatKernel(args), args, rows); }

}  // namespace planish
