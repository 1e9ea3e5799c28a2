// Family `one_hot`: y[i, d, j] = indices[i, j] == d ? values[1] : values[0], the new axis being attribute
// `axis` of y. indices int32 or int64, negative ones counting from the depth (index.h); values [2] of y's
// dtype; any strides.
#include "kernels/indexing/index.h"

namespace planish {
namespace {

struct Params {
  Nest<2> fill;     // the value (broadcast), y
  Nest<2> indices;  // indices, y without the axis
  int64_t item, depth, pitch, value_pitch;
  bool wide;
};

void Run(const void* params, std::byte* const* operands, const RunContext&) {
  const Params& p = *static_cast<const Params*>(params);
  const std::byte* on = operands[1] + p.value_pitch;
  CopySlice(p.fill, p.item, operands[1], operands[2]);
  ForEachPair(p.indices, operands[0], operands[2], [&](const std::byte* at, std::byte* y) {
    const int64_t index = ReadIndex(at, p.wide, p.depth);
    if (InRange(index, p.depth)) std::memcpy(y + index * p.pitch, on, static_cast<size_t>(p.item));
  });
}

}  // namespace

PLANISH_KERNEL_LIST(one_hot, OneHot, kIndexingLines)

Built BuildOneHot(const OpDesc& op) {
  CheckOperands(op, 2, 1);
  const View &indices = op.inputs[0], &values = op.inputs[1], &y = op.outputs[0];
  CheckType(op, values, y.dtype);
  Check(values.rank == 1 && values.shape[0] == 2,
        "one_hot: values holds two elements; the plan is damaged or of another version");
  const KernelInfo& kernel = ChooseBest(OneHotKernels(), op.attrs);
  const int axis = AxisOf(op, "axis", -1, y.rank);
  View without = y, value = y;
  without.rank = y.rank - 1;
  for (int i = axis; i + 1 < y.rank; ++i) {
    without.shape[i] = y.shape[i + 1];
    without.stride[i] = y.stride[i + 1];
  }
  CheckSameShape(op, indices, without);
  value.stride = {};
  Params p{};
  p.wide = IsWide(op, indices);
  if (y.elements() == 0) return BuildNothing(kernel.name);
  p.fill = MakeNest<2>({&value, &y});
  p.indices = MakeNest<2>({&indices, &without});
  p.item = ItemSize(y.dtype);
  p.depth = y.shape[axis];
  p.pitch = y.stride[axis];
  p.value_pitch = values.stride[0];
  return MakeBuilt(&Run, p, kernel.name);
}

}  // namespace planish
