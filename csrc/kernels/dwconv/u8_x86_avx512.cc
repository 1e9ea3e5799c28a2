// u8 depthwise micro-kernel for AVX-512: x·w by vpmaddwd, the upper half of every x being zero.
#include <immintrin.h>
#include <string.h>

#include "kernels/dwconv/tile.h"

namespace planish {
namespace {

#include "kernels/gemm/vec_int_avx512.inl"

inline Ints WidenX(const char* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline Ints WidenW(const int16_t* p) {
  return _mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline Ints MulAddInts(Ints x, Ints w, Ints sum) { return _mm512_add_epi32(sum, _mm512_madd_epi16(x, w)); }

#include "kernels/dwconv/tile_u8.inl"

}  // namespace

void DepthwiseU8Avx512(const DepthwiseArgs& args, int rows) { Dispatch<8>(args, 0, rows); }

}  // namespace planish
