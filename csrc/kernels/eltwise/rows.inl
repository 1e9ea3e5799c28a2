// The bodies of rows.h for one element type and ISA. The including file defines PLANISH_FLOAT_ROWS, the name of its table,
// and has included the functions of its element type (common/float_math.h, common/double_math.h), PLANISH_FLOAT.
#include "kernels/eltwise/rows.h"

namespace planish {
namespace {

using T = PLANISH_FLOAT;

inline T Unit(T x) { return x < 0.0f ? 0.0f : (x > 1.0f ? 1.0f : x); }

inline T FloorMod(T a, T b) {
  const T r = Fmod(a, b);
  return r != 0.0f && ((r < 0.0f) != (b < 0.0f)) ? r + b : r;
}

#define X(name, expression)                                                  \
  void Unary_##name(const void* from, void* to, int64_t n, UnaryArgs args) { \
    const T* p = static_cast<const T*>(from);                                \
    T* __restrict q = static_cast<T*>(to);                                   \
    [[maybe_unused]] const T a = T(args.a), b = T(args.b);                   \
    for (int64_t i = 0; i < n; ++i) {                                        \
      const T x = p[i];                                                      \
      q[i] = expression;                                                     \
    }                                                                        \
  }
PLANISH_UNARY_FLOAT_OPS(X)
#undef X

void UnarySin(const void* from, void* to, int64_t n, UnaryArgs) {
  TrigRow(static_cast<const T*>(from), static_cast<T*>(to), n, 0);
}

void UnaryCos(const void* from, void* to, int64_t n, UnaryArgs) {
  TrigRow(static_cast<const T*>(from), static_cast<T*>(to), n, 1);
}

void UnaryIsNan(const void* from, void* to, int64_t n, UnaryArgs) {
  const T* p = static_cast<const T*>(from);
  uint8_t* __restrict q = static_cast<uint8_t*>(to);
  for (int64_t i = 0; i < n; ++i) q[i] = p[i] != p[i];
}

void UnaryIsInf(const void* from, void* to, int64_t n, UnaryArgs) {
  const T* p = static_cast<const T*>(from);
  uint8_t* __restrict q = static_cast<uint8_t*>(to);
  for (int64_t i = 0; i < n; ++i) q[i] = Magnitude(p[i]) == Infinity();
}

#define X_BODY(name, form, Out, operand_a, operand_b, expression)                         \
  void Binary_##name##_##form(const void* left, const void* right, void* to, int64_t n) { \
    const T* __restrict l = static_cast<const T*>(left);                                  \
    const T* __restrict r = static_cast<const T*>(right);                                 \
    Out* __restrict q = static_cast<Out*>(to);                                            \
    for (int64_t i = 0; i < n; ++i) {                                                     \
      const T a = operand_a, b = operand_b;                                               \
      q[i] = expression;                                                                  \
    }                                                                                     \
  }
#define X_FORMS(name, Out, expression)          \
  X_BODY(name, vv, Out, l[i], r[i], expression) \
  X_BODY(name, vs, Out, l[i], r[0], expression) \
  X_BODY(name, sv, Out, l[0], r[i], expression)
#define X(name, expression) X_FORMS(name, T, expression)
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
