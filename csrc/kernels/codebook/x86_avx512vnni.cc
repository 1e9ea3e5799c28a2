// Integer codebook panels with AVX-512 VNNI: vpshufb looks a codebook of up to 16 entries up for 64 indices
// at once, which come out in the order that vpdpbusd wants.
#include "kernels/codebook/decode.h"
#include "kernels/tiled/avx512.h"

namespace planish {
namespace {

int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

// Quads (four columns of 16 outputs) a granule has.
template <int Bits>
constexpr int kQuads = Bits == 3 ? 8 : 8 / Bits;

template <int Bits>
constexpr int kWords = Bits == 3 ? 3 : 1;

// The indices, one a byte, of quad q of a granule.
template <int Bits>
__attribute__((always_inline)) inline __m512i Indices(const uint32_t* words, int q) {
  const auto load = [&](int word) { return _mm512_loadu_si512(words + 16 * word); };
  if constexpr (Bits != 3) {
    return _mm512_and_si512(_mm512_srli_epi32(load(0), static_cast<unsigned>(Bits * q)),
                            _mm512_set1_epi8((1 << Bits) - 1));
  } else {
    const __m512i low = _mm512_srli_epi32(load(q / 4), static_cast<unsigned>(2 * (q % 4)));
    const __m512i high = q < 2 ? _mm512_slli_epi32(load(2), static_cast<unsigned>(2 - q))
                               : _mm512_srli_epi32(load(2), static_cast<unsigned>(q - 2));
    return _mm512_and_si512(_mm512_ternarylogic_epi32(low, high, _mm512_set1_epi8(3), 0xE4),
                            _mm512_set1_epi8(7));
  }
}

// A codebook of 2^Bits <= 16 entries, in each quarter of a register.
template <int Bits>
__m512i LoadTable(const std::byte* table) {
  alignas(16) std::byte entries[16] = {};
  for (int i = 0; i < 1 << Bits; ++i) entries[i] = table[i];
  return _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(entries)));
}

// sums[Pixels][16] of the columns before `whole`, a multiple of the granule, decoded in registers. Few pixels
// use several sets of sums, to hide the latency of the products.
template <int Bits, int Pixels>
void Dot(const CodebookPanels& w, int64_t group, const Tile& tile, int64_t first, int64_t whole,
         uint32_t* sums) {
  constexpr int kSets = Pixels >= 4 ? 1 : 4 / Pixels;
  const uint32_t* words = GranuleOf(w, group, 0);
  const uint32_t* x = tile.words + first;
  int64_t table_end = 0;  // of the columns that `table` serves
  __m512i table = _mm512_setzero_si512();
  __m512i acc[kSets][Pixels];
  for (int s = 0; s < kSets; ++s) {
    for (int p = 0; p < Pixels; ++p) acc[s][p] = _mm512_setzero_si512();
  }
  const auto granule = [&](int64_t k, int set) __attribute__((always_inline)) {
    if (k >= table_end) {
      table = LoadTable<Bits>(TableOf(w, group * 16, k));
      table_end = TableEnd(w, k);
    }
#pragma GCC unroll 8
    for (int q = 0; q < kQuads<Bits>; ++q, x += tile.capacity) {
      const __m512i weights = _mm512_shuffle_epi8(table, Indices<Bits>(words, q));
      __m512i* sum = acc[(set + q) % kSets];
      for (int p = 0; p < Pixels; ++p)
        sum[p] = _mm512_dpbusd_epi32(sum[p], _mm512_set1_epi32(static_cast<int>(x[p])), weights);
    }
    words += 16 * kWords<Bits>;
  };
  constexpr int64_t kGranule = 4 * kQuads<Bits>;
  int64_t k = 0;
  for (; k + 2 * kGranule <= whole; k += 2 * kGranule) {
    granule(k, 0);
    granule(k + kGranule, kSets / 2);
  }
  if (k < whole) granule(k, 0);
  for (int p = 0; p < Pixels; ++p) {
    for (int s = 1; s < kSets; ++s) acc[0][p] = _mm512_add_epi32(acc[0][p], acc[s][p]);
    _mm512_storeu_si512(sums + (first + p) * 16, acc[0][p]);
  }
}

// All whole granules; returns the number of columns they hold.
template <int Bits>
int64_t DotTile(const CodebookPanels& w, int64_t group, const Tile& tile, uint32_t* sums) {
  const int64_t whole = w.columns / w.granule * w.granule, pixels = tile.pixels;
  int64_t p = 0;
  for (; p + 16 <= pixels; p += 16) Dot<Bits, 16>(w, group, tile, p, whole, sums);
  if (p + 8 <= pixels) Dot<Bits, 8>(w, group, tile, p, whole, sums), p += 8;
  if (p + 4 <= pixels) Dot<Bits, 4>(w, group, tile, p, whole, sums), p += 4;
  if (p + 2 <= pixels) Dot<Bits, 2>(w, group, tile, p, whole, sums), p += 2;
  if (p < pixels) Dot<Bits, 1>(w, group, tile, p, whole, sums);
  return whole;
}

// sums[Pixels][16] += w[count][16][4] times rows of x, `capacity` apart.
template <int Pixels>
void Multiply(const int8_t* w, const uint32_t* x, int64_t count, int64_t capacity, uint32_t* sums) {
  __m512i acc[Pixels];
  for (int p = 0; p < Pixels; ++p) acc[p] = _mm512_loadu_si512(sums + p * 16);
  for (int64_t q = 0; q < count; ++q) {
    const __m512i wq = _mm512_load_si512(w + q * 64);
    for (int p = 0; p < Pixels; ++p)
      acc[p] = _mm512_dpbusd_epi32(acc[p], _mm512_set1_epi32(static_cast<int>(x[q * capacity + p])), wq);
  }
  for (int p = 0; p < Pixels; ++p) _mm512_storeu_si512(sums + p * 16, acc[p]);
}

void MultiplyTile(const int8_t* w, const uint32_t* x, int64_t count, const Tile& tile, uint32_t* sums) {
  const int64_t pixels = tile.pixels, capacity = tile.capacity;
  int64_t p = 0;
  for (; p + 16 <= pixels; p += 16) Multiply<16>(w, x + p, count, capacity, sums + p * 16);
  if (p + 8 <= pixels) Multiply<8>(w, x + p, count, capacity, sums + p * 16), p += 8;
  if (p + 4 <= pixels) Multiply<4>(w, x + p, count, capacity, sums + p * 16), p += 4;
  if (p + 2 <= pixels) Multiply<2>(w, x + p, count, capacity, sums + p * 16), p += 2;
  if (p < pixels) Multiply<1>(w, x + p, count, capacity, sums + p * 16);
}

}  // namespace

void CodebookAvx512VnniInteger(const void* weights, int64_t group, const Tile& tile, uint32_t* sums,
                               std::byte* work) {
  const CodebookPanels& w = *static_cast<const CodebookPanels*>(weights);
  int8_t* decoded = reinterpret_cast<int8_t*>(work);
  int64_t k = 0;
  if (SharedTables(w, group)) {
    const auto dot = w.bits == 2 ? DotTile<2> : w.bits == 3 ? DotTile<3> : DotTile<4>;
    k = dot(w, group, tile, sums);
  } else {
    for (int64_t p = 0; p < tile.pixels; ++p) _mm512_storeu_si512(sums + p * 16, _mm512_setzero_si512());
  }
  for (; k < w.columns; k += kDecodeColumns) {
    const int64_t count = Least(kDecodeColumns, w.columns - k);
    DecodeIntegerPortable(w, group, k, count, decoded);
    MultiplyTile(decoded, tile.words + k / 4 * tile.capacity, count / 4, tile, sums);
  }
}

}  // namespace planish
