// Building blocks of AVX2 kernels over pixel tiles: internal linkage only, for files compiled for AVX2.
#pragma once

#include <immintrin.h>

#include "kernels/tiled/panel.h"

namespace planish {
namespace {

// to[i][j] = from[j][i] for 8 x 8 words; from: 8 pointers, to: rows `stride` words apart.
inline void Transpose8x8(const void* const* from, uint32_t* to, int64_t stride) {
  __m256 r[8], t[8];
  // Registers 0..3 hold columns 0..3 of rows i and i + 4, registers 4..7 columns 4..7.
  for (int i = 0; i < 8; ++i) {
    const int row = i % 4, half = i / 4;
    const auto part = [&](int k) {
      return _mm_loadu_ps(static_cast<const float*>(from[row + 4 * k]) + 4 * half);
    };
    r[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(part(0)), part(1), 1);
  }
  for (int h = 0; h < 8; h += 4) {
    t[h] = _mm256_unpacklo_ps(r[h], r[h + 1]);
    t[h + 1] = _mm256_unpackhi_ps(r[h], r[h + 1]);
    t[h + 2] = _mm256_unpacklo_ps(r[h + 2], r[h + 3]);
    t[h + 3] = _mm256_unpackhi_ps(r[h + 2], r[h + 3]);
  }
  float* out = reinterpret_cast<float*>(to);
  for (int h = 0; h < 8; h += 4) {
    _mm256_storeu_ps(out + h * stride, _mm256_shuffle_ps(t[h], t[h + 2], 0x44));
    _mm256_storeu_ps(out + (h + 1) * stride, _mm256_shuffle_ps(t[h], t[h + 2], 0xEE));
    _mm256_storeu_ps(out + (h + 2) * stride, _mm256_shuffle_ps(t[h + 1], t[h + 3], 0x44));
    _mm256_storeu_ps(out + (h + 3) * stride, _mm256_shuffle_ps(t[h + 1], t[h + 3], 0xEE));
  }
}

// sums[p][j] = outputs[j][p] for pixels in groups of 8; outputs has 16 rows of `capacity` words.
inline void TransposeSums8(const uint32_t* outputs, int64_t capacity, int64_t pixels, uint32_t* sums) {
  for (int64_t p = 0; p < pixels; p += 8) {
    for (int h = 0; h < 16; h += 8) {
      const void* rows[8];
      for (int j = 0; j < 8; ++j) rows[j] = outputs + (h + j) * capacity + p;
      Transpose8x8(rows, sums + p * 16 + h, 16);
    }
  }
}

// All ones in the first `lanes` of 8 words.
inline __m256i LaneMask8(int64_t lanes) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(lanes > 8 ? 8 : lanes)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

}  // namespace
}  // namespace planish
