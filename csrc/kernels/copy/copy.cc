// Family `copy`: y[i] = x[i] for every index i; any strides, any dtype (the same on both sides).
// Family `fill`: y[i] = value, the attribute `value` (a number) converted to y's dtype; integers saturate.
//
// One loop nest serves transposes, slices, broadcasts and the pieces of concatenations. What remains after
// coalescing is rows that are contiguous on both sides, planes that must be transposed, or, rarely, rows of
// single elements.
#include <algorithm>
#include <cstring>
#include <limits>
#include <type_traits>

#include "base/check.h"
#include "kernels/common/small_types.h"
#include "kernels/common/nest.h"
#include "kernels/copy/lines.h"
#include "kernels/kernel.h"

namespace planish {
namespace {

struct CopyParams {
  Nest<2> nest;  // x, y; with a transposition, the dimensions outside the planes, and a last one of size one
  int64_t item;
  TransposePlane transpose;  // null if rows are copied
  EverySecond every_second;  // of contiguous elements; null if rows are not of that kind
  int64_t rows, columns, from_column, to_row;
};

// If x is contiguous along another dimension than y is, takes the plane of the two out of the nest.
bool TakePlane(CopyParams& p) {
  Nest<2>& nest = p.nest;
  const int column = nest.rank - 1;
  if (nest.inner(1) != p.item || nest.inner(0) == p.item) return false;
  const auto& from = nest.stride[0];
  const int row = static_cast<int>(std::find(from.begin(), from.begin() + column, p.item) - from.begin());
  if (row == column) return false;
  p.rows = nest.shape[row];
  p.columns = nest.shape[column];
  p.from_column = nest.stride[0][column];
  p.to_row = nest.stride[1][row];
  const auto drop = [&](Dims& dims) {
    std::copy(dims.begin() + row + 1, dims.begin() + column + 1, dims.begin() + row);
  };
  drop(nest.shape);
  for (Dims& stride : nest.stride) drop(stride);
  --nest.rank;
  nest.shape[nest.rank - 1] = 1;
  nest.rows /= p.rows;
  return true;
}

void CopyRow(const CopyParams& p, std::byte* const* at, int64_t n) {
  const Nest<2>& nest = p.nest;
  const int64_t item = p.item;
  if (nest.inner(0) == item && nest.inner(1) == item) {
    std::memcpy(at[1], at[0], static_cast<size_t>(n * item));
  } else if (p.every_second) {
    p.every_second(reinterpret_cast<const char*>(at[0]), reinterpret_cast<char*>(at[1]), n);
  } else {
    CopyItems(item, at[0], nest.inner(0), at[1], nest.inner(1), n);
  }
}

void RunRows(const void* params, std::byte* const* operands, const RunContext& context) {
  const CopyParams& p = *static_cast<const CopyParams*>(params);
  ForEachRow(p.nest, operands, p.item, context.threads,
             [&](std::byte* const* at, int64_t n) { CopyRow(p, at, n); });
}

void RunPlanes(const void* params, std::byte* const* operands, const RunContext& context) {
  const CopyParams& p = *static_cast<const CopyParams*>(params);
  const int64_t rows = p.rows, columns = p.columns, planes = p.nest.rows;
  // A task: pieces of rows of one large plane, or a group of small planes.
  const int64_t piece = std::max<int64_t>(64, kTaskBytes / p.item / columns / 64 * 64);
  const int64_t pieces = (rows + piece - 1) / piece;
  const int64_t group = pieces > 1 ? 1 : std::max<int64_t>(1, kTaskBytes / p.item / (rows * columns));
  const int64_t groups = (planes + group - 1) / group;
  ParallelFor(groups * pieces, ThreadsFor(planes * rows * columns * p.item * 2, context.threads),
              [&](int64_t task, int) {
                const int64_t from = task % pieces * piece, n = std::min(piece, rows - from);
                const int64_t first = task / pieces * group, count = std::min(group, planes - first);
                std::byte* const corner[2] = {operands[0] + from * p.item, operands[1] + from * p.to_row};
                WalkRows(p.nest, corner, first, count, [&](std::byte* const* at) {
                  p.transpose(reinterpret_cast<const char*>(at[0]), p.from_column,
                              reinterpret_cast<char*>(at[1]), p.to_row, n, columns);
                });
              });
}

void RunNothing(const void*, std::byte* const*, const RunContext&) {}

CopyParams MakeCopy(const View& x, const View& y, const KernelInfo& kernel) {
  CopyParams p{};
  p.nest = MakeNest<2>({&x, &y});
  p.item = ItemSize(y.dtype);
  const int size = p.item == 1 ? 0 : p.item == 2 ? 1 : p.item == 4 ? 2 : 3;
  if (TakePlane(p)) {
    p.transpose = CopyRowsFor(kernel.isa).transpose[size];
  } else if (p.nest.inner(0) == 2 * p.item && p.nest.inner(1) == p.item) {
    p.every_second = CopyRowsFor(kernel.isa).every_second[size];
  }
  return p;
}

}  // namespace

PLANISH_KERNEL_LIST(copy, Copy, kCopyLines)
PLANISH_KERNEL_LIST(fill, Fill, kCopyLines)

Built BuildCopy(const OpDesc& op) {
  Check(op.inputs.size() == 1 && op.outputs.size() == 1, "copy: takes one input and one output");
  const View &x = op.inputs[0], &y = op.outputs[0];
  Check(x.buffer >= 0 && y.buffer >= 0 && x.dtype == y.dtype && x.rank == y.rank,
        "copy: operands differ in type or rank");
  for (int i = 0; i < x.rank; ++i) Check(x.shape[i] == y.shape[i], "copy: operands differ in shape");
  const KernelInfo& kernel = ChooseBest(CopyKernels(), op.attrs);
  if (y.elements() == 0) return MakeBuilt(&RunNothing, 0, kernel.name);
  const CopyParams p = MakeCopy(x, y, kernel);
  return MakeBuilt(p.transpose ? &RunPlanes : &RunRows, p, kernel.name);
}

namespace {

struct FillParams {
  CopyParams copy;  // from strides are zero: the source is the one value
  std::byte value[8];
};

void RunFill(const void* params, std::byte* const* operands, const RunContext& context) {
  const FillParams& p = *static_cast<const FillParams*>(params);
  std::byte* const pointers[2] = {const_cast<std::byte*>(p.value), operands[0]};
  RunRows(&p.copy, pointers, context);
}

uint8_t SmallInteger(DType t, double value) {
  const int numbers = 1 << BitsOf(t);
  const double low = IsSigned(t) ? -numbers / 2 : 0, high = low + numbers - 1;
  return EncodeInteger(static_cast<int64_t>(value > low ? std::min(value, high) : low), t);
}

// Integers saturate.
template <class T>
void Store(std::byte* to, double value) {
  T converted;
  if constexpr (std::is_integral_v<T>) {
    constexpr T low = std::numeric_limits<T>::min(), high = std::numeric_limits<T>::max();
    converted = !(value > static_cast<double>(low))  ? low
                : value >= static_cast<double>(high) ? high
                                                     : static_cast<T>(value);
  } else {
    converted = static_cast<T>(value);
  }
  std::memcpy(to, &converted, sizeof(T));
}

template <class T>
void StoreBits(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof(T));
}

void StoreAs(DType t, double value, std::byte* to) {
  switch (t) {
    case DType::kF32:
      return Store<float>(to, value);
    case DType::kF64:
      return Store<double>(to, value);
    case DType::kU8:
      return Store<uint8_t>(to, value);
    case DType::kS8:
      return Store<int8_t>(to, value);
    case DType::kU16:
      return Store<uint16_t>(to, value);
    case DType::kS16:
      return Store<int16_t>(to, value);
    case DType::kU32:
      return Store<uint32_t>(to, value);
    case DType::kS32:
      return Store<int32_t>(to, value);
    case DType::kU64:
      return Store<uint64_t>(to, value);
    case DType::kS64:
      return Store<int64_t>(to, value);
    case DType::kBool:
      return Store<uint8_t>(to, value != 0);
    case DType::kF16:
      return StoreBits(to, HalfOf(value));
    case DType::kBF16:
      return StoreBits(to, BFloatOf(value));
    case DType::kE8M0:
      return Store<uint8_t>(to, EncodePower(static_cast<float>(value), PowerRounding::kUp, true));
    default:
      return Store<uint8_t>(to, IsSmallInteger(t) ? SmallInteger(t, value) : EncodeFloat(value, FormatOf(t), true));
  }
}

}  // namespace

Built BuildFill(const OpDesc& op) {
  Check(op.inputs.empty() && op.outputs.size() == 1 && op.outputs[0].buffer >= 0,
        "fill: takes no input and one output");
  const View& y = op.outputs[0];
  const KernelInfo& kernel = ChooseBest(FillKernels(), op.attrs);
  if (y.elements() == 0) return MakeBuilt(&RunNothing, 0, kernel.name);
  View x = y;
  x.stride = {};
  FillParams p{};
  p.copy.nest = MakeNest<2>({&x, &y});
  p.copy.item = ItemSize(y.dtype);
  StoreAs(y.dtype, op.attrs.Float("value", 0), p.value);
  return MakeBuilt(&RunFill, p, kernel.name);
}

}  // namespace planish
