// The AVX-VNNI micro-kernel on an emulated dot product.
#define PLANISH_EMULATE_AVXVNNI
#include "kernels/gemm/u8s8_x86_avxvnni.cc"
