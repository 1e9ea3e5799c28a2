// Family `cumsum`: y[.., i, ..] = sum of x[.., k, ..] over k <= i along attribute `axis`; with exclusive = 1
// over k < i; with reverse = 1 from the end. float32, float64, int32, int64, uint64 (wrapping); any strides.
#include <type_traits>

#include "kernels/indexing/index.h"

namespace planish {
namespace {

struct Params {
  Nest<2> lines;  // x, y without the axis
  int64_t length, from, to;
  bool exclusive, reverse;
};

template <class T, class Sum>
void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  ForEachRow(p.lines, operands, p.length * static_cast<int64_t>(sizeof(T)) * 2, context.threads,
             [&](std::byte* const* at, int64_t n) {
               for (int64_t line = 0; line < n; ++line) {
                 Sum sum = 0;
                 for (int64_t k = 0; k < p.length; ++k) {
                   const int64_t i = p.reverse ? p.length - 1 - k : k;
                   T x;
                   std::memcpy(&x, at[0] + line * p.lines.inner(0) + i * p.from, sizeof x);
                   const Sum before = sum;
                   sum = static_cast<Sum>(sum + static_cast<Sum>(x));
                   x = static_cast<T>(p.exclusive ? before : sum);
                   std::memcpy(at[1] + line * p.lines.inner(1) + i * p.to, &x, sizeof x);
                 }
               }
             });
}

}  // namespace

PLANISH_KERNEL_LIST(cumsum, Cumsum, kIndexingLines)

Built BuildCumsum(const OpDesc& op) {
  CheckOperands(op, 1, 1);
  const View &x = op.inputs[0], &y = op.outputs[0];
  CheckSameShape(op, x, y);
  CheckType(op, x, y.dtype);
  const KernelInfo& kernel = ChooseBest(CumsumKernels(), op.attrs);
  const int axis = AxisOf(op, "axis", 0, x.rank);
  if (y.elements() == 0) return BuildNothing(kernel.name);
  View line_x = x, line_y = y;
  line_x.shape[axis] = line_y.shape[axis] = 1;
  const Params p{MakeNest<2>({&line_x, &line_y}),
                 x.shape[axis],
                 x.stride[axis],
                 y.stride[axis],
                 op.attrs.Int("exclusive", 0) != 0,
                 op.attrs.Int("reverse", 0) != 0};
  switch (x.dtype) {
    case DType::kF32:
      return MakeBuilt(&Run<float, float>, p, kernel.name);
    case DType::kF64:
      return MakeBuilt(&Run<double, double>, p, kernel.name);
    case DType::kS32:
      return MakeBuilt(&Run<int32_t, uint32_t>, p, kernel.name);
    case DType::kU64:
    case DType::kS64:
      return MakeBuilt(&Run<int64_t, uint64_t>, p, kernel.name);
    default:
      FailType(op, x.dtype);
  }
}

}  // namespace planish
