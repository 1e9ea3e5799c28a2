// Family `dwconv`: depthwise convolution, one filter a channel; x and y channels-last, weights `depthwise` (formats/dense.h).
//
//   y[b, o..., c] = epilogue(Σ_t x[b, i(o, t)..., c] · w[t][c])
//
//   inputs: x [B, s1..s3, C], w, bias[C], scale float32[C]; bias and scale may be absent. Attributes as for family conv
//   (kernels/gemm/gemm.h), without groups. The stride of C is one item; all others are free.
//
//   x float32:  w float32, bias float32, y float32 = clamp(sum + bias, lo, hi)
//   x uint8:    w int16 (the weight minus its zero point), bias int32, acc = Σ x·w + bias modulo 2^32; y uint8, float32 or
//               int32 as for family conv
#pragma once

#include "base/memory.h"
#include "kernels/dwconv/tile.h"
#include "kernels/gemm/rows.h"
#include "kernels/kernel.h"

namespace planish {

// How a kernel wants the weights, beyond the format `depthwise`: packed anew when the layer is built, which needs constants.
enum class DepthwisePacking { kPlain, kQuads, kPairs, kBlocks };
// How a kernel finds its inputs: DepthwiseArgs::taps or ::columns.
enum class DepthwiseInputs { kTaps, kColumns };

struct DepthwiseKernel {
  const char* name;
  Isa isa;
  DType lhs;
  DepthwisePacking packing;
  DepthwiseInputs inputs;
  DepthwiseFn run;
  DepthwiseLinesFn run_lines;  // in its place where TakesLines says so; may be null
};

struct DepthwiseProblem {
  PixelMap map;
  int64_t channels;
  DType lhs;
  TileOutput output;
  float low, high;
  int32_t y_zero;
  int y_operand;
  Memory fill;      // one row of x_zero: what padding reads
  Memory repacked;  // the weights as the kernel wants them, or empty
  int64_t lines_of_window, line_taps;
  int64_t quad_taps;
  bool shared;  // as DepthwiseArgs::shared, for pixels whose window lies inside along the last axis

  const DepthwiseKernel* kernel;  // null: the reference
  // A line is all pixels along the last axis; work is cut into lines × parts of a line, `units_per_task` of them a task.
  int64_t lines, line_pixels, parts, part_pixels, tasks, units_per_task;
  // DepthwiseColumns; the pixels of a tile lie `spacing` apart, so that their windows share columns.
  bool share_columns;
  int64_t tile_pixels, column_pitch, column_step, spacing;
  // Kernels that run lines: the channels of a pass over all lines, and the bytes of a widened pair of lines.
  int64_t pass_channels, pair_bytes;
  int64_t worker_scratch;
};

// The arguments that all tiles share.
DepthwiseArgs ArgsOf(const DepthwiseProblem& p, std::byte* const* operands);

// Whether the window is one that kernels with run_lines take: over two axes, without gaps, of a size they are compiled for.
bool TakesLines(const DepthwiseProblem& p);
void ScheduleLines(DepthwiseProblem& p, int threads);
void RunDepthwiseLines(const void* params, std::byte* const* operands, const RunContext& context);

// The weights w[taps][C16] of s16 as bytes [ceil(C/64)][ceil(taps/quad_taps)][4][64]: byte 16·l + 4·i + q of vector j belongs
// to tap quad_taps·quad + q of channel 16·l + 4·j + i of the block, which is where two rounds of unpacking put its inputs;
// the rest is zero. Empty unless all weights fit int8.
Memory PackQuads(const int16_t* w, int64_t channels, int64_t taps, int64_t quad_taps);

// The weights w[lines · line_taps][C16] of s16 as int16 [ceil(C/8)][ceil(lines/2)][line_taps][8][2]: the taps of two lines side
// by side; the rest is zero.
Memory PackPairs(const int16_t* w, int64_t channels, int64_t lines, int64_t line_taps);

// As PackPairs, for two lines of pixels at once: int16 [ceil(C/8)][ceil((lines + 1)/2)][2][line_taps][8][2]. The upper line reads
// the first of the pairs' lines as its first one; the lower line, one further down, the second: its weights are moved by one.
Memory PackLinePairs(const int16_t* w, int64_t channels, int64_t lines, int64_t line_taps);

// The same weights as int16 [ceil(C/32)][half][pairs][even, odd][8][2]. The pairs are the taps of two lines, line by line, and
// of a last line without a partner those of columns 0 and 1, 2 and 3, …; an odd column pairs with the one before it, whose
// weight is zero. Element i of a half's even or odd channels is channel 16 · (i / 4) + 8 · half + 2 · (i % 4), or the next, of
// the block: where unpacking 16-bit numbers within lanes puts them.
Memory PackBlocks(const int16_t* w, int64_t channels, int64_t lines, int64_t line_taps);

void RunDepthwiseReference(const void* params, std::byte* const* operands, const RunContext& context);

}  // namespace planish
