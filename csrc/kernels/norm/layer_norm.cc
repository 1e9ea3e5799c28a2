// Family `layer_norm`: over the last axis, of length n,
//   op "layer":  y = (x - mean) / sqrt(variance + eps) * gamma + beta
//   op "rms":    y = x / sqrt(mean of x^2 + eps) * gamma + beta
// x, y float32 of one shape, gamma and beta (may be absent) float32 [n]. The last axis of every operand is
// contiguous; the others have any strides. Sums by 16 lanes; the variance is that of the differences from the
// mean.
#include <cmath>

#include "kernels/common/nest.h"
#include "kernels/common/operands.h"
#include "kernels/norm/lines.h"

namespace planish {
namespace {

constexpr const char* kOps[] = {"layer", "rms"};

struct Params {
  Nest<2> nest;  // x, y over all axes but the last
  int64_t length;
  float eps;
  bool rms;
  const ReduceRows* rows;
};

void NormaliseRow(const Params& p, const float* x, const float* gamma, const float* beta, float* y) {
  const float n = static_cast<float>(p.length);
  float mean = 0;
  if (!p.rms) {
    float lanes[kLanes] = {};
    p.rows->accumulate[kSum].lanes(x, p.length, 0, lanes);
    mean = p.rows->accumulate[kSum].tree(lanes) / n;
  }
  const float variance = p.rows->sum_square_minus(x, mean, p.length) / n;
  p.rows->normalise(x, mean, 1.0f / std::sqrt(variance + p.eps), gamma, beta, y, p.length);
}

void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  std::byte* const both[2] = {operands[0], operands[3]};
  const float* gamma = reinterpret_cast<const float*>(operands[1]);
  const float* beta = reinterpret_cast<const float*>(operands[2]);
  const int64_t count = p.nest.rows * p.nest.length(), inner = p.nest.length();
  const int64_t group = std::max<int64_t>(1, kTaskBytes / 8 / p.length);
  ParallelFor((count + group - 1) / group, ThreadsFor(count * p.length * 16, context.threads),
              [&](int64_t task, int) {
                const int64_t end = std::min(count, (task + 1) * group);
                for (int64_t i = task * group; i < end; ++i) {
                  WalkRows(p.nest, both, i / inner, 1, [&](std::byte* const* at) {
                    const int64_t c = i % inner;
                    NormaliseRow(p, reinterpret_cast<const float*>(at[0] + c * p.nest.inner(0)), gamma, beta,
                                 reinterpret_cast<float*>(at[1] + c * p.nest.inner(1)));
                  });
                }
              });
}

void CheckContiguous(const View& v) {
  Check(v.stride[v.rank - 1] == 4 || v.shape[v.rank - 1] <= 1,
        "layer_norm: the last axis must be contiguous; copy the operand first");
}

}  // namespace

PLANISH_KERNEL_LIST(layer_norm, LayerNorm, kNormLines)

Built BuildLayerNorm(const OpDesc& op) {
  CheckOperands(op, 3, 1, 2);
  const View &x = op.inputs[0], &gamma = op.inputs[1], &y = op.outputs[0];
  Check(op.inputs.size() == 3 && x.rank >= 1,
        "layer_norm: takes x, gamma and beta; the plan is damaged or of another version");
  CheckSameShape(op, x, y);
  for (const View* v : {&x, &gamma, &y}) {
    CheckType(op, *v, DType::kF32);
  }
  const int64_t length = x.shape[x.rank - 1];
  const auto check_vector = [&](const View& v) {
    Check(v.rank == 1 && v.shape[0] == length && v.dtype == DType::kF32,
          "layer_norm: gamma and beta are float32 of the last axis's length; the plan is damaged or of "
          "another version");
    CheckContiguous(v);
  };
  check_vector(gamma);
  if (Present(op, 2)) check_vector(op.inputs[2]);
  const KernelInfo& kernel = ChooseBest(LayerNormKernels(), op.attrs);
  const bool rms = ChoiceOf(op, "op", op.attrs.String("op", "layer"), kOps) == 1;
  if (y.elements() == 0) return BuildNothing(kernel.name);
  CheckContiguous(x);
  CheckContiguous(y);
  View outer_x = x, outer_y = y;
  outer_x.shape[x.rank - 1] = outer_y.shape[x.rank - 1] = 1;
  const Params p{MakeNest<2>({&outer_x, &outer_y}), length, static_cast<float>(op.attrs.Float("eps", 1e-5)),
                 rms, &ReduceRowsFor(kernel.isa)};
  return MakeBuilt(&Run, p, kernel.name);
}

}  // namespace planish
