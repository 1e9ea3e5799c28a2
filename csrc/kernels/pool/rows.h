// Pooling over contiguous channels: one table of functions per ISA, all with the same bits.
#pragma once

#include <stdint.h>

namespace planish {

struct PoolRows {
  // acc[i] = max(acc[i], taps[0][i], taps[1][i], ...); NaN is skipped
  void (*max_f32)(const float* const* taps, int count, float* acc, int64_t n);
  void (*max_u8)(const uint8_t* const* taps, int count, uint8_t* acc, int64_t n);
  // acc[i] += taps[0][i], then taps[1][i], ...
  void (*sum_f32)(const float* const* taps, int count, float* acc, int64_t n);
  // The same with float(tap - zero) * scale.
  void (*sum_u8)(const uint8_t* const* taps, int count, int32_t zero, float scale, float* acc, int64_t n);
  void (*divide)(float* acc, float by, int64_t n);
  // y = rne(min(max(acc / by / scale, lo - zero), hi - zero)) + zero
  void (*quantize)(const float* acc, float by, float scale, int32_t zero, int32_t lo, int32_t hi, uint8_t* y,
                   int64_t n);
};

extern const PoolRows kPoolRowsScalar, kPoolRowsAvx2, kPoolRowsAvx512;

}  // namespace planish
