// What the descriptions of gemm, conv and dwconv have in common: operands, bounds and the padding row, validated.
#pragma once

#include "base/memory.h"
#include "kernels/gemm/tile.h"
#include "kernels/kernel.h"

namespace planish {

struct LayerOperands {
  const View *x, *w, *bias, *scale, *weight_zero, *residual, *y;  // bias and what follows, but y, may be null
};

// At most max_inputs inputs, in the order above. Checks presence, types and that channels lie side by side; bias, scale and
// weight_zero are vectors of y's channels; a scale is there exactly where the output needs one.
LayerOperands FindOperands(const OpDesc& op, size_t max_inputs);

TileOutput OutputOf(DType x, DType y);

struct Bounds {
  float low, high;  // of the value before y_zero is added
  int32_t y_zero;
};
Bounds ReadBounds(const Attrs& attrs, TileOutput output);  // lo, hi, y_zero

Memory FillRow(DType x, int64_t channels, const Attrs& attrs);  // x_zero

}  // namespace planish
