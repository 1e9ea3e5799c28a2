// Quantization rows, compiled for AVX2.
#define PLANISH_QUANTIZE_ROWS kQuantizeRowsAvx2
#include "kernels/quantize/rows.inl"
