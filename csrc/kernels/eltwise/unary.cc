// Family `unary`: y[i] = f(x[i]); x and y of one shape, any strides. Attribute op, with alpha, beta, gamma,
// lo, hi where the operation has them (defaults are ONNX's).
//   float32, float64 -> the same: every operation of PLANISH_UNARY_FLOAT_OPS, sin, cos; -> bool: is_nan,
//   is_inf; int32, int64: abs, neg, sign, relu, clip (two's complement: the negative of the smallest value is
//   itself) bool, uint8 (0 or 1): not
#include <cmath>
#include <limits>

#include "kernels/common/nest.h"
#include "kernels/common/operands.h"
#include "kernels/eltwise/lines.h"

namespace planish {
namespace {

constexpr const char* kFloatOps[] = {
#define X(name, expression) #name,
    PLANISH_UNARY_FLOAT_OPS(X)
#undef X
        "sin",
    "cos", "is_nan", "is_inf"};

template <class T>
struct Limits {
  T lo, hi;
};

// What a transcendental function costs beyond its bytes.
constexpr int64_t kHeavy = 24;

bool IsHeavy(UnaryOp which) {
  switch (which) {
    case UnaryOp::k_sigmoid:
    case UnaryOp::k_tanh:
    case UnaryOp::k_exp:
    case UnaryOp::k_log:
    case UnaryOp::k_erf:
    case UnaryOp::k_elu:
    case UnaryOp::k_selu:
    case UnaryOp::k_celu:
    case UnaryOp::k_softplus:
    case UnaryOp::k_gelu:
    case UnaryOp::k_gelu_tanh:
    case UnaryOp::k_silu:
    case UnaryOp::k_mish:
    case UnaryOp::k_tan:
    case UnaryOp::k_asin:
    case UnaryOp::k_acos:
    case UnaryOp::k_atan:
    case UnaryOp::k_sinh:
    case UnaryOp::k_cosh:
    case UnaryOp::k_asinh:
    case UnaryOp::k_acosh:
    case UnaryOp::k_atanh:
    case UnaryOp::kSin:
    case UnaryOp::kCos:
      return true;
    default:
      return false;
  }
}

struct UnaryParams {
  RowLoop<2> loop;
  int64_t extra_cost;
  UnaryRow row;
  UnaryArgs args;
  Limits<int64_t> limits;  // integer clip
};

void RunFloat(const void* params, std::byte* const* operands, const RunContext& context) {
  const UnaryParams& p = *static_cast<const UnaryParams*>(params);
  RunRowLoop(
      p.loop, operands, context.threads,
      [&](std::byte* const* at, int64_t n) { p.row(at[0], at[1], n, p.args); }, p.extra_cost);
}

UnaryArgs ArgsOf(const OpDesc& op, UnaryOp which) {
  const auto get = [&](const char* name, double fallback) { return op.attrs.Float(name, fallback); };
  const double infinity = std::numeric_limits<double>::infinity();
  switch (which) {
    case UnaryOp::k_clip:
      return {get("lo", -infinity), get("hi", infinity)};
    case UnaryOp::k_hard_sigmoid:
      return {get("alpha", 0.2), get("beta", 0.5)};
    case UnaryOp::k_leaky_relu:
      return {get("alpha", 0.01), 0};
    case UnaryOp::k_elu:
    case UnaryOp::k_celu:
    case UnaryOp::k_thresholded_relu:
      return {get("alpha", 1), 0};
    case UnaryOp::k_selu:
      return {get("alpha", 1.67326319217681884765625), get("gamma", 1.05070102214813232421875)};
    case UnaryOp::k_scale_shift:
      return {get("alpha", 1), get("beta", 0)};
    default:
      return {0, 0};
  }
}

// Integers: f(value, limits) on unsigned arithmetic where the result may wrap.
struct IntegerAbs {
  template <class T>
  static T Apply(T x, Limits<T>) {
    return x < 0 ? static_cast<T>(0 - static_cast<uint64_t>(x)) : x;
  }
};
struct IntegerNeg {
  template <class T>
  static T Apply(T x, Limits<T>) {
    return static_cast<T>(0 - static_cast<uint64_t>(x));
  }
};
struct IntegerSign {
  template <class T>
  static T Apply(T x, Limits<T>) {
    return static_cast<T>((x > 0) - (x < 0));
  }
};
struct IntegerClip {
  template <class T>
  static T Apply(T x, Limits<T> l) {
    return x < l.lo ? l.lo : (x > l.hi ? l.hi : x);
  }
};
struct LogicalNot {
  template <class T>
  static T Apply(T x, Limits<T>) {
    return x == 0;
  }
};

template <class F, class T>
void RunInteger(const void* params, std::byte* const* operands, const RunContext& context) {
  const UnaryParams& p = *static_cast<const UnaryParams*>(params);
  const Limits<T> limits{static_cast<T>(p.limits.lo), static_cast<T>(p.limits.hi)};
  RunRowLoop(p.loop, operands, context.threads, [&](std::byte* const* at, int64_t n) {
    const T* x = reinterpret_cast<const T*>(at[0]);
    T* y = reinterpret_cast<T*>(at[1]);
    for (int64_t i = 0; i < n; ++i) y[i] = F::Apply(x[i], limits);
  });
}

// An attribute as a limit of T: values outside the type (infinities included) mean no limit.
template <class T>
Limits<int64_t> IntegerLimits(const OpDesc& op) {
  const auto bound = [&](const char* name, T fallback) -> int64_t {
    const double v = op.attrs.Float(name, static_cast<double>(fallback));
    if (!(v > static_cast<double>(std::numeric_limits<T>::min()))) return std::numeric_limits<T>::min();
    if (!(v < static_cast<double>(std::numeric_limits<T>::max()))) return std::numeric_limits<T>::max();
    return static_cast<int64_t>(v);
  };
  return {bound("lo", std::numeric_limits<T>::min()), bound("hi", std::numeric_limits<T>::max())};
}

template <class T>
RunFn IntegerRun(const OpDesc& op, const std::string& name, UnaryParams& p) {
  if (name == "abs") return &RunInteger<IntegerAbs, T>;
  if (name == "neg") return &RunInteger<IntegerNeg, T>;
  if (name == "sign") return &RunInteger<IntegerSign, T>;
  p.limits = IntegerLimits<T>(op);
  if (name == "relu") p.limits = {0, std::numeric_limits<T>::max()};
  if (name == "relu" || name == "clip") return &RunInteger<IntegerClip, T>;
  FailType(op, op.inputs[0].dtype);
}

RunFn SelectRun(const OpDesc& op, const KernelInfo& kernel, const std::string& name, UnaryParams& p) {
  const View &x = op.inputs[0], &y = op.outputs[0];
  if (x.dtype == DType::kF32 || x.dtype == DType::kF64) {
    const int which = ChoiceOf(op, "op", name, kFloatOps);
    const bool test =
        which == static_cast<int>(UnaryOp::kIsNan) || which == static_cast<int>(UnaryOp::kIsInf);
    CheckType(op, y, test ? DType::kBool : x.dtype);
    p.row = RowsFor(x.dtype, kernel.isa).unary[which];
    p.args = ArgsOf(op, static_cast<UnaryOp>(which));
    p.extra_cost = IsHeavy(static_cast<UnaryOp>(which)) ? kHeavy : 0;
    return &RunFloat;
  }
  CheckType(op, y, x.dtype);
  if (x.dtype == DType::kS32) return IntegerRun<int32_t>(op, name, p);
  if (x.dtype == DType::kS64) return IntegerRun<int64_t>(op, name, p);
  if (ItemSize(x.dtype) == 1 && name == "not") return &RunInteger<LogicalNot, uint8_t>;
  FailType(op, x.dtype);
}

}  // namespace

PLANISH_KERNEL_LIST(unary, Unary, kEltwiseLines)

Built BuildUnary(const OpDesc& op) {
  CheckOperands(op, 1, 1);
  const View &x = op.inputs[0], &y = op.outputs[0];
  CheckSameShape(op, x, y);
  const KernelInfo& kernel = ChooseBest(UnaryKernels(), op.attrs);
  UnaryParams p{};
  const RunFn run = SelectRun(op, kernel, op.attrs.String("op", ""), p);
  if (y.elements() == 0) return BuildNothing(kernel.name);
  p.loop = MakeRowLoop<2>({&x, &y});
  return MakeBuilt(run, p, kernel.name);
}

}  // namespace planish
