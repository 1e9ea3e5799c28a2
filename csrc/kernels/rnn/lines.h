// The lines of this folder's kernels.inc as an array, and the table of rows that belongs to a kernel.
#pragma once

#include "kernels/common/kernel_list.h"
#include "kernels/rnn/rows.h"

namespace planish {

inline constexpr KernelInfo kRnnLines[] = {
#define PLANISH_KERNEL(family, name, isa) {#family, #name, Isa::isa},
#include "kernels/rnn/kernels.inc"
#undef PLANISH_KERNEL
};

inline const RnnRows& RnnRowsFor(Isa isa) { return PLANISH_TABLE(kRnnRows, isa); }

}  // namespace planish
