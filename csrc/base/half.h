// The 16-bit floats: float16 (1+5+10 bits) and bfloat16 (1+8+7 bits) to and from wider floats, rounding half
// to even.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace planish {

struct Half {
  uint16_t bits;
};
struct BFloat {
  uint16_t bits;
};

inline float ToFloat(BFloat x) { return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16); }

inline float ToFloat(Half x) {
  const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000u) << 16;
  const uint32_t exponent = (x.bits >> 10) & 31u, mantissa = x.bits & 0x3ffu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 5.9604644775390625e-08f;  // 2^-24
  return sign ? -magnitude : magnitude;
}

// The bits of a non-negative number in a format with `mantissa` bits and the exponent bias `bias`; no overflow. The number is
// rounded where its last bit lies: by integers for normal numbers, by adding a power of two for subnormal ones.
inline uint16_t RoundToFormat(double x, int mantissa, int bias) {
  const int dropped = 52 - mantissa;
  const double smallest_normal = std::bit_cast<double>(static_cast<uint64_t>(1023 + 1 - bias) << 52);
  if (x < smallest_normal) {
    const double rounder = std::bit_cast<double>(static_cast<uint64_t>(1023 + 1 - bias + dropped) << 52);
    return static_cast<uint16_t>(std::bit_cast<uint64_t>(x + rounder));
  }
  const uint64_t bits = std::bit_cast<uint64_t>(x);
  const uint64_t half = (uint64_t{1} << (dropped - 1)) - 1 + ((bits >> dropped) & 1);
  return static_cast<uint16_t>(((bits + half) >> dropped) - (static_cast<uint64_t>(1023 - bias) << mantissa));
}

inline Half HalfOf(double x) {
  const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  if (x != x) return {static_cast<uint16_t>(sign | 0x7e00)};
  const double m = std::fabs(x);
  return {static_cast<uint16_t>(sign | (m >= 65520.0 ? 0x7c00 : RoundToFormat(m, 10, 15)))};
}

inline BFloat BFloatOf(double x) {
  const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  if (x != x) return {static_cast<uint16_t>(sign | 0x7fc0)};
  const double m = std::fabs(x);
  return {static_cast<uint16_t>(sign | (m >= 0x1.FFp127 ? 0x7f80 : RoundToFormat(m, 7, 127)))};
}

}  // namespace planish
