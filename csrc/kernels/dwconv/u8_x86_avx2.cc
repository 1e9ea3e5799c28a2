// u8 depthwise micro-kernel for AVX2: the inputs of two taps are interleaved and widened to 16 bits, so that vpmaddwd sums
// two taps of a channel at once. Up to 4 rows × 16 channels in registers.
#include <immintrin.h>
#include <string.h>

#include "kernels/dwconv/tile.h"

namespace planish {
namespace {

#include "kernels/gemm/vec_int_avx2.inl"

inline __m128i LoadChannels(const char* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }

// The weights of two taps for the channels [c, c + 16): pairs of 16-bit numbers, eight channels a register. Without a second
// tap its weights are zero.
inline void LoadPairs(const DepthwiseArgs& a, int64_t tap, int64_t c, __m256i (&w)[2]) {
  const char* from = a.weights + tap * a.panel_bytes + c * static_cast<int64_t>(sizeof(int16_t));
  const __m256i first = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  const __m256i second = tap + 1 < a.segments
                             ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + a.panel_bytes))
                             : _mm256_setzero_si256();
  const __m256i low = _mm256_unpacklo_epi16(first, second), high = _mm256_unpackhi_epi16(first, second);
  w[0] = _mm256_permute2x128_si256(low, high, 0x20);
  w[1] = _mm256_permute2x128_si256(low, high, 0x31);
}

constexpr int64_t kBlock = 128;  // channels whose sums are spilled before they are written

// The sums of the channels [c, c + 16) of kRows pixels: int32 [kRows][kBlock].
template <int kRows>
inline __attribute__((always_inline)) void SumChannels(const DepthwiseArgs& a, int row0, int64_t c,
                                                       int32_t* to) {
  Ints sum[kRows][2];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) sum[r][0] = sum[r][1] = SplatInt(0);
  for (int64_t t = 0; t < a.segments; t += 2) {
    __m256i w[2];
    LoadPairs(a, t, c, w);
    const DepthwiseTap first = a.taps[t], second = a.taps[t + 1 < a.segments ? t + 1 : t];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const __m128i x0 = LoadChannels(first.x + (row0 + r) * first.step + c);
      const __m128i x1 = LoadChannels(second.x + (row0 + r) * second.step + c);
      const __m256i low = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(x0, x1));
      const __m256i high = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(x0, x1));
      sum[r][0] = _mm256_add_epi32(sum[r][0], _mm256_madd_epi16(low, w[0]));
      sum[r][1] = _mm256_add_epi32(sum[r][1], _mm256_madd_epi16(high, w[1]));
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    StoreInts(to + r * kBlock, sum[r][0]);
    StoreInts(to + r * kBlock + kLanes, sum[r][1]);
  }
}

template <int kRows>
__attribute__((noinline)) void Rows(const DepthwiseArgs& a, int row0) {
  alignas(32) int32_t sums[kRows * kBlock];
  for (int64_t block = 0; block < a.outputs; block += kBlock) {
    const int64_t count = a.outputs - block < kBlock ? a.outputs - block : kBlock;
    for (int64_t c = 0; c < count; c += 16) SumChannels<kRows>(a, row0, block + c, sums + c);
    WriteSums(a, nullptr, row0, row0 + kRows, block, count, sums, kBlock);
  }
}

}  // namespace

void DepthwiseU8Avx2(const DepthwiseArgs& args, int rows) {
  int row = 0;
  for (; rows - row >= 4; row += 4) Rows<4>(args, row);
  for (; row < rows; ++row) Rows<1>(args, row);
}

}  // namespace planish
