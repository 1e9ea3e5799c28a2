// Interpolation of contiguous rows: one table of functions per ISA, all with the same bits.
#pragma once

#include <stdint.h>

namespace planish {

struct ResizeRows {
  // y = w * x if `first`, else y += w * x
  void (*add)(const float* x, float w, bool first, float* y, int64_t n);
  // y[c] = sum over t < taps, in order, of weight[t] * line[pixel[t] * channels + c]
  void (*combine)(const float* line, const int64_t* pixel, const float* weight, int taps, int64_t channels,
                  float* y);
};

extern const ResizeRows kResizeRowsScalar, kResizeRowsAvx2, kResizeRowsAvx512;

}  // namespace planish
