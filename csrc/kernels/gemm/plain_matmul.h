// Matrix products in float64 and in integers of 32 and 64 bits: plain loops for rare types.
#pragma once

#include "kernels/kernel.h"

namespace planish {

// Whether family `batch_matmul` computes in this type by plain loops.
bool IsPlainMatmul(DType t);

// y[.., m, n] = alpha · Σ_k lhs[.., m, k] · rhs[.., k, n], k ascending; integers modulo 2^32 or 2^64, alpha 1. One dtype for
// all; ranks of at least 2 and batch dimensions equal (broadcast by zero strides); any strides.
Built BuildPlainMatmul(const OpDesc& op);

}  // namespace planish
