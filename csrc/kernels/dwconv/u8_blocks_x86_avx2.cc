// u8 depthwise micro-kernel for AVX2 that shares columns, 32 channels at a time: rows of two lines of x are interleaved and
// widened to 16 bits without leaving their lanes, so that vpmaddwd sums two taps of a channel at once, for every window the
// column lies in. A last line without a partner pairs neighbouring columns instead. Two rounds of packing and one shuffle
// bring the results back into order.
#include <immintrin.h>
#include <string.h>

#include "kernels/dwconv/tile.h"

namespace planish {
namespace {

#include "kernels/dwconv/columns.inl"
#include "kernels/gemm/requantize_avx2.inl"

constexpr int64_t kChannels = 32;   // of a block
constexpr int64_t kPairBytes = 64;  // the weights of a pair of taps for half a block

inline __m256i LoadVector(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline __m256i LoadHalves(const char* low, const char* high) {
  return _mm256_loadu2_m128i(reinterpret_cast<const __m128i*>(high), reinterpret_cast<const __m128i*>(low));
}

// Of half a block, as PackBlocks orders it: its even and its odd channels.
struct HalfBlock {
  Ints even, odd;
};

// A half of 32 numbers of 4 bytes in order, such as the biases of a block.
inline HalfBlock Deinterleave(const char* numbers, int half) {
  const char* at = numbers + 32 * half;
  const Floats low = _mm256_castsi256_ps(LoadHalves(at, at + 64));
  const Floats high = _mm256_castsi256_ps(LoadHalves(at + 16, at + 80));
  return {_mm256_castps_si256(_mm256_shuffle_ps(low, high, 0x88)),
          _mm256_castps_si256(_mm256_shuffle_ps(low, high, 0xdd))};
}

// Pairs of 16-bit numbers of two rows.
inline HalfBlock WidenPairs(const char* first, const char* second, int half) {
  const __m256i a = LoadVector(first), b = LoadVector(second);
  const __m256i x = half ? _mm256_unpackhi_epi16(a, b) : _mm256_unpacklo_epi16(a, b);
  return {_mm256_and_si256(x, _mm256_set1_epi16(255)), _mm256_srli_epi16(x, 8)};
}

inline __attribute__((always_inline)) void AddPairs(HalfBlock& sum, const HalfBlock& x, const char* weights) {
  sum.even = AddInts(sum.even, _mm256_madd_epi16(x.even, LoadVector(weights)));
  sum.odd = AddInts(sum.odd, _mm256_madd_epi16(x.odd, LoadVector(weights + 32)));
}

// Whether column k of a window begins a pair of a lone last line: see PackBlocks.
constexpr bool BeginsPair(int k, int taps) { return k >= 0 && k < taps - 1 && (k % 2 == 0 || k == taps - 2); }

class BlockKernel {
 public:
  explicit BlockKernel(const DepthwiseArgs& args) : whole_(args), a_(args), requantizer_(args) {}

  template <int kRows, int kTaps, int kStep>
  __attribute__((noinline)) void Window(const char* const* rows, char* const* out) const {
    BlockKernel(*this).Blocks<kRows>(
        out, kTaps,
        [&](const BlockKernel& kernel, int64_t c, const char* weights, int half, HalfBlock(&sum)[kRows])
            __attribute__((always_inline)) {
              kernel.SumWindows<kRows, kTaps, kStep>(rows, c, weights, half, sum);
            });  // a copy that no store can change
  }

  void AnyWindow(const char* const* rows, char* const* out) const {
    Blocks<1>(out, a_.columns.line_taps,
              [&](const BlockKernel& kernel, int64_t c, const char* weights, int half, HalfBlock(&sum)[1]) {
                kernel.SumAnyWindow(rows, c, weights, half, sum[0]);
              });
  }

 private:
  // 32 numbers of a vector of the channels (null: zeros) from c on: in place, or where fewer are left, in `room`.
  inline __attribute__((always_inline)) const char* BlockOf(const void* numbers, int64_t c,
                                                            char (&room)[kChannels * 4]) const {
    const char* at = numbers ? static_cast<const char*>(numbers) + 4 * c : nullptr;
    const int64_t left = a_.outputs - c;
    if (at && left >= kChannels) return at;
    return CopyFirst(at, at ? (left < kChannels ? left : kChannels) : 0, room);
  }
  static __attribute__((noinline)) const char* CopyFirst(const char* from, int64_t count,
                                                         char (&room)[kChannels * 4]) {
    memset(room, 0, sizeof room);
    if (count > 0) memcpy(room, from, static_cast<size_t>(4 * count));
    return room;
  }

  // sum(kernel, channel, weights, half, sums) adds the products of half a block.
  template <int kRows, class Sum>
  inline __attribute__((always_inline)) void Blocks(char* const* out, int64_t taps, const Sum& sum) const {
    const int64_t lines = a_.columns.lines;
    const int64_t half_bytes = (lines / 2 * taps + (lines % 2 ? (taps + 1) / 2 : 0)) * kPairBytes;
    const char* weights = a_.weights;
    for (int64_t c = 0; c < a_.outputs; c += kChannels, weights += 2 * half_bytes) {
      char bias_room[kChannels * 4], scale_room[kChannels * 4];
      const char* biases = BlockOf(a_.bias, c, bias_room);
      const char* scales = BlockOf(a_.scale, c, scale_room);
      __m256i words[2][kRows];
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        HalfBlock total[kRows];
        const HalfBlock bias = Deinterleave(biases, half);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) total[r] = bias;
        sum(*this, c, weights + half * half_bytes, half, total);
        if (a_.output != kTileU8) {
#pragma GCC unroll 16
          for (int r = 0; r < kRows; ++r)
            WriteOther(whole_, out + r, c + 8 * half, total[r].even, total[r].odd);
          continue;
        }
        const HalfBlock scale = Deinterleave(scales, half);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) words[half][r] = Words(total[r], scale);
      }
      if (a_.output == kTileU8) WriteBytes<kRows>(out, c, words);
    }
  }

  template <int kRows, int kTaps, int kStep>
  inline __attribute__((always_inline)) void SumWindows(const char* const* rows, int64_t c,
                                                        const char* weights, int half,
                                                        HalfBlock (&sum)[kRows]) const {
    const int64_t lines = a_.columns.lines, pitch = a_.columns.pitch;
    constexpr int kColumns = (kRows - 1) * kStep + kTaps;
    const char* const* column = rows;
    for (int64_t l = 0; l + 2 <= lines; l += 2, column += 2 * pitch, weights += kTaps * kPairBytes) {
#pragma GCC unroll 32
      for (int j = 0; j < kColumns; ++j) {
        const HalfBlock x = WidenPairs(column[j] + c, column[pitch + j] + c, half);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) {
          const int k = j - r * kStep;
          if (k >= 0 && k < kTaps) AddPairs(sum[r], x, weights + k * kPairBytes);
        }
      }
    }
    if (lines % 2 == 0) return;
#pragma GCC unroll 32
    for (int j = 0; j + 1 < kColumns; ++j) {
      const HalfBlock x = WidenPairs(column[j] + c, column[j + 1] + c, half);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const int k = j - r * kStep;
        if (BeginsPair(k, kTaps)) AddPairs(sum[r], x, weights + (k + 1) / 2 * kPairBytes);
      }
    }
  }

  void SumAnyWindow(const char* const* rows, int64_t c, const char* weights, int half, HalfBlock& sum) const {
    const int64_t lines = a_.columns.lines, pitch = a_.columns.pitch, taps = a_.columns.line_taps;
    const char* const* column = rows;
    for (int64_t l = 0; l + 2 <= lines; l += 2, column += 2 * pitch) {
      for (int64_t k = 0; k < taps; ++k, weights += kPairBytes)
        AddPairs(sum, WidenPairs(column[k] + c, column[pitch + k] + c, half), weights);
    }
    if (lines % 2 == 0) return;
    for (int64_t k = 0; k < taps; k += 2, weights += kPairBytes) {
      const int64_t second = k + 1 < taps ? k + 1 : k, first = second > 0 ? second - 1 : 0;
      AddPairs(sum, WidenPairs(column[first] + c, column[second] + c, half), weights);
    }
  }

  __m256i Words(const HalfBlock& sum, const HalfBlock& scale) const {
    return requantizer_.Words(requantizer_.Round(sum.even, _mm256_castsi256_ps(scale.even)),
                              requantizer_.Round(sum.odd, _mm256_castsi256_ps(scale.odd)));
  }

  template <int kRows>
  inline __attribute__((always_inline)) void WriteBytes(char* const* out, int64_t c,
                                                        const __m256i (&words)[2][kRows]) const {
    const int64_t count = a_.outputs - c;
    const __m256i order = _mm256_setr_epi8(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15,  //
                                           0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const __m256i packed = requantizer_.Clamped(_mm256_packus_epi16(words[0][r], words[1][r]));
      const __m256i bytes = _mm256_shuffle_epi8(packed, order);
      if (count >= kChannels) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out[r] + c), bytes);
        continue;
      }
      StoreFirstBytes(out[r] + c, _mm256_castsi256_si128(bytes), count < 16 ? count : 16);
      if (count > 16) StoreFirstBytes(out[r] + c + 16, _mm256_extracti128_si256(bytes, 1), count - 16);
    }
  }

  // Half a block from channel c on: eight channels, and eight that lie 16 further on.
  static __attribute__((noinline)) void WriteOther(const DepthwiseArgs& a, char* const* out, int64_t c,
                                                   Ints even, Ints odd) {
    const Ints low = _mm256_unpacklo_epi32(even, odd), high = _mm256_unpackhi_epi32(even, odd);
    const int row = static_cast<int>(out - a.out);
    const int64_t left = a.outputs - c;
    if (left > 0) WriteInts(a, row, c, left, _mm256_permute2x128_si256(low, high, 0x20));
    if (left > 16) WriteInts(a, row, c + 16, left - 16, _mm256_permute2x128_si256(low, high, 0x31));
  }

  const DepthwiseArgs& whole_;
  DepthwiseArgs a_;
  Requantizer requantizer_;
};

}  // namespace

void DepthwiseU8Avx2Blocks(const DepthwiseArgs& args, int rows) { CutTile(BlockKernel(args), args, rows); }

}  // namespace planish
