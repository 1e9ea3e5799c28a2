// Transposing copies, compiled for AVX2.
#define PLANISH_COPY_ROWS kCopyRowsAvx2
#include "kernels/copy/rows.inl"
