// From the element type of a tensor to the C++ type that computes with it.
#pragma once

#include <cstdint>

#include "kernels/common/operands.h"

namespace planish {

// f(T{}) for the numbers that C++ computes with, and booleans as bytes. Throws Error naming the family for other types.
template <class F>
auto WithNumberType(const OpDesc& op, DType t, F f) {
  switch (t) {
    case DType::kF32:
      return f(float{});
    case DType::kF64:
      return f(double{});
    case DType::kU8:
    case DType::kBool:
      return f(uint8_t{});
    case DType::kS8:
      return f(int8_t{});
    case DType::kU16:
      return f(uint16_t{});
    case DType::kS16:
      return f(int16_t{});
    case DType::kU32:
      return f(uint32_t{});
    case DType::kS32:
      return f(int32_t{});
    case DType::kU64:
      return f(uint64_t{});
    case DType::kS64:
      return f(int64_t{});
    default:
      FailType(op, t);
  }
}

}  // namespace planish
