// The lines of this folder's kernels.inc as an array, and the tables of rows that belong to a kernel.
#pragma once

#include "kernels/common/kernel_list.h"
#include "kernels/eltwise/byte_rows.h"
#include "kernels/eltwise/rows.h"

namespace planish {

inline constexpr KernelInfo kEltwiseLines[] = {
#define PLANISH_KERNEL(family, name, isa) {#family, #name, Isa::isa},
#include "kernels/eltwise/kernels.inc"
#undef PLANISH_KERNEL
};

inline const FloatRows& RowsFor(Isa isa) { return PLANISH_TABLE(kFloatRows, isa); }
inline const ByteRows& ByteRowsFor(Isa isa) { return PLANISH_TABLE(kByteRows, isa); }

}  // namespace planish
