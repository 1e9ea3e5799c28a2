// The lines of this folder's kernels.inc as an array, and the table of rows that belongs to a kernel.
#pragma once

#include "kernels/common/kernel_list.h"
#include "kernels/quantize/rows.h"

namespace planish {

inline constexpr KernelInfo kQuantizeLines[] = {
#define PLANISH_KERNEL(family, name, isa) {#family, #name, Isa::isa},
#include "kernels/quantize/kernels.inc"
#undef PLANISH_KERNEL
};

inline const QuantizeRows& QuantizeRowsFor(Isa isa) { return PLANISH_TABLE(kQuantizeRows, isa); }

}  // namespace planish
