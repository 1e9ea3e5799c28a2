// Family `qbinary`: y = quantize(dequantize(a) OP dequantize(b)); a, b, y uint8, a and b broadcast to y's
// shape (zero strides). Attributes: op add or mul; a_scale, a_zero, b_scale, b_zero, y_scale, y_zero; lo, hi,
// the bounds of the quantized result (default 0, 255). Formula in byte_rows.h.
#include <utility>

#include "kernels/common/nest.h"
#include "kernels/common/operands.h"
#include "kernels/eltwise/lines.h"

namespace planish {
namespace {

constexpr const char* kOps[] = {"add", "mul"};

struct Params {
  RowLoop<3> loop;
  QBinaryRow row;
  QBinaryArgs args;
  bool swap;  // the operations commute: the operand that is one element in a row goes second
};

void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  std::byte* const ordered[3] = {operands[p.swap ? 1 : 0], operands[p.swap ? 0 : 1], operands[2]};
  RunRowLoop(p.loop, ordered, context.threads, [&](std::byte* const* at, int64_t n) {
    p.row(reinterpret_cast<const uint8_t*>(at[0]), reinterpret_cast<const uint8_t*>(at[1]),
          reinterpret_cast<uint8_t*>(at[2]), n, p.args);
  });
}

QBinaryArgs ArgsOf(const OpDesc& op) {
  const auto scale = [&](const char* name) {
    const float s = static_cast<float>(op.attrs.Float(name, 1));
    Check(s > 0, "qbinary: scales must be positive; the plan is damaged or of another version");
    return s;
  };
  const auto byte = [&](const char* name, double fallback) {
    const double v = op.attrs.Float(name, fallback);
    Check(v >= 0 && v <= 255,
          "qbinary: zero points and bounds are uint8; the plan is damaged or of another version");
    return static_cast<int32_t>(v);
  };
  return {scale("a_scale"),  scale("b_scale"),  scale("y_scale"), byte("a_zero", 0),
          byte("b_zero", 0), byte("y_zero", 0), byte("lo", 0),    byte("hi", 255)};
}

}  // namespace

PLANISH_KERNEL_LIST(qbinary, Qbinary, kEltwiseLines)

Built BuildQbinary(const OpDesc& op) {
  CheckOperands(op, 2, 1);
  const View &a = op.inputs[0], &b = op.inputs[1], &y = op.outputs[0];
  for (const View* v : {&a, &b, &y}) {
    CheckType(op, *v, DType::kU8);
    CheckSameShape(op, *v, y);
  }
  const KernelInfo& kernel = ChooseBest(QbinaryKernels(), op.attrs);
  const int which = ChoiceOf(op, "op", op.attrs.String("op", ""), kOps);
  Params p{};
  p.args = ArgsOf(op);
  if (y.elements() == 0) return BuildNothing(kernel.name);
  p.loop = MakeRowLoop<3>({&a, &b, &y}, 0b010);
  p.swap = p.loop.scalar(0) && !p.loop.scalar(1);
  if (p.swap) {
    p.loop = MakeRowLoop<3>({&b, &a, &y}, 0b010);
    std::swap(p.args.a_scale, p.args.b_scale);
    std::swap(p.args.a_zero, p.args.b_zero);
  }
  p.row = ByteRowsFor(kernel.isa).qbinary[which][p.loop.scalar(1) ? kBytesByte : kBytesBytes];
  return MakeBuilt(&Run, p, kernel.name);
}

}  // namespace planish
