// Family `winograd`: convolutions of 3 × 3 windows at stride 1 by the minimal algorithm F(2×2, 3×3): 16 products instead of 36
// an input channel for every 2 × 2 outputs. Its rounding errors are those of the sum as it is defined where inputs of a tile are
// of one magnitude; where they are not, they follow the largest, also for outputs whose window does not hold it.
// Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015), section 4.1.
//
//   y[n] = clamp(Aᵀ [Σ_c U[n][c] ∘ (Bᵀ d[c] B)] A + bias[n] + residual, lo, hi)      U = G g Gᵀ
//
//        ⎡1  0 -1  0⎤        ⎡1   0  0⎤
//   Bᵀ = ⎢0  1  1  0⎥    G = ⎢½   ½  ½⎥    Aᵀ = ⎡1  1  1  0⎤
//        ⎢0 -1  1  0⎥        ⎢½  -½  ½⎥         ⎣0  1 -1 -1⎦
//        ⎣0  1  0 -1⎦        ⎣0   0  1⎦
//
//   for tiles d of 4 × 4 inputs, two apart, and the windows g of w.
//
//   inputs: x [B, H, W, C], w, bias[N], scale, weight_zero (always absent), residual (like y, float32 only); y [B, H', W', N].
//   bias and residual may be absent. The strides of C, N and of the vectors are one item; all others are free.
//
//   x float32:  w winograd_f32 (formats/winograd.h). Inputs above 2^125, and infinite ones, may give NaN.
//   x uint8:    w winograd_s16, C <= kMostIntegerChannels. Rows and columns outside x are x_zero; acc, scale and y are those of
//               family conv (kernels/gemm/gemm.h), bit for bit.
//   attributes: pads, lo, hi, x_zero, y_zero as for family conv, N (optional, checked); kernel, strides, dilations and groups
//   may be given, with the values that the family is for.
#pragma once

#include "base/memory.h"
#include "formats/winograd.h"
#include "kernels/gemm/gemm.h"
#include "kernels/winograd/integers.h"
#include "kernels/winograd/transforms.h"

namespace planish {

struct WinogradProblem {
  int64_t channels, outputs;
  int64_t x_height, x_width, y_height, y_width;
  int64_t x_pitch[3], y_pitch[3], r_pitch[3];  // bytes: batch, row, column
  int64_t top, left;                           // padding before the first row and column
  float low, high;
  TileOutput output;
  int32_t y_zero;
  int y_operand;
  bool u8, residual;
  Memory fill;  // a pixel of padding

  const TileKernel* tile;  // float; null: the reference
  const WinogradTransforms* transforms;
  const WinogradIntegers* integers;  // uint8; null: the reference
  int64_t tiles_down, tiles_across, tiles;
  // A task takes `block_tiles` tiles. V and M hold 16 matrices [tile][channel] and [tile][output], their rows `pitch` items
  // apart and the matrices `slice`.
  int64_t block_tiles, blocks;
  int64_t v_pitch, v_slice, m_pitch, m_slice;
  int64_t m_at, worker_scratch;  // bytes
};

constexpr int64_t kMaxBlockTiles = 24;

void RunWinogradReference(const void* params, std::byte* const* operands,
                          const RunContext& context);  // reference.cc

}  // namespace planish
