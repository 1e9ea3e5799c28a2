// Copies between two memory orders: one table of functions per ISA.
#pragma once

#include <stdint.h>

namespace planish {

// Copies a plane of rows x columns elements whose rows are contiguous in x and whose columns are contiguous
// in y:
//   y[r * to_row + c * item] = x[r * item + c * from_column]        strides in bytes
using TransposePlane = void (*)(const char* x, int64_t from_column, char* y, int64_t to_row, int64_t rows,
                                int64_t columns);

// y[i] = x[2 · i], both contiguous; reads no element behind the last it copies.
using EverySecond = void (*)(const char* x, char* y, int64_t n);

struct CopyRows {  // each for items of 1, 2, 4, 8 bytes
  TransposePlane transpose[4];
  EverySecond every_second[4];
};

extern const CopyRows kCopyRowsScalar, kCopyRowsAvx2, kCopyRowsAvx512;

}  // namespace planish
