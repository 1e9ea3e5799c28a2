// Packed low-bit weights: small indices, looked up in codebooks or scaled block by block.
//
// w[outputs, taps, channels]; its columns k = tap * P + channel number the (tap, channel) pairs, where P =
// channels, or channels rounded up to 4 for int8 values. i(n, k) is an index of `bits` bits. Kinds:
//
//   f32, s8   w = table[n / table_outputs][k' / table_columns][i(n, k)]        bits 2, 3, 4, and 8 for f32
//   affine    w = (i(n, k) - zero[n, k' / table_columns]) * scale[n, k' / table_columns]    float32; bits 2,
//   4, 8
//
// k' = tap * channels + channel. table_columns is taps * channels (one table along k) unless taps == 1. For
// affine weights a table is a block of quantization: table_outputs == 1, and zero is 2^(bits-1) where none is
// stored.
//
// Layout, little-endian, every section aligned to 64 bytes and padded with zeros; 16 outputs form a panel:
//
//   header     CodebookHeader
//   tables     f32 or s8 [ceil(outputs/table_outputs)][ceil(taps*channels/table_columns)][2^bits];
//              affine: the scales, f32 [panels][blocks][16]
//   zeros      affine with zeros only: u8 [panels][blocks][16]
//   indices    u32 [panels][ceil(taps*P / granule)][words][16]
//
// Index equation. Bits 2, 4, 8: granule = 32 / bits columns a word of 32 bits, words = 1. Column k of output
// n lies, with i = k % granule, in word [n/16][k/granule][0][n%16] at bit 8 * (i % 4) + bits * (i / 4): four
// columns are four neighbouring bytes, as integer dot products want them, and one shift brings a column to
// the low end of its 16 words. Bits 3: granule = 32, words = 3. The low two bits are stored as above in words
// 0 (i < 16) and 1 (i >= 16), the third bit in word 2 at bit 8 * (i % 4) + i / 4. Padding (outputs up to a
// multiple of 16, columns up to the granule) has index 0. The bytes are the same everywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/memory.h"

namespace planish {

enum class CodebookKind : uint8_t { kF32, kS8, kAffine };

struct CodebookShape {
  CodebookKind kind;
  int bits;
  int64_t outputs, taps, channels;
  int64_t table_outputs, table_columns;

  int64_t padded_channels() const { return kind == CodebookKind::kS8 ? (channels + 3) / 4 * 4 : channels; }
  int64_t columns() const { return taps * padded_channels(); }
  int64_t panels() const { return (outputs + 15) / 16; }
  int64_t granule() const { return bits == 3 ? 32 : 32 / bits; }
  int64_t words() const { return bits == 3 ? 3 : 1; }
  int64_t granules() const { return (columns() + granule() - 1) / granule(); }
  int64_t tables_down() const { return (outputs + table_outputs - 1) / table_outputs; }
  int64_t tables_across() const { return (taps * channels + table_columns - 1) / table_columns; }
  int64_t entries() const { return int64_t{1} << bits; }
};

// A validated block of packed weights: its pointers reach into the memory it was parsed from. Every index is
// valid by construction, because a table has 2^bits entries.
struct CodebookWeights {
  CodebookShape shape;
  const std::byte* tables;  // affine: the scales
  const uint8_t* zeros;     // affine, nullptr if none are stored
  const uint32_t* indices;

  // The words [words][16] of a panel's granule.
  const uint32_t* granule(int64_t panel, int64_t g) const {
    return indices + (panel * shape.granules() + g) * shape.words() * 16;
  }
};

// The exact packed size in bytes. Throws Error if the shape or the combination of kind and bits cannot be
// packed.
int64_t CodebookBytes(const CodebookShape& shape, bool zeros);

// indices: u8 [outputs, taps, channels]; tables: as in the layout above, without padding (affine: scales
// f32 [outputs][blocks]); zeros: u8 [outputs][blocks], or nullptr. Throws Error if an index or zero is not
// below 2^bits.
Memory PackCodebook(const CodebookShape& shape, const uint8_t* indices, const std::byte* tables,
                    const uint8_t* zeros);

// Throws Error if `packed` is not exactly one block of packed weights.
CodebookWeights ParseCodebook(std::span<const std::byte> packed);

// i(n, k): the index equation.
uint32_t IndexAt(const CodebookWeights& weights, int64_t n, int64_t k);

// The inverses of PackCodebook.
void UnpackIndices(const CodebookWeights& weights, uint8_t* indices);
void UnpackTables(const CodebookWeights& weights, std::byte* tables, uint8_t* zeros);

}  // namespace planish
