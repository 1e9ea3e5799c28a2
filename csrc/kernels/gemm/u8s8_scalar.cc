// u8 × s8 micro-kernel in portable C++ on vectors of 16 bytes. Both sides are widened to 16 bits, x once a tile; a
// product of 16-bit numbers below 2^15 and the sum of two such products are exact.
#include <string.h>

#include "kernels/gemm/tile.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace planish {
namespace {

#include "kernels/gemm/vec_int_scalar.inl"

typedef int16_t Words __attribute__((vector_size(16)));
typedef int8_t Bytes8 __attribute__((vector_size(8)));

// A register of sums holds, for two outputs, the sums over the even and the odd pairs of inputs.
using Weights = Words;
using Sums = Ints;
using Inputs = Words;
constexpr int kPanelVecs = 8;
constexpr int kXQuad = 8;

inline Inputs LoadInputs(const char* p) {
  int64_t quad;
  memcpy(&quad, p, sizeof quad);
  typedef int64_t Quads __attribute__((vector_size(16)));
  return (Words)(Quads{quad, quad});
}
inline Weights LoadWeights(const char* panel, int v) {
  return __builtin_convertvector(LoadVec<Bytes8>(panel + v * 8), Words);
}
constexpr bool kSignedInputs = false;
inline Sums SumWeights(Sums sum, Weights) { return sum; }
inline Sums NoSums() { return SplatInt(0); }
inline Sums Dot(Sums sum, Inputs x, Weights w) {
#if defined(__SSE2__)
  return AddInts(sum, (Ints)_mm_madd_epi16((__m128i)x, (__m128i)w));
#else
  const Ints product = (Ints)(x * w);  // |x·w| ≤ 255·128 fits 16 bits
  return AddInts(sum, AddInts((Ints)((Unsigned)product << 16) >> 16, product >> 16));
#endif
}
inline void ReduceSums(const Sums (&sum)[kPanelVecs], Ints (&out)[4]) {
  for (int i = 0; i < 4; ++i) {
    const Ints even = __builtin_shuffle(sum[2 * i], sum[2 * i + 1], Ints{0, 2, 4, 6});
    const Ints odd = __builtin_shuffle(sum[2 * i], sum[2 * i + 1], Ints{1, 3, 5, 7});
    out[i] = AddInts(even, odd);
  }
}
constexpr int MaxPanels(int) { return 1; }

#include "kernels/gemm/tile_u8s8.inl"
#include "kernels/gemm/widen.inl"

}  // namespace

void TileU8S8Scalar(const TileArgs& args, int rows) {
  int32_t x_sums[kMaxTileRows] = {};
  SumRows(args, rows, x_sums);
  const Widened widened(args, rows);
  Dispatch<2>(widened.args, x_sums, rows);
}

}  // namespace planish
