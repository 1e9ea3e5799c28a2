// Quantization of contiguous rows: one table of functions per ISA, all with the same bits.
//   quantize:    y = rne(min(max(x / scale, lo - zero), hi - zero)) + zero, NaN -> lo; lo..hi is the range of
//   y's type dequantize:  y = float(x - zero) * scale
// `scale` and `zero` are one element (kShared) or one per element of the row (kEach).
#pragma once

#include <stdint.h>

namespace planish {

enum QuantizedType : int { kTypeU8, kTypeS8, kTypeU16, kTypeS16, kTypeS32, kQuantizedTypes };
enum ParameterForm : int { kShared, kEach, kParameterForms };

using QuantizeRow = void (*)(const float* x, const float* scale, const void* zero, void* y, int64_t n);
using DequantizeRow = void (*)(const void* x, const float* scale, const void* zero, float* y, int64_t n);

struct QuantizeRows {
  QuantizeRow quantize[kTypeS32][kParameterForms];  // not to int32
  DequantizeRow dequantize[kQuantizedTypes][kParameterForms];
  // Extends [*lo, *hi] to the values of x; NaN is ignored.
  void (*range)(const float* x, int64_t n, float* lo, float* hi);
  // y[i * pitch + c] = planes[c][i] for c < channels.
  void (*interleave)(const uint8_t* const* planes, int64_t channels, uint8_t* y, int64_t pitch, int64_t n);
};

extern const QuantizeRows kQuantizeRowsScalar, kQuantizeRowsAvx2, kQuantizeRowsAvx512;

}  // namespace planish
