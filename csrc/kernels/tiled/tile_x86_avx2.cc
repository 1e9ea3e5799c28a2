// Tiles and outputs with AVX2.
#include "kernels/tiled/avx2.h"
#include "kernels/tiled/builders.h"

namespace planish {
namespace {

void ClearTail(uint32_t* row, int64_t capacity, uint32_t tail) {
  for (int64_t p = 0; p < capacity; ++p) row[p] &= tail;
}

// Spreads `count` words of four u8 into even[] (channels 0, 2) and odd[] (channels 1, 3).
void Widen(const uint32_t* words, int64_t count, uint32_t* even, uint32_t* odd) {
  for (int64_t p = 0; p < count; ++p) {
    const uint32_t x = words[p];
    even[p] = x & 0x00FF00FF;
    odd[p] = x >> 8 & 0x00FF00FF;
  }
}

int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

}  // namespace

void BuildTileAvx2(const std::byte* const* rows, int64_t taps, int64_t words, uint32_t tail, int64_t capacity,
                   uint32_t* tile) {
  if (capacity < 8) {
    BuildTilePortable(rows, taps, words, tail, capacity, tile);
    return;
  }
  for (int64_t t = 0; t < taps; ++t) {
    uint32_t* out = tile + t * words * capacity;
    for (int64_t j = 0; j < words; j += 8) {
      for (int64_t p = 0; p < capacity; p += 8) {
        const void* from[8];
        for (int i = 0; i < 8; ++i) from[i] = rows[t * capacity + p + i] + 4 * j;
        Transpose8x8(from, out + j * capacity + p, capacity);
      }
    }
    ClearTail(out + (words - 1) * capacity, capacity, tail);
  }
}

void BuildWideTileAvx2(const std::byte* const* rows, int64_t taps, int64_t words, uint32_t tail,
                       int64_t capacity, uint32_t* tile) {
  alignas(32) uint32_t block[64];  // eight words of up to eight pixels
  const int64_t width = Least(8, capacity);
  for (int64_t t = 0; t < taps; ++t) {
    for (int64_t j = 0; j < words; j += 8) {
      const int64_t count = Least(8, words - j);
      for (int64_t p = 0; p < capacity; p += 8) {
        const void* from[8];
        for (int i = 0; i < 8; ++i) from[i] = rows[t * capacity + p + i % width] + 4 * j;
        Transpose8x8(from, block, 8);
        if (j + count == words) ClearTail(block + (count - 1) * 8, 8, tail);
        uint32_t* out = tile + (t * words + j) * 2 * capacity + p;
        for (int64_t k = 0; k < count; ++k)
          Widen(block + k * 8, width, out + k * 2 * capacity, out + (k * 2 + 1) * capacity);
      }
    }
  }
}

namespace {

// Stores the first `lanes` of 8 words.
void StoreLanes(void* to, __m256i v, int64_t lanes) {
  if (lanes >= 8) {
    _mm256_storeu_si256(static_cast<__m256i*>(to), v);
  } else {
    _mm256_maskstore_epi32(static_cast<int*>(to), LaneMask8(lanes), v);
  }
}

void StoreBytes(std::byte* to, __m256i v, int64_t lanes) {
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  const __m128i bytes = _mm_packus_epi16(words, words);
  if (lanes >= 8) {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), bytes);
    return;
  }
  alignas(16) uint8_t buffer[16];
  _mm_store_si128(reinterpret_cast<__m128i*>(buffer), bytes);
  for (int64_t i = 0; i < lanes; ++i) to[i] = static_cast<std::byte>(buffer[i]);
}

__m256 Clamp(__m256 v, const Finish& f) {  // a NaN, the second operand, passes
  return _mm256_min_ps(_mm256_set1_ps(f.hi), _mm256_max_ps(_mm256_set1_ps(f.lo), v));
}

void FinishFloat8(const Finish& f, int64_t n, int64_t lanes, const uint32_t* sums, int64_t pixels,
                  std::byte* const* y, const std::byte* const* residual) {
  const __m256 bias =
      f.bias ? _mm256_loadu_ps(reinterpret_cast<const float*>(f.bias) + n) : _mm256_setzero_ps();
  for (int64_t p = 0; p < pixels; ++p) {
    __m256 v = _mm256_loadu_ps(reinterpret_cast<const float*>(sums) + p * 16);
    if (f.bias) v = _mm256_add_ps(v, bias);
    if (residual)
      v = _mm256_add_ps(
          v, _mm256_maskload_ps(reinterpret_cast<const float*>(residual[p]) + n, LaneMask8(lanes)));
    if (f.clamp) v = Clamp(v, f);
    StoreLanes(reinterpret_cast<float*>(y[p]) + n, _mm256_castps_si256(v), lanes);
  }
}

void FinishInteger8(const Finish& f, int64_t n, int64_t lanes, const uint32_t* sums, int64_t pixels,
                    std::byte* const* y) {
  const __m256i bias =
      f.bias ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(f.bias + 4 * n)) : _mm256_setzero_si256();
  const __m256 scale = f.scale ? _mm256_loadu_ps(f.scale + n) : _mm256_setzero_ps();
  const __m256 lo = _mm256_set1_ps(f.lo), hi = _mm256_set1_ps(f.hi);
  for (int64_t p = 0; p < pixels; ++p) {
    const __m256i sum =
        _mm256_add_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums + p * 16)), bias);
    const __m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), scale);
    if (f.mode == FinishMode::kRaw) {
      StoreLanes(y[p] + 4 * n, sum, lanes);
    } else if (f.mode == FinishMode::kDequantize) {
      StoreLanes(y[p] + 4 * n, _mm256_castps_si256(f.clamp ? Clamp(v, f) : v), lanes);
    } else {
      const __m256 bounded =
          _mm256_min_ps(_mm256_max_ps(v, lo), hi);  // max gives its second operand for a NaN
      StoreBytes(y[p] + n, _mm256_add_epi32(_mm256_cvtps_epi32(bounded), _mm256_set1_epi32(f.y_zero)), lanes);
    }
  }
}

}  // namespace

void FinishFloatAvx2(const Finish& f, int64_t first, const uint32_t* sums, int64_t pixels,
                     std::byte* const* y, const std::byte* const* residual) {
  for (int64_t j = 0; j < 16 && first + j < f.outputs; j += 8) {
    FinishFloat8(f, first + j, f.outputs - first - j, sums + j, pixels, y, residual);
  }
}

void FinishIntegerAvx2(const Finish& f, int64_t first, const uint32_t* sums, int64_t pixels,
                       std::byte* const* y, const std::byte* const*) {
  for (int64_t j = 0; j < 16 && first + j < f.outputs; j += 8) {
    FinishInteger8(f, first + j, f.outputs - first - j, sums + j, pixels, y);
  }
}

}  // namespace planish
