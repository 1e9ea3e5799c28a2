// What the files of family `reduce` share: the operations, and the POD that `run` reads.
#pragma once

#include "kernels/common/nest.h"
#include "kernels/common/operands.h"
#include "kernels/reduce/lines.h"

namespace planish {

enum Op { kOpSum, kOpMean, kOpMax, kOpMin, kOpProd, kOpSumSquare, kOpL1, kOpL2, kOpLogSum, kOpLogSumExp };

struct Quantization {
  float x_scale = 1, y_scale = 1;
  int32_t x_zero = 0, y_zero = 0;
};

struct ReduceParams {
  Nest<2> kept;     // y, x over the axes that stay, ordered by x
  Nest<1> reduced;  // x over the axes that go
  Op op;
  Accumulator accumulator;
  float identity;
  const ReduceRows* rows;
  bool columns;  // vectors run along kept.length() instead of along the reduced axis
  bool bytes;    // uint8 in and out, quantized
  Quantization q;
  int64_t count;  // reduced elements
};

// The run for float64, integers and bool, which reads kept, reduced, op and count; throws Error where the type
// lacks the operation.
RunFn ReduceInOrder(const OpDesc& op, Op which);

}  // namespace planish
