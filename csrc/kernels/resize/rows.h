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
  // y = float(x - zero) * scale
  void (*dequantize)(const uint8_t* x, float scale, int32_t zero, float* y, int64_t n);
  // y = rne(clamp(x / scale, -zero, 255 - zero)) + zero, NaN -> 0
  void (*quantize)(const float* x, float scale, int32_t zero, uint8_t* y, int64_t n);
};

extern const ResizeRows kResizeRowsScalar, kResizeRowsAvx2, kResizeRowsAvx512;

}  // namespace planish
