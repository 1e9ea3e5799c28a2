// Families `codebook_gemm`, `codebook_conv` (kinds f32, s8) and `nbit_gemm`, `nbit_conv` (kind affine): the
// operation and operands of kernels/tiled/tiled.h with weights packed as in formats/codebook.h.
//
//   sum[p, n] = sum over columns k:  w[n, k] * tile[channel k][p]
//
// A panel's weights are decoded, a chunk of columns at a time, into first-level scratch in the order of dense
// panels (f32 [columns][16], s8 [columns / 4][16][4]) and multiplied with all pixels of the tile; for one or
// two pixels they are decoded in registers. Weights are never expanded beyond one chunk. This header is plain
// data, for files of every instruction set.
#pragma once

#include "kernels/tiled/panel.h"

namespace planish {

// CodebookWeights (formats/codebook.h), stripped to what a panel kernel reads.
struct CodebookPanels {
  int bits;
  bool affine, integer;
  int64_t outputs, columns, granule, words, granules;
  int64_t table_outputs, table_columns, tables_across, entries;
  const std::byte* tables;  // affine: scales [panels][blocks][16]
  const uint8_t* zeros;     // affine, or nullptr
  const uint32_t* indices;
};

// Columns decoded at once: a multiple of every granule. Its weights take 8 KiB (f32) or 2 KiB (s8).
inline constexpr int64_t kDecodeColumns = 128;
inline constexpr int64_t kDecodeBytes = kDecodeColumns * kPanelOutputs * 4;

// Decodes `count` columns from `first` (a multiple of the granule) of a panel. Any grouping of tables.
void DecodeFloatPortable(const CodebookPanels& w, int64_t group, int64_t first, int64_t count, float* out);
// `first` and `count` are multiples of 4.
void DecodeIntegerPortable(const CodebookPanels& w, int64_t group, int64_t first, int64_t count, int8_t* out);

#define PLANISH_CODEBOOK_KERNEL(kind, name, isa, least, most, copies, Build, Panel, FinishSums) \
  void Panel(const void* weights, int64_t group, const Tile& tile, uint32_t* sums, std::byte* work);
#include "kernels/codebook/kernels.inc"
#undef PLANISH_CODEBOOK_KERNEL

}  // namespace planish
