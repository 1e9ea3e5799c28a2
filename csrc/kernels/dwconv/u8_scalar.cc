// u8 depthwise micro-kernel in portable C++.
#include <string.h>

#include "kernels/dwconv/tile.h"

namespace planish {
namespace {

#include "kernels/gemm/vec_int_scalar.inl"

typedef uint8_t Bytes4 __attribute__((vector_size(4)));
typedef int16_t Words4 __attribute__((vector_size(8)));

inline Ints WidenX(const char* p) { return __builtin_convertvector(LoadVec<Bytes4>(p), Ints); }
inline Ints WidenW(const int16_t* p) { return __builtin_convertvector(LoadVec<Words4>(p), Ints); }
inline Ints MulAddInts(Ints x, Ints w, Ints sum) { return AddInts(sum, x * w); }

#include "kernels/dwconv/tile_u8.inl"

}  // namespace

void DepthwiseU8Scalar(const DepthwiseArgs& args, int rows) { Dispatch<4>(args, 0, rows); }

}  // namespace planish
