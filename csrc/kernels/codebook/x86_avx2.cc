// Codebook and low-bit panels with AVX2: a codebook of 8 entries is one register, looked up by vpermps
// (float), or one of 16 entries by vpshufb (int8). Integer kernels read tiles widened to 16 bits
// (tiled/builders.h).
#include "kernels/codebook/decode.h"
#include "kernels/tiled/avx2.h"

namespace planish {
namespace {

int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

__m256i LoadWords(const uint32_t* words) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words));
}

__m256i Shifted(__m256i v, int right) {
  return right < 0 ? _mm256_slli_epi32(v, -right) : _mm256_srli_epi32(v, right);
}

// Words, for outputs `half` * 8 and following, whose low `Bits` bits are the indices of column i; arbitrary
// bits above.
template <int Bits>
__attribute__((always_inline)) inline __m256i Indices(const uint32_t* words, int half, int i) {
  words += 8 * half;
  if constexpr (Bits != 3) {
    return Shifted(LoadWords(words), FieldShift(i, Bits));
  } else {
    const __m256i mask = _mm256_set1_epi32(3);
    const __m256i low =
        _mm256_and_si256(Shifted(LoadWords(words + i / 16 * 16), FieldShift(i % 16, 2)), mask);
    return _mm256_or_si256(low,
                           _mm256_andnot_si256(mask, Shifted(LoadWords(words + 32), FieldShift(i, 1) - 2)));
  }
}

template <int Bits>
constexpr int kGranule = Bits == 3 ? 32 : 32 / Bits;

// Decodes whole granules of a float codebook that all outputs share.
template <int Bits>
void DecodeShared(const CodebookPanels& w, int64_t group, int64_t first, int64_t count, float* out) {
  const uint32_t* words = GranuleOf(w, group, first);
  for (int64_t k = first; k < first + count; k += kGranule<Bits>, words += 16 * w.words) {
    const float* table = reinterpret_cast<const float*>(TableOf(w, group * 16, k));
    // Two bits: four entries twice, so that the third bit does not matter. Four bits: entries 8 to 15 in
    // `upper`.
    const __m256 lower =
        Bits == 2 ? _mm256_broadcast_ps(reinterpret_cast<const __m128*>(table)) : _mm256_loadu_ps(table);
    const __m256 upper = Bits == 4 ? _mm256_loadu_ps(table + 8) : lower;
#pragma GCC unroll 32
    for (int i = 0; i < kGranule<Bits>; ++i, out += 16) {
      for (int half = 0; half < 2; ++half) {
        const __m256i index = Indices<Bits>(words, half, i);
        __m256 value;
        if constexpr (Bits == 8) {
          value = _mm256_i32gather_ps(table, _mm256_and_si256(index, _mm256_set1_epi32(255)), 4);
        } else if constexpr (Bits == 4) {
          const __m256 fourth =
              _mm256_castsi256_ps(_mm256_slli_epi32(index, 28));  // the fourth bit as the sign
          value = _mm256_blendv_ps(_mm256_permutevar8x32_ps(lower, index),
                                   _mm256_permutevar8x32_ps(upper, index), fourth);
        } else {
          value = _mm256_permutevar8x32_ps(lower, index);
        }
        _mm256_storeu_ps(out + 8 * half, value);
      }
    }
  }
}

// Decodes whole granules of affine weights; a granule lies in one block.
template <int Bits>
void DecodeAffine(const CodebookPanels& w, int64_t group, int64_t first, int64_t count, float* out) {
  const uint32_t* words = GranuleOf(w, group, first);
  const __m256i mask = _mm256_set1_epi32((1 << Bits) - 1);
  for (int64_t k = first; k < first + count; k += kGranule<Bits>, words += 16) {
    const int64_t at = (group * w.tables_across + TableAcross(w, k)) * 16;
    for (int half = 0; half < 2; ++half) {
      const __m256 scale = _mm256_loadu_ps(reinterpret_cast<const float*>(w.tables) + at + 8 * half);
      const __m256i zero = w.zeros ? _mm256_cvtepu8_epi32(_mm_loadl_epi64(
                                         reinterpret_cast<const __m128i*>(w.zeros + at + 8 * half)))
                                   : _mm256_set1_epi32(1 << (Bits - 1));
#pragma GCC unroll 16
      for (int i = 0; i < kGranule<Bits>; ++i) {
        const __m256i level = _mm256_sub_epi32(_mm256_and_si256(Indices<Bits>(words, half, i), mask), zero);
        _mm256_storeu_ps(out + i * 16 + 8 * half, _mm256_mul_ps(_mm256_cvtepi32_ps(level), scale));
      }
    }
    out += 16 * kGranule<Bits>;
  }
}

using FloatDecodeFn = void (*)(const CodebookPanels& w, int64_t group, int64_t first, int64_t count,
                               float* out);

FloatDecodeFn FloatDecoder(const CodebookPanels& w, int64_t group) {
  if (w.affine) {
    if (w.tables_across > 1 && w.table_columns % w.granule != 0) return DecodeFloatPortable;
    return w.bits == 2 ? DecodeAffine<2> : w.bits == 4 ? DecodeAffine<4> : DecodeAffine<8>;
  }
  if (!SharedTables(w, group)) return DecodeFloatPortable;
  return w.bits == 2   ? DecodeShared<2>
         : w.bits == 3 ? DecodeShared<3>
         : w.bits == 4 ? DecodeShared<4>
                       : DecodeShared<8>;
}

// sums[Pixels][16] += w[count][16] times rows of x, `capacity` apart. Few pixels use several sets of sums.
template <int Pixels>
void MultiplyFloat(const float* w, const float* x, int64_t count, int64_t capacity, uint32_t* sums) {
  constexpr int kSets = 4 / Pixels;
  __m256 low[kSets][Pixels], high[kSets][Pixels];
  float* out = reinterpret_cast<float*>(sums);
  for (int s = 0; s < kSets; ++s) {
    for (int p = 0; p < Pixels; ++p) {
      low[s][p] = s == 0 ? _mm256_loadu_ps(out + p * 16) : _mm256_setzero_ps();
      high[s][p] = s == 0 ? _mm256_loadu_ps(out + p * 16 + 8) : _mm256_setzero_ps();
    }
  }
  const auto add = [&](int64_t k, int s) {
    const __m256 w0 = _mm256_load_ps(w + k * 16), w1 = _mm256_load_ps(w + k * 16 + 8);
    for (int p = 0; p < Pixels; ++p) {
      const __m256 xk = _mm256_broadcast_ss(x + k * capacity + p);
      low[s][p] = _mm256_fmadd_ps(xk, w0, low[s][p]);
      high[s][p] = _mm256_fmadd_ps(xk, w1, high[s][p]);
    }
  };
  int64_t k = 0;
  for (; k + kSets <= count; k += kSets) {
    for (int s = 0; s < kSets; ++s) add(k + s, s);
  }
  for (; k < count; ++k) add(k, 0);
  for (int p = 0; p < Pixels; ++p) {
    for (int s = 1; s < kSets; ++s) {
      low[0][p] = _mm256_add_ps(low[0][p], low[s][p]);
      high[0][p] = _mm256_add_ps(high[0][p], high[s][p]);
    }
    _mm256_storeu_ps(out + p * 16, low[0][p]);
    _mm256_storeu_ps(out + p * 16 + 8, high[0][p]);
  }
}

void PanelFloat(const void* weights, int64_t group, const Tile& tile, uint32_t* sums, std::byte* work) {
  const CodebookPanels& w = *static_cast<const CodebookPanels*>(weights);
  float* decoded = reinterpret_cast<float*>(work);
  for (int64_t i = 0; i < tile.pixels * 16; ++i) sums[i] = 0;
  const FloatDecodeFn decode = FloatDecoder(w, group);
  for (int64_t k = 0; k < w.columns; k += kDecodeColumns) {
    const int64_t count = Least(kDecodeColumns, w.columns - k);
    decode(w, group, k, count, decoded);
    const float* x = reinterpret_cast<const float*>(tile.words) + k * tile.capacity;
    int64_t p = 0;
    for (; p + 4 <= tile.pixels; p += 4)
      MultiplyFloat<4>(decoded, x + p, count, tile.capacity, sums + p * 16);
    if (p + 2 <= tile.pixels) MultiplyFloat<2>(decoded, x + p, count, tile.capacity, sums + p * 16), p += 2;
    if (p < tile.pixels) MultiplyFloat<1>(decoded, x + p, count, tile.capacity, sums + p * 16);
  }
}

// The indices, one a byte, of quad q of a granule, for outputs `half` * 8 and following.
template <int Bits>
__attribute__((always_inline)) inline __m256i QuadIndices(const uint32_t* words, int half, int q) {
  words += 8 * half;
  if constexpr (Bits != 3) {
    return _mm256_and_si256(Shifted(LoadWords(words), Bits * q), _mm256_set1_epi8((1 << Bits) - 1));
  } else {
    const __m256i low =
        _mm256_and_si256(Shifted(LoadWords(words + q / 4 * 16), 2 * (q % 4)), _mm256_set1_epi8(3));
    return _mm256_or_si256(low, _mm256_and_si256(Shifted(LoadWords(words + 32), q - 2), _mm256_set1_epi8(4)));
  }
}

// A codebook of 2^Bits <= 16 entries, in each lane.
template <int Bits>
__m256i LoadTable(const std::byte* table) {
  alignas(16) std::byte entries[16] = {};
  for (int i = 0; i < 1 << Bits; ++i) entries[i] = table[i];
  return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(entries)));
}

// Decodes whole granules of an int8 codebook that all outputs share.
template <int Bits>
void DecodeQuads(const CodebookPanels& w, int64_t group, int64_t first, int64_t count, int8_t* out) {
  constexpr int kQuads = kGranule<Bits> / 4;
  const uint32_t* words = GranuleOf(w, group, first);
  for (int64_t k = first; k < first + count; k += kGranule<Bits>, words += 16 * w.words) {
    const __m256i table = LoadTable<Bits>(TableOf(w, group * 16, k));
#pragma GCC unroll 8
    for (int q = 0; q < kQuads; ++q, out += 64) {
      for (int half = 0; half < 2; ++half) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 32 * half),
                            _mm256_shuffle_epi8(table, QuadIndices<Bits>(words, half, q)));
      }
    }
  }
}

// ---- One pixel: weights are multiplied as they are decoded. x·w = 2·(x >> 1)·w + (x & 1)·w, of which no pair of products
// leaves int16, and the second can be summed there for a while.

constexpr int64_t kHalvedColumns = 2048;  // of a chunk: its inputs fill half of the work
constexpr int64_t kLowColumns = 256;      // whose lowest bits are summed in int16: 64 pairs of at most 2^8

constexpr int64_t kPrefetch = 2048;  // bytes

// Quads of x >> 1 and of x & 1.
struct HalvedInputs {
  const uint32_t *upper, *lowest;
};

// From quads of x in 16 bits, as BuildWideTileAvx2 lays them out for tiles of one pixel: bytes 0 and 2, then bytes 1 and 3.
// Reads and writes up to seven quads more.
HalvedInputs HalveInputs(const uint32_t* x, int64_t quads, std::byte* work) {
  uint32_t* upper = reinterpret_cast<uint32_t*>(work);
  uint32_t* lowest = upper + kHalvedColumns / 4;
  // The lower half of each 64 bits receives the quad's bytes.
  const auto join = [](__m256i v) {
    return _mm256_castsi256_ps(_mm256_or_si256(v, _mm256_srli_epi64(v, 24)));
  };
  for (int64_t q = 0; q < quads; q += 8) {
    const __m256 joined = _mm256_shuffle_ps(join(LoadWords(x + 2 * q)), join(LoadWords(x + 2 * q + 8)), 0x88);
    const __m256i bytes = _mm256_permute4x64_epi64(_mm256_castps_si256(joined), _MM_SHUFFLE(3, 1, 2, 0));
    const __m256i halved = _mm256_and_si256(_mm256_srli_epi16(bytes, 1), _mm256_set1_epi8(0x7f));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(upper + q), halved);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(lowest + q), _mm256_and_si256(bytes, _mm256_set1_epi8(1)));
  }
  return {upper, lowest};
}

// sums[16] += the products of whole granules.
template <int Bits>
void DotHalved(const CodebookPanels& w, int64_t group, int64_t first, int64_t count, const HalvedInputs& x,
               uint32_t* sums) {
  constexpr int kQuads = kGranule<Bits> / 4;
  const __m256i ones = _mm256_set1_epi16(1);
  const uint32_t* words = GranuleOf(w, group, first);
  __m256i upper[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
  __m256i total[2] = {LoadWords(sums), LoadWords(sums + 8)};
  int64_t quad = 0;
  for (int64_t k = 0; k < count;) {
    const int64_t table_left = TableEnd(w, first + k) - first - k;
    const int64_t end = k + Least(Least(kLowColumns, table_left), count - k);
    const __m256i table = LoadTable<Bits>(TableOf(w, group * 16, first + k));
    __m256i lowest[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (; k < end; k += kGranule<Bits>, words += 16 * w.words) {
      _mm_prefetch(reinterpret_cast<const char*>(words) + kPrefetch, _MM_HINT_T0);  // indices come from afar
#pragma GCC unroll 8
      for (int q = 0; q < kQuads; ++q, ++quad) {
        const __m256i high = _mm256_set1_epi32(static_cast<int>(x.upper[quad]));
        const __m256i low = _mm256_set1_epi32(static_cast<int>(x.lowest[quad]));
#pragma GCC unroll 2
        for (int half = 0; half < 2; ++half) {
          const __m256i weights = _mm256_shuffle_epi8(table, QuadIndices<Bits>(words, half, q));
          const __m256i products = _mm256_madd_epi16(_mm256_maddubs_epi16(high, weights), ones);
          upper[half] = _mm256_add_epi32(upper[half], products);
          lowest[half] = _mm256_add_epi16(lowest[half], _mm256_maddubs_epi16(low, weights));
        }
      }
    }
    for (int half = 0; half < 2; ++half)
      total[half] = _mm256_add_epi32(total[half], _mm256_madd_epi16(lowest[half], ones));
  }
  for (int half = 0; half < 2; ++half) {
    const __m256i sum = _mm256_add_epi32(total[half], _mm256_slli_epi32(upper[half], 1));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + 8 * half), sum);
  }
}

// The whole granules of one pixel; returns the number of columns they hold.
template <int Bits>
int64_t DotPixel(const CodebookPanels& w, int64_t group, const Tile& tile, uint32_t* sums, std::byte* work) {
  const int64_t whole = w.columns / w.granule * w.granule;
  for (int64_t k = 0; k < whole; k += kHalvedColumns) {
    const int64_t count = Least(kHalvedColumns, whole - k);
    const HalvedInputs x = HalveInputs(tile.words + k / 4 * 2, count / 4, work);
    DotHalved<Bits>(w, group, k, count, x, sums);
  }
  return whole;
}

using QuadDecodeFn = void (*)(const CodebookPanels& w, int64_t group, int64_t first, int64_t count,
                              int8_t* out);

QuadDecodeFn QuadDecoder(const CodebookPanels& w, int64_t group) {
  if (!SharedTables(w, group)) return DecodeIntegerPortable;
  return w.bits == 2 ? DecodeQuads<2> : w.bits == 3 ? DecodeQuads<3> : DecodeQuads<4>;
}

// sums[Pixels][16] += w[count][16][4] times rows [2][capacity] of x in 16 bits.
template <int Pixels>
void MultiplyInteger(const int8_t* w, const uint32_t* x, int64_t count, int64_t capacity, uint32_t* sums) {
  __m256i low[Pixels], high[Pixels];
  for (int p = 0; p < Pixels; ++p) {
    low[p] = LoadWords(sums + p * 16);
    high[p] = LoadWords(sums + p * 16 + 8);
  }
  for (int64_t q = 0; q < count; ++q) {
    const __m256i w0 = _mm256_load_si256(reinterpret_cast<const __m256i*>(w + q * 64));
    const __m256i w1 = _mm256_load_si256(reinterpret_cast<const __m256i*>(w + q * 64 + 32));
    const __m256i even0 = _mm256_srai_epi16(_mm256_slli_epi16(w0, 8), 8), odd0 = _mm256_srai_epi16(w0, 8);
    const __m256i even1 = _mm256_srai_epi16(_mm256_slli_epi16(w1, 8), 8), odd1 = _mm256_srai_epi16(w1, 8);
    const uint32_t* row = x + q * 2 * capacity;
    for (int p = 0; p < Pixels; ++p) {
      const __m256i even = _mm256_set1_epi32(static_cast<int>(row[p])),
                    odd = _mm256_set1_epi32(static_cast<int>(row[capacity + p]));
      low[p] = _mm256_add_epi32(
          low[p], _mm256_add_epi32(_mm256_madd_epi16(even, even0), _mm256_madd_epi16(odd, odd0)));
      high[p] = _mm256_add_epi32(
          high[p], _mm256_add_epi32(_mm256_madd_epi16(even, even1), _mm256_madd_epi16(odd, odd1)));
    }
  }
  for (int p = 0; p < Pixels; ++p) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + p * 16), low[p]);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + p * 16 + 8), high[p]);
  }
}

}  // namespace

void CodebookAvx2Float(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte* work) {
  PanelFloat(w, g, t, sums, work);
}
void NbitAvx2(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte* work) {
  PanelFloat(w, g, t, sums, work);
}

void CodebookAvx2Integer(const void* weights, int64_t group, const Tile& tile, uint32_t* sums,
                         std::byte* work) {
  const CodebookPanels& w = *static_cast<const CodebookPanels*>(weights);
  int8_t* decoded = reinterpret_cast<int8_t*>(work);
  for (int64_t i = 0; i < tile.pixels * 16; ++i) sums[i] = 0;
  const QuadDecodeFn decode = QuadDecoder(w, group);
  int64_t k = 0;
  if (tile.capacity == 1 && SharedTables(w, group)) {
    const auto dot = w.bits == 2 ? DotPixel<2> : w.bits == 3 ? DotPixel<3> : DotPixel<4>;
    k = dot(w, group, tile, sums, work);
  }
  for (; k < w.columns; k += kDecodeColumns) {
    const int64_t count = Least(kDecodeColumns, w.columns - k);
    decode(w, group, k, count, decoded);
    const uint32_t* x = tile.words + k / 4 * 2 * tile.capacity;
    int64_t p = 0;
    for (; p + 4 <= tile.pixels; p += 4)
      MultiplyInteger<4>(decoded, x + p, count / 4, tile.capacity, sums + p * 16);
    if (p + 2 <= tile.pixels)
      MultiplyInteger<2>(decoded, x + p, count / 4, tile.capacity, sums + p * 16), p += 2;
    if (p < tile.pixels) MultiplyInteger<1>(decoded, x + p, count / 4, tile.capacity, sums + p * 16);
  }
}

}  // namespace planish
