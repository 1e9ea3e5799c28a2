// Reduction and normalisation rows, compiled for AVX-512.
#define PLANISH_REDUCE_ROWS kReduceRowsAvx512
#include "kernels/reduce/rows.inl"
