// The lines of this folder's kernels.inc as an array.
#pragma once

#include "kernels/common/kernel_list.h"

namespace planish {

inline constexpr KernelInfo kLinearAlgebraLines[] = {
#define PLANISH_KERNEL(family, name, isa) {#family, #name, Isa::isa},
#include "kernels/linear_algebra/kernels.inc"
#undef PLANISH_KERNEL
};

}  // namespace planish
