// Element-wise operations on contiguous rows of uint8: one table of functions per ISA, all with the same
// bits.
#pragma once

#include <stdint.h>

namespace planish {

// y[i] = table[x[i]], 256 entries
using TableRow = void (*)(const uint8_t* x, const uint8_t* table, uint8_t* y, int64_t n);

// y = rne(min(max((da OP db) / y_scale, lo - y_zero), hi - y_zero)) + y_zero, NaN -> lo, with da = float(a -
// a_zero) * a_scale and db likewise; every step rounds to float32.
struct QBinaryArgs {
  float a_scale, b_scale, y_scale;
  int32_t a_zero, b_zero, y_zero, lo, hi;
};
using QBinaryRow = void (*)(const uint8_t* a, const void* b, uint8_t* y, int64_t n, const QBinaryArgs& args);

enum QBinaryOp : int { kQAdd, kQMul, kQBinaryOps };
// b: a row, or one element, or the float32 db of a row
enum QBinaryForm : int { kBytesBytes, kBytesByte, kBytesFloats, kQBinaryForms };

// y[i] = float(x[i] - zero) * scale
using DequantizeRow = void (*)(const uint8_t* x, int32_t zero, float scale, float* y, int64_t n);

struct ByteRows {
  TableRow table;
  QBinaryRow qbinary[kQBinaryOps][kQBinaryForms];
  DequantizeRow dequantize;
};

extern const ByteRows kByteRowsScalar, kByteRowsAvx2, kByteRowsAvx512;

void LookupAvx512Vbmi(const uint8_t* x, const uint8_t* table, uint8_t* y, int64_t n);

}  // namespace planish
