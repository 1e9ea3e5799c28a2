// float32 × bfloat16 micro-kernel in portable C++ on vectors of 16 bytes, which every CPU of the supported architectures has.
#include <string.h>

#include "kernels/gemm/tile.h"

namespace planish {
namespace {

#include "kernels/gemm/vec_f32_scalar.inl"

constexpr int MaxPanels(int) { return 1; }

#include "kernels/gemm/tile_f32_bf16.inl"

}  // namespace

void TileBf16Scalar(const TileArgs& args, int rows) { Dispatch<2>(args, rows); }

}  // namespace planish
