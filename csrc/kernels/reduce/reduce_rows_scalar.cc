// Reduction and normalisation rows, compiled for the baseline instruction set.
#define PLANISH_REDUCE_ROWS kReduceRowsScalar
#include "kernels/reduce/rows.inl"
