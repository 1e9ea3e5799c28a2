// Pooling rows, compiled for the baseline instruction set.
#define PLANISH_POOL_ROWS kPoolRowsScalar
#include "kernels/pool/rows.inl"
