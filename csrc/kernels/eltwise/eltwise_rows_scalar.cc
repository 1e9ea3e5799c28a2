// Element-wise float32 rows, compiled for the baseline instruction set.
#include "kernels/common/float_math.h"

#define PLANISH_FLOAT float
#define PLANISH_FLOAT_ROWS kFloatRowsScalar
#include "kernels/eltwise/rows.inl"
