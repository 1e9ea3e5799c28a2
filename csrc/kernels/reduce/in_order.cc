// Reductions of float64, integers and bool: every output element accumulates in ascending order of the reduced index.
#include <cmath>
#include <limits>
#include <type_traits>

#include "kernels/reduce/reduce.h"

namespace planish {
namespace {

// f(element) in ascending order.
template <class T, class F>
void ForEachElement(const ReduceParams& p, std::byte* x, const F& f) {
  WalkRows(p.reduced, &x, 0, p.reduced.rows, [&](std::byte* const* at) {
    for (int64_t i = 0; i < p.reduced.length(); ++i) {
      f(*reinterpret_cast<const T*>(at[0] + i * p.reduced.inner(0)));
    }
  });
}

// NaN wins.
template <class T>
T Extremum(const ReduceParams& p, std::byte* x, bool largest) {
  using Limits = std::numeric_limits<T>;
  const T top = std::is_floating_point_v<T> ? Limits::infinity() : Limits::max();
  const T bottom = std::is_floating_point_v<T> ? -Limits::infinity() : Limits::min();
  T best = largest ? bottom : top;
  ForEachElement<T>(p, x, [&](T v) {
    if ((largest ? v > best : v < best) || v != v) best = v;
  });
  return best;
}

// Sums and products are modulo 2^64, of which the result is the part that T holds; a mean truncates.
template <class T>
T ReduceElement(const ReduceParams& p, std::byte* x) {
  uint64_t acc = p.op == kOpProd ? 1 : 0;
  ForEachElement<T>(p, x, [&](T v) {
    const uint64_t u = static_cast<uint64_t>(v);
    switch (p.op) {
      case kOpProd:
        acc *= u;
        break;
      case kOpSumSquare:
        acc += u * u;
        break;
      case kOpL1:
        acc += v < T{} ? 0 - u : u;
        break;
      default:
        acc += u;
    }
  });
  if (p.op != kOpMean) return static_cast<T>(acc);
  if (p.count == 0) return T{};
  if constexpr (std::is_signed_v<T>) return static_cast<T>(static_cast<int64_t>(acc) / p.count);
  return static_cast<T>(acc / static_cast<uint64_t>(p.count));
}

template <>
double ReduceElement<double>(const ReduceParams& p, std::byte* x) {
  double offset = p.op == kOpLogSumExp ? Extremum<double>(p, x, true) : 0;
  if (!std::isfinite(offset)) offset = 0;
  double acc = p.op == kOpProd ? 1 : 0;
  ForEachElement<double>(p, x, [&](double v) {
    switch (p.op) {
      case kOpProd:
        acc *= v;
        break;
      case kOpSumSquare:
      case kOpL2:
        acc += v * v;
        break;
      case kOpL1:
        acc += std::fabs(v);
        break;
      case kOpLogSumExp:
        acc += std::exp(v - offset);
        break;
      default:
        acc += v;
    }
  });
  if (p.op == kOpMean) return acc / static_cast<double>(p.count);
  if (p.op == kOpL2) return std::sqrt(acc);
  return p.op == kOpLogSum || p.op == kOpLogSumExp ? std::log(acc) + offset : acc;
}

template <class T, bool kTruth = false>
void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const ReduceParams& p = *static_cast<const ReduceParams*>(params);
  std::byte* const both[2] = {operands[1], operands[0]};
  const int threads = ThreadsFor(p.kept.rows * p.kept.length() * p.count * 8, context.threads);
  ParallelFor(p.kept.rows, threads, [&](int64_t row, int) {
    WalkRows(p.kept, both, row, 1, [&](std::byte* const* at) {
      for (int64_t i = 0; i < p.kept.length(); ++i) {
        std::byte* x = at[1] + i * p.kept.inner(1);
        const bool extremum = p.op == kOpMax || p.op == kOpMin;
        const T v = extremum ? Extremum<T>(p, x, p.op == kOpMax) : ReduceElement<T>(p, x);
        *reinterpret_cast<T*>(at[0] + i * p.kept.inner(0)) = kTruth ? static_cast<T>(v != T{}) : v;
      }
    });
  });
}

}  // namespace

RunFn ReduceInOrder(const OpDesc& op, Op which) {
  const DType t = op.inputs[0].dtype;
  if (t == DType::kF64) return &Run<double>;
  const bool extremum = which == kOpMax || which == kOpMin;
  if (which == kOpL2 || which == kOpLogSum || which == kOpLogSumExp) FailType(op, t);
  switch (t) {
    case DType::kS32:
      return &Run<int32_t>;
    case DType::kS64:
      return &Run<int64_t>;
    case DType::kU32:
      return &Run<uint32_t>;
    case DType::kU64:
      return &Run<uint64_t>;
    case DType::kS16:
      return &Run<int16_t>;
    case DType::kU16:
      return &Run<uint16_t>;
    case DType::kS8:
      return &Run<int8_t>;
    case DType::kU8:
      return &Run<uint8_t>;
    case DType::kBool:
      if (extremum) return &Run<uint8_t, true>;
      [[fallthrough]];
    default:
      FailType(op, t);
  }
}

}  // namespace planish
