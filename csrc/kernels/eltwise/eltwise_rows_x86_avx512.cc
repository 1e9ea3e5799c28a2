// Element-wise float32 rows, compiled for AVX-512.
#define PLANISH_FLOAT_ROWS kFloatRowsAvx512
#include "kernels/eltwise/rows.inl"
