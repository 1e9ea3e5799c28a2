// Element-wise float32 rows, compiled for the baseline instruction set.
#define PLANISH_FLOAT_ROWS kFloatRowsScalar
#include "kernels/eltwise/rows.inl"
