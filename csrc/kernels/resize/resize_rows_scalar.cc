// Interpolation rows, compiled for the baseline instruction set.
#define PLANISH_RESIZE_ROWS kResizeRowsScalar
#include "kernels/resize/rows.inl"
