// Family `argminmax`: y[.., 0, ..] = the index along attribute `axis` of the largest (op max) or smallest (op
// min) element; of equal ones the first, with select_last = 1 the last; the first NaN wins over every number.
// y int64 with the axis of size 1; any strides.
#include <cstring>

#include "kernels/common/nest.h"
#include "kernels/common/number_type.h"
#include "kernels/common/order_key.h"
#include "kernels/reduce/lines.h"

namespace planish {
namespace {

constexpr const char* kOps[] = {"max", "min"};

struct Params {
  Nest<2> lines;  // x, y without the axis
  int64_t length, from;
  bool min, last;
};

template <class T>
int64_t Find(const Params& p, const std::byte* x) {
  // Larger keys win; NaN stays the largest for both operations.
  uint64_t best = 0;
  int64_t at = 0;
  for (int64_t i = 0; i < p.length; ++i) {
    T v;
    std::memcpy(&v, x + i * p.from, sizeof v);
    uint64_t key = OrderKey(v);
    if (p.min && v == v) key = ~key;
    if (i == 0 || key > best || (p.last && key == best)) {
      best = key;
      at = i;
    }
  }
  return at;
}

template <class T>
void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  ForEachRow(p.lines, operands, p.length * static_cast<int64_t>(sizeof(T)) + 8, context.threads,
             [&](std::byte* const* at, int64_t n) {
               for (int64_t i = 0; i < n; ++i) {
                 const int64_t found = Find<T>(p, at[0] + i * p.lines.inner(0));
                 std::memcpy(at[1] + i * p.lines.inner(1), &found, 8);
               }
             });
}

}  // namespace

PLANISH_KERNEL_LIST(argminmax, Argminmax, kReduceLines)

Built BuildArgminmax(const OpDesc& op) {
  CheckOperands(op, 1, 1);
  const View &x = op.inputs[0], &y = op.outputs[0];
  CheckType(op, y, DType::kS64);
  const KernelInfo& kernel = ChooseBest(ArgminmaxKernels(), op.attrs);
  const int axis = AxisOf(op, "axis", 0, x.rank);
  View lines = x;
  lines.shape[axis] = 1;
  CheckSameShape(op, lines, y);
  const bool min = ChoiceOf(op, "op", op.attrs.String("op", "max"), kOps) == 1;
  if (y.elements() == 0) return BuildNothing(kernel.name);
  Check(x.shape[axis] > 0, "argminmax: the axis has no elements; give it at least one");
  const Params p{MakeNest<2>({&lines, &y}), x.shape[axis], x.stride[axis], min,
                 op.attrs.Int("select_last", 0) != 0};
  const RunFn run = WithNumberType(op, x.dtype, [](auto number) { return &Run<decltype(number)>; });
  return MakeBuilt(run, p, kernel.name);
}

}  // namespace planish
