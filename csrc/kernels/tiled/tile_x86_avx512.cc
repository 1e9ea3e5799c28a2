// Tiles and outputs with AVX-512.
#include "kernels/tiled/avx512.h"
#include "kernels/tiled/builders.h"

namespace planish {

void BuildTileAvx512(const std::byte* const* rows, int64_t taps, int64_t words, uint32_t tail,
                     int64_t capacity, uint32_t* tile) {
  if (capacity < 16) {
    BuildTilePortable(rows, taps, words, tail, capacity, tile);
    return;
  }
  for (int64_t t = 0; t < taps; ++t) {
    uint32_t* out = tile + t * words * capacity;
    for (int64_t j = 0; j < words; j += 16) {
      for (int64_t p = 0; p < capacity; p += 16) {
        const void* from[16];
        for (int i = 0; i < 16; ++i) from[i] = rows[t * capacity + p + i] + 4 * j;
        Transpose16x16(from, out + j * capacity + p, capacity);
      }
    }
    if (tail != ~0u) {
      uint32_t* last = out + (words - 1) * capacity;
      for (int64_t p = 0; p < capacity; p += 16) {
        _mm512_storeu_si512(last + p, _mm512_and_si512(_mm512_loadu_si512(last + p),
                                                       _mm512_set1_epi32(static_cast<int>(tail))));
      }
    }
  }
}

void BuildByteTileAvx512(const std::byte* const* rows, int64_t taps, int64_t words, uint32_t tail,
                         int64_t capacity, uint32_t* tile) {
  BuildTileAvx512(rows, taps, words, tail, capacity, tile);
  const __m512i bytes =
      _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  for (int64_t row = 0; row < taps * words; ++row) {
    uint32_t* at = tile + row * 64;
    // Register i, lane l: the first channels of pixels 16 i + 4 l + 0..3, then their second channels, and so
    // on.
    __m512i r[4];
    for (int i = 0; i < 4; ++i) r[i] = _mm512_shuffle_epi8(_mm512_load_si512(at + 16 * i), bytes);
    const __m512i low01 = _mm512_unpacklo_epi32(r[0], r[1]), high01 = _mm512_unpackhi_epi32(r[0], r[1]);
    const __m512i low23 = _mm512_unpacklo_epi32(r[2], r[3]), high23 = _mm512_unpackhi_epi32(r[2], r[3]);
    _mm512_store_si512(at, _mm512_unpacklo_epi64(low01, low23));
    _mm512_store_si512(at + 16, _mm512_unpackhi_epi64(low01, low23));
    _mm512_store_si512(at + 32, _mm512_unpacklo_epi64(high01, high23));
    _mm512_store_si512(at + 48, _mm512_unpackhi_epi64(high01, high23));
  }
}

void FinishFloatAvx512(const Finish& f, int64_t first, const uint32_t* sums, int64_t pixels,
                       std::byte* const* y, const std::byte* const* residual) {
  const __mmask16 mask = LaneMask(f.outputs - first);
  const __m512 bias = f.bias ? _mm512_maskz_loadu_ps(mask, reinterpret_cast<const float*>(f.bias) + first)
                             : _mm512_setzero_ps();
  const __m512 lo = _mm512_set1_ps(f.lo), hi = _mm512_set1_ps(f.hi);
  for (int64_t p = 0; p < pixels; ++p) {
    __m512 v = _mm512_loadu_ps(sums + p * 16);
    if (f.bias) v = _mm512_add_ps(v, bias);
    if (residual)
      v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, reinterpret_cast<const float*>(residual[p]) + first));
    if (f.clamp) v = _mm512_min_ps(hi, _mm512_max_ps(lo, v));  // the second operand, a NaN, passes
    _mm512_mask_storeu_ps(reinterpret_cast<float*>(y[p]) + first, mask, v);
  }
}

void FinishIntegerAvx512(const Finish& f, int64_t first, const uint32_t* sums, int64_t pixels,
                         std::byte* const* y, const std::byte* const*) {
  const __mmask16 mask = LaneMask(f.outputs - first);
  const __m512i bias = f.bias
                           ? _mm512_maskz_loadu_epi32(mask, reinterpret_cast<const int32_t*>(f.bias) + first)
                           : _mm512_setzero_si512();
  const __m512 scale = f.scale ? _mm512_maskz_loadu_ps(mask, f.scale + first) : _mm512_setzero_ps();
  const __m512 lo = _mm512_set1_ps(f.lo), hi = _mm512_set1_ps(f.hi);
  const __m512i zero = _mm512_set1_epi32(f.y_zero);
  for (int64_t p = 0; p < pixels; ++p) {
    const __m512i sum = _mm512_add_epi32(_mm512_loadu_si512(sums + p * 16), bias);
    if (f.mode == FinishMode::kRaw) {
      _mm512_mask_storeu_epi32(reinterpret_cast<int32_t*>(y[p]) + first, mask, sum);
      continue;
    }
    __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale);
    if (f.mode == FinishMode::kDequantize) {
      if (f.clamp) v = _mm512_min_ps(hi, _mm512_max_ps(lo, v));
      _mm512_mask_storeu_ps(reinterpret_cast<float*>(y[p]) + first, mask, v);
      continue;
    }
    v = _mm512_min_ps(_mm512_max_ps(v, lo), hi);  // max gives its second operand for a NaN
    const __m512i q = _mm512_add_epi32(_mm512_cvtps_epi32(v), zero);
    _mm_mask_storeu_epi8(y[p] + first, mask, _mm512_cvtepi32_epi8(q));
  }
}

}  // namespace planish
