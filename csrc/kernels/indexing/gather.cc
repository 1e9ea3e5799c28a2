// Families that read by index; x and y share any dtype, indices are int32 or int64; any strides (index.h:
// invalid indices).
//   gather           y[o, i, s] = x[o, indices[i], s]          o: x's axes before attribute `axis`, s: those
//   behind it gather_elements  y[i] = x[i with i[axis] = indices[i]]     y has the shape of indices gather_nd
//   y[b, i, s] = x[b, indices[b, i, :], s]    b: the first `batch_dims` axes
#include "kernels/indexing/index.h"

namespace planish {
namespace {

struct GatherParams {
  Nest<3> slices;  // x at index 0, indices, y: over x's axes before the axis, then those of the indices
  Nest<2> slice;   // x, y
  int64_t item, size, pitch;
  bool wide;
};

void RunGather(const void* params, std::byte* const* operands, const RunContext& context) {
  const GatherParams& p = *static_cast<const GatherParams*>(params);
  ForEachRow(p.slices, operands, p.slice.rows * p.slice.length() * p.item + 8, context.threads,
             [&](std::byte* const* at, int64_t n) {
               for (int64_t i = 0; i < n; ++i) {
                 const int64_t index = ReadIndex(at[1] + i * p.slices.inner(1), p.wide, p.size);
                 const std::byte* x = at[0] + i * p.slices.inner(0);
                 if (!InRange(index, p.size)) return context.ReportIndex();
                 CopySlice(p.slice, p.item, x + index * p.pitch, at[2] + i * p.slices.inner(2));
               }
             });
}

struct ElementsParams {
  Nest<3> nest;  // x without the axis, indices, y
  int64_t item, size, pitch;
  bool wide;
};

void RunElements(const void* params, std::byte* const* operands, const RunContext& context) {
  const ElementsParams& p = *static_cast<const ElementsParams*>(params);
  ForEachRow(p.nest, operands, p.item + 8, context.threads, [&](std::byte* const* at, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      const int64_t index = ReadIndex(at[1] + i * p.nest.inner(1), p.wide, p.size);
      if (!InRange(index, p.size)) return context.ReportIndex();
      const std::byte* from = at[0] + i * p.nest.inner(0) + index * p.pitch;
      std::memcpy(at[2] + i * p.nest.inner(2), from, static_cast<size_t>(p.item));
    }
  });
}

struct GatherNdParams {
  Nest<3> outer;  // x over the batch axes, indices without their last axis, y
  Nest<2> slice;  // x, y
  int64_t item, tuple_pitch;
  int tuple;  // indices of a slice
  Dims size, pitch;
  bool wide;
};

void RunGatherNd(const void* params, std::byte* const* operands, const RunContext& context) {
  const GatherNdParams& p = *static_cast<const GatherNdParams*>(params);
  const int64_t bytes = p.slice.rows * p.slice.length() * p.item + 8;
  ForEachRow(p.outer, operands, bytes, context.threads, [&](std::byte* const* at, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      const std::byte* from = at[0] + i * p.outer.inner(0);
      const std::byte* tuple = at[1] + i * p.outer.inner(1);
      for (int k = 0; k < p.tuple; ++k) {
        const int64_t index = ReadIndex(tuple + k * p.tuple_pitch, p.wide, p.size[k]);
        if (!InRange(index, p.size[k])) return context.ReportIndex();
        from += index * p.pitch[k];
      }
      CopySlice(p.slice, p.item, from, at[2] + i * p.outer.inner(2));
    }
  });
}

void CheckShape(const OpDesc& op, bool ok) {
  if (!ok)
    Fail(std::string(op.family) + ": shapes do not fit together; the plan is damaged or of another version");
}

void CheckAxes(const OpDesc& op, const View& a, int a_from, const View& b, int b_from, int count) {
  bool same = true;
  for (int i = 0; i < count; ++i) same = same && a.shape[a_from + i] == b.shape[b_from + i];
  CheckShape(op, same);
}

}  // namespace

PLANISH_KERNEL_LIST(gather, Gather, kIndexingLines)
PLANISH_KERNEL_LIST(gather_elements, GatherElements, kIndexingLines)
PLANISH_KERNEL_LIST(gather_nd, GatherNd, kIndexingLines)

Built BuildGather(const OpDesc& op) {
  CheckOperands(op, 2, 1);
  const View &x = op.inputs[0], &indices = op.inputs[1], &y = op.outputs[0];
  CheckType(op, x, y.dtype);
  const KernelInfo& kernel = ChooseBest(GatherKernels(), op.attrs);
  const int axis = AxisOf(op, "axis", 0, x.rank), middle = axis + indices.rank, behind = x.rank - axis - 1;
  CheckShape(op, y.rank == middle + behind);
  CheckAxes(op, x, 0, y, 0, axis);
  CheckAxes(op, indices, 0, y, axis, indices.rank);
  CheckAxes(op, x, axis + 1, y, middle, behind);
  GatherParams p{};
  p.wide = IsWide(op, indices);
  if (y.elements() == 0) return BuildNothing(kernel.name);
  // x does not move along the indices' axes, nor the indices along x's.
  View all_x = Axes(y, 0, middle), all_indices = all_x;
  const View all_y = all_x;
  for (int i = 0; i < middle; ++i) {
    all_x.stride[i] = i < axis ? x.stride[i] : 0;
    all_indices.stride[i] = i < axis ? 0 : indices.stride[i - axis];
  }
  const View slice_x = Axes(x, axis + 1, x.rank), slice_y = Axes(y, middle, y.rank);
  p.slices = MakeNest<3>({&all_x, &all_indices, &all_y});
  p.slice = MakeNest<2>({&slice_x, &slice_y});
  p.item = ItemSize(y.dtype);
  p.size = x.shape[axis];
  p.pitch = x.stride[axis];
  return MakeBuilt(&RunGather, p, kernel.name);
}

Built BuildGatherElements(const OpDesc& op) {
  CheckOperands(op, 2, 1);
  const View &x = op.inputs[0], &indices = op.inputs[1], &y = op.outputs[0];
  CheckType(op, x, y.dtype);
  CheckSameShape(op, indices, y);
  const KernelInfo& kernel = ChooseBest(GatherElementsKernels(), op.attrs);
  const int axis = AxisOf(op, "axis", 0, x.rank);
  CheckShape(op, x.rank == y.rank);
  View base = x;
  for (int i = 0; i < x.rank; ++i) {
    CheckShape(op, i == axis || y.shape[i] <= x.shape[i]);
    base.shape[i] = y.shape[i];
  }
  base.stride[axis] = 0;
  const bool wide = IsWide(op, indices);
  if (y.elements() == 0) return BuildNothing(kernel.name);
  const ElementsParams p{MakeNest<3>({&base, &indices, &y}), ItemSize(y.dtype), x.shape[axis], x.stride[axis],
                         wide};
  return MakeBuilt(&RunElements, p, kernel.name);
}

Built BuildGatherNd(const OpDesc& op) {
  CheckOperands(op, 2, 1);
  const View &x = op.inputs[0], &indices = op.inputs[1], &y = op.outputs[0];
  CheckType(op, x, y.dtype);
  const KernelInfo& kernel = ChooseBest(GatherNdKernels(), op.attrs);
  CheckShape(op, indices.rank >= 1);
  const int prefix = indices.rank - 1;
  const int64_t batch = op.attrs.Int("batch_dims", 0), tuple = indices.shape[prefix];
  CheckShape(op, batch >= 0 && batch <= prefix && tuple <= x.rank && batch + tuple <= x.rank);
  const int first = static_cast<int>(batch + tuple);
  CheckShape(op, y.rank == prefix + x.rank - first);
  CheckAxes(op, indices, 0, y, 0, prefix);
  CheckAxes(op, x, 0, y, 0, static_cast<int>(batch));
  CheckAxes(op, x, first, y, prefix, x.rank - first);
  GatherNdParams p{};
  p.wide = IsWide(op, indices);
  if (y.elements() == 0) return BuildNothing(kernel.name);
  View outer_x = Axes(y, 0, prefix);
  const View outer_i = Axes(indices, 0, prefix), outer_y = Axes(y, 0, prefix);
  for (int i = 0; i < prefix; ++i) outer_x.stride[i] = i < batch ? x.stride[i] : 0;
  const View slice_x = Axes(x, first, x.rank), slice_y = Axes(y, prefix, y.rank);
  p.outer = MakeNest<3>({&outer_x, &outer_i, &outer_y});
  p.slice = MakeNest<2>({&slice_x, &slice_y});
  p.item = ItemSize(y.dtype);
  p.tuple = static_cast<int>(tuple);
  p.tuple_pitch = indices.stride[prefix];
  for (int k = 0; k < p.tuple; ++k) {
    p.size[k] = x.shape[batch + k];
    p.pitch[k] = x.stride[batch + k];
  }
  return MakeBuilt(&RunGatherNd, p, kernel.name);
}

}  // namespace planish
