// Element-wise float32 rows, compiled for AVX2.
#include "kernels/common/float_math.h"

#define PLANISH_FLOAT float
#define PLANISH_FLOAT_ROWS kFloatRowsAvx2
#include "kernels/eltwise/rows.inl"
