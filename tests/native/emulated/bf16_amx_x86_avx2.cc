// The AMX micro-kernel for bfloat16 on emulated tiles.
#define PLANISH_EMULATE_AMX
#include "kernels/gemm/bf16_x86_amx.cc"
