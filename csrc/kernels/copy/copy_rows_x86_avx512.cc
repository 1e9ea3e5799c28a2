// Transposing copies, compiled for AVX-512.
#define PLANISH_COPY_ROWS kCopyRowsAvx512
#include "kernels/copy/rows.inl"
