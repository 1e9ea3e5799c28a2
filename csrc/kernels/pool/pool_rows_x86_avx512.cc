// Pooling rows, compiled for AVX-512.
#define PLANISH_POOL_ROWS kPoolRowsAvx512
#include "kernels/pool/rows.inl"
