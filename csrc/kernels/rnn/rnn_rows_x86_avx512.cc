// Recurrent cells, compiled for AVX-512.
#define PLANISH_RNN_ROWS kRnnRowsAvx512
#include "kernels/rnn/rows.inl"
