// u8 depthwise micro-kernel for AVX-512 VNNI: the inputs of four taps are interleaved by two rounds of unpacking, so that
// vpdpbusd sums four taps of a channel at once. Weights: PackQuads (dwconv.h).
#include <immintrin.h>
#include <string.h>

#include "kernels/dwconv/tile.h"

namespace planish {
namespace {

#include "kernels/gemm/vec_int_avx512.inl"

// Registers of 64, 32 and 16 channels. Natural() turns the sums of a block (vector j, lane 16·l + 4·i: channel 16·l + 4·j + i)
// into vectors of 16 consecutive channels.
struct Zmm {
  using Reg = __m512i;
  static constexpr int kChannels = 64;
  static Reg Load(const char* p) { return _mm512_loadu_si512(p); }
  static Reg Low8(Reg a, Reg b) { return _mm512_unpacklo_epi8(a, b); }
  static Reg High8(Reg a, Reg b) { return _mm512_unpackhi_epi8(a, b); }
  static Reg Low16(Reg a, Reg b) { return _mm512_unpacklo_epi16(a, b); }
  static Reg High16(Reg a, Reg b) { return _mm512_unpackhi_epi16(a, b); }
  static Reg Dot(Reg sum, Reg x, Reg w) { return _mm512_dpbusd_epi32(sum, x, w); }
  static Reg Shift8(Reg a) { return _mm512_slli_epi32(a, 8); }
  static Reg Zero() { return _mm512_setzero_si512(); }
  static void Natural(const Reg (&s)[4], Ints (&out)[4]) {
    const Reg a = _mm512_shuffle_i32x4(s[0], s[1], 0x88), b = _mm512_shuffle_i32x4(s[0], s[1], 0xDD);
    const Reg c = _mm512_shuffle_i32x4(s[2], s[3], 0x88), d = _mm512_shuffle_i32x4(s[2], s[3], 0xDD);
    out[0] = _mm512_shuffle_i32x4(a, c, 0x88);
    out[1] = _mm512_shuffle_i32x4(b, d, 0x88);
    out[2] = _mm512_shuffle_i32x4(a, c, 0xDD);
    out[3] = _mm512_shuffle_i32x4(b, d, 0xDD);
  }
};

struct Ymm {
  using Reg = __m256i;
  static constexpr int kChannels = 32;
  static Reg Load(const char* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static Reg Low8(Reg a, Reg b) { return _mm256_unpacklo_epi8(a, b); }
  static Reg High8(Reg a, Reg b) { return _mm256_unpackhi_epi8(a, b); }
  static Reg Low16(Reg a, Reg b) { return _mm256_unpacklo_epi16(a, b); }
  static Reg High16(Reg a, Reg b) { return _mm256_unpackhi_epi16(a, b); }
  static Reg Dot(Reg sum, Reg x, Reg w) { return _mm256_dpbusd_epi32(sum, x, w); }
  static Reg Shift8(Reg a) { return _mm256_slli_epi32(a, 8); }
  static Reg Zero() { return _mm256_setzero_si256(); }
  static void Natural(const Reg (&s)[4], Ints (&out)[2]) {
    const Ints a = _mm512_inserti64x4(_mm512_castsi256_si512(s[0]), s[1], 1);
    const Ints b = _mm512_inserti64x4(_mm512_castsi256_si512(s[2]), s[3], 1);
    out[0] = _mm512_shuffle_i32x4(a, b, 0x88);
    out[1] = _mm512_shuffle_i32x4(a, b, 0xDD);
  }
};

struct Xmm {
  using Reg = __m128i;
  static constexpr int kChannels = 16;
  static Reg Load(const char* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
  static Reg Low8(Reg a, Reg b) { return _mm_unpacklo_epi8(a, b); }
  static Reg High8(Reg a, Reg b) { return _mm_unpackhi_epi8(a, b); }
  static Reg Low16(Reg a, Reg b) { return _mm_unpacklo_epi16(a, b); }
  static Reg High16(Reg a, Reg b) { return _mm_unpackhi_epi16(a, b); }
  static Reg Dot(Reg sum, Reg x, Reg w) { return _mm_dpbusd_epi32(sum, x, w); }
  static Reg Shift8(Reg a) { return _mm_slli_epi32(a, 8); }
  static Reg Zero() { return _mm_setzero_si128(); }
  static void Natural(const Reg (&s)[4], Ints (&out)[1]) {
    Ints v = _mm512_castsi128_si512(s[0]);
    v = _mm512_inserti32x4(v, s[1], 1);
    v = _mm512_inserti32x4(v, s[2], 2);
    out[0] = _mm512_inserti32x4(v, s[3], 3);
  }
};

constexpr int64_t kQuadBytes = 256;

// Sixteen floats to bytes: whole numbers, those beyond the type's range saturated. A number above `high` is cut first, for
// the conversion turns what does not fit int32, NaN too, into the least number; the lower bound is applied to bytes.
inline Ints ToInts(Ints acc, Floats scale, Floats high) {
  return _mm512_cvtps_epi32(_mm512_min_ps(high, MulFloats(ToFloats(acc), scale)));
}

// Writes 16·kVecs channels of one pixel from channel c on, `scale` at hand.
template <int kVecs>
inline __attribute__((always_inline)) void Write(const DepthwiseArgs& a, int r, int64_t c,
                                                 const Ints (&acc)[kVecs], const Floats (&scale)[kVecs]) {
  const int64_t left = a.outputs - c;
  if (a.output != kTileU8) {
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) {
      if (left > v * kLanes) WriteInts(a, r, c + v * kLanes, left - v * kLanes, acc[v]);
    }
    return;
  }
  const Floats high = SplatFloat(a.high);
  Ints v[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) v[i] = ToInts(acc[i % kVecs], scale[i % kVecs], high);
  // Packing works within lanes of 128 bits: groups of four channels come out as (lane, vector) and are put back in order.
  const __m512i zero = _mm512_set1_epi16(static_cast<int16_t>(a.y_zero));
  const __m512i words01 = _mm512_adds_epi16(_mm512_packs_epi32(v[0], v[1]), zero);
  const __m512i words23 = _mm512_adds_epi16(_mm512_packs_epi32(v[2], v[3]), zero);
  __m512i bytes = _mm512_packus_epi16(words01, words23);
  bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8(static_cast<char>(static_cast<int>(a.low) + a.y_zero)));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  bytes = _mm512_permutexvar_epi32(order, bytes);
  constexpr __mmask64 kAll = kVecs == 4 ? ~__mmask64{0} : (__mmask64{1} << (16 * kVecs % 64)) - 1;
  const __mmask64 mask = left >= 16 * kVecs ? kAll : (__mmask64{1} << left) - 1;
  _mm512_mask_storeu_epi8(a.out[r] + a.out_offset + c, mask, bytes);
}

// A quad's inputs of four taps, interleaved as the weights are.
template <class V>
inline __attribute__((always_inline)) void Interleave(const typename V::Reg (&x)[4],
                                                      typename V::Reg (&out)[4]) {
  using Reg = typename V::Reg;
  const Reg low01 = V::Low8(x[0], x[1]), low23 = V::Low8(x[2], x[3]);
  const Reg high01 = V::High8(x[0], x[1]), high23 = V::High8(x[2], x[3]);
  out[0] = V::Low16(low01, low23);
  out[1] = V::High16(low01, low23);
  out[2] = V::Low16(high01, high23);
  out[3] = V::High16(high01, high23);
}

template <class V, int kRows>
inline __attribute__((always_inline)) void Accumulate(const DepthwiseArgs& a, int row0, int64_t c,
                                                      const char* w, int64_t quads,
                                                      typename V::Reg (&sum)[kRows][4]) {
  using Reg = typename V::Reg;
  for (int64_t q = 0; q < quads; ++q, w += kQuadBytes) {
    DepthwiseTap tap[4];
    const int64_t first = q * a.quad_taps;
#pragma GCC unroll 4
    for (int64_t i = 0; i < 4; ++i)
      tap[i] = a.taps[first + i < a.segments ? first + i : 0];  // its weight is 0
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      Reg x[4], quad[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) x[i] = V::Load(tap[i].x + (row0 + r) * tap[i].step + c);
      Interleave<V>(x, quad);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) sum[r][j] = V::Dot(sum[r][j], quad[j], V::Load(w + j * 64));
    }
  }
}

// Two neighbours share four columns: the second takes the weights one byte further.
template <class V, int kRows>
inline __attribute__((always_inline)) void AccumulateShared(const DepthwiseArgs& a, int row0, int64_t c,
                                                            const char* w, int64_t quads,
                                                            typename V::Reg (&sum)[kRows][4]) {
  using Reg = typename V::Reg;
  for (int64_t q = 0; q < quads; ++q, w += kQuadBytes) {
    const DepthwiseTap* tap = a.taps + 3 * q;
#pragma GCC unroll 4
    for (int r = 0; r < kRows; r += 2) {
      Reg x[4], quad[4];
#pragma GCC unroll 4
      for (int i = 0; i < 3; ++i) x[i] = V::Load(tap[i].x + (row0 + r) * tap[i].step + c);
      x[3] = V::Load(tap[2].x + (row0 + r + 1) * tap[2].step + c);
      Interleave<V>(x, quad);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        const Reg weights = V::Load(w + j * 64);
        sum[r][j] = V::Dot(sum[r][j], quad[j], weights);
        sum[r + 1][j] = V::Dot(sum[r + 1][j], quad[j], V::Shift8(weights));
      }
    }
  }
}

// The channels [c, c + V::kChannels) of kRows pixels.
template <class V, int kRows>
inline __attribute__((always_inline)) void Block(const DepthwiseArgs& a, int row0, int64_t c) {
  const int64_t quads = (a.segments + a.quad_taps - 1) / a.quad_taps;
  const char* w = a.weights + c / 64 * quads * kQuadBytes;
  typename V::Reg sum[kRows][4];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) sum[r][j] = V::Zero();
  }
  if (kRows % 2 == 0 && a.shared) {
    if constexpr (kRows % 2 == 0) AccumulateShared<V, kRows>(a, row0, c, w, quads, sum);
  } else {
    Accumulate<V, kRows>(a, row0, c, w, quads, sum);
  }
  constexpr int kVecs = V::kChannels / kLanes;
  Ints bias[kVecs];
  Floats scale[kVecs];
#pragma GCC unroll 4
  for (int v = 0; v < kVecs; ++v) {
    const int64_t at = c + v * kLanes, left = a.outputs - at < 0        ? 0
                                              : a.outputs - at < kLanes ? a.outputs - at
                                                                        : kLanes;
    bias[v] = a.bias ? LoadFirstInts(static_cast<const int32_t*>(a.bias) + at, left) : SplatInt(0);
    scale[v] = a.scale ? LoadFirstFloats(a.scale + at, left) : SplatFloat(0);
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    Ints acc[kVecs];
    V::Natural(sum[r], acc);
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) acc[v] = AddInts(acc[v], bias[v]);
    Write<kVecs>(a, row0 + r, c, acc, scale);
  }
}

template <int kRows>
__attribute__((noinline)) void Rows(const DepthwiseArgs& a, int row0) {
  for (int64_t c = 0; c < a.outputs; c += 64) {
    const int64_t left = a.outputs - c;
    if (left > 32) {
      Block<Zmm, kRows>(a, row0, c);
    } else if (left > 16) {
      Block<Ymm, kRows>(a, row0, c);
    } else {
      Block<Xmm, kRows>(a, row0, c);
    }
  }
}

}  // namespace

void DepthwiseU8Avx512Vnni(const DepthwiseArgs& args, int rows) {
  int row = 0;
  for (; rows - row >= 4; row += 4) Rows<4>(args, row);
  for (; rows - row >= 2; row += 2) Rows<2>(args, row);
  if (row < rows) Rows<1>(args, row);
}

}  // namespace planish
