// Family `binary`: y[i] = f(a[i], b[i]); a and b are views already broadcast to y's shape (zero strides).
// Attribute op.
//   float32, float64: PLANISH_BINARY_FLOAT_OPS;  int32, int64, uint64: add, sub, mul, div, pow, min, max, mod, fmod
//   (wrapping; a division by zero gives 0);  comparisons of these, and of uint8 and bool (equal): bool;  bool, uint8:
//   and, or, xor (logical);  every integer and bool: bit_and, bit_or, bit_xor, shift_left, shift_right (of a signed
//   number its sign moves in; a distance that is negative or reaches the width moves everything out)
#include <type_traits>

#include "kernels/common/nest.h"
#include "kernels/common/operands.h"
#include "kernels/eltwise/lines.h"

namespace planish {
namespace {

constexpr const char* kFloatOps[] = {
#define X(name, expression) #name,
    PLANISH_BINARY_FLOAT_OPS(X) PLANISH_COMPARE_OPS(X)
#undef X
};

constexpr int kFirstCompare = static_cast<int>(BinaryOp::k_equal);

struct BinaryParams {
  RowLoop<3> loop;
  BinaryRow row;
  BinaryRow square;  // replaces `row` where the exponent of a float32 pow is one scalar, 2; else null
};

void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const BinaryParams& p = *static_cast<const BinaryParams*>(params);
  RunRowLoop(p.loop, operands, context.threads, [&](std::byte* const* at, int64_t n) {
    if (p.square && *reinterpret_cast<const float*>(at[1]) == 2.0f) return p.square(at[0], at[0], at[2], n);
    p.row(at[0], at[1], at[2], n);
  });
}

// ---- Integers
// -------------------------------------------------------------------------------------------------------

template <class T>
using Wide = std::make_unsigned_t<std::conditional_t<(sizeof(T) < 4), int32_t, T>>;

// a^b by squaring, modulo the type's range; negative exponents give the truncated reciprocal.
template <class T>
T Power(T a, T b) {
  if constexpr (std::is_signed_v<T>) {
    if (b < 0) return a == 1 ? 1 : (a == -1 ? ((b & 1) ? -1 : 1) : 0);
  }
  Wide<T> result = 1, base = static_cast<Wide<T>>(a);
  for (Wide<T> e = static_cast<Wide<T>>(b); e; e >>= 1, base *= base) {
    if (e & 1) result *= base;
  }
  return static_cast<T>(result);
}

// Whether b is -1, by which the smallest value cannot be divided.
template <class T>
bool IsMinusOne(T b) {
  return std::is_signed_v<T> && b == static_cast<T>(-1);
}

template <class T>
T Remainder(T a, T b) {
  return b == 0 || IsMinusOne(b) ? 0 : a % b;
}

template <class T>
T FloorRemainder(T a, T b) {
  const T r = Remainder(a, b);
  if constexpr (std::is_signed_v<T>) return r != 0 && ((r < 0) != (b < 0)) ? r + b : r;
  return r;
}

template <class T>
T Quotient(T a, T b) {
  if (b == 0) return 0;
  return IsMinusOne(b) ? static_cast<T>(0 - static_cast<Wide<T>>(a)) : a / b;
}

#define PLANISH_ARITHMETIC(X)                                               \
  X(add, static_cast<T>(static_cast<Wide<T>>(a) + static_cast<Wide<T>>(b))) \
  X(sub, static_cast<T>(static_cast<Wide<T>>(a) - static_cast<Wide<T>>(b))) \
  X(mul, static_cast<T>(static_cast<Wide<T>>(a) * static_cast<Wide<T>>(b))) \
  X(div, Quotient(a, b))                                                    \
  X(pow, Power(a, b))                                                       \
  X(min, a < b ? a : b)                                                     \
  X(max, a > b ? a : b)                                                     \
  X(mod, FloorRemainder(a, b))                                              \
  X(fmod, Remainder(a, b))

#define PLANISH_LOGIC(X)   \
  X(and, a != 0 && b != 0) \
  X(or, a != 0 || b != 0)  \
  X(xor, (a != 0) != (b != 0))

#define PLANISH_BITS(X) /* on unsigned types */                   \
  X(bit_and, a& b)                                                \
  X(bit_or, a | b)                                                \
  X(bit_xor, a ^ b)                                               \
  X(shift_left, b < kWidth<T> ? static_cast<Wide<T>>(a) << b : 0) \
  X(shift_right, b < kWidth<T> ? a >> b : 0)

#define PLANISH_SIGNED_BITS(X) X(signed_shift_right, b >= 0 && b < kWidth<T> ? a >> b : (a < 0 ? -1 : 0))

template <class T>
constexpr T kWidth = static_cast<T>(8 * sizeof(T));

#define X(name, expression)                                                   \
  template <class T, class Out>                                               \
  void Row_##name(const void* left, const void* right, void* to, int64_t n) { \
    const T* l = static_cast<const T*>(left);                                 \
    const T* r = static_cast<const T*>(right);                                \
    Out* __restrict q = static_cast<Out*>(to);                                \
    for (int64_t i = 0; i < n; ++i) {                                         \
      const T a = l[i], b = r[i];                                             \
      q[i] = static_cast<Out>(expression);                                    \
    }                                                                         \
  }
PLANISH_ARITHMETIC(X)
PLANISH_LOGIC(X)
PLANISH_BITS(X)
PLANISH_SIGNED_BITS(X)
PLANISH_COMPARE_OPS(X)
#undef X

struct IntegerRow {
  const char* name;
  BinaryRow row;
};

#define X(name, expression) {#name, &Row_##name<T, T>},
template <class T>
constexpr IntegerRow kArithmeticRows[] = {PLANISH_ARITHMETIC(X)};
template <class T>
constexpr IntegerRow kLogicRows[] = {PLANISH_LOGIC(X)};
template <class T>
constexpr IntegerRow kBitRows[] = {PLANISH_BITS(X)};
#undef X
#define X(name, expression) {#name, &Row_##name<T, uint8_t>},
template <class T>
constexpr IntegerRow kCompareRows[] = {PLANISH_COMPARE_OPS(X)};
#undef X

BinaryRow Find(std::span<const IntegerRow> rows, const std::string& name) {
  for (const IntegerRow& r : rows) {
    if (name == r.name) return r.row;
  }
  return nullptr;
}

// The row for an operation on bits, null if `name` is none: by the size of the elements, but for signed shifts.
BinaryRow BitRowFor(DType t, const std::string& name) {
  const bool shift = name == "shift_right";
  switch (t) {
    case DType::kS8:
      return shift ? &Row_signed_shift_right<int8_t, int8_t> : Find(kBitRows<uint8_t>, name);
    case DType::kS16:
      return shift ? &Row_signed_shift_right<int16_t, int16_t> : Find(kBitRows<uint16_t>, name);
    case DType::kS32:
      return shift ? &Row_signed_shift_right<int32_t, int32_t> : Find(kBitRows<uint32_t>, name);
    case DType::kS64:
      return shift ? &Row_signed_shift_right<int64_t, int64_t> : Find(kBitRows<uint64_t>, name);
    case DType::kU8:
    case DType::kBool:
      return Find(kBitRows<uint8_t>, name);
    case DType::kU16:
      return Find(kBitRows<uint16_t>, name);
    case DType::kU32:
      return Find(kBitRows<uint32_t>, name);
    case DType::kU64:
      return Find(kBitRows<uint64_t>, name);
    default:
      return nullptr;
  }
}

// The row for an operation on integers or booleans; its result is bool if it compares, else of the operands'
// type.
template <class T>
BinaryRow IntegerRowFor(const OpDesc& op, const std::string& name) {
  const View &a = op.inputs[0], &y = op.outputs[0];
  if (const BinaryRow compare = Find(kCompareRows<T>, name)) {
    CheckType(op, y, DType::kBool);
    return compare;
  }
  CheckType(op, y, a.dtype);
  BinaryRow row = nullptr;
  if constexpr (sizeof(T) == 1) {
    row = Find(kLogicRows<T>, name);
  } else {
    row = Find(kArithmeticRows<T>, name);
  }
  if (!row) FailType(op, a.dtype);
  return row;
}

void SelectFloat(const OpDesc& op, const KernelInfo& kernel, const std::string& name, BinaryParams& p) {
  const int which = ChoiceOf(op, "op", name, kFloatOps);
  const DType type = op.inputs[0].dtype;
  const FloatRows& rows = RowsFor(type, kernel.isa);
  CheckType(op, op.outputs[0], which >= kFirstCompare ? DType::kBool : type);
  p.loop = MakeRowLoop<3>({&op.inputs[0], &op.inputs[1], &op.outputs[0]}, 0b011);
  if (p.loop.scalar(0) && p.loop.scalar(1)) p.loop.packed |= 0b001;  // no row takes two scalars
  const bool scalar_a = p.loop.scalar(0) && !(p.loop.packed & 0b001), scalar_b = p.loop.scalar(1);
  p.row = rows.binary[which][scalar_b ? kVectorScalar : (scalar_a ? kScalarVector : kVectorVector)];
  const bool power = type == DType::kF32 && which == static_cast<int>(BinaryOp::k_pow);
  if (power && scalar_b) p.square = rows.binary[static_cast<int>(BinaryOp::k_mul)][kVectorVector];
}

}  // namespace

PLANISH_KERNEL_LIST(binary, Binary, kEltwiseLines)

Built BuildBinary(const OpDesc& op) {
  CheckOperands(op, 2, 1);
  const View &a = op.inputs[0], &b = op.inputs[1], &y = op.outputs[0];
  CheckSameShape(op, a, y);
  CheckSameShape(op, b, y);
  CheckType(op, b, a.dtype);
  const KernelInfo& kernel = ChooseBest(BinaryKernels(), op.attrs);
  const std::string name = op.attrs.String("op", "");
  BinaryParams p{};
  if (y.elements() == 0) return BuildNothing(kernel.name);
  if (a.dtype == DType::kF32 || a.dtype == DType::kF64) {
    SelectFloat(op, kernel, name, p);
    return MakeBuilt(&Run, p, kernel.name);
  }
  p.loop = MakeRowLoop<3>({&a, &b, &y});
  p.row = BitRowFor(a.dtype, name);
  if (p.row) {
    CheckType(op, y, a.dtype);
    return MakeBuilt(&Run, p, "scalar");
  }
  switch (a.dtype) {
    case DType::kS32:
      p.row = IntegerRowFor<int32_t>(op, name);
      break;
    case DType::kS64:
      p.row = IntegerRowFor<int64_t>(op, name);
      break;
    case DType::kU64:
      p.row = IntegerRowFor<uint64_t>(op, name);
      break;
    case DType::kU8:
    case DType::kBool:
      p.row = IntegerRowFor<uint8_t>(op, name);
      break;
    default:
      FailType(op, a.dtype);
  }
  return MakeBuilt(&Run, p, "scalar");
}

}  // namespace planish
