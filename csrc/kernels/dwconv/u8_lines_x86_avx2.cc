// u8 depthwise micro-kernel for AVX2 on whole lines: two lines of x are interleaved and widened to 16 bits once for all output
// lines and windows they lie in, so that what remains of a tap pair is vpmaddwd with an operand in memory, and an addition.
#include <immintrin.h>
#include <string.h>

#include "kernels/dwconv/tile.h"

namespace planish {
namespace {

#include "kernels/gemm/requantize_avx2.inl"

constexpr int64_t kVecBytes = 32;  // eight channels of a column of a pair, or of a weight

// The columns of a pair that lie in one line, or its padding: equal steps through memory.
struct Run {
  const char* at;
  int64_t step;
};

// Writes `count` columns of the channels from c on: eight of them, or 16, whose second half lies `apart` bytes further on.
template <bool kSixteen>
void WidenColumns(Run first, Run second, int64_t count, char* to, int64_t apart) {
  for (; count > 0; --count, first.at += first.step, second.at += second.step, to += kVecBytes) {
    if constexpr (kSixteen) {
      const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(first.at));
      const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(second.at));
      StoreInts(reinterpret_cast<int32_t*>(to), _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b)));
      StoreInts(reinterpret_cast<int32_t*>(to + apart), _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(a, b)));
    } else {
      const __m128i a = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(first.at));
      const __m128i b = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(second.at));
      StoreInts(reinterpret_cast<int32_t*>(to), _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b)));
    }
  }
}

template <bool kSixteen>
void WidenChannels(const DepthwiseLines& line, const DepthwiseLinePair& pair, int64_t c, int64_t pitch) {
  const Run fill{line.fill + c, 0};
  const auto inside = [&](const char* x) { return x ? Run{x + c, line.x_pitch} : fill; };
  char* to = pair.widened + c / kLanes * pitch;
  WidenColumns<kSixteen>(fill, fill, line.before, to, pitch);
  to += line.before * kVecBytes;
  WidenColumns<kSixteen>(inside(pair.first), inside(pair.second), line.inside, to, pitch);
  WidenColumns<kSixteen>(fill, fill, line.after, to + line.inside * kVecBytes, pitch);
}

// sum += product, in this place: regrouped by the compiler, the products of a column would wait in memory for the next.
inline __attribute__((always_inline)) void AddTo(Ints& sum, Ints product) {
  sum = AddInts(sum, product);
  asm("" : "+x"(sum));
}

// Computes a line or two, eight channels at a time.
class LineKernel {
 public:
  LineKernel(const DepthwiseArgs& args, const DepthwiseLines& lines)
      : a_(args),
        l_(lines),
        pitch_((lines.before + lines.inside + lines.after) * kVecBytes),
        requantizer_(args) {}

  void Widen() const {
    for (int64_t p = 0; p < l_.pair_count; ++p) {
      if (!l_.pairs[p].stale) continue;
      for (int64_t c = 0; c < a_.outputs; c += 16) {
        a_.outputs - c > kLanes ? WidenChannels<true>(l_, l_.pairs[p], c, pitch_)
                                : WidenChannels<false>(l_, l_.pairs[p], c, pitch_);
      }
    }
  }

  template <int kTaps, int kStep>
  void Run() const {
    for (int64_t c = 0; c < a_.outputs; c += kLanes) {
      a_.outputs - c >= kLanes ? Channels<kTaps, kStep, true>(c) : Channels<kTaps, kStep, false>(c);
    }
  }

 private:
  template <int kTaps, int kStep, bool kWhole>
  void Channels(int64_t c) const {
    if constexpr (kStep == 1) {
      if (l_.count == 2) {
        if (l_.pixels < 4) return Pixels<2, 1, kTaps, kStep, kWhole>(c, 0, l_.pixels);
        const int64_t rest = l_.pixels % 4, whole = rest == 3 ? l_.pixels : l_.pixels - rest;
        Pixels<2, 4, kTaps, kStep, kWhole>(c, 0, whole);
        if (whole < l_.pixels) Pixels<2, 2, kTaps, kStep, kWhole>(c, l_.pixels - 2, l_.pixels);
        return;
      }
    }
    if (l_.pixels < 4) return Pixels<1, 1, kTaps, kStep, kWhole>(c, 0, l_.pixels);
    if (l_.pixels < 8) return Pixels<1, 4, kTaps, kStep, kWhole>(c, 0, l_.pixels);
    const int64_t rest = l_.pixels % 8, whole = rest > 4 ? l_.pixels : l_.pixels - rest;
    Pixels<1, 8, kTaps, kStep, kWhole>(c, 0, whole);
    if (whole < l_.pixels) Pixels<1, 4, kTaps, kStep, kWhole>(c, l_.pixels - 4, l_.pixels);
  }

  // The pixels [pixel, end), kCols at a time and at least as many; the last ones overlap those before where they do not fit.
  template <int kLines, int kCols, int kTaps, int kStep, bool kWhole>
  __attribute__((noinline)) void Pixels(int64_t c, int64_t pixel, int64_t end) const {
    const int32_t* biases = static_cast<const int32_t*>(a_.bias);
    const int64_t left = a_.outputs - c, pairs = l_.pair_count;
    const Ints bias = !biases ? SplatInt(0) : kWhole ? LoadInts(biases + c) : LoadFirstInts(biases + c, left);
    const char* weights = a_.weights + c / kLanes * pairs * 2 * kTaps * kVecBytes;
    for (;;) {
      Ints sum[kLines][kCols];
#pragma GCC unroll 2
      for (int l = 0; l < kLines; ++l) {
#pragma GCC unroll 8
        for (int r = 0; r < kCols; ++r) sum[l][r] = bias;
      }
      const int64_t at = c / kLanes * pitch_ + pixel * kStep * kVecBytes;
      for (int64_t p = 0; p < pairs; ++p)
        AddPair<kLines, kCols, kTaps, kStep>(l_.pairs[p].widened + at, weights + p * 2 * kTaps * kVecBytes,
                                             sum);
      char* y = l_.y + pixel * l_.y_pitch;
      if (a_.output == kTileU8) {
        const Floats scale = kWhole ? LoadFloats(a_.scale + c) : LoadFirstFloats(a_.scale + c, left);
#pragma GCC unroll 2
        for (int l = 0; l < kLines; ++l)
          WriteBytes<kCols, kWhole>(y + l * l_.next_y + c, left, scale, sum[l]);
      } else {
        Ints copy[kLines][kCols];  // sums whose address is taken would not stay in registers
#pragma GCC unroll 2
        for (int l = 0; l < kLines; ++l) {
#pragma GCC unroll 8
          for (int r = 0; r < kCols; ++r) copy[l][r] = sum[l][r];
        }
        WriteOther<kLines, kCols>(y, c, copy);
      }
      if (pixel + kCols >= end) return;
      pixel = pixel + 2 * kCols <= end ? pixel + kCols : end - kCols;
    }
  }

  // All sums stay in registers while the columns pass by, and the weights of three taps too.
  template <int kLines, int kCols, int kTaps, int kStep>
  static inline __attribute__((always_inline)) void AddPair(const char* column, const char* weights,
                                                            Ints (&sum)[kLines][kCols]) {
#pragma GCC unroll 32
    for (int j = 0; j < (kCols - 1) * kStep + kTaps; ++j) {
      const Ints x = At(column + j * kVecBytes);
      if constexpr (kTaps > 3) asm("" : "+r"(weights));  // not loaded ahead, for want of registers
#pragma GCC unroll 16
      for (int r = 0; r < kCols; ++r) {
        const int k = j - r * kStep;
        if (k < 0 || k >= kTaps) continue;
#pragma GCC unroll 2
        for (int l = 0; l < kLines; ++l)
          AddTo(sum[l][r], _mm256_madd_epi16(x, At(weights + (l * kTaps + k) * kVecBytes)));
      }
    }
  }

  static Ints At(const char* p) { return LoadInts(reinterpret_cast<const int32_t*>(p)); }

  template <int kLines, int kCols>
  __attribute__((noinline)) void WriteOther(char* y, int64_t c, const Ints (&sum)[kLines][kCols]) const {
    TileArgs one = a_;
    for (int l = 0; l < kLines; ++l) {
      for (int r = 0; r < kCols; ++r) {
        char* pixel = y + l * l_.next_y + r * l_.y_pitch;
        one.out = &pixel;
        WriteInts(one, 0, c, a_.outputs - c, sum[l][r]);
      }
    }
  }

  // Four pixels at a time.
  template <int kCols, bool kWhole>
  inline __attribute__((always_inline)) void WriteBytes(char* y, int64_t left, Floats scale,
                                                        const Ints (&sum)[kCols]) const {
    const int64_t count = kWhole ? kLanes : left, pitch = l_.y_pitch;
#pragma GCC unroll 2
    for (int r = 0; r < kCols; r += 4) {
      Ints rounded[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i)
        rounded[i] = r + i < kCols ? requantizer_.Round(sum[r + i < kCols ? r + i : 0], scale) : rounded[0];
      // In the lower lane the first four bytes of each pixel, in the upper lane the others.
      const __m256i bytes = requantizer_.Clamped(_mm256_packus_epi16(
          requantizer_.Words(rounded[0], rounded[1]), requantizer_.Words(rounded[2], rounded[3])));
      const __m128i low = _mm256_castsi256_si128(bytes), high = _mm256_extracti128_si256(bytes, 1);
      WritePair(y + r * pitch, pitch, kCols - r, count, _mm_unpacklo_epi32(low, high));
      if (r + 2 < kCols)
        WritePair(y + (r + 2) * pitch, pitch, kCols - r - 2, count, _mm_unpackhi_epi32(low, high));
    }
  }

  static inline __attribute__((always_inline)) void WritePair(char* y, int64_t pitch, int pixels,
                                                              int64_t count, __m128i bytes) {
    StoreFirstBytes(y, bytes, count);
    if (pixels > 1) StoreFirstBytes(y + pitch, _mm_unpackhi_epi64(bytes, bytes), count);
  }

  const DepthwiseArgs& a_;
  const DepthwiseLines& l_;
  const int64_t pitch_;
  const Requantizer requantizer_;
};

}  // namespace

void DepthwiseLinesU8Avx2(const DepthwiseArgs& args, const DepthwiseLines& line) {
  const LineKernel kernel(args, line);
  kernel.Widen();
  switch (line.line_taps * 10 + line.step) {
    case 31:
      return kernel.Run<3, 1>();
    case 32:
      return kernel.Run<3, 2>();
    case 51:
      return kernel.Run<5, 1>();
    case 52:
      return kernel.Run<5, 2>();
    case 71:
      return kernel.Run<7, 1>();
    case 72:
      return kernel.Run<7, 2>();
  }
}

}  // namespace planish
