// What surrounds the matrix products of family winograd: one table of functions per ISA, all with the same bits.
#pragma once

#include <stdint.h>

namespace planish {

struct WinogradTransforms {
  // v[e · slice + c] = element e of Bᵀ d B, with d[e] = taps[e][c], for c < channels
  void (*input)(const float* const* taps, int64_t channels, float* v, int64_t slice);
  // y[o][n] = clamp((Aᵀ m A)[o] + bias[n] + residual[o][n], low, high), with the tile's elements at m[e · slice + n], for
  // n < outputs and the four outputs o of a tile, those without an address excepted. bias, and residual, may be null.
  void (*output)(const float* m, int64_t slice, int64_t outputs, const float* bias,
                 const float* const* residual, float low, float high, float* const* y);
};

extern const WinogradTransforms kWinogradTransformsScalar, kWinogradTransformsAvx2, kWinogradTransformsAvx512;

}  // namespace planish
