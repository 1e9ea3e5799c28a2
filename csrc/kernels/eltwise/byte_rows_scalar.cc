// Element-wise uint8 rows, compiled for the baseline instruction set.
#define PLANISH_BYTE_ROWS kByteRowsScalar
#include "kernels/eltwise/byte_rows.inl"
