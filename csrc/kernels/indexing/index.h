// Reading tensors of indices, and copying and combining slices: what the families of this folder share.
//
// Indices are data: they are checked while running. A negative index counts from the end; one that is still out
// of range is reported (RunContext::ReportIndex), nothing is read or written there, and what the operation leaves
// in its output is undefined. Only one_hot takes any index.
#pragma once

#include <cstring>

#include "kernels/common/kernel_list.h"
#include "kernels/common/nest.h"
#include "kernels/common/operands.h"

namespace planish {

inline constexpr KernelInfo kIndexingLines[] = {
#define PLANISH_KERNEL(family, name, isa) {#family, #name, Isa::isa},
#include "kernels/indexing/kernels.inc"
#undef PLANISH_KERNEL
};

// The index at `p` (int32 or int64), wrapped once; outside [0, size) if it is invalid.
inline int64_t ReadIndex(const std::byte* p, bool wide, int64_t size) {
  int64_t i;
  if (wide) {
    std::memcpy(&i, p, 8);
  } else {
    int32_t narrow;
    std::memcpy(&narrow, p, 4);
    i = narrow;
  }
  return i < 0 && i >= -size ? i + size : i;
}

inline bool InRange(int64_t i, int64_t size) { return i >= 0 && i < size; }

// Whether indices are int64; throws Error unless they are int32 or int64.
inline bool IsWide(const OpDesc& op, const View& indices) {
  if (indices.dtype != DType::kS32 && indices.dtype != DType::kS64) FailType(op, indices.dtype);
  return indices.dtype == DType::kS64;
}

// The axes [from, to) of a view.
inline View Axes(const View& v, int from, int to) {
  View part = v;
  part.rank = to - from;
  for (int i = from; i < to; ++i) {
    part.shape[i - from] = v.shape[i];
    part.stride[i - from] = v.stride[i];
  }
  return part;
}

// The elements of a nest over two operands, visited in order: f(pointer 0, pointer 1).
template <class F>
void ForEachPair(const Nest<2>& nest, std::byte* a, std::byte* b, const F& f) {
  std::byte* const both[2] = {a, b};
  WalkRows(nest, both, 0, nest.rows, [&](std::byte* const* at) {
    for (int64_t i = 0; i < nest.length(); ++i) f(at[0] + i * nest.inner(0), at[1] + i * nest.inner(1));
  });
}

// Copies one element.
inline void CopyItem(int64_t item, const std::byte* from, std::byte* to) {
  switch (item) {
    case 1:
      std::memcpy(to, from, 1);
      break;
    case 2:
      std::memcpy(to, from, 2);
      break;
    case 4:
      std::memcpy(to, from, 4);
      break;
    default:
      std::memcpy(to, from, 8);
  }
}

// Copies every element of operand 0 to operand 1.
inline void CopySlice(const Nest<2>& nest, int64_t item, const std::byte* from, std::byte* to) {
  const int64_t n = nest.length(), step = nest.inner(1);
  const bool contiguous = nest.inner(0) == item && step == item;
  if (nest.rows == 1 && n == 1) return CopyItem(item, from, to);
  if (nest.rows == 1 && contiguous) {
    std::memcpy(to, from, static_cast<size_t>(n * item));
    return;
  }
  std::byte* const both[2] = {const_cast<std::byte*>(from), to};
  WalkRows(nest, both, 0, nest.rows, [&](std::byte* const* at) {
    if (contiguous) {
      std::memcpy(at[1], at[0], static_cast<size_t>(n * item));
    } else {
      CopyItems(item, at[0], nest.inner(0), at[1], step, n);
    }
  });
}

// What a scattered update does to the element it meets.
enum Reduction : int { kReplace, kAddTo, kMulBy, kMinWith, kMaxWith };
using CombineFn = void (*)(const std::byte* update, std::byte* y);

// The element operation of attribute `reduction` for a dtype; throws Error where there is none.
CombineFn CombineFor(const OpDesc& op, DType t);

}  // namespace planish
