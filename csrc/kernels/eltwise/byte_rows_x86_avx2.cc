// Element-wise uint8 rows, compiled for AVX2.
#define PLANISH_BYTE_ROWS kByteRowsAvx2
#include "kernels/eltwise/byte_rows.inl"
