// The AMX kernel of sparse blocks on emulated tiles.
#define PLANISH_EMULATE_AMX
#include "kernels/spmm/x86_amx.cc"
