// Recurrent cells, compiled for AVX2.
#define PLANISH_RNN_ROWS kRnnRowsAvx2
#include "kernels/rnn/rows.inl"
