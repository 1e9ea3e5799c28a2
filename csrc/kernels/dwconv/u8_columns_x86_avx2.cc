// u8 depthwise micro-kernel for AVX2 that shares columns: the rows of two lines of x are interleaved and widened to 16 bits
// once, so that vpmaddwd sums two taps of a channel at once, for every window the column lies in.
#include <immintrin.h>
#include <string.h>

#include "kernels/dwconv/tile.h"

namespace planish {
namespace {

#include "kernels/dwconv/columns.inl"
#include "kernels/gemm/requantize_avx2.inl"

// Eight channels at a time; their weights are packed by PackPairs.
class PairKernel {
 public:
  explicit PairKernel(const DepthwiseArgs& args) : whole_(args), a_(args), requantizer_(args) {}

  template <int kRows, int kTaps, int kStep>
  __attribute__((noinline)) void Window(const char* const* rows, char* const* out) const {
    PairKernel(*this).Lines<kRows, kTaps, kStep>(rows, out);  // a copy that no store can change
  }

  void AnyWindow(const char* const* rows, char* const* out) const {
    const int64_t pitch = a_.columns.pitch;
    const char* weights = a_.weights;
    for (int64_t c = 0; c < a_.outputs; c += kLanes) {
      Ints sum[1] = {Bias(c)};
      for (int64_t l = 0; l < a_.columns.lines; l += 2) {
        const char* const* column = rows + l * pitch;
        const bool last = l + 1 == a_.columns.lines;
        for (int64_t k = 0; k < a_.columns.line_taps; ++k, ++column, weights += kVecBytes) {
          last ? AddLines<true, 1, 1, 1>(column, pitch, c, weights, sum)
               : AddLines<false, 1, 1, 1>(column, pitch, c, weights, sum);
        }
      }
      Write<1>(out, c, a_.outputs - c, sum);
    }
  }

 private:
  static constexpr int64_t kVecBytes = 32;

  static __m128i LoadRow(const char* row) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(row)); }

  // Pairs of 16-bit numbers: the rows of two lines, or of the last line and zeros.
  template <bool kLast>
  static Ints LoadPairs(const char* const* column, int64_t pitch, int64_t c) {
    const __m128i first = LoadRow(column[0] + c);
    if (kLast) return _mm256_cvtepu8_epi32(first);
    return _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(first, LoadRow(column[pitch] + c)));
  }

  Ints Bias(int64_t c) const {
    const int32_t* bias = static_cast<const int32_t*>(a_.bias);
    const int64_t left = a_.outputs - c;
    return !bias ? SplatInt(0) : left >= kLanes ? LoadInts(bias + c) : LoadFirstInts(bias + c, left);
  }

  // One pair of lines; the taps' weights and all sums stay in registers.
  template <bool kLast, int kRows, int kTaps, int kStep>
  static inline __attribute__((always_inline)) void AddLines(const char* const* column, int64_t pitch,
                                                             int64_t c, const char* weights,
                                                             Ints (&sum)[kRows]) {
    Ints w[kTaps];
#pragma GCC unroll 16
    for (int k = 0; k < kTaps; ++k)
      w[k] = LoadInts(reinterpret_cast<const int32_t*>(weights + k * kVecBytes));
#pragma GCC unroll 32
    for (int j = 0; j < (kRows - 1) * kStep + kTaps; ++j) {
      const Ints x = LoadPairs<kLast>(column + j, pitch, c);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const int k = j - r * kStep;
        if (k >= 0 && k < kTaps) sum[r] = AddInts(sum[r], _mm256_madd_epi16(x, w[k]));
      }
    }
  }

  template <int kRows, int kTaps, int kStep>
  inline __attribute__((always_inline)) void Lines(const char* const* rows, char* const* out) const {
    const int64_t outputs = a_.outputs, lines = a_.columns.lines, pitch = a_.columns.pitch;
    const char* weights = a_.weights;
    for (int64_t c = 0; c < outputs; c += kLanes) {
      Ints sum[kRows];
      const Ints bias = Bias(c);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) sum[r] = bias;
      const char* const* column = rows;
      for (int64_t l = 0; l + 2 <= lines; l += 2, column += 2 * pitch, weights += kTaps * kVecBytes)
        AddLines<false, kRows, kTaps, kStep>(column, pitch, c, weights, sum);
      if (lines % 2) {
        AddLines<true, kRows, kTaps, kStep>(column, pitch, c, weights, sum);
        weights += kTaps * kVecBytes;
      }
      Write<kRows>(out, c, outputs - c, sum);
    }
  }

  template <int kRows>
  inline __attribute__((always_inline)) void Write(char* const* out, int64_t c, int64_t left,
                                                   const Ints (&sum)[kRows]) const {
    if (a_.output == kTileU8) return WriteBytes<kRows>(out, c, left, sum);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) WriteOther(whole_, out + r, c, left, sum[r]);
  }

  static __attribute__((noinline)) void WriteOther(const DepthwiseArgs& a, char* const* out, int64_t c,
                                                   int64_t left, Ints sum) {
    WriteInts(a, static_cast<int>(out - a.out), c, left, sum);
  }

  // Two rows at a time.
  template <int kRows>
  inline __attribute__((always_inline)) void WriteBytes(char* const* out, int64_t c, int64_t left,
                                                        const Ints (&sum)[kRows]) const {
    const int64_t count = left < kLanes ? left : kLanes;
    const Floats scale = left >= kLanes ? LoadFloats(a_.scale + c) : LoadFirstFloats(a_.scale + c, left);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; r += 2) {
      const int next = r + 1 < kRows ? r + 1 : r;
      const __m128i bytes =
          requantizer_.Bytes(requantizer_.Round(sum[r], scale), requantizer_.Round(sum[next], scale));
      StoreFirstBytes(out[r] + c, bytes, count);
      if (next > r) StoreFirstBytes(out[next] + c, _mm_unpackhi_epi64(bytes, bytes), count);
    }
  }

  const DepthwiseArgs& whole_;
  DepthwiseArgs a_;
  Requantizer requantizer_;
};

}  // namespace

void DepthwiseU8Avx2Columns(const DepthwiseArgs& args, int rows) { CutTile(PairKernel(args), args, rows); }

}  // namespace planish
