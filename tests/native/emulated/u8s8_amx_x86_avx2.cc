// The AMX micro-kernel on emulated tiles.
#define PLANISH_EMULATE_AMX
#include "kernels/gemm/u8s8_x86_amx.cc"
