// Element-wise float64 rows: a rare type, compiled once, for the baseline instruction set.
#include "kernels/common/double_math.h"

#define PLANISH_FLOAT double
#define PLANISH_FLOAT_ROWS kDoubleRows
#include "kernels/eltwise/rows.inl"
