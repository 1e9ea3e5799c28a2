// Element-wise float32 rows, compiled for AVX2.
#define PLANISH_FLOAT_ROWS kFloatRowsAvx2
#include "kernels/eltwise/rows.inl"
