// Family `cast`: y[i] = x[i] converted, any dtype to any of those that C++ has. Floats become integers by truncation, clamped to
// int64 (uint64 for uint64) and then reduced modulo the target's range; NaN gives 0. Integers wrap. bool is x
// != 0. float16 and bfloat16 round half to even.
//   The types of small_types.h convert to float32, which holds them exactly; float64 converts to float8 and float4
//   (attribute saturate, 1 by default), float32 to float8_e8m0fnu (attribute round_mode: up, down, nearest), int64 to
//   integers of 4 and 2 bits (wrapping).
#include "kernels/common/nest.h"
#include "kernels/common/operands.h"
#include "kernels/common/small_types.h"
#include "kernels/eltwise/lines.h"

namespace planish {
namespace {

struct Bool {
  uint8_t value;
};

// A type's value as one of float, double, int64, uint64, which hold it exactly.
inline float Load(Half x) { return ToFloat(x); }
inline float Load(BFloat x) { return ToFloat(x); }
inline float Load(float x) { return x; }
inline double Load(double x) { return x; }
inline uint64_t Load(uint64_t x) { return x; }
inline int64_t Load(Bool x) { return x.value != 0; }
template <class T>
int64_t Load(T x) {
  return static_cast<int64_t>(x);
}

inline int64_t Truncate(double x) {
  if (x != x) return 0;
  if (x >= 9223372036854775807.0) return INT64_MAX;
  return x <= -9223372036854775808.0 ? INT64_MIN : static_cast<int64_t>(x);
}

inline uint64_t TruncateUnsigned(double x) {
  if (x >= 18446744073709551615.0) return UINT64_MAX;
  return x >= 9223372036854775808.0 ? static_cast<uint64_t>(x) : static_cast<uint64_t>(Truncate(x));
}

template <class To>
struct Convert {
  static To From(float x) { return From(static_cast<double>(x)); }
  static To From(double x) { return static_cast<To>(Truncate(x)); }
  static To From(int64_t x) { return static_cast<To>(x); }
  static To From(uint64_t x) { return static_cast<To>(x); }
};
template <>
uint64_t Convert<uint64_t>::From(double x) {
  return TruncateUnsigned(x);
}
template <>
struct Convert<float> {
  template <class T>
  static float From(T x) {
    return static_cast<float>(x);
  }
};
template <>
struct Convert<double> {
  template <class T>
  static double From(T x) {
    return static_cast<double>(x);
  }
};
template <>
struct Convert<Bool> {
  template <class T>
  static Bool From(T x) {
    return {static_cast<uint8_t>(x != 0)};
  }
};
template <>
struct Convert<Half> {
  template <class T>
  static Half From(T x) {
    return HalfOf(static_cast<double>(x));
  }
};
template <>
struct Convert<BFloat> {
  template <class T>
  static BFloat From(T x) {
    return BFloatOf(static_cast<double>(x));
  }
};

template <class From, class To>
void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const auto& loop = *static_cast<const RowLoop<2>*>(params);
  RunRowLoop(loop, operands, context.threads, [](std::byte* const* at, int64_t n) {
    const From* x = reinterpret_cast<const From*>(at[0]);
    To* __restrict y = reinterpret_cast<To*>(at[1]);
    for (int64_t i = 0; i < n; ++i) y[i] = Convert<To>::From(Load(x[i]));
  });
}

template <class From>
RunFn RunTo(DType to) {
  switch (to) {
    case DType::kF32:
      return &Run<From, float>;
    case DType::kF64:
      return &Run<From, double>;
    case DType::kF16:
      return &Run<From, Half>;
    case DType::kBF16:
      return &Run<From, BFloat>;
    case DType::kU8:
      return &Run<From, uint8_t>;
    case DType::kS8:
      return &Run<From, int8_t>;
    case DType::kU16:
      return &Run<From, uint16_t>;
    case DType::kS16:
      return &Run<From, int16_t>;
    case DType::kU32:
      return &Run<From, uint32_t>;
    case DType::kS32:
      return &Run<From, int32_t>;
    case DType::kU64:
      return &Run<From, uint64_t>;
    case DType::kS64:
      return &Run<From, int64_t>;
    default:
      return &Run<From, Bool>;
  }
}

RunFn RunFor(DType from, DType to) {
  switch (from) {
    case DType::kF32:
      return RunTo<float>(to);
    case DType::kF64:
      return RunTo<double>(to);
    case DType::kF16:
      return RunTo<Half>(to);
    case DType::kBF16:
      return RunTo<BFloat>(to);
    case DType::kU8:
      return RunTo<uint8_t>(to);
    case DType::kS8:
      return RunTo<int8_t>(to);
    case DType::kU16:
      return RunTo<uint16_t>(to);
    case DType::kS16:
      return RunTo<int16_t>(to);
    case DType::kU32:
      return RunTo<uint32_t>(to);
    case DType::kS32:
      return RunTo<int32_t>(to);
    case DType::kU64:
      return RunTo<uint64_t>(to);
    case DType::kS64:
      return RunTo<int64_t>(to);
    default:
      return RunTo<Bool>(to);
  }
}

// ---- Small types
// -------------------------------------------------------------------------------------------------------

struct DecodeParams {
  RowLoop<2> loop;
  float values[256];
};

void RunDecode(const void* params, std::byte* const* operands, const RunContext& context) {
  const DecodeParams& p = *static_cast<const DecodeParams*>(params);
  RunRowLoop(p.loop, operands, context.threads, [&](std::byte* const* at, int64_t n) {
    float* y = reinterpret_cast<float*>(at[1]);
    for (int64_t i = 0; i < n; ++i) y[i] = p.values[std::to_integer<int>(at[0][i])];
  });
}

struct EncodeParams {
  RowLoop<2> loop;
  DType to;
  bool saturate;
  PowerRounding rounding;
};

template <class From, class F>
void EncodeRows(const EncodeParams& p, std::byte* const* operands, const RunContext& context, const F& encode) {
  RunRowLoop(p.loop, operands, context.threads, [&](std::byte* const* at, int64_t n) {
    const From* x = reinterpret_cast<const From*>(at[0]);
    uint8_t* y = reinterpret_cast<uint8_t*>(at[1]);
    for (int64_t i = 0; i < n; ++i) y[i] = encode(x[i]);
  });
}

void RunEncode(const void* params, std::byte* const* operands, const RunContext& context) {
  const EncodeParams& p = *static_cast<const EncodeParams*>(params);
  if (IsSmallInteger(p.to)) {
    EncodeRows<int64_t>(p, operands, context, [&](int64_t x) { return EncodeInteger(x, p.to); });
  } else if (p.to == DType::kE8M0) {
    EncodeRows<float>(p, operands, context, [&](float x) { return EncodePower(x, p.rounding, p.saturate); });
  } else {
    const SmallFloat format = FormatOf(p.to);
    EncodeRows<double>(p, operands, context, [&](double x) { return EncodeFloat(x, format, p.saturate); });
  }
}

Built BuildSmall(const OpDesc& op, const char* kernel) {
  const View &x = op.inputs[0], &y = op.outputs[0];
  if (IsSmall(x.dtype)) {
    CheckType(op, y, DType::kF32);
    DecodeParams p{MakeRowLoop<2>({&x, &y}), {}};
    for (int code = 0; code < 256; ++code) p.values[code] = DecodeSmall(static_cast<uint8_t>(code), x.dtype);
    return MakeBuilt(&RunDecode, p, kernel);
  }
  CheckType(op, x, IsSmallInteger(y.dtype) ? DType::kS64 : y.dtype == DType::kE8M0 ? DType::kF32 : DType::kF64);
  constexpr const char* roundings[] = {"up", "down", "nearest"};
  const int rounding = ChoiceOf(op, "round_mode", op.attrs.String("round_mode", "up"), roundings);
  const EncodeParams p{MakeRowLoop<2>({&x, &y}), y.dtype, op.attrs.Int("saturate", 1) != 0,
                       static_cast<PowerRounding>(rounding)};
  return MakeBuilt(&RunEncode, p, kernel);
}

}  // namespace

PLANISH_KERNEL_LIST(cast, Cast, kEltwiseLines)

Built BuildCast(const OpDesc& op) {
  CheckOperands(op, 1, 1);
  const View &x = op.inputs[0], &y = op.outputs[0];
  CheckSameShape(op, x, y);
  const KernelInfo& kernel = ChooseBest(CastKernels(), op.attrs);
  if (y.elements() == 0) return BuildNothing(kernel.name);
  if (IsSmall(x.dtype) || IsSmall(y.dtype)) return BuildSmall(op, kernel.name);
  return MakeBuilt(RunFor(x.dtype, y.dtype), MakeRowLoop<2>({&x, &y}), kernel.name);
}

}  // namespace planish
