// Element-wise float operations on contiguous rows: for float32 one table of functions per ISA, all with the same bits;
// for float64 one table, whose transcendental functions are those of the C library.
#pragma once

#include <stdint.h>

namespace planish {

// Parameters of a unary operation, in the order of the comments below.
struct UnaryArgs {
  double a, b;
};

// y = f(x). X-macro: X(name, expression in x and the parameters a, b). T is the element type; its functions come from
// common/float_math.h or common/double_math.h.
#define PLANISH_UNARY_FLOAT_OPS(X)                                                    \
  X(relu, x < 0.0f ? 0.0f : x)                                                        \
  X(clip, x < a ? a : (x > b ? b : x)) /* lo, hi */                                   \
  X(sigmoid, Sigmoid(x))                                                              \
  X(tanh, Tanh(x))                                                                    \
  X(exp, Exp(x))                                                                      \
  X(log, Log(x))                                                                      \
  X(sqrt, Sqrt(x))                                                         \
  X(rsqrt, 1.0f / Sqrt(x))                                                 \
  X(reciprocal, 1.0f / x)                                                             \
  X(erf, Erf(x))                                                                      \
  X(abs, Magnitude(x))                                                                \
  X(neg, -x)                                                                          \
  X(floor, Floor(x))                                                       \
  X(ceil, Ceil(x))                                                         \
  X(round, Rint(x)) /* half to even */                                     \
  X(sign, x > 0.0f ? 1.0f : (x < 0.0f ? -1.0f : x))                                   \
  X(hard_sigmoid, Unit(a* x + b)) /* alpha, beta */                                   \
  X(hard_swish, x* Unit(x*(T(1) / T(6)) + 0.5f))                                      \
  X(leaky_relu, x >= 0.0f ? x : a * x)         /* alpha */                            \
  X(elu, x >= 0.0f ? x : a * ExpMinus1(x))     /* alpha */                            \
  X(selu, b*(x > 0.0f ? x : a * ExpMinus1(x))) /* alpha, gamma */                     \
  X(celu, x > 0.0f ? x : a * ExpMinus1(x / a)) /* alpha */                            \
  X(thresholded_relu, x <= a ? 0.0f : x)       /* alpha */                            \
  X(softplus, Softplus(x))                                                            \
  X(softsign, x / (1.0f + Magnitude(x)))                                              \
  X(gelu, 0.5f * x * (1.0f + Erf(x * T(0.70710678118654752))))                                   \
  X(gelu_tanh, 0.5f * x * (1.0f + Tanh(T(0.79788456080286536) * (x + T(0.044715) * (x * x * x))))) \
  X(silu, x* Sigmoid(x))                                                              \
  X(mish, Mish(x))                                                                    \
  X(tan, Tan(x))                                                                      \
  X(asin, Asin(x))                                                                    \
  X(acos, Acos(x))                                                                    \
  X(atan, Atan(x))                                                                    \
  X(sinh, Sinh(x))                                                                    \
  X(cosh, Cosh(x))                                                                    \
  X(asinh, Asinh(x))                                                                  \
  X(acosh, Acosh(x))                                                                  \
  X(atanh, Atanh(x))                                                                  \
  X(scale_shift, a* x + b) /* alpha, beta */

// y = f(a, b).
#define PLANISH_BINARY_FLOAT_OPS(X)                                 \
  X(add, a + b)                                                     \
  X(sub, a - b)                                                     \
  X(mul, a* b)                                                      \
  X(div, a / b)                                                     \
  X(pow, Pow(a, b))                                                 \
  X(min, a < b || a != a ? a : b)                                   \
  X(max, a > b || a != a ? a : b)                                   \
  X(mod, FloorMod(a, b))         /* the sign of b, as Python's % */ \
  X(fmod, Fmod(a, b)) /* the sign of a, as C's fmod */   \
  X(prelu, a < 0.0f ? a * b : a)

#define PLANISH_COMPARE_OPS(X) \
  X(equal, a == b)             \
  X(less, a < b)               \
  X(less_equal, a <= b)        \
  X(greater, a > b)            \
  X(greater_equal, a >= b)

enum class UnaryOp : int {
#define X(name, expression) k_##name,
  PLANISH_UNARY_FLOAT_OPS(X)
#undef X
      kSin,
  kCos,
  kIsNan,
  kIsInf,
  kCount
};

enum class BinaryOp : int {
#define X(name, expression) k_##name,
  PLANISH_BINARY_FLOAT_OPS(X) PLANISH_COMPARE_OPS(X)
#undef X
      kCount
};

enum BinaryForm : int { kVectorVector, kVectorScalar, kScalarVector, kBinaryForms };

using UnaryRow = void (*)(const void* x, void* y, int64_t n, UnaryArgs args);
using BinaryRow = void (*)(const void* a, const void* b, void* y, int64_t n);

struct FloatRows {
  UnaryRow unary[static_cast<int>(UnaryOp::kCount)];                   // is_nan, is_inf write bool
  BinaryRow binary[static_cast<int>(BinaryOp::kCount)][kBinaryForms];  // comparisons write bool
};

extern const FloatRows kFloatRowsScalar, kFloatRowsAvx2, kFloatRowsAvx512, kDoubleRows;

}  // namespace planish
