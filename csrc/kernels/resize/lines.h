// The lines of this folder's kernels.inc as an array, and the table of rows that belongs to a kernel.
#pragma once

#include "kernels/common/kernel_list.h"
#include "kernels/resize/rows.h"

namespace planish {

inline constexpr KernelInfo kResizeLines[] = {
#define PLANISH_KERNEL(family, name, isa) {#family, #name, Isa::isa},
#include "kernels/resize/kernels.inc"
#undef PLANISH_KERNEL
};

inline const ResizeRows& ResizeRowsFor(Isa isa) { return PLANISH_TABLE(kResizeRows, isa); }

}  // namespace planish
