// Pixel tiles: the front end of GEMMs and convolutions whose weights are compressed (families sparse_*,
// codebook_*, nbit_*).
//
// A row of a GEMM and an output position of a convolution are both called a pixel. The pixels are cut into
// tiles. For a tile the front end locates the input rows (one a pixel and tap, a constant row where a tap
// falls into padding), and the kernel gathers them into
//
//   tile[taps * words][P]      words of 32 bits; word j of tap t of P pixels: one float, or four u8 channels
//   (c4)
//
// where P, a power of two, is the tile's capacity; channels up to the next whole word are zero. Then, for
// each group of 16 outputs, the kernel's `panel` computes sums[P][16], float or s32, which `finish` writes
// out:
//
//   f32 -> f32   y = clamp(sum + bias + residual, lo, hi)
//   u8  -> u8    y = rne(min(max(float(sum + bias) * scale, lo - y_zero), hi - y_zero)) + y_zero, NaN -> lo
//   u8  -> f32   y = clamp(float(sum + bias) * scale, lo, hi)
//   u8  -> s32   y = sum + bias
//
// s32 sums wrap modulo 2^32, so integer results do not depend on the kernel.
//
// Operands of all these families: x [..., K] or [N, spatial..., C] (element stride in the last axis = item
// size), w packed (a 1-D uint8 constant), and optionally bias [N] (f32; s32 for u8), scale f32 [N] (u8 -> u8
// and u8 -> f32), zw (always absent: compressed weights are symmetric), residual (as y; f32 only).
// Attributes: N and K (optional, checked; K: channels), lo, hi, y_zero, x_zero (the value of padding), and
// for convolutions kernel, strides, dilations, pads, transposed (gemm/rows.h) and groups = 1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/memory.h"
#include "kernels/gemm/rows.h"
#include "kernels/kernel.h"
#include "kernels/tiled/builders.h"
#include "kernels/tiled/panel.h"

namespace planish {

struct TiledKernel {
  const char* name;  // as in kernels.inc
  Isa isa;
  int min_capacity, max_capacity;  // of a tile; 16 at least where the kernel is vectorised over pixels
  int tile_copies;                 // words kept for each word of the tile: 2 if u8 is widened to 16 bits
  // rows: [taps][capacity] pointers to `words` words each, of which up to 15 further words may be read;
  // `tail` masks the last word of each tap. Writes tile[taps * words + 16][capacity] * tile_copies.
  void (*build)(const std::byte* const* rows, int64_t taps, int64_t words, uint32_t tail, int64_t capacity,
                uint32_t* tile);
  // sums[tile.pixels][16] of outputs 16 * group ...; work: 16 * capacity words and work_bytes more, for the
  // kernel.
  void (*panel)(const void* weights, int64_t group, const Tile& tile, uint32_t* sums, std::byte* work);
  // Writes min(16, outputs - first) outputs of each pixel; residual may be nullptr.
  void (*finish)(const Finish& f, int64_t first, const uint32_t* sums, int64_t pixels, std::byte* const* y,
                 const std::byte* const* residual);
  int64_t (*work_bytes)(const void* weights);  // nullptr: none
};

// Everything about a step that Build fixes.
struct TiledStep {
  PixelMap map;
  int inputs;
  int64_t channels, words, spare_words;  // a tap; the last spare_words of its words are zero
  uint32_t tail;
  int64_t outputs, groups;
  Finish finish;
  Memory pad_row;  // the row that padding reads
  // The schedule.
  int64_t capacity, tiles, parts;
  int64_t rows_bytes, tile_bytes, work_bytes;
  double work;  // multiply-adds, and words gathered
  int64_t scratch() const { return rows_bytes + tile_bytes + work_bytes; }  // bytes a worker
};

// `words`: of 32 bits a tap, at least what the channels need; those beyond are zero.
TiledStep DescribeStep(const OpDesc& op, bool conv, int64_t outputs, int64_t taps, int64_t channels,
                       int64_t words, bool integer);

// Fixes tile size and split. `macs`: multiplications a pixel, after sparsity.
void ScheduleStep(const TiledKernel& kernel, const void* weights, double macs, int threads, TiledStep* step);

// Runs a step; operands as in OpDesc.
void RunTiled(const TiledStep& step, const TiledKernel& kernel, const void* weights,
              std::byte* const* operands, const RunContext& context);

// The bytes of the packed weights of an OpDesc; throws Error if they are not a 1-D constant.
std::span<const std::byte> PackedWeights(const OpDesc& op);

// The forced kernel, or the last usable one of `candidates` (from slowest to fastest) that is not named
// "reference" and whose smallest tile the pixels fill at least by half; failing that, the last usable one.
const TiledKernel& ChooseTiled(std::span<const TiledKernel> candidates, const Attrs& attrs, int64_t pixels);

}  // namespace planish
