// Element-wise uint8 rows, compiled for AVX-512.
#define PLANISH_BYTE_ROWS kByteRowsAvx512
#include "kernels/eltwise/byte_rows.inl"
