// Quantization rows, compiled for AVX-512.
#define PLANISH_QUANTIZE_ROWS kQuantizeRowsAvx512
#include "kernels/quantize/rows.inl"
