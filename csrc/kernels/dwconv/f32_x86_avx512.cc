// float32 depthwise micro-kernel for AVX-512.
#include <immintrin.h>

#include "kernels/dwconv/tile.h"

namespace planish {
namespace {

#include "kernels/gemm/vec_f32_avx512.inl"

// The kernel on these vectors.
#include "kernels/dwconv/tile_f32.inl"

}  // namespace

void DepthwiseF32Avx512(const DepthwiseArgs& args, int rows) { CutTile(FloatKernel(args), args, rows); }

}  // namespace planish
