// Packed sparse weights: w[outputs, taps, channels], of which only the nonzero blocks are stored.
//
// A block covers `rows` outputs and `words` columns. Columns number (tap, channel) pairs: channels are padded
// to whole blocks, so that a block never crosses a tap:
//
//   csr        rows = 1,  width = 1 channel    column = tap * P + channel           P = channels (s8: rounded
//   up to 4) block1x4   rows = 1,  width = 4 channels   column = tap * P/4 + channel / 4     P = channels
//   rounded up to 4 block16x4  rows = 16, width = 4 channels   as block1x4
//
// Layout, little-endian, every section aligned to 64 bytes and padded with zeros:
//
//   header     SparseHeader
//   starts     u32 [ceil(outputs / rows) + 1]   blocks starts[g] .. starts[g+1] belong to row group g
//   columns    u16 [blocks]                     strictly ascending within a group
//   values     f32 or s8 [blocks][...]          csr: one; block1x4: [4]; block16x4: s8 [16][4], f32 [4][16]
//
// Index equation, for block b of group g, output n = g * rows + r, channel lane l:
//   csr, block1x4      w[n, column b, l] = values[b * width + l]
//   block16x4 s8       w[n, column b, l] = values[b * 64 + r * 4 + l]
//   block16x4 f32      w[n, column b, l] = values[b * 64 + l * 16 + r]
// The bytes are the same on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/memory.h"

namespace planish {

enum class SparseFormat : uint8_t { kCsrF32, kCsrS8, kBlock1x4F32, kBlock1x4S8, kBlock16x4F32, kBlock16x4S8 };
inline constexpr int kSparseFormatCount = 6;

const char* SparseFormatName(SparseFormat format);      // "csr_f32", "block16x4_s8", ...
SparseFormat ParseSparseFormat(std::string_view name);  // throws Error on an unknown name

constexpr bool IsFloat(SparseFormat f) {
  return f == SparseFormat::kCsrF32 || f == SparseFormat::kBlock1x4F32 || f == SparseFormat::kBlock16x4F32;
}
constexpr bool IsCsr(SparseFormat f) { return f == SparseFormat::kCsrF32 || f == SparseFormat::kCsrS8; }
constexpr int64_t BlockRows(SparseFormat f) {
  return f == SparseFormat::kBlock16x4F32 || f == SparseFormat::kBlock16x4S8 ? 16 : 1;
}
constexpr int64_t BlockWidth(SparseFormat f) { return IsCsr(f) ? 1 : 4; }

struct SparseShape {
  SparseFormat format;
  int64_t outputs, taps, channels;

  int64_t padded_channels() const {
    return format == SparseFormat::kCsrF32 ? channels : (channels + 3) / 4 * 4;
  }
  int64_t columns() const { return taps * (padded_channels() / BlockWidth(format)); }
  int64_t groups() const { return (outputs + BlockRows(format) - 1) / BlockRows(format); }
};

// A validated block of packed weights: its pointers reach into the memory it was parsed from.
struct SparseWeights {
  SparseShape shape;
  int64_t blocks;
  const uint32_t* starts;   // [groups + 1]
  const uint16_t* columns;  // [blocks]
  const std::byte* values;
};

// The exact size in bytes of `blocks` packed blocks. Throws Error if the shape cannot be packed (no elements,
// more than 65536 columns, more than 2^32 - 1 blocks).
int64_t SparseBytes(const SparseShape& shape, int64_t blocks);

// The number of blocks of w (dense, [outputs, taps, channels] f32 or s8) that hold a nonzero.
int64_t CountBlocks(const SparseShape& shape, const std::byte* w);

Memory PackSparse(const SparseShape& shape, const std::byte* w);

// Validates every count and index; throws Error if `packed` is not exactly one block of packed weights.
SparseWeights ParseSparse(std::span<const std::byte> packed);

// The inverse of PackSparse; w has outputs * taps * channels elements.
void UnpackSparse(const SparseWeights& weights, std::byte* w);

}  // namespace planish
