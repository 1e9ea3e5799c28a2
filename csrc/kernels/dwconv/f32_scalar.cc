// float32 depthwise micro-kernel in portable C++.
#include <string.h>

#include "kernels/dwconv/tile.h"

namespace planish {
namespace {

#include "kernels/gemm/vec_f32_scalar.inl"

// The kernel on these vectors.
#include "kernels/dwconv/tile_f32.inl"

}  // namespace

void DepthwiseF32Scalar(const DepthwiseArgs& args, int rows) { CutTile(FloatKernel(args), args, rows); }

}  // namespace planish
