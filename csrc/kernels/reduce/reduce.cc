// Family `reduce`: y = REDUCE(x) over attribute axes; y has x's rank with the reduced axes of size 1; any
// strides.
//   op: sum, mean, max, min, prod, sum_square, l1, l2, log_sum, log_sum_exp
//   float32, float64: all; an empty reduction gives the neutral element (sum 0, product 1, max -inf, min inf,
//   mean NaN)
//   integers: sum, mean (truncated), max, min, prod, sum_square, l1, wrapping;  bool: max, min
//   uint8 -> uint8, mean, with attributes x_scale, x_zero, y_scale, y_zero: dequantized, reduced and quantized
//   in float32
//
// Orders of accumulation: rows.h. Off the contiguous axis, blocks of 32 reduced elements are accumulated
// apart and then merged in order, which keeps the rounding error of long sums small. What is not float32 is
// accumulated in order (in_order.cc).
#include <cmath>
#include <limits>

#include "kernels/common/nest.h"
#include "kernels/common/operands.h"
#include "kernels/reduce/reduce.h"

namespace planish {
namespace {

constexpr const char* kOps[] = {"sum",        "mean", "max", "min",     "prod",
                                "sum_square", "l1",   "l2",  "log_sum", "log_sum_exp"};

constexpr int64_t kBlock = 32;     // reduced elements accumulated before a merge
constexpr int64_t kColumns = 256;  // output elements of a task of the column form

Accumulator AccumulatorOf(Op op) {
  switch (op) {
    case kOpMax:
      return kMax;
    case kOpMin:
      return kMin;
    case kOpProd:
      return kProduct;
    case kOpSumSquare:
    case kOpL2:
      return kSumSquare;
    case kOpL1:
      return kSumAbs;
    case kOpLogSumExp:
      return kSumExp;
    default:
      return kSum;
  }
}

float IdentityOf(Accumulator a) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  return a == kMax ? -infinity : a == kMin ? infinity : a == kProduct ? 1.0f : 0.0f;
}

// n elements as floats: in place where they are contiguous floats, else through `buffer`.
const float* LoadStrip(const ReduceParams& p, const std::byte* from, int64_t stride, int64_t n,
                       float* buffer) {
  if (p.bytes) {
    for (int64_t i = 0; i < n; ++i) {
      buffer[i] = static_cast<float>(static_cast<int32_t>(from[i * stride]) - p.q.x_zero) * p.q.x_scale;
    }
    return buffer;
  }
  if (stride == 4) return reinterpret_cast<const float*>(from);
  CopyItems(4, from, stride, reinterpret_cast<std::byte*>(buffer), 4, n);
  return buffer;
}

float Finish(const ReduceParams& p, float v, float offset) {
  switch (p.op) {
    case kOpMean:
      return v / static_cast<float>(p.count);
    case kOpL2:
      return std::sqrt(v);
    case kOpLogSum:
      p.rows->log(&v, &v, 1);
      return v;
    case kOpLogSumExp:
      p.rows->log(&v, &v, 1);
      return v + offset;
    default:
      return v;
  }
}

void Store(const ReduceParams& p, float v, std::byte* to) {
  if (!p.bytes) {
    *reinterpret_cast<float*>(to) = v;
    return;
  }
  const float scaled = v / p.q.y_scale, lo = static_cast<float>(-p.q.y_zero),
              hi = static_cast<float>(255 - p.q.y_zero);
  const float clamped = scaled > lo ? std::min(scaled, hi) : lo;
  *reinterpret_cast<uint8_t*>(to) =
      static_cast<uint8_t>(static_cast<int32_t>(std::nearbyint(clamped)) + p.q.y_zero);
}

// log_sum_exp subtracts the largest value, or nothing where that is not finite.
float OffsetOf(float largest) { return std::isfinite(largest) ? largest : 0.0f; }

// ---- Along the reduced axis
// -------------------------------------------------------------------------------------------

float AccumulateElement(const ReduceParams& p, Accumulator which, std::byte* x, float offset) {
  const AccumulateRows& rows = p.rows->accumulate[which];
  float lanes[kLanes];
  std::fill_n(lanes, kLanes, IdentityOf(which));
  const int64_t length = p.reduced.length(), stride = p.reduced.inner(0);
  WalkRows(p.reduced, &x, 0, p.reduced.rows, [&](std::byte* const* at) {
    float buffer[kStrip];
    const int64_t piece = p.bytes || stride != 4 ? kStrip : length;
    for (int64_t from = 0; from < length; from += piece) {
      const int64_t n = std::min(piece, length - from);
      rows.lanes(LoadStrip(p, at[0] + from * stride, stride, n, buffer), n, offset, lanes);
    }
  });
  return rows.tree(lanes);
}

void RunAlong(const void* params, std::byte* const* operands, const RunContext& context) {
  const ReduceParams& p = *static_cast<const ReduceParams*>(params);
  std::byte* const both[2] = {operands[1], operands[0]};
  const int64_t outputs = p.kept.rows * p.kept.length();
  const int64_t group = std::max<int64_t>(1, kTaskBytes / 4 / std::max<int64_t>(1, p.count));
  // The kept nest's rows, flattened: task t computes outputs t*group...
  ParallelFor((outputs + group - 1) / group, ThreadsFor(outputs * p.count * 4, context.threads),
              [&](int64_t task, int) {
                const int64_t end = std::min(outputs, (task + 1) * group), length = p.kept.length();
                for (int64_t i = task * group; i < end;) {
                  const int64_t column = i % length, n = std::min(length - column, end - i);
                  WalkRows(p.kept, both, i / length, 1, [&](std::byte* const* at) {
                    for (int64_t c = column; c < column + n; ++c) {
                      std::byte* x = at[1] + c * p.kept.inner(1);
                      const float offset =
                          p.op == kOpLogSumExp ? OffsetOf(AccumulateElement(p, kMax, x, 0)) : 0;
                      const float v = AccumulateElement(p, p.accumulator, x, offset);
                      Store(p, Finish(p, v, offset), at[0] + c * p.kept.inner(0));
                    }
                  });
                  i += n;
                }
              });
}

// ---- Across: a strip of neighbouring outputs at once
// --------------------------------------------------------------------

void AccumulateStrip(const ReduceParams& p, Accumulator which, std::byte* x, int64_t n, const float* offset,
                     float* acc) {
  const AccumulateRows& rows = p.rows->accumulate[which];
  float part[kColumns], buffer[kColumns];
  const float identity = IdentityOf(which);
  std::fill_n(acc, n, identity);
  std::fill_n(part, n, identity);
  const int64_t length = p.reduced.length(), stride = p.reduced.inner(0), inner = p.kept.inner(1);
  int64_t pending = 0;
  const auto flush = [&] {
    rows.merge(part, n, acc);
    std::fill_n(part, n, identity);
    pending = 0;
  };
  WalkRows(p.reduced, &x, 0, p.reduced.rows, [&](std::byte* const* at) {
    for (int64_t i = 0; i < length; ++i) {
      rows.columns(LoadStrip(p, at[0] + i * stride, inner, n, buffer), n, offset, part);
      if (++pending == kBlock) flush();
    }
  });
  if (pending > 0) flush();
}

void RunAcross(const void* params, std::byte* const* operands, const RunContext& context) {
  const ReduceParams& p = *static_cast<const ReduceParams*>(params);
  std::byte* const both[2] = {operands[1], operands[0]};
  const int64_t length = p.kept.length();
  const int64_t width = p.count >= 256 ? std::min<int64_t>(kColumns, 64) : kColumns;
  const int64_t strips = (length + width - 1) / width;
  ParallelFor(p.kept.rows * strips, ThreadsFor(p.kept.rows * length * p.count * 4, context.threads),
              [&](int64_t task, int) {
                const int64_t from = task % strips * width, n = std::min(width, length - from);
                WalkRows(p.kept, both, task / strips, 1, [&](std::byte* const* at) {
                  float acc[kColumns], offset[kColumns] = {};
                  std::byte* x = at[1] + from * p.kept.inner(1);
                  if (p.op == kOpLogSumExp) {
                    AccumulateStrip(p, kMax, x, n, offset, acc);
                    for (int64_t i = 0; i < n; ++i) offset[i] = OffsetOf(acc[i]);
                  }
                  AccumulateStrip(p, p.accumulator, x, n, offset, acc);
                  for (int64_t i = 0; i < n; ++i) {
                    Store(p, Finish(p, acc[i], offset[i]), at[0] + (from + i) * p.kept.inner(0));
                  }
                });
              });
}

// ---- Build
// ------------------------------------------------------------------------------------------------------------

// Splits x's axes into those that stay (paired with y) and those that go.
void SplitAxes(const OpDesc& op, const View& x, const View& y, ReduceParams& p) {
  bool goes[kMaxRank] = {};
  for (int64_t axis : op.attrs.Ints("axes")) {
    if (axis < 0) axis += x.rank;
    Check(axis >= 0 && axis < x.rank && !goes[axis],
          "reduce: an axis is out of range or repeated; correct the axes");
    goes[axis] = true;
  }
  Check(x.rank == y.rank,
        "reduce: the output keeps the input's rank; the plan is damaged or of another version");
  View kept_x = x, kept_y = y, reduced = x;
  kept_x.rank = kept_y.rank = reduced.rank = 0;
  p.count = 1;
  for (int i = 0; i < x.rank; ++i) {
    Check(y.shape[i] == (goes[i] ? 1 : x.shape[i]),
          "reduce: wrong output shape; the plan is damaged or of another version");
    View& to = goes[i] ? reduced : kept_x;
    to.shape[to.rank] = x.shape[i];
    to.stride[to.rank++] = x.stride[i];
    if (goes[i]) {
      p.count *= x.shape[i];
    } else {
      kept_y.shape[kept_y.rank] = y.shape[i];
      kept_y.stride[kept_y.rank++] = y.stride[i];
    }
  }
  p.kept = MakeNest<2>({&kept_y, &kept_x});
  p.reduced = MakeNest<1>({&reduced});
}

Quantization QuantizationOf(const OpDesc& op) {
  Quantization q;
  q.x_scale = static_cast<float>(op.attrs.Float("x_scale", 1));
  q.y_scale = static_cast<float>(op.attrs.Float("y_scale", 1));
  const int64_t x_zero = op.attrs.Int("x_zero", 0), y_zero = op.attrs.Int("y_zero", 0);
  Check(q.x_scale > 0 && q.y_scale > 0 && x_zero >= 0 && x_zero <= 255 && y_zero >= 0 && y_zero <= 255,
        "reduce: scales must be positive and zero points uint8; the plan is damaged or of another version");
  q.x_zero = static_cast<int32_t>(x_zero);
  q.y_zero = static_cast<int32_t>(y_zero);
  return q;
}

}  // namespace

PLANISH_KERNEL_LIST(reduce, Reduce, kReduceLines)

Built BuildReduce(const OpDesc& op) {
  CheckOperands(op, 1, 1);
  const View &x = op.inputs[0], &y = op.outputs[0];
  CheckType(op, y, x.dtype);
  const KernelInfo& kernel = ChooseBest(ReduceKernels(), op.attrs);
  ReduceParams p{};
  SplitAxes(op, x, y, p);
  p.op = static_cast<Op>(ChoiceOf(op, "op", op.attrs.String("op", ""), kOps));
  if (y.elements() == 0) return BuildNothing(kernel.name);
  p.bytes = x.dtype == DType::kU8 && p.op == kOpMean && op.attrs.Has("x_scale");
  if (!p.bytes && x.dtype != DType::kF32) return MakeBuilt(ReduceInOrder(op, p.op), p, kernel.name);
  if (p.bytes) p.q = QuantizationOf(op);
  p.accumulator = AccumulatorOf(p.op);
  p.rows = &ReduceRowsFor(kernel.isa);
  const int64_t item = ItemSize(x.dtype);
  p.columns = p.reduced.inner(0) != item && p.kept.inner(1) == item && p.kept.length() >= 8;
  return MakeBuilt(p.columns ? &RunAcross : &RunAlong, p, kernel.name);
}

}  // namespace planish
