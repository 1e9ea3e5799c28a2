// Interpolation rows, compiled for AVX-512.
#define PLANISH_RESIZE_ROWS kResizeRowsAvx512
#include "kernels/resize/rows.inl"
