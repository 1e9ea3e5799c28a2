// Pooling rows, compiled for AVX2.
#define PLANISH_POOL_ROWS kPoolRowsAvx2
#include "kernels/pool/rows.inl"
