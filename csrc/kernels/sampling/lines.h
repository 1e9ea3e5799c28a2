// The lines of this folder's kernels.inc as an array.
#pragma once

#include "kernels/common/kernel_list.h"

namespace planish {

inline constexpr KernelInfo kSamplingLines[] = {
#define PLANISH_KERNEL(family, name, isa) {#family, #name, Isa::isa},
#include "kernels/sampling/kernels.inc"
#undef PLANISH_KERNEL
};

// A coordinate from data as a number that fits an index: NaN and what is far outside become far outside.
inline float Bounded(float x) {
  constexpr float kFar = 16777216.0f;
  return x > -kFar ? (x < kFar ? x : kFar) : -kFar;
}

}  // namespace planish
