// Family `table`: y[i] = table[x[i]]; x, y uint8 of one shape, any strides; table uint8 [256], contiguous.
// What every unary operation on quantized values becomes.
#include "kernels/common/nest.h"
#include "kernels/common/operands.h"
#include "kernels/eltwise/byte_rows.h"
#include "kernels/eltwise/lines.h"

namespace planish {
namespace {

struct Params {
  RowLoop<2> loop;
  TableRow row;
};

void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  const auto* table = reinterpret_cast<const uint8_t*>(operands[1]);
  std::byte* const both[2] = {operands[0], operands[2]};
  RunRowLoop(p.loop, both, context.threads, [&](std::byte* const* at, int64_t n) {
    p.row(reinterpret_cast<const uint8_t*>(at[0]), table, reinterpret_cast<uint8_t*>(at[1]), n);
  });
}

TableRow RowFor(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512Vbmi) return &LookupAvx512Vbmi;
#endif
  return ByteRowsFor(isa).table;
}

}  // namespace

PLANISH_KERNEL_LIST(table, Table, kEltwiseLines)

Built BuildTable(const OpDesc& op) {
  CheckOperands(op, 2, 1);
  const View &x = op.inputs[0], &table = op.inputs[1], &y = op.outputs[0];
  for (const View* v : {&x, &table, &y}) CheckType(op, *v, DType::kU8);
  CheckSameShape(op, x, y);
  Check(table.rank == 1 && table.shape[0] == 256 && table.stride[0] == 1,
        "table: the table has 256 contiguous bytes; the plan is damaged or of another version");
  const KernelInfo& kernel = ChooseBest(TableKernels(), op.attrs);
  if (y.elements() == 0) return BuildNothing(kernel.name);
  const Params p{MakeRowLoop<2>({&x, &y}), RowFor(kernel.isa)};
  return MakeBuilt(&Run, p, kernel.name);
}

}  // namespace planish
