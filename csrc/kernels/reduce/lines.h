// The lines of this folder's kernels.inc as an array, and the table of rows that belongs to a kernel.
#pragma once

#include "kernels/common/kernel_list.h"
#include "kernels/reduce/rows.h"

namespace planish {

inline constexpr KernelInfo kReduceLines[] = {
#define PLANISH_KERNEL(family, name, isa) {#family, #name, Isa::isa},
#include "kernels/reduce/kernels.inc"
#undef PLANISH_KERNEL
};

inline const ReduceRows& ReduceRowsFor(Isa isa) { return PLANISH_TABLE(kReduceRows, isa); }

}  // namespace planish
