// The transforms of family winograd, compiled for the baseline instruction set.
#define PLANISH_WINOGRAD_TRANSFORMS kWinogradTransformsScalar
#include "kernels/winograd/transforms.inl"
