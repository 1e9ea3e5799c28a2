// u8 × s8 for AVX2, exact, on strips: the bytes under a strip are widened to 16 bits as they lie, so that windows that overlap
// share them, and the weights once a task. Up to 6 pixels × 16 outputs, or 8 pixels × 8 outputs, of vpmaddwd sums in registers.
#include <immintrin.h>
#include <string.h>

#include "kernels/gemm/tile.h"

namespace planish {
namespace {

#include "kernels/gemm/requantize_avx2.inl"

constexpr int kPanelOutputs = 16;
constexpr int64_t kPairBytes = 64;  // of a panel's widened weights

inline __m256i LoadVector(const char* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline void StoreVector(char* p, __m256i v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
constexpr int64_t AlignTo(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Where the pixels of a strip find one segment: 16-bit numbers, `step` bytes from a pixel to the next.
struct WideSegment {
  const char* x;
  int64_t step;
};

// The packed quads of a segment and panel (int8 [quads][16][4]) less the outputs' zero points → int16 [pairs][16][2]. What stands
// behind an odd depth is zero.
char* WidenWeights(const char* packed, int64_t depth, const Ints (&zero)[2], char* to) {
  // A byte that stands above a zero byte is shifted down with its sign.
  const __m256i first = _mm256_setr_epi8(-1, 0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13,  //
                                         -1, 0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13);
  const __m256i second = _mm256_or_si256(first, _mm256_set1_epi16(0x0200));
  for (int64_t k = 0; k < depth; k += 2, to += kPairBytes) {
    const __m256i order = k % 4 ? second : first;
    const __m256i inside = SplatInt(k + 1 < depth ? -1 : 0xffff);
    for (int v = 0; v < 2; ++v) {
      const __m256i bytes = _mm256_shuffle_epi8(LoadVector(packed + k / 4 * 64 + 32 * v), order);
      const __m256i words = _mm256_sub_epi16(_mm256_srai_epi16(bytes, 8), zero[v]);
      StoreVector(to + 32 * v, _mm256_and_si256(words, inside));
    }
  }
  return to;
}

void WidenBytes(const char* from, int64_t count, char* to) {
  for (int64_t k = 0; k < count; k += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + k));
    StoreVector(to + 2 * k, _mm256_cvtepu8_epi16(bytes));
  }
}

class StripKernel {
 public:
  StripKernel(const TileArgs& args, const Strip& strip)
      : a_(args), strip_(strip), pairs_((args.depth + 1) / 2), requantizer_(args) {}

  void Run() {
    const int64_t panels = (a_.outputs + kPanelOutputs - 1) / kPanelOutputs;
    const int64_t weight_bytes = panels * a_.segments * pairs_ * kPairBytes;
    if (strip_.first) WidenAllWeights(panels);
    WidenSegments(a_.scratch + AlignTo(weight_bytes, 64));
    const char* weights = a_.scratch;
    for (int64_t n = 0; n < a_.outputs; n += kPanelOutputs, weights += a_.segments * pairs_ * kPairBytes) {
      const int64_t left = a_.outputs - n;
      left >= 16  ? Pixels<6, 2, true>(weights, n)
      : left > 8  ? Pixels<6, 2, false>(weights, n)
      : left == 8 ? Pixels<8, 1, true>(weights, n)
                  : Pixels<8, 1, false>(weights, n);
    }
  }

 private:
  void WidenAllWeights(int64_t panels) const {
    const int64_t segment_bytes = (a_.depth + 3) / 4 * 64;
    char* to = a_.scratch;
    for (int64_t panel = 0; panel < panels; ++panel) {
      const Ints zero[2] = {ZeroPoints(panel * kPanelOutputs), ZeroPoints(panel * kPanelOutputs + kLanes)};
      for (int64_t s = 0; s < a_.segments; ++s)
        to = WidenWeights(a_.weights + panel * a_.panel_bytes + s * segment_bytes, a_.depth, zero, to);
    }
  }

  // Those of the outputs from n on, each as two 16-bit numbers.
  Ints ZeroPoints(int64_t n) const {
    const int64_t left = a_.outputs - n;
    if (!a_.weight_zero || left <= 0) return SplatInt(0);
    const Ints zero = left >= kLanes ? LoadInts(a_.weight_zero + n) : LoadFirstInts(a_.weight_zero + n, left);
    return _mm256_blend_epi16(zero, _mm256_slli_epi32(zero, 16), 0xaa);
  }

  void WidenSegments(char* to) {
    const int64_t bytes = (strip_.pixels - 1) * strip_.step + a_.depth;
    const int64_t pitch = AlignTo(2 * (strip_.pixels * strip_.step + a_.depth) + 64, 64);
    for (int64_t s = 0; s < a_.segments; ++s, to += pitch) {
      const char* row = strip_.rows[s];
      WidenBytes(row ? row : strip_.fill, row ? bytes : a_.depth, to);
      segments_[s] = {to, row ? 2 * strip_.step : 0};
    }
  }

  // All pixels, kRows at a time; the last ones overlap those before them.
  template <int kRows, int kVecs, bool kWhole>
  void Pixels(const char* weights, int64_t n) const {
    if (strip_.pixels < kRows) {
      for (int64_t pixel = 0; pixel < strip_.pixels; ++pixel) Tile<1, kVecs, kWhole>(weights, n, pixel);
      return;
    }
    for (int64_t pixel = 0; pixel < strip_.pixels; pixel += kRows)
      Tile<kRows, kVecs, kWhole>(weights, n, pixel + kRows <= strip_.pixels ? pixel : strip_.pixels - kRows);
  }

  template <int kRows, int kVecs, bool kWhole>
  inline __attribute__((always_inline)) void Tile(const char* weights, int64_t n, int64_t pixel) const {
    Ints sum[kRows][kVecs];
#pragma GCC unroll 2
    for (int v = 0; v < kVecs; ++v) {
      const int32_t* from = static_cast<const int32_t*>(a_.bias) + n + v * kLanes;
      const bool whole = kWhole || (kVecs == 2 && v == 0);
      const Ints bias = !a_.bias ? SplatInt(0)
                        : whole  ? LoadInts(from)
                                 : LoadFirstInts(from, a_.outputs - n - v * kLanes);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) sum[r][v] = bias;
    }
    for (int64_t s = 0; s < a_.segments; ++s, weights += pairs_ * kPairBytes)
      AddSegment<kRows, kVecs>(segments_[s], pairs_, weights, pixel, sum);
    char* y = strip_.y + pixel * strip_.y_step;
    if (a_.output == kTileU8) return WriteBytes<kRows, kVecs, kWhole>(y, n, sum);
    Ints copy[kRows][kVecs];  // sums whose address is taken would not stay in registers
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < kVecs; ++v) copy[r][v] = sum[r][v];
    }
    WriteOther<kRows, kVecs>(y, n, copy);
  }

  template <int kRows, int kVecs>
  static inline __attribute__((always_inline)) void AddSegment(WideSegment segment, int64_t pairs,
                                                               const char* weights, int64_t pixel,
                                                               Ints (&sum)[kRows][kVecs]) {
    const char* x[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) x[r] = segment.x + (pixel + r) * segment.step;
    for (int64_t pair = 0; pair < pairs; ++pair) {
      Ints w[kVecs];
#pragma GCC unroll 2
      for (int v = 0; v < kVecs; ++v) w[v] = LoadVector(weights + pair * kPairBytes + 32 * v);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        int32_t two;
        memcpy(&two, x[r] + pair * 4, sizeof two);
        const Ints xv = SplatInt(two);
#pragma GCC unroll 2
        for (int v = 0; v < kVecs; ++v) sum[r][v] = AddInts(sum[r][v], _mm256_madd_epi16(xv, w[v]));
      }
    }
  }

  template <int kVecs, bool kWhole>
  inline __attribute__((always_inline)) Floats Scale(int64_t n, int v) const {
    const float* from = a_.scale + n + v * kLanes;
    const bool whole = kWhole || (kVecs == 2 && v == 0);
    return whole ? LoadFloats(from) : LoadFirstFloats(from, a_.outputs - n - v * kLanes);
  }

  // Two pixels of 16 outputs, or four of eight, at a time.
  template <int kRows, int kVecs, bool kWhole>
  inline __attribute__((always_inline)) void WriteBytes(char* y, int64_t n,
                                                        const Ints (&sum)[kRows][kVecs]) const {
    constexpr int kStep = 4 / kVecs;
    const int64_t count = kWhole ? kVecs * kLanes : a_.outputs - n;
    Floats scale[kVecs];
#pragma GCC unroll 2
    for (int v = 0; v < kVecs; ++v) scale[v] = Scale<kVecs, kWhole>(n, v);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; r += kStep) {
      Ints rounded[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const int row = r + i / kVecs, v = i % kVecs;
        rounded[i] = row < kRows ? requantizer_.Round(sum[row < kRows ? row : 0][v], scale[v]) : rounded[0];
      }
      const __m256i packed = requantizer_.Clamped(_mm256_packus_epi16(
          requantizer_.Words(rounded[0], rounded[1]), requantizer_.Words(rounded[2], rounded[3])));
      // Each lane holds four bytes of each vector.
      const __m256i bytes = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
      const __m128i low = _mm256_castsi256_si128(bytes), high = _mm256_extracti128_si256(bytes, 1);
      Store<kRows, kVecs>(y + n, r, low, count);
      if (r + kStep / 2 < kRows && kRows > 1) Store<kRows, kVecs>(y + n, r + kStep / 2, high, count);
    }
  }

  // The bytes of one pixel of 16 outputs, or of two of eight.
  template <int kRows, int kVecs>
  inline __attribute__((always_inline)) void Store(char* y, int row, __m128i bytes, int64_t count) const {
    StoreFirstBytes(y + row * strip_.y_step, bytes, count);
    if (kVecs == 1 && row + 1 < kRows)
      StoreFirstBytes(y + (row + 1) * strip_.y_step, _mm_unpackhi_epi64(bytes, bytes), count);
  }

  template <int kRows, int kVecs>
  __attribute__((noinline)) void WriteOther(char* y, int64_t n, const Ints (&sum)[kRows][kVecs]) const {
    TileArgs one = a_;
    one.out_offset = 0;
    for (int r = 0; r < kRows; ++r) {
      char* pixel = y + r * strip_.y_step;
      one.out = &pixel;
      for (int v = 0; v < kVecs; ++v) {
        const int64_t at = n + v * kLanes;
        if (at < a_.outputs) WriteInts(one, 0, at, a_.outputs - at, sum[r][v]);
      }
    }
  }

  const TileArgs& a_;
  const Strip& strip_;
  const int64_t pairs_;
  const Requantizer requantizer_;
  WideSegment segments_[kMostStripSegments];
};

}  // namespace

void StripU8S8Avx2(const TileArgs& args, const Strip& strip) { StripKernel(args, strip).Run(); }

}  // namespace planish
