// The scalar rule by which integer layers leave their accumulator; every kernel gives the same bits.
#pragma once

#include <cmath>
#include <cstdint>

namespace planish {

// v is clamped before it is converted; a NaN becomes `low`. low and high are whole numbers, the bounds of the quantized
// value minus `zero`.
inline uint8_t RequantizeU8(float v, float low, float high, int32_t zero) {
  float c = v > low ? v : low;  // NaN > low is false
  c = c < high ? c : high;
  return static_cast<uint8_t>(static_cast<int32_t>(std::nearbyintf(c)) + zero);
}

// As numpy.clip: a NaN stays.
inline float ClampF32(float v, float low, float high) {
  v = low > v ? low : v;
  return high < v ? high : v;
}

}  // namespace planish
