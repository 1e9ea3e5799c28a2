// Weights of 3 × 3 windows as family winograd multiplies by them (kernels/winograd/winograd.h): U = G g Gᵀ of every window g,
// one matrix for each of the 16 elements of a tile, in row order.
//
//   winograd_f32  [16][ceil(N/16)][C][16]               U, float32: dense_f32 (dense.h) of 16 groups
//   winograd_s16  [16][ceil(N/16)][ceil(C/2)][16][2]    4 U, which are whole numbers, int16
//
// Positions beyond N or C hold zero.
#pragma once

#include <cstdint>

#include "base/memory.h"
#include "formats/dense.h"

namespace planish {

inline constexpr int64_t kWinogradElements = 16;
// Of more int8 weights and uint8 inputs four times the sum may not fit int32: 4 · 9 · 255 · 128 · 1827 < 2^31.
inline constexpr int64_t kMostIntegerChannels = 1827;

// Sizes in bytes. Throw Error unless outputs is positive, channels is not negative and the size fits.
int64_t BytesWinogradF32(int64_t outputs, int64_t channels);
int64_t BytesWinogradS16(int64_t outputs, int64_t channels);

// The one index equation of each format: element e of a tile, output n, input channel c.
inline int64_t IndexWinogradF32(int64_t outputs, int64_t channels, int64_t e, int64_t n, int64_t c) {
  const int64_t panels = (outputs + kPanel - 1) / kPanel;
  return ((e * panels + n / kPanel) * channels + c) * kPanel + n % kPanel;
}
inline int64_t IndexWinogradS16(int64_t outputs, int64_t channels, int64_t e, int64_t n, int64_t c) {
  const int64_t panels = (outputs + kPanel - 1) / kPanel, pairs = (channels + 1) / 2;
  return (((e * panels + n / kPanel) * pairs + c / 2) * kPanel + n % kPanel) * 2 + c % 2;
}

// w: [outputs][9][channels], C-contiguous.
Memory PackWinogradF32(const float* w, int64_t outputs, int64_t channels);
Memory PackWinogradS16(const int8_t* w, int64_t outputs, int64_t channels);

}  // namespace planish
