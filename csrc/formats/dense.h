// Packed dense weights: the bytes are the same on every machine and for every kernel that reads them.
//
// A weight w[n][t][k] has N outputs, `taps` positions of the window and `depth` input channels a tap; with G groups the
// outputs [g*N/G, (g+1)*N/G) belong to group g. Outputs are packed in panels of 16, inputs of int8 in quads, of bfloat16 in
// pairs:
//
//   dense_f32   [G][ceil(N/G/16)][taps][depth][16]              float32
//   dense_bf16  [G][ceil(N/G/16)][taps][ceil(depth/2)][16][2]   bfloat16
//   dense_s8    [G][ceil(N/G/16)][taps][ceil(depth/4)][16][4]   int8
//   depthwise   [taps][C rounded up to 16]                      float32 or int16
//
// Positions beyond N/G, depth or C hold zero.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/memory.h"

namespace planish {

inline constexpr int64_t kPanel = 16;  // outputs of a panel
inline constexpr int64_t kPair = 2;    // bfloat16 inputs that lie side by side
inline constexpr int64_t kQuad = 4;    // int8 inputs that lie side by side

enum class DenseFormat : uint8_t { kF32, kBf16, kS8 };

struct DenseShape {
  int64_t outputs, taps, depth, groups;

  int64_t group_outputs() const { return outputs / groups; }
  int64_t group_panels() const { return (group_outputs() + kPanel - 1) / kPanel; }
  int64_t pairs() const { return (depth + kPair - 1) / kPair; }
  int64_t quads() const { return (depth + kQuad - 1) / kQuad; }
};

// Throws Error unless all sizes are positive (depth may be zero), groups divides outputs and the packed size fits.
void CheckShape(const DenseShape& shape);

// Elements of one panel.
inline int64_t PanelSizeF32(const DenseShape& s) { return s.taps * s.depth * kPanel; }
inline int64_t PanelSizeBf16(const DenseShape& s) { return s.taps * s.pairs() * kPanel * kPair; }
inline int64_t PanelSizeS8(const DenseShape& s) { return s.taps * s.quads() * kPanel * kQuad; }

// The depth of a tap in the packed weights, zeros included.
inline int64_t PackedDepth(DenseFormat format, const DenseShape& s) {
  return format == DenseFormat::kF32    ? s.depth
         : format == DenseFormat::kBf16 ? s.pairs() * kPair
                                        : s.quads() * kQuad;
}
// Bytes of one panel.
inline int64_t PanelBytes(DenseFormat format, const DenseShape& s) {
  const int64_t item = format == DenseFormat::kF32 ? 4 : format == DenseFormat::kBf16 ? 2 : 1;
  return s.taps * PackedDepth(format, s) * kPanel * item;
}

// Bytes of the whole; the shape must have passed CheckShape.
int64_t BytesDense(DenseFormat format, const DenseShape& shape);

// The one index equation of each format: the element of output n, tap t, input channel k (of n's group). It is the sum of
// what n adds and what t and k add.
inline int64_t IndexDenseF32(const DenseShape& s, int64_t n, int64_t t, int64_t k) {
  const int64_t g = n / s.group_outputs(), j = n % s.group_outputs();
  return (g * s.group_panels() + j / kPanel) * PanelSizeF32(s) + (t * s.depth + k) * kPanel + j % kPanel;
}
inline int64_t IndexDenseBf16(const DenseShape& s, int64_t n, int64_t t, int64_t k) {
  const int64_t g = n / s.group_outputs(), j = n % s.group_outputs();
  return (g * s.group_panels() + j / kPanel) * PanelSizeBf16(s) +
         ((t * s.pairs() + k / kPair) * kPanel + j % kPanel) * kPair + k % kPair;
}
inline int64_t IndexDenseS8(const DenseShape& s, int64_t n, int64_t t, int64_t k) {
  const int64_t g = n / s.group_outputs(), j = n % s.group_outputs();
  return (g * s.group_panels() + j / kPanel) * PanelSizeS8(s) +
         ((t * s.quads() + k / kQuad) * kPanel + j % kPanel) * kQuad + k % kQuad;
}

// w: [outputs][taps][depth], C-contiguous. To bfloat16 numbers are rounded, halves to even.
Memory PackDenseF32(const float* w, const DenseShape& shape);
Memory PackDenseBf16(const float* w, const DenseShape& shape);
Memory PackDenseS8(const int8_t* w, const DenseShape& shape);
// Throws Error unless `packed` has exactly the size of the shape.
void UnpackDenseF32(const Memory& packed, const DenseShape& shape, float* w);
void UnpackDenseBf16(const Memory& packed, const DenseShape& shape, float* w);
void UnpackDenseS8(const Memory& packed, const DenseShape& shape, int8_t* w);

// Whether u8 × s8 sums of two neighbours of a quad always fit 16 bits, so that vpmaddubsw cannot saturate: the positive
// weights of a pair add up to at most 128, the negative ones to at least −128, and 255 · 128 < 2^15.
bool PairsAreSafe(std::span<const std::byte> packed_s8);

inline int64_t DepthwisePitch(int64_t channels) { return (channels + kPanel - 1) / kPanel * kPanel; }
int64_t BytesDepthwise(int64_t channels, int64_t taps, int64_t item);  // throws Error on overflow

// w: [channels][taps], C-contiguous.
Memory PackDepthwiseF32(const float* w, int64_t channels, int64_t taps);
Memory PackDepthwiseS16(const int16_t* w, int64_t channels, int64_t taps);
void UnpackDepthwiseF32(const Memory& packed, int64_t channels, int64_t taps, float* w);
void UnpackDepthwiseS16(const Memory& packed, int64_t channels, int64_t taps, int16_t* w);

}  // namespace planish
