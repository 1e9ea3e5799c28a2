// Recurrent cells, compiled for the baseline instruction set.
#define PLANISH_RNN_ROWS kRnnRowsScalar
#include "kernels/rnn/rows.inl"
