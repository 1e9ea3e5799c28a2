// The contract of the depthwise micro-kernels. Included by files compiled for one instruction set each: C types only.
#pragma once

#include "kernels/gemm/tile.h"

namespace planish {

// What one tap of a tile reads: pixel r of the tile has its row at x + r · step.
struct DepthwiseTap {
  const char* x;
  int64_t step;
};

// The arguments of a micro-kernel: of TileArgs, `segments` are the taps, `outputs` the channels, panel_bytes is the distance
// of two taps in the weights; rows, row_offset, depth and scratch are not used. Rows may be read up to 63 bytes past their
// channels.
struct DepthwiseArgs : TileArgs {
  const DepthwiseTap* taps;
  int64_t quad_taps;  // taps that share a quad of PackQuads: 3 or 4
  // Three taps a quad, and tap i + 1 of pixel r reads what tap i of pixel r + 1 reads.
  bool shared;
};
// 1 <= rows <= kMaxTileRows
using DepthwiseFn = void (*)(const DepthwiseArgs& args, int rows);

}  // namespace planish
