// The bodies of rows.h for one ISA. The including file defines PLANISH_FLOAT_ROWS, the name of its table.
#include "kernels/common/float_math.h"
#include "kernels/eltwise/rows.h"

namespace planish {
namespace {

inline float Unit(float x) { return x < 0.0f ? 0.0f : (x > 1.0f ? 1.0f : x); }

inline float FloorMod(float a, float b) {
  const float r = __builtin_fmodf(a, b);
  return r != 0.0f && ((r < 0.0f) != (b < 0.0f)) ? r + b : r;
}

#define X(name, expression)                                                  \
  void Unary_##name(const void* from, void* to, int64_t n, UnaryArgs args) { \
    const float* p = static_cast<const float*>(from);                        \
    float* __restrict q = static_cast<float*>(to);                           \
    [[maybe_unused]] const float a = args.a, b = args.b;                     \
    for (int64_t i = 0; i < n; ++i) {                                        \
      const float x = p[i];                                                  \
      q[i] = expression;                                                     \
    }                                                                        \
  }
PLANISH_UNARY_FLOAT_OPS(X)
#undef X

void UnarySin(const void* from, void* to, int64_t n, UnaryArgs) {
  TrigRow(static_cast<const float*>(from), static_cast<float*>(to), n, 0);
}

void UnaryCos(const void* from, void* to, int64_t n, UnaryArgs) {
  TrigRow(static_cast<const float*>(from), static_cast<float*>(to), n, 1);
}

void UnaryIsNan(const void* from, void* to, int64_t n, UnaryArgs) {
  const float* p = static_cast<const float*>(from);
  uint8_t* __restrict q = static_cast<uint8_t*>(to);
  for (int64_t i = 0; i < n; ++i) q[i] = p[i] != p[i];
}

void UnaryIsInf(const void* from, void* to, int64_t n, UnaryArgs) {
  const float* p = static_cast<const float*>(from);
  uint8_t* __restrict q = static_cast<uint8_t*>(to);
  for (int64_t i = 0; i < n; ++i) q[i] = Magnitude(p[i]) == Infinity();
}

#define X_BODY(name, form, Out, operand_a, operand_b, expression)                         \
  void Binary_##name##_##form(const void* left, const void* right, void* to, int64_t n) { \
    const float* __restrict l = static_cast<const float*>(left);                          \
    const float* __restrict r = static_cast<const float*>(right);                         \
    Out* __restrict q = static_cast<Out*>(to);                                            \
    for (int64_t i = 0; i < n; ++i) {                                                     \
      const float a = operand_a, b = operand_b;                                           \
      q[i] = expression;                                                                  \
    }                                                                                     \
  }
#define X_FORMS(name, Out, expression)          \
  X_BODY(name, vv, Out, l[i], r[i], expression) \
  X_BODY(name, vs, Out, l[i], r[0], expression) \
  X_BODY(name, sv, Out, l[0], r[i], expression)
#define X(name, expression) X_FORMS(name, float, expression)
PLANISH_BINARY_FLOAT_OPS(X)
#undef X
#define X(name, expression) X_FORMS(name, uint8_t, expression)
PLANISH_COMPARE_OPS(X)
#undef X
#undef X_FORMS
#undef X_BODY

}  // namespace

const FloatRows PLANISH_FLOAT_ROWS = {{
#define X(name, expression) Unary_##name,
                                          PLANISH_UNARY_FLOAT_OPS(X)
#undef X
                                              UnarySin,
                                          UnaryCos, UnaryIsNan, UnaryIsInf},
                                      {
#define X(name, expression) {Binary_##name##_vv, Binary_##name##_vs, Binary_##name##_sv},
                                          PLANISH_BINARY_FLOAT_OPS(X) PLANISH_COMPARE_OPS(X)
#undef X
                                      }};

}  // namespace planish
