// Family `qbinary`: y = quantize(dequantize(a) OP dequantize(b)); a, b, y uint8, a and b broadcast to y's
// shape (zero strides). Attributes: op add or mul; a_scale, a_zero, b_scale, b_zero, y_scale, y_zero; lo, hi,
// the bounds of the quantized result (default 0, 255). Formula in byte_rows.h.
#include <algorithm>
#include <utility>

#include "kernels/common/nest.h"
#include "kernels/common/operands.h"
#include "kernels/eltwise/lines.h"

namespace planish {
namespace {

constexpr const char* kOps[] = {"add", "mul"};

constexpr int64_t kPeriodFloats = 512;  // of a repeated row: short rows are taken several at a time

struct Params {
  RowLoop<3> loop;
  QBinaryRow row;
  QBinaryArgs args;
  // The operations commute: the operand that is the same for all rows, or one element in a row, goes second.
  bool swap;
  DequantizeRow dequantize;
  int64_t period;  // elements: where all rows share a row of b, as many whole rows as it is repeated for
};

const uint8_t* Bytes(const std::byte* p) { return reinterpret_cast<const uint8_t*>(p); }

void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  std::byte* const ordered[3] = {operands[p.swap ? 1 : 0], operands[p.swap ? 0 : 1], operands[2]};
  RunRowLoop(p.loop, ordered, context.threads, [&](std::byte* const* at, int64_t n) {
    p.row(Bytes(at[0]), at[1], reinterpret_cast<uint8_t*>(at[2]), n, p.args);
  });
}

// As Run, for rows that lie one behind another and share a row of b, which is dequantized once.
void RunShared(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  const std::byte *a = operands[p.swap ? 1 : 0], *b = operands[p.swap ? 0 : 1];
  float* row = reinterpret_cast<float*>(context.scratch);
  const int64_t length = p.loop.nest.length(), total = p.loop.nest.rows * length;
  p.dequantize(Bytes(b), p.args.b_zero, p.args.b_scale, row, length);
  for (int64_t i = length; i < p.period; ++i) row[i] = row[i - length];
  constexpr int64_t kMoved = 2;  // bytes an element
  const int64_t pieces = (total + p.period - 1) / p.period;
  ParallelFor(pieces, ThreadsFor(total * kMoved, context.threads), [&](int64_t piece, int) {
    const int64_t from = piece * p.period, n = std::min(p.period, total - from);
    p.row(Bytes(a) + from, row, reinterpret_cast<uint8_t*>(operands[2]) + from, n, p.args);
  });
}

// Whether operand k is the same row for all rows, which are contiguous in the other one and in y.
bool SharesRow(const Nest<3>& nest, int k) {
  if (nest.rank != 2 || nest.stride[k][0] != 0 || nest.inner(k) != 1) return false;
  const auto contiguous = [&](int other) {
    return nest.inner(other) == 1 && nest.stride[other][0] == nest.length();
  };
  return contiguous(1 - k) && contiguous(2);
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
  p.swap = (p.loop.scalar(0) && !p.loop.scalar(1)) || SharesRow(p.loop.nest, 0);
  if (p.swap) {
    p.loop = MakeRowLoop<3>({&b, &a, &y}, 0b010);
    std::swap(p.args.a_scale, p.args.b_scale);
    std::swap(p.args.a_zero, p.args.b_zero);
  }
  const ByteRows& rows = ByteRowsFor(kernel.isa);
  if (SharesRow(p.loop.nest, 1)) {
    const int64_t length = p.loop.nest.length();
    p.period = length * std::clamp<int64_t>(kPeriodFloats / length, 1, p.loop.nest.rows);
    p.dequantize = rows.dequantize;
    p.row = rows.qbinary[which][kBytesFloats];
    return MakeBuilt(&RunShared, p, kernel.name, CheckedMul(p.period, static_cast<int64_t>(sizeof(float))));
  }
  p.row = rows.qbinary[which][p.loop.scalar(1) ? kBytesByte : kBytesBytes];
  return MakeBuilt(&Run, p, kernel.name);
}

}  // namespace planish
