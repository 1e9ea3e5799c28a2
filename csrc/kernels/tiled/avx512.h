// Building blocks of AVX-512 kernels over pixel tiles: internal linkage only, for files compiled for AVX-512.
#pragma once

#include <immintrin.h>

#include "kernels/tiled/panel.h"

namespace planish {
namespace {

// to[i][j] = from[j][i] for 16 x 16 words; from: 16 pointers, to: rows `stride` words apart.
inline void Transpose16x16(const void* const* from, uint32_t* to, int64_t stride) {
  __m512i r[16], t[16];
  // Register i gathers the i%4-th quadruple of columns of rows i/4, i/4 + 4, i/4 + 8, i/4 + 12.
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    const int q = i % 4, row = i / 4;
    const auto part = [&](int k) {
      return _mm_loadu_si128(static_cast<const __m128i*>(from[row + 4 * k]) + q);
    };
    r[i] = _mm512_broadcast_i32x4(part(0));  // loads that broadcast and blend need no shuffles
    r[i] = _mm512_mask_broadcast_i32x4(r[i], 0x00F0, part(1));
    r[i] = _mm512_mask_broadcast_i32x4(r[i], 0x0F00, part(2));
    r[i] = _mm512_mask_broadcast_i32x4(r[i], 0xF000, part(3));
  }
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q) {
    t[q] = _mm512_unpacklo_epi32(r[q], r[4 + q]);
    t[4 + q] = _mm512_unpackhi_epi32(r[q], r[4 + q]);
    t[8 + q] = _mm512_unpacklo_epi32(r[8 + q], r[12 + q]);
    t[12 + q] = _mm512_unpackhi_epi32(r[8 + q], r[12 + q]);
  }
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q) {
    uint32_t* row = to + 4 * q * stride;
    _mm512_storeu_si512(row, _mm512_unpacklo_epi64(t[q], t[8 + q]));
    _mm512_storeu_si512(row + stride, _mm512_unpackhi_epi64(t[q], t[8 + q]));
    _mm512_storeu_si512(row + 2 * stride, _mm512_unpacklo_epi64(t[4 + q], t[12 + q]));
    _mm512_storeu_si512(row + 3 * stride, _mm512_unpackhi_epi64(t[4 + q], t[12 + q]));
  }
}

// sums[p][j] = outputs[j][p] for pixels in groups of 16; outputs has 16 rows of `capacity` words.
inline void TransposeSums(const uint32_t* outputs, int64_t capacity, int64_t pixels, uint32_t* sums) {
  for (int64_t p = 0; p < pixels; p += 16) {
    const void* rows[16];
    for (int j = 0; j < 16; ++j) rows[j] = outputs + j * capacity + p;
    Transpose16x16(rows, sums + p * 16, 16);
  }
}

inline __mmask16 LaneMask(int64_t lanes) {
  return static_cast<__mmask16>(lanes >= 16 ? 0xFFFF : (1 << lanes) - 1);
}

}  // namespace
}  // namespace planish
