// Family winograd on bytes, for AVX2: products of 16-bit pairs by vpmaddwd, 3 rows × 32 or 6 rows × 16 outputs in registers.
#include <immintrin.h>
#include <string.h>

#include "kernels/winograd/integers.h"

namespace planish {
namespace {

#include "kernels/gemm/vec_int_avx2.inl"
#include "kernels/winograd/integers.inl"

// Pairs of products with weights in memory: as an instruction of its own the load would take a register that sums need.
inline __m256i MultiplyPairs(__m256i x, const char* weights) {
  __m256i products;
  asm("vpmaddwd %2, %1, %0" : "=x"(products) : "x"(x), "m"(*reinterpret_cast<const __m256i_u*>(weights)));
  return products;
}

struct Products {
  const int16_t* v;
  int64_t v_pitch;
  const char* u;
  int64_t panel_bytes, pairs;
  int32_t* m;
  int64_t m_pitch;
};

// kRows rows from `first` on, kPanels panels from p.u on.
template <int kRows, int kPanels>
__attribute__((noinline)) void Sums(const Products& p, int first) {
  constexpr int kVecs = 2 * kPanels;
  __m256i sum[kRows][kVecs];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int i = 0; i < kVecs; ++i) sum[r][i] = _mm256_setzero_si256();
  }
  const int16_t* v = p.v + first * p.v_pitch;
  const char* u = p.u;
  const auto input = [&](int r, int64_t k) __attribute__((always_inline)) {
    int32_t pair;
    memcpy(&pair, v + r * p.v_pitch + 2 * k, sizeof pair);
    return SplatInt(pair);
  };
  const auto weights = [&](int i) __attribute__((always_inline)) {
    return u + i / 2 * p.panel_bytes + i % 2 * 32;
  };
#pragma GCC unroll 2
  for (int64_t k = 0; k < p.pairs; ++k, u += 64) {
    if constexpr (kRows < kVecs) {  // what is fewer stays in registers
      Ints x[kRows];
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) x[r] = input(r, k);
#pragma GCC unroll 16
      for (int i = 0; i < kVecs; ++i) {
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) sum[r][i] = AddInts(sum[r][i], MultiplyPairs(x[r], weights(i)));
      }
    } else {
      Ints w[kVecs];
#pragma GCC unroll 16
      for (int i = 0; i < kVecs; ++i)
        w[i] = _mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(weights(i)));
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const Ints x = input(r, k);
#pragma GCC unroll 16
        for (int i = 0; i < kVecs; ++i) sum[r][i] = AddInts(sum[r][i], _mm256_madd_epi16(x, w[i]));
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    int32_t* m = p.m + (first + r) * p.m_pitch;
#pragma GCC unroll 16
    for (int i = 0; i < kVecs; ++i) StoreInts(m + i * 8, sum[r][i]);
  }
}

template <int kRows, int kPanels>
void Group(const Products& p, int first, int rows) {
  if (rows == kRows) return Sums<kRows, kPanels>(p, first);
  if constexpr (kRows > 1) Group<kRows - 1, kPanels>(p, first, rows);
}

// All rows, in groups of nearly the same size.
template <int kRows, int kPanels>
void Groups(const Products& p, int rows) {
  const int groups = (rows + kRows - 1) / kRows;
  for (int g = 0; g < groups; ++g) {
    const int first = rows * g / groups;
    Group<kRows, kPanels>(p, first, rows * (g + 1) / groups - first);
  }
}

void Multiply(const int16_t* v, int64_t v_pitch, int rows, const int16_t* u, int64_t pairs, int64_t panels,
              int32_t* m, int64_t m_pitch) {
  Products p{v, v_pitch, reinterpret_cast<const char*>(u), pairs * 64, pairs, m, m_pitch};
  for (; panels >= 2; panels -= 2, p.u += 2 * p.panel_bytes, p.m += 32) Groups<3, 2>(p, rows);
  if (panels) Groups<6, 1>(p, rows);
}

}  // namespace

const WinogradIntegers kWinogradIntegersAvx2 = {&InputTile, &Multiply, &OutputTile};

}  // namespace planish
