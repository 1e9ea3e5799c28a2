// Family `cumsum`: y[.., i, ..] = sum (attribute op = sum, the default) or product (prod) of x[.., k, ..] over k <= i
// along attribute `axis`; with exclusive = 1 over k < i; with reverse = 1 from the end. float32, float64, int32, int64,
// uint64 (wrapping); any strides.
#include <type_traits>

#include "kernels/indexing/index.h"

namespace planish {
namespace {

struct Params {
  Nest<2> lines;  // x, y without the axis
  int64_t length, from, to;
  bool exclusive, reverse;
};

constexpr const char* kOps[] = {"sum", "prod"};

template <class T, class Sum, bool product>
void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  ForEachRow(p.lines, operands, p.length * static_cast<int64_t>(sizeof(T)) * 2, context.threads,
             [&](std::byte* const* at, int64_t n) {
               for (int64_t line = 0; line < n; ++line) {
                 Sum sum = product ? 1 : 0;
                 for (int64_t k = 0; k < p.length; ++k) {
                   const int64_t i = p.reverse ? p.length - 1 - k : k;
                   T x;
                   std::memcpy(&x, at[0] + line * p.lines.inner(0) + i * p.from, sizeof x);
                   const Sum before = sum;
                   sum = static_cast<Sum>(product ? sum * static_cast<Sum>(x) : sum + static_cast<Sum>(x));
                   x = static_cast<T>(p.exclusive ? before : sum);
                   std::memcpy(at[1] + line * p.lines.inner(1) + i * p.to, &x, sizeof x);
                 }
               }
             });
}

template <bool product>
RunFn RunFor(const OpDesc& op, DType t) {
  switch (t) {
    case DType::kF32:
      return &Run<float, float, product>;
    case DType::kF64:
      return &Run<double, double, product>;
    case DType::kS32:
      return &Run<int32_t, uint32_t, product>;
    case DType::kS64:
    case DType::kU64:
      return &Run<int64_t, uint64_t, product>;
    default:
      FailType(op, t);
  }
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
  const bool product = ChoiceOf(op, "op", op.attrs.String("op", "sum"), kOps) == 1;
  const RunFn run = product ? RunFor<true>(op, x.dtype) : RunFor<false>(op, x.dtype);
  if (y.elements() == 0) return BuildNothing(kernel.name);
  View line_x = x, line_y = y;
  line_x.shape[axis] = line_y.shape[axis] = 1;
  const Params p{MakeNest<2>({&line_x, &line_y}),
                 x.shape[axis],
                 x.stride[axis],
                 y.stride[axis],
                 op.attrs.Int("exclusive", 0) != 0,
                 op.attrs.Int("reverse", 0) != 0};
  return MakeBuilt(run, p, kernel.name);
}

}  // namespace planish
