// Transposing copies, compiled for the baseline instruction set.
#define PLANISH_COPY_ROWS kCopyRowsScalar
#include "kernels/copy/rows.inl"
