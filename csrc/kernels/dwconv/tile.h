// The contract of the depthwise micro-kernels. Included by files compiled for one instruction set each: C types only.
#pragma once

#include "kernels/gemm/tile.h"

namespace planish {

// What one tap of a tile reads: pixel r of the tile has its row at x + r · step.
struct DepthwiseTap {
  const char* x;
  int64_t step;
};

// Where the pixels of a tile find their rows, for kernels that share a row among the windows it lies in: tap k of line l of
// pixel r reads rows[l · pitch + r · step + k].
struct DepthwiseColumns {
  const char* const* rows;
  int64_t pitch;
  int64_t lines, line_taps;  // of the window; tap t is tap t % line_taps of line t / line_taps
  int64_t step;
};

// The arguments of a micro-kernel: of TileArgs, `segments` are the taps, `outputs` the channels, panel_bytes is the distance
// of two taps in the weights; rows, offsets, depth and scratch are not used. A kernel reads either `columns` or `taps` (with
// quad_taps and shared); see DepthwiseKernel. Rows may be read up to 63 bytes past their channels.
struct DepthwiseArgs : TileArgs {
  DepthwiseColumns columns;
  const DepthwiseTap* taps;
  int64_t quad_taps;  // taps that share a quad of PackQuads: 3 or 4
  // Three taps a quad, and tap i + 1 of pixel r reads what tap i of pixel r + 1 reads.
  bool shared;
};
// 1 <= rows <= kMaxTileRows
using DepthwiseFn = void (*)(const DepthwiseArgs& args, int rows);

// Two neighbouring lines of x side by side, as 16-bit numbers: widened[ceil(C/8)][columns][8][2].
struct DepthwiseLinePair {
  const char *first, *second;  // their first column that is no padding; null: all of the line is padding
  char* widened;
  bool stale;  // `widened` is still to be written
};

// One line of pixels, or two neighbouring ones whose windows lie one line of x apart, for kernels that widen lines of x once for
// all windows they lie in. Tap k of line l of pixel r reads column r · step + k of line l of the pairs (for the lower line of
// pixels, of line l + 1); line l of the pairs is the first or the second of pairs[l / 2]. The weights are those of PackLinePairs.
struct DepthwiseLines {
  const DepthwiseLinePair* pairs;
  int64_t pair_count, line_taps, step;
  int64_t before, inside, after;  // columns: of padding, of x, of padding
  int64_t x_pitch, y_pitch;       // from a pixel to the next
  const char* fill;
  char* y;
  int64_t pixels;
  int64_t count, next_y;  // lines of pixels; from the first to the second
};
// Of the arguments, those that describe a tile's rows are not used.
using DepthwiseLinesFn = void (*)(const DepthwiseArgs& args, const DepthwiseLines& lines);

}  // namespace planish
