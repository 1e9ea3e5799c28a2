// The transforms of family winograd, compiled for AVX-512.
#define PLANISH_WINOGRAD_TRANSFORMS kWinogradTransformsAvx512
#include "kernels/winograd/transforms.inl"
