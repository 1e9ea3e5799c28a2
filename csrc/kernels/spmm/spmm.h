// Families `sparse_gemm`, `sparse_conv`: the operation and operands of tiled.h with weights packed as in
// formats/sparse.h.
//
//   sum[p, n] = sum over the blocks b of output n, lanes l:  w[b, l] * tile[word of (column b, l)][p]
//
// Kernels of csr and block1x4 are vectorised over the pixels of the tile (a block is broadcast), those of
// block16x4 over the 16 outputs (a pixel's word is broadcast). Kernels are named <format>_<isa>; this header
// is plain data, for files of every instruction set.
#pragma once

#include "kernels/tiled/builders.h"
#include "kernels/tiled/panel.h"

namespace planish {

// SparseWeights (formats/sparse.h), stripped to what a panel kernel reads.
struct SparsePanels {
  const uint32_t* starts;
  const uint16_t* columns;
  const std::byte* values;
  int64_t outputs;
};

#define PLANISH_SPMM_KERNEL(format, name, isa, least, most, copies, Build, Panel, FinishSums) \
  void Panel(const void* weights, int64_t group, const Tile& tile, uint32_t* sums, std::byte* work);
#include "kernels/spmm/kernels.inc"
#undef PLANISH_SPMM_KERNEL

}  // namespace planish
