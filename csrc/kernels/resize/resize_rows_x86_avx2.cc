// Interpolation rows, compiled for AVX2.
#define PLANISH_RESIZE_ROWS kResizeRowsAvx2
#include "kernels/resize/rows.inl"
