// Family `dynamic_quantize`: x (float32, any strides) -> y (uint8, x's shape), scale (float32, one element),
// zero (uint8, one element), as ONNX's DynamicQuantizeLinear:
//   scale = (max(0, max x) - min(0, min x)) / 255, 1 where that is 0;  zero = rne(clamp(0 - min(0, min x) /
//   scale, 0, 255)) y = rne(clamp(x / scale, 0 - zero, 255 - zero)) + zero
#include <cmath>

#include "kernels/common/nest.h"
#include "kernels/common/operands.h"
#include "kernels/quantize/lines.h"

namespace planish {
namespace {

struct Params {
  RowLoop<2> loop;  // x, y
  const QuantizeRows* rows;
};

struct alignas(64) WorkerRange {
  float lo, hi;
};

void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  // The smallest and largest value of every row piece; which worker saw which does not matter.
  auto* ranges = reinterpret_cast<WorkerRange*>(context.scratch);
  const int64_t length = p.loop.nest.length();
  const int64_t group = std::max<int64_t>(1, (kTaskBytes / 4 + length - 1) / length);
  for (int w = 0; w < context.threads; ++w) ranges[w] = {0, 0};
  ParallelFor(
      (p.loop.nest.rows + group - 1) / group, ThreadsFor(p.loop.nest.rows * length * 4, context.threads),
      [&](int64_t task, int worker) {
        WorkerRange& r = ranges[worker];
        const int64_t first = task * group;
        WalkRows(p.loop.nest, operands, first, std::min(group, p.loop.nest.rows - first),
                 [&](std::byte* const* at) {
                   if (!(p.loop.packed & 1))
                     return p.rows->range(reinterpret_cast<const float*>(at[0]), length, &r.lo, &r.hi);
                   for (int64_t from = 0; from < length; from += kStrip) {
                     float strip[kStrip];
                     const int64_t n = std::min(kStrip, length - from), stride = p.loop.nest.inner(0);
                     CopyItems(4, at[0] + from * stride, stride, reinterpret_cast<std::byte*>(strip), 4, n);
                     p.rows->range(strip, n, &r.lo, &r.hi);
                   }
                 });
      });
  float lo = 0, hi = 0;
  for (int w = 0; w < context.threads; ++w) {
    lo = std::min(lo, ranges[w].lo);
    hi = std::max(hi, ranges[w].hi);
  }
  const float span = hi - lo;
  const float scale = span == 0 ? 1.0f : span / 255.0f;
  const float z = 0.0f - lo / scale;
  const uint8_t zero = static_cast<uint8_t>(std::nearbyint(z > 0 ? std::min(z, 255.0f) : 0.0f));
  *reinterpret_cast<float*>(operands[2]) = scale;
  *reinterpret_cast<uint8_t*>(operands[3]) = zero;
  RunRowLoop(p.loop, operands, context.threads, [&](std::byte* const* at, int64_t n) {
    p.rows->quantize[kTypeU8][kShared](reinterpret_cast<const float*>(at[0]), &scale, &zero, at[1], n);
  });
}

}  // namespace

PLANISH_KERNEL_LIST(dynamic_quantize, DynamicQuantize, kQuantizeLines)

Built BuildDynamicQuantize(const OpDesc& op) {
  CheckOperands(op, 1, 3);
  const View &x = op.inputs[0], &y = op.outputs[0], &scale = op.outputs[1], &zero = op.outputs[2];
  CheckType(op, x, DType::kF32);
  CheckType(op, y, DType::kU8);
  CheckType(op, scale, DType::kF32);
  CheckType(op, zero, DType::kU8);
  CheckSameShape(op, x, y);
  Check(scale.elements() == 1 && zero.elements() == 1,
        "dynamic_quantize: scale and zero point have one element; the plan is damaged or of another version");
  const KernelInfo& kernel = ChooseBest(DynamicQuantizeKernels(), op.attrs);
  Check(y.elements() > 0,
        "dynamic_quantize: a tensor without elements has no range; give it at least one element");
  const Params p{MakeRowLoop<2>({&x, &y}), &QuantizeRowsFor(kernel.isa)};
  return MakeBuilt(&Run, p, kernel.name, static_cast<int64_t>(sizeof(WorkerRange)) * op.threads);
}

}  // namespace planish
