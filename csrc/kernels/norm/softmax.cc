// Family `softmax`: y = exp(x - max x) / sum exp(x - max x) over attribute `axis`; with log = 1, y = x - max
// x - ln(sum ...). float32, any strides. Sums along a contiguous axis by 16 lanes, along others in ascending
// order.
#include <limits>

#include "kernels/common/nest.h"
#include "kernels/common/operands.h"
#include "kernels/norm/lines.h"

namespace planish {
namespace {

struct Params {
  Nest<2> nest;              // x, y over all axes but the softmax's
  int64_t length, from, to;  // the axis: size, strides of x and y
  const ReduceRows* rows;
  bool log;
};

float* Floats(std::byte* p) { return reinterpret_cast<float*>(p); }

void SoftmaxRow(const ReduceRows& rows, const float* x, float* y, int64_t n, bool log) {
  float lanes[kLanes];
  std::fill_n(lanes, kLanes, -std::numeric_limits<float>::infinity());
  rows.accumulate[kMax].lanes(x, n, 0, lanes);
  const float largest = rows.accumulate[kMax].tree(lanes);
  std::fill_n(lanes, kLanes, 0.0f);
  if (log) {
    rows.accumulate[kSumExp].lanes(x, n, largest, lanes);
    float sum = rows.accumulate[kSum].tree(lanes);
    rows.log(&sum, &sum, 1);
    return rows.subtract(x, largest, sum, y, n);
  }
  rows.exp_minus(x, largest, y, n);
  rows.accumulate[kSum].lanes(y, n, 0, lanes);
  rows.divide(y, rows.accumulate[kSum].tree(lanes), y, n);
}

// The axis is contiguous on both sides: one row after another.
void RunAlong(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  const int64_t count = p.nest.rows * p.nest.length();
  const int64_t group = std::max<int64_t>(1, kTaskBytes / 16 / p.length);
  ParallelFor((count + group - 1) / group, ThreadsFor(count * p.length * 24, context.threads),
              [&](int64_t task, int) {
                const int64_t end = std::min(count, (task + 1) * group), length = p.nest.length();
                for (int64_t i = task * group; i < end; ++i) {
                  WalkRows(p.nest, operands, i / length, 1, [&](std::byte* const* at) {
                    const int64_t c = i % length;
                    SoftmaxRow(*p.rows, Floats(at[0] + c * p.nest.inner(0)),
                               Floats(at[1] + c * p.nest.inner(1)), p.length, p.log);
                  });
                }
              });
}

// A strip of neighbouring rows at once; vectors run across the rows.
class Strip {
 public:
  Strip(const Params& p, std::byte* x, std::byte* y, int64_t n) : p_(p), x_(x), y_(y), n_(n) {}

  void Run() {
    std::fill_n(largest_, n_, -std::numeric_limits<float>::infinity());
    for (int64_t k = 0; k < p_.length; ++k) rows_.accumulate[kMax].columns(Load(k), n_, source_, largest_);
    std::fill_n(sum_, n_, 0.0f);
    for (int64_t k = 0; k < p_.length; ++k) {
      rows_.exp_minus_each(Load(k), largest_, result_, n_);
      rows_.accumulate[kSum].columns(result_, n_, largest_, sum_);
      if (!p_.log) Save(k, result_);
    }
    if (p_.log) rows_.log(sum_, sum_, n_);
    for (int64_t k = 0; k < p_.length; ++k) {
      if (p_.log) {
        rows_.subtract_each(Load(k), largest_, sum_, result_, n_);
      } else {
        Pack(y_ + k * p_.to, p_.nest.inner(1), result_);
        rows_.divide_each(result_, sum_, result_, n_);
      }
      Save(k, result_);
    }
  }

 private:
  void Pack(const std::byte* from, int64_t stride, float* to) {
    CopyItems(4, from, stride, reinterpret_cast<std::byte*>(to), 4, n_);
  }
  const float* Load(int64_t k) {
    Pack(x_ + k * p_.from, p_.nest.inner(0), source_);
    return source_;
  }
  void Save(int64_t k, const float* values) {
    CopyItems(4, reinterpret_cast<const std::byte*>(values), 4, y_ + k * p_.to, p_.nest.inner(1), n_);
  }

  const Params& p_;
  const ReduceRows& rows_ = *p_.rows;
  std::byte *x_, *y_;
  int64_t n_;
  float source_[kStrip], result_[kStrip], largest_[kStrip], sum_[kStrip];
};

void RunAcross(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  const int64_t length = p.nest.length(), strips = (length + kStrip - 1) / kStrip;
  ParallelFor(p.nest.rows * strips, ThreadsFor(p.nest.rows * length * p.length * 16, context.threads),
              [&](int64_t task, int) {
                const int64_t first = task % strips * kStrip, n = std::min(kStrip, length - first);
                WalkRows(p.nest, operands, task / strips, 1, [&](std::byte* const* at) {
                  Strip(p, at[0] + first * p.nest.inner(0), at[1] + first * p.nest.inner(1), n).Run();
                });
              });
}

}  // namespace

PLANISH_KERNEL_LIST(softmax, Softmax, kNormLines)

Built BuildSoftmax(const OpDesc& op) {
  CheckOperands(op, 1, 1);
  const View &x = op.inputs[0], &y = op.outputs[0];
  CheckSameShape(op, x, y);
  CheckType(op, x, DType::kF32);
  CheckType(op, y, DType::kF32);
  const KernelInfo& kernel = ChooseBest(SoftmaxKernels(), op.attrs);
  const int axis = AxisOf(op, "axis", -1, x.rank);
  if (y.elements() == 0) return BuildNothing(kernel.name);
  View outer_x = x, outer_y = y;
  outer_x.shape[axis] = outer_y.shape[axis] = 1;
  Params p{MakeNest<2>({&outer_x, &outer_y}),
           x.shape[axis],
           x.stride[axis],
           y.stride[axis],
           &ReduceRowsFor(kernel.isa),
           op.attrs.Int("log", 0) != 0};
  // Short rows fill no vector: strips of them do.
  const bool along = p.from == 4 && p.to == 4 && p.length >= kLanes;
  return MakeBuilt(along ? &RunAlong : &RunAcross, p, kernel.name);
}

}  // namespace planish
