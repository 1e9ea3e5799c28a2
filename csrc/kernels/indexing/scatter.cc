// Families that write by index into a copy of x; x, updates and y share a dtype, indices are int32 or int64;
// any strides.
//   scatter_elements  y = x;  y[i with i[axis] = indices[i]] OP= updates[i]
//   scatter_nd        y = x;  y[indices[i, :], s] OP= updates[i, s]
// Attribute reduction: none (the last update wins), add, mul, min, max. Updates are applied in order, on one
// thread.
#include "kernels/indexing/index.h"

namespace planish {
namespace {

template <class T>
T Arithmetic(Reduction r, T a, T b) {
  switch (r) {
    case kAddTo:
      return a + b;
    case kMulBy:
      return a * b;
    case kMinWith:
      return b < a || b != b ? b : a;
    case kMaxWith:
      return b > a || b != b ? b : a;
    default:
      return b;
  }
}

// Sums and products of signed integers wrap: they are computed unsigned.
template <class T, class Wrapping, Reduction kReduction>
void Combine(const std::byte* update, std::byte* y) {
  T a, b;
  std::memcpy(&a, y, sizeof a);
  std::memcpy(&b, update, sizeof b);
  if constexpr (kReduction == kAddTo || kReduction == kMulBy) {
    a = static_cast<T>(Arithmetic<Wrapping>(kReduction, static_cast<Wrapping>(a), static_cast<Wrapping>(b)));
  } else {
    a = Arithmetic<T>(kReduction, a, b);
  }
  std::memcpy(y, &a, sizeof a);
}

template <class T, class Wrapping = T>
CombineFn Select(Reduction r) {
  switch (r) {
    case kAddTo:
      return &Combine<T, Wrapping, kAddTo>;
    case kMulBy:
      return &Combine<T, Wrapping, kMulBy>;
    case kMinWith:
      return &Combine<T, Wrapping, kMinWith>;
    case kMaxWith:
      return &Combine<T, Wrapping, kMaxWith>;
    default:
      return &Combine<T, Wrapping, kReplace>;
  }
}

constexpr const char* kReductions[] = {"none", "add", "mul", "min", "max"};

struct ElementsParams {
  Nest<2> copy;     // x, y
  Nest<3> updates;  // indices, updates, y without the axis: in the order of the indices' axes
  CombineFn combine;
  int64_t item, size, pitch;
  bool wide;
};

void RunElements(const void* params, std::byte* const* operands, const RunContext& context) {
  const ElementsParams& p = *static_cast<const ElementsParams*>(params);
  CopySlice(p.copy, p.item, operands[0], operands[3]);
  std::byte* const three[3] = {operands[1], operands[2], operands[3]};
  WalkRows(p.updates, three, 0, p.updates.rows, [&](std::byte* const* at) {
    for (int64_t i = 0; i < p.updates.length(); ++i) {
      const int64_t index = ReadIndex(at[0] + i * p.updates.inner(0), p.wide, p.size);
      if (!InRange(index, p.size)) return context.ReportIndex();
      p.combine(at[1] + i * p.updates.inner(1), at[2] + i * p.updates.inner(2) + index * p.pitch);
    }
  });
}

struct NdParams {
  Nest<2> copy;   // x, y
  Nest<2> outer;  // indices without their last axis, updates
  Nest<2> slice;  // updates, y
  CombineFn combine;
  int64_t item, tuple_pitch;
  int tuple;
  Dims size, pitch;
  bool wide, replace;
};

void RunNd(const void* params, std::byte* const* operands, const RunContext& context) {
  const NdParams& p = *static_cast<const NdParams*>(params);
  std::byte* y = operands[3];
  CopySlice(p.copy, p.item, operands[0], y);
  ForEachPair(p.outer, operands[1], operands[2], [&](const std::byte* tuple, std::byte* update) {
    int64_t offset = 0;
    for (int k = 0; k < p.tuple; ++k) {
      const int64_t index = ReadIndex(tuple + k * p.tuple_pitch, p.wide, p.size[k]);
      if (!InRange(index, p.size[k])) return context.ReportIndex();
      offset += index * p.pitch[k];
    }
    if (p.replace) return CopySlice(p.slice, p.item, update, y + offset);
    ForEachPair(p.slice, update, y + offset, p.combine);
  });
}

// A nest that keeps the order of the last view's axes: duplicates must meet in the order of the indices.
template <int N>
Nest<N> OrderedNest(const std::array<const View*, N>& views) {
  View order;
  order.rank = views[0]->rank;
  order.shape = views[0]->shape;
  int64_t pitch = 1;
  for (int i = order.rank - 1; i >= 0; --i) {
    order.stride[i] = pitch;
    pitch = CheckedMul(pitch, std::max<int64_t>(1, order.shape[i]));
  }
  std::array<const View*, N + 1> all{};
  std::copy(views.begin(), views.end(), all.begin());
  all[N] = &order;
  const Nest<N + 1> sorted = MakeNest<N + 1>(all);
  Nest<N> nest;
  nest.rank = sorted.rank;
  nest.shape = sorted.shape;
  nest.rows = sorted.rows;
  std::copy_n(sorted.stride.begin(), N, nest.stride.begin());
  return nest;
}

void CheckShape(const OpDesc& op, bool ok) {
  if (!ok)
    Fail(std::string(op.family) + ": shapes do not fit together; the plan is damaged or of another version");
}

void CheckCommon(const OpDesc& op) {
  CheckOperands(op, 3, 1);
  CheckSameShape(op, op.inputs[0], op.outputs[0]);
  CheckType(op, op.inputs[0], op.outputs[0].dtype);
  CheckType(op, op.inputs[2], op.outputs[0].dtype);
}

}  // namespace

CombineFn CombineFor(const OpDesc& op, DType t) {
  const auto r =
      static_cast<Reduction>(ChoiceOf(op, "reduction", op.attrs.String("reduction", "none"), kReductions));
  if (t == DType::kF32) return Select<float>(r);
  if (t == DType::kF64) return Select<double>(r);
  if (t == DType::kS32) return Select<int32_t, uint32_t>(r);
  if (t == DType::kS64) return Select<int64_t, uint64_t>(r);
  if (r != kReplace) FailType(op, t);
  switch (ItemSize(t)) {
    case 1:
      return Select<uint8_t, uint32_t>(kReplace);
    case 2:
      return Select<uint16_t, uint32_t>(kReplace);
    case 4:
      return Select<uint32_t>(kReplace);
    default:
      return Select<uint64_t>(kReplace);
  }
}

PLANISH_KERNEL_LIST(scatter_elements, ScatterElements, kIndexingLines)
PLANISH_KERNEL_LIST(scatter_nd, ScatterNd, kIndexingLines)

Built BuildScatterElements(const OpDesc& op) {
  CheckCommon(op);
  const View &x = op.inputs[0], &indices = op.inputs[1], &updates = op.inputs[2], &y = op.outputs[0];
  CheckSameShape(op, indices, updates);
  CheckShape(op, indices.rank == y.rank);
  const KernelInfo& kernel = ChooseBest(ScatterElementsKernels(), op.attrs);
  const int axis = AxisOf(op, "axis", 0, y.rank);
  View base = y;
  for (int i = 0; i < y.rank; ++i) {
    CheckShape(op, i == axis || indices.shape[i] <= y.shape[i]);
    base.shape[i] = indices.shape[i];
  }
  base.stride[axis] = 0;
  ElementsParams p{};
  p.wide = IsWide(op, indices);
  p.combine = CombineFor(op, y.dtype);
  if (y.elements() == 0) return BuildNothing(kernel.name);
  p.copy = MakeNest<2>({&x, &y});
  p.updates = OrderedNest<3>({&indices, &updates, &base});
  p.item = ItemSize(y.dtype);
  p.size = y.shape[axis];
  p.pitch = y.stride[axis];
  return MakeBuilt(&RunElements, p, kernel.name);
}

Built BuildScatterNd(const OpDesc& op) {
  CheckCommon(op);
  const View &x = op.inputs[0], &indices = op.inputs[1], &updates = op.inputs[2], &y = op.outputs[0];
  CheckShape(op, indices.rank >= 1);
  const KernelInfo& kernel = ChooseBest(ScatterNdKernels(), op.attrs);
  const int prefix = indices.rank - 1;
  const int64_t tuple = indices.shape[prefix];
  CheckShape(op, tuple <= y.rank && updates.rank == prefix + y.rank - tuple);
  for (int i = 0; i < updates.rank; ++i) {
    CheckShape(op, updates.shape[i] == (i < prefix ? indices.shape[i] : y.shape[i - prefix + tuple]));
  }
  NdParams p{};
  p.wide = IsWide(op, indices);
  p.combine = CombineFor(op, y.dtype);
  if (y.elements() == 0) return BuildNothing(kernel.name);
  p.tuple = static_cast<int>(tuple);
  p.tuple_pitch = indices.stride[prefix];
  const View outer_i = Axes(indices, 0, prefix), outer_u = Axes(updates, 0, prefix);
  const View slice_u = Axes(updates, prefix, updates.rank), slice_y = Axes(y, p.tuple, y.rank);
  p.copy = MakeNest<2>({&x, &y});
  p.outer = OrderedNest<2>({&outer_i, &outer_u});
  p.slice = MakeNest<2>({&slice_u, &slice_y});
  p.item = ItemSize(y.dtype);
  p.replace = op.attrs.String("reduction", "none") == "none";
  std::copy_n(y.shape.begin(), p.tuple, p.size.begin());
  std::copy_n(y.stride.begin(), p.tuple, p.pitch.begin());
  return MakeBuilt(&RunNd, p, kernel.name);
}

}  // namespace planish
