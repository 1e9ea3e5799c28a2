#include "formats/dense.h"

#include <algorithm>
#include <functional>

#include "base/check.h"
#include "base/half.h"

namespace planish {
namespace {

// Rounds up; throws Error on overflow.
int64_t CheckedRound(int64_t n, int64_t multiple) {
  return CheckedAdd(n, multiple - 1) / multiple * multiple;
}

int64_t CheckedBytes(const DenseShape& s, int64_t depth, int64_t item) {
  const int64_t outputs = CheckedMul(s.groups, CheckedRound(s.group_outputs(), kPanel));
  return CheckedMul(CheckedMul(outputs, s.taps), CheckedMul(depth, item));
}

using Index = int64_t(const DenseShape&, int64_t n, int64_t t, int64_t k);

// Calls f(index in w, index in packed) for every weight. The output's part of an index is computed once an output: its
// divisions took longer than all the rest.
template <Index kIndex, class F>
void ForEachWeight(const DenseShape& s, F f) {
  int64_t i = 0;
  for (int64_t n = 0; n < s.outputs; ++n) {
    const int64_t start = kIndex(s, n, 0, 0);
    for (int64_t t = 0; t < s.taps; ++t) {
      for (int64_t k = 0; k < s.depth; ++k, ++i) f(i, start + kIndex(s, 0, t, k));
    }
  }
}

// `convert` makes an item of the format, a T, of a weight; what Unpack takes goes the other way.
template <class T, Index kIndex, class W, class Convert>
Memory Pack(const W* w, const DenseShape& s, DenseFormat format, Convert convert) {
  CheckShape(s);
  Memory packed = Memory::Allocate(BytesDense(format, s));
  T* to = reinterpret_cast<T*>(packed.data);
  ForEachWeight<kIndex>(s, [&](int64_t i, int64_t j) { to[j] = convert(w[i]); });
  return packed;
}

template <class T, Index kIndex, class W, class Convert>
void Unpack(const Memory& packed, const DenseShape& s, DenseFormat format, Convert convert, W* w) {
  CheckShape(s);
  Check(packed.size == BytesDense(format, s),
        "packed weights: their size does not belong to this shape; pack them again");
  const T* from = reinterpret_cast<const T*>(packed.data);
  ForEachWeight<kIndex>(s, [&](int64_t i, int64_t j) { w[i] = convert(from[j]); });
}

template <class T>
Memory PackDepthwise(const T* w, int64_t channels, int64_t taps) {
  Memory packed = Memory::Allocate(BytesDepthwise(channels, taps, sizeof(T)));
  T* to = reinterpret_cast<T*>(packed.data);
  const int64_t pitch = DepthwisePitch(channels);
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t t = 0; t < taps; ++t) to[t * pitch + c] = w[c * taps + t];
  }
  return packed;
}

template <class T>
void UnpackDepthwise(const Memory& packed, int64_t channels, int64_t taps, T* w) {
  Check(packed.size == BytesDepthwise(channels, taps, sizeof(T)),
        "packed weights: their size does not belong to this shape; pack them again");
  const T* from = reinterpret_cast<const T*>(packed.data);
  const int64_t pitch = DepthwisePitch(channels);
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t t = 0; t < taps; ++t) w[c * taps + t] = from[t * pitch + c];
  }
}

}  // namespace

void CheckShape(const DenseShape& s) {
  Check(s.outputs > 0 && s.taps > 0 && s.depth >= 0 && s.groups > 0 && s.outputs % s.groups == 0,
        "packed weights: sizes must be positive and groups must divide the outputs; check the layer's shape");
  CheckedBytes(s, CheckedRound(s.depth, kQuad), sizeof(float));
}

int64_t BytesDense(DenseFormat format, const DenseShape& s) {
  switch (format) {
    case DenseFormat::kF32:
      return CheckedBytes(s, s.depth, sizeof(float));
    case DenseFormat::kBf16:
      return CheckedBytes(s, CheckedRound(s.depth, kPair), sizeof(BFloat));
    default:
      return CheckedBytes(s, CheckedRound(s.depth, kQuad), 1);
  }
}

Memory PackDenseF32(const float* w, const DenseShape& s) {
  return Pack<float, IndexDenseF32>(w, s, DenseFormat::kF32, std::identity());
}
Memory PackDenseBf16(const float* w, const DenseShape& s) {
  return Pack<BFloat, IndexDenseBf16>(w, s, DenseFormat::kBf16, BFloatOf);
}
Memory PackDenseS8(const int8_t* w, const DenseShape& s) {
  return Pack<int8_t, IndexDenseS8>(w, s, DenseFormat::kS8, std::identity());
}

void UnpackDenseF32(const Memory& packed, const DenseShape& s, float* w) {
  Unpack<float, IndexDenseF32>(packed, s, DenseFormat::kF32, std::identity(), w);
}
void UnpackDenseBf16(const Memory& packed, const DenseShape& s, float* w) {
  Unpack<BFloat, IndexDenseBf16>(
      packed, s, DenseFormat::kBf16, [](BFloat x) { return ToFloat(x); }, w);
}
void UnpackDenseS8(const Memory& packed, const DenseShape& s, int8_t* w) {
  Unpack<int8_t, IndexDenseS8>(packed, s, DenseFormat::kS8, std::identity(), w);
}

bool PairsAreSafe(std::span<const std::byte> packed) {
  const auto* w = reinterpret_cast<const int8_t*>(packed.data());
  constexpr int kLimit = 128;
  bool safe = true;
  for (size_t i = 0; i + 2 <= packed.size(); i += 2) {
    const int a = w[i], b = w[i + 1];
    safe &= std::max(a, 0) + std::max(b, 0) <= kLimit;
    safe &= std::min(a, 0) + std::min(b, 0) >= -kLimit;
  }
  return safe;
}

int64_t BytesDepthwise(int64_t channels, int64_t taps, int64_t item) {
  Check(channels > 0 && taps > 0, "packed weights: sizes must be positive; check the layer's shape");
  return CheckedMul(CheckedMul(CheckedRound(channels, kPanel), taps), item);
}

Memory PackDepthwiseF32(const float* w, int64_t channels, int64_t taps) {
  return PackDepthwise(w, channels, taps);
}
Memory PackDepthwiseS16(const int16_t* w, int64_t channels, int64_t taps) {
  return PackDepthwise(w, channels, taps);
}
void UnpackDepthwiseF32(const Memory& packed, int64_t channels, int64_t taps, float* w) {
  UnpackDepthwise(packed, channels, taps, w);
}
void UnpackDepthwiseS16(const Memory& packed, int64_t channels, int64_t taps, int16_t* w) {
  UnpackDepthwise(packed, channels, taps, w);
}

}  // namespace planish
