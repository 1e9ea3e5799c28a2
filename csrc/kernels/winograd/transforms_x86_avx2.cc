// The transforms of family winograd, compiled for AVX2.
#define PLANISH_WINOGRAD_TRANSFORMS kWinogradTransformsAvx2
#include "kernels/winograd/transforms.inl"
