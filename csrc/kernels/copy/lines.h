// The lines of this folder's kernels.inc as an array, and the table of rows that belongs to a kernel.
#pragma once

#include "kernels/common/kernel_list.h"
#include "kernels/copy/rows.h"

namespace planish {

inline constexpr KernelInfo kCopyLines[] = {
#define PLANISH_KERNEL(family, name, isa) {#family, #name, Isa::isa},
#include "kernels/copy/kernels.inc"
#undef PLANISH_KERNEL
};

inline const CopyRows& CopyRowsFor(Isa isa) { return PLANISH_TABLE(kCopyRows, isa); }

}  // namespace planish
