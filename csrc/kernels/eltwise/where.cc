// Family `where`: y[i] = cond[i] ? a[i] : b[i]; cond is bool (any byte that is not zero is true), a, b and y
// share any dtype. All views are broadcast to y's shape.
#include "kernels/common/nest.h"
#include "kernels/common/operands.h"
#include "kernels/eltwise/lines.h"

namespace planish {
namespace {

template <class T>
void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const auto& loop = *static_cast<const RowLoop<4>*>(params);
  RunRowLoop(loop, operands, context.threads, [&](std::byte* const* at, int64_t n) {
    const uint8_t* c = reinterpret_cast<const uint8_t*>(at[0]);
    const T* a = reinterpret_cast<const T*>(at[1]);
    const T* b = reinterpret_cast<const T*>(at[2]);
    T* __restrict y = reinterpret_cast<T*>(at[3]);
    for (int64_t i = 0; i < n; ++i) {
      const T yes = a[i], no = b[i];
      y[i] = c[i] ? yes : no;
    }
  });
}

}  // namespace

PLANISH_KERNEL_LIST(where, Where, kEltwiseLines)

Built BuildWhere(const OpDesc& op) {
  CheckOperands(op, 3, 1);
  const View &c = op.inputs[0], &a = op.inputs[1], &b = op.inputs[2], &y = op.outputs[0];
  for (const View& v : op.inputs) CheckSameShape(op, v, y);
  CheckType(op, c, DType::kBool);
  CheckType(op, a, y.dtype);
  CheckType(op, b, y.dtype);
  const KernelInfo& kernel = ChooseBest(WhereKernels(), op.attrs);
  if (y.elements() == 0) return BuildNothing(kernel.name);
  const auto loop = MakeRowLoop<4>({&c, &a, &b, &y});
  switch (ItemSize(y.dtype)) {
    case 1:
      return MakeBuilt(&Run<uint8_t>, loop, kernel.name);
    case 2:
      return MakeBuilt(&Run<uint16_t>, loop, kernel.name);
    case 4:
      return MakeBuilt(&Run<uint32_t>, loop, kernel.name);
    default:
      return MakeBuilt(&Run<uint64_t>, loop, kernel.name);
  }
}

}  // namespace planish
