// Quantization rows, compiled for the baseline instruction set.
#define PLANISH_QUANTIZE_ROWS kQuantizeRowsScalar
#include "kernels/quantize/rows.inl"
