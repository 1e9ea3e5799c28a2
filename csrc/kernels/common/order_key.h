// Keys that order the values of any real type as unsigned integers: NaN above everything, -0 equal to +0.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

namespace planish {

template <class T>
uint64_t OrderKey(T v) {
  if constexpr (std::is_floating_point_v<T>) {
    if (v != v) return UINT64_MAX;
    const double d = static_cast<double>(v) + 0.0;  // -0 becomes +0
    const uint64_t bits = std::bit_cast<uint64_t>(d);
    return bits >> 63 ? ~bits : bits | (uint64_t{1} << 63);
  } else if constexpr (std::is_signed_v<T>) {
    return static_cast<uint64_t>(static_cast<int64_t>(v)) ^ (uint64_t{1} << 63);
  } else {
    return v;
  }
}

}  // namespace planish
