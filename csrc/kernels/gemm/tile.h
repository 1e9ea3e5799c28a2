// The micro-kernels of the families gemm and conv: one tile of pixels against consecutive panels of packed weights.
//
//   sum[r][n] = Σ_s Σ_k rows[s][r][k] · w[n][s][k]            s < segments (taps), k < depth
//   float32:   y[r][n] = clamp(sum + bias[n] + residual[r][n], low, high)
//   u8 × s8:   acc     = sum − weight_zero[n] · Σ_s Σ_k rows[s][r][k] + bias[n]            modulo 2^32
//     kS32:    y[r][n] = acc
//     kF32:    y[r][n] = clamp(float(acc) · scale[n], low, high)
//     kU8:     y[r][n] = rne(clamp(float(acc) · scale[n], low, high)) + y_zero, NaN → low   (requantize.h)
//
// Included by files compiled for one instruction set each: C types only.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace planish {

enum TileOutput : int32_t { kTileF32, kTileU8, kTileS32 };

constexpr int kMaxTileRows = 32;

struct TileArgs {
  const char* const* rows;  // [segments][row_pitch], the first rows of which belong to the call
  int64_t row_pitch;
  int64_t row_offset;  // bytes, added to every entry of rows
  int64_t segments;
  int64_t depth;                // elements of a row
  const char* weights;          // the first panel
  int64_t panel_bytes;          // from a panel to the next
  int64_t outputs;              // columns to compute: the last panel may be partial
  char* const* out;             // [rows of the call]
  int64_t out_offset;           // bytes, added to every entry of out
  const char* const* residual;  // [rows of the call] or null; float32 only
  int64_t residual_offset;
  const void* bias;            // float or int32_t [outputs], or null
  const float* scale;          // [outputs], or null for kTileS32
  const int32_t* weight_zero;  // [outputs] or null
  float low, high;
  int32_t y_zero;
  TileOutput output;
  char* scratch;  // TileKernel::scratch bytes, 64-byte aligned
};

// 1 <= rows <= the kernel's max_rows. Rows of u8 may be read up to 15 bytes past their depth (AMX: 63), rows of float
// never.
using TileFn = void (*)(const TileArgs& args, int rows);

// Called before the first and after the last call of a task, whose calls all have args' depth: for kernels that need the
// processor in a certain state.
using RegionFn = void (*)(const TileArgs& args, bool enter);

constexpr int64_t kMostStripSegments = 16;

// A run of pixels at equal steps through x, for kernels that take them as they lie: pixel r reads, at each of the segments,
// rows[s] + r · step on, or `fill` where rows[s] is null.
struct Strip {
  const char* const* rows;  // [segments]
  const char* fill;
  int64_t step;  // bytes, positive
  char* y;       // pixel r's outputs lie at y + r · y_step
  int64_t y_step;
  int64_t pixels;
  bool first;  // of a task: what the kernel derives from the weights is not yet in the scratch
};
// Of the arguments rows, out and residual are not used; |weight_zero| is at most 255. x is read up to 15 bytes past a strip's depth.
using StripFn = void (*)(const TileArgs& args, const Strip& strip);

}  // namespace planish
