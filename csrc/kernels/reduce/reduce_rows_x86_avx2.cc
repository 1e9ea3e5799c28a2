// Reduction and normalisation rows, compiled for AVX2.
#define PLANISH_REDUCE_ROWS kReduceRowsAvx2
#include "kernels/reduce/rows.inl"
