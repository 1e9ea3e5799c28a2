// The lines of this folder's kernels.inc as an array, and the table of rows that belongs to a kernel.
#pragma once

#include "kernels/common/kernel_list.h"
#include "kernels/pool/rows.h"

namespace planish {

inline constexpr KernelInfo kPoolLines[] = {
#define PLANISH_KERNEL(family, name, isa) {#family, #name, Isa::isa},
#include "kernels/pool/kernels.inc"
#undef PLANISH_KERNEL
};

inline const PoolRows& PoolRowsFor(Isa isa) { return PLANISH_TABLE(kPoolRows, isa); }

}  // namespace planish
