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

// For float32 or float64.
inline const FloatRows& RowsFor(DType t, Isa isa) {
  return t == DType::kF64 ? kDoubleRows : PLANISH_TABLE(kFloatRows, isa);
}
inline const ByteRows& ByteRowsFor(Isa isa) { return PLANISH_TABLE(kByteRows, isa); }

}  // namespace planish
