// Reductions and normalisations of contiguous float32 rows: one table of functions per ISA, all with the same
// bits.
//
// Two orders of accumulation exist. Along a contiguous axis, element i of a row goes to lane i mod 16, and
// the lanes are combined by one tree (8 with 8, 4 with 4, 2 with 2, 1 with 1). Along other axes every output
// element accumulates in ascending order of the reduced index, in blocks (see reduce.cc).
#pragma once

#include <stdint.h>

namespace planish {

inline constexpr int kLanes = 16;

// Accumulator: acc = acc COMBINE map(x). `offset` is subtracted before the exponential and ignored by the
// others.
enum Accumulator : int { kSum, kSumAbs, kSumSquare, kSumExp, kMax, kMin, kProduct, kAccumulators };

struct AccumulateRows {
  // lanes[16] accumulate the n elements of x.
  void (*lanes)(const float* x, int64_t n, float offset, float* lanes);
  // acc[i] accumulates x[i]; offset[i] belongs to it.
  void (*columns)(const float* x, int64_t n, const float* offset, float* acc);
  float (*tree)(const float* lanes);
  // acc[i] = acc[i] COMBINE part[i]
  void (*merge)(const float* part, int64_t n, float* acc);
};

struct ReduceRows {
  AccumulateRows accumulate[kAccumulators];
  void (*exp_minus)(const float* x, float offset, float* y, int64_t n);  // y = exp(x - offset)
  void (*exp_minus_each)(const float* x, const float* offset, float* y,
                         int64_t n);                              // y[i] = exp(x[i] - offset[i])
  void (*divide)(const float* x, float by, float* y, int64_t n);  // y = x / by
  void (*divide_each)(const float* x, const float* by, float* y, int64_t n);
  void (*subtract)(const float* x, float a, float b, float* y, int64_t n);  // y = x - a - b
  void (*subtract_each)(const float* x, const float* a, const float* b, float* y, int64_t n);
  void (*log)(const float* x, float* y, int64_t n);
  // y = (x - mean) * scale * gamma + beta; beta may be null
  void (*normalise)(const float* x, float mean, float scale, const float* gamma, const float* beta, float* y,
                    int64_t n);
  float (*sum_square_minus)(const float* x, float mean, int64_t n);  // sum of (x - mean)^2, by lanes
};

extern const ReduceRows kReduceRowsScalar, kReduceRowsAvx2, kReduceRowsAvx512;

}  // namespace planish
