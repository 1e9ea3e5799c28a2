// Views: how the operands of an instruction lie in memory. Strides are in bytes and never implied.
#pragma once

#include <array>
#include <cstdint>

namespace planish {

enum class DType : uint8_t {
  kF32, kF64, kF16, kBF16, kU8, kS8, kU16, kS16, kU32, kS32, kU64, kS64, kBool,
  // One element a byte: see kernels/common/small_types.h.
  kE4M3FN, kE4M3FNUZ, kE5M2, kE5M2FNUZ, kE8M0, kE2M1FN, kS4, kU4, kS2, kU2
};
inline constexpr int kDTypeCount = 23;

constexpr int64_t ItemSize(DType t) {
  constexpr int8_t sizes[kDTypeCount] = {4, 8, 2, 2, 1, 1, 2, 2, 4, 4, 8, 8, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  return sizes[static_cast<int>(t)];
}
const char* DTypeName(DType t);  // the spelling of numpy and ml_dtypes

inline constexpr int kMaxRank = 8;
using Dims = std::array<int64_t, kMaxRank>;

// A tensor as an instruction sees it: `offset` bytes into buffer number `buffer` of the Program. Strides may be zero
// (broadcast) or negative (reversed); Program::Add has checked that every element lies inside its buffer.
struct View {
  int32_t buffer = -1;
  int64_t offset = 0;
  DType dtype = DType::kF32;
  int32_t rank = 0;
  Dims shape{};
  Dims stride{};

  int64_t size(int axis) const { return shape[axis < 0 ? rank + axis : axis]; }
  int64_t pitch(int axis) const { return stride[axis < 0 ? rank + axis : axis]; }
  int64_t elements() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= shape[i];
    return n;
  }
};

}  // namespace planish
