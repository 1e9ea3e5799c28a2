// The lines of this folder's kernels.inc as an array. The normalisations share the reductions' tables of
// rows.
#pragma once

#include "kernels/common/kernel_list.h"
#include "kernels/reduce/lines.h"

namespace planish {

inline constexpr KernelInfo kNormLines[] = {
#define PLANISH_KERNEL(family, name, isa) {#family, #name, Isa::isa},
#include "kernels/norm/kernels.inc"
#undef PLANISH_KERNEL
};

}  // namespace planish
