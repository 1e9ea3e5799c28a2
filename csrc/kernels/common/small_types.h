// Element types narrower than a byte's worth of C++: floats of 8 and 4 bits, integers of 4 and 2. One element a byte, in
// its low bits; what the high bits of a narrower type hold is ignored, and written as zero.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "base/half.h"
#include "base/view.h"

namespace planish {

inline bool IsSmallFloat(DType t) { return t >= DType::kE4M3FN && t <= DType::kE2M1FN; }
inline bool IsSmallInteger(DType t) { return t >= DType::kS4 && t <= DType::kU2; }
inline bool IsSmall(DType t) { return IsSmallFloat(t) || IsSmallInteger(t); }

enum class PowerRounding : int { kUp, kDown, kNearest };  // ONNX Cast's round_mode, for float8_e8m0fnu

// A binary format with a sign: codes are sign, exponent, mantissa from the highest bit.
struct SmallFloat {
  int mantissa, bias;
  uint8_t sign;      // its bit
  uint8_t largest;   // code of the largest finite number
  uint8_t infinity;  // code of infinity; of NaN where there is none
  uint8_t nan;
  bool one_zero;  // -0 does not exist: its code is NaN, which has no sign
};

constexpr SmallFloat FormatOf(DType t) {
  switch (t) {
    case DType::kE4M3FN:
      return {3, 7, 0x80, 0x7e, 0x7f, 0x7f, false};
    case DType::kE4M3FNUZ:
      return {3, 8, 0x80, 0x7f, 0x80, 0x80, true};
    case DType::kE5M2:
      return {2, 15, 0x80, 0x7b, 0x7c, 0x7e, false};
    case DType::kE5M2FNUZ:
      return {2, 16, 0x80, 0x7f, 0x80, 0x80, true};
    default:  // float4_e2m1fn, without infinity and NaN: the latter becomes -0
      return {1, 1, 0x08, 0x07, 0x07, 0x08, false};
  }
}

// Rounds half to even. Beyond the largest number (rounded): that number if `saturate`, else infinity.
inline uint8_t EncodeFloat(double x, const SmallFloat& f, bool saturate) {
  if (x != x) return f.nan;
  const double magnitude = std::fabs(x);
  const uint16_t rounded = magnitude < 0x1p17 ? RoundToFormat(magnitude, f.mantissa, f.bias) : uint16_t{0xff};
  const bool overflow = rounded > f.largest;
  const uint8_t code = overflow ? (saturate ? f.largest : f.infinity) : static_cast<uint8_t>(rounded);
  if (f.one_zero && (code == 0 || code == f.nan)) return code;
  return std::signbit(x) ? static_cast<uint8_t>(code | f.sign) : code;
}

inline float DecodeFloat(uint8_t code, const SmallFloat& f) {
  if (f.one_zero && code == f.nan) return std::nanf("");
  const int magnitude = code & (f.sign - 1), mantissa = magnitude & ((1 << f.mantissa) - 1);
  const int exponent = magnitude >> f.mantissa;
  if (magnitude > f.largest && (magnitude != f.infinity || f.infinity == f.nan)) return std::nanf("");
  if (magnitude > f.largest) return code & f.sign ? -HUGE_VALF : HUGE_VALF;
  const int whole = exponent ? mantissa + (1 << f.mantissa) : mantissa;
  const float value = std::ldexp(static_cast<float>(whole), (exponent ? exponent : 1) - f.bias - f.mantissa);
  return code & f.sign ? -value : value;
}

// float8_e8m0fnu is a power of two, 2^(code - 127), without sign; 255 is NaN, which infinities become too.
inline uint8_t EncodePower(float x, PowerRounding rounding, bool saturate) {
  const uint32_t bits = std::bit_cast<uint32_t>(x), fraction = bits & 0x7fffff;
  const uint32_t exponent = (bits >> 23) & 0xff;
  if (exponent == 0xff) return 0xff;
  bool up = rounding == PowerRounding::kUp && fraction != 0;
  if (rounding == PowerRounding::kNearest) up = fraction > 0x400000 || (fraction == 0x400000 && exponent > 0);
  return static_cast<uint8_t>(exponent + (up && !(saturate && exponent == 0xfe)));
}

inline float DecodePower(uint8_t code) { return code == 0xff ? std::nanf("") : std::ldexp(1.0f, code - 127); }

constexpr int BitsOf(DType t) { return t == DType::kS4 || t == DType::kU4 ? 4 : 2; }
constexpr bool IsSigned(DType t) { return t == DType::kS4 || t == DType::kS2; }

inline uint8_t EncodeInteger(int64_t x, DType t) { return static_cast<uint8_t>(x & ((1 << BitsOf(t)) - 1)); }

inline int DecodeInteger(uint8_t code, DType t) {
  const int bits = BitsOf(t), value = code & ((1 << bits) - 1);
  return IsSigned(t) && value >> (bits - 1) ? value - (1 << bits) : value;
}

inline float DecodeSmall(uint8_t code, DType t) {
  if (IsSmallInteger(t)) return static_cast<float>(DecodeInteger(code, t));
  return t == DType::kE8M0 ? DecodePower(code) : DecodeFloat(code, FormatOf(t));
}

}  // namespace planish
