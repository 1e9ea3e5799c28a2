// Float codebook and low-bit panels with AVX-512: a codebook of 16 entries is one register, looked up by
// vpermps, which reads only the low four bits of each index, so that a shift alone selects a column's index.
#include "kernels/codebook/decode.h"
#include "kernels/tiled/avx512.h"

namespace planish {
namespace {

int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

// Words of which the low `Bits` bits are the indices of column i of a granule; the bits above are arbitrary.
template <int Bits>
__attribute__((always_inline)) inline __m512i Indices(const uint32_t* words, int i) {
  const auto load = [&](int word) { return _mm512_loadu_si512(words + 16 * word); };
  if constexpr (Bits != 3) {
    return _mm512_srli_epi32(load(0), static_cast<unsigned>(FieldShift(i, Bits)));
  } else {
    const __m512i low = _mm512_srli_epi32(load(i / 16), static_cast<unsigned>(FieldShift(i % 16, 2)));
    const int place = FieldShift(i, 1) - 2;  // the third bit moves to bit 2
    const __m512i high = place < 0 ? _mm512_slli_epi32(load(2), static_cast<unsigned>(-place))
                                   : _mm512_srli_epi32(load(2), static_cast<unsigned>(place));
    return _mm512_ternarylogic_epi32(low, high, _mm512_set1_epi32(3),
                                     0xE4);  // low where the mask is set, else high
  }
}

template <int Bits>
constexpr int kGranule = Bits == 3 ? 32 : 32 / Bits;

template <int Bits>
constexpr int kWords = Bits == 3 ? 3 : 1;

// Sources give the 16 weights of a column in registers, after Enter has prepared the granule of column k.

// A codebook of 2^Bits <= 16 entries that all outputs of the panel share, repeated to fill a register.
template <int Bits>
class SharedTable {
 public:
  static constexpr int kBits = Bits;
  SharedTable(const CodebookPanels& w, int64_t group) : w_(w), group_(group) {}

  void Enter(int64_t k) {
    if (k < end_) return;
    end_ = TableEnd(w_, k);
    const float* table = reinterpret_cast<const float*>(TableOf(w_, group_ * 16, k));
    alignas(64) float entries[16];
    for (int i = 0; i < 16; ++i) entries[i] = table[i % (1 << Bits)];
    table_ = _mm512_load_ps(entries);
  }
  __attribute__((always_inline)) __m512 Weights(const uint32_t* words, int i) const {
    return _mm512_permutexvar_ps(Indices<Bits>(words, i), table_);
  }

 private:
  const CodebookPanels& w_;
  int64_t group_;
  int64_t end_ = 0;  // of the columns that table_ serves
  __m512 table_;
};

// Affine weights of 2, 4 or 8 bits, whose blocks are whole granules.
template <int Bits>
class Affine {
 public:
  static constexpr int kBits = Bits;
  Affine(const CodebookPanels& w, int64_t group) : w_(w), group_(group) {}

  void Enter(int64_t k) {
    if (k < end_) return;
    end_ = TableEnd(w_, k);
    const int64_t at = (group_ * w_.tables_across + TableAcross(w_, k)) * 16;
    scale_ = _mm512_loadu_ps(reinterpret_cast<const float*>(w_.tables) + at);
    zero_ = w_.zeros ? _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w_.zeros + at)))
                     : _mm512_set1_epi32(1 << (Bits - 1));
  }
  __attribute__((always_inline)) __m512 Weights(const uint32_t* words, int i) const {
    const __m512i index = _mm512_and_si512(Indices<Bits>(words, i), _mm512_set1_epi32((1 << Bits) - 1));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(index, zero_)), scale_);
  }

 private:
  const CodebookPanels& w_;
  int64_t group_, end_ = 0;  // end_: of the block
  __m512 scale_;
  __m512i zero_;
};

// sums[Pixels][16] of the columns before `whole`, a multiple of the granule. Few pixels use several sets of
// sums, to hide the latency of the multiply-adds.
template <class Source, int Pixels>
void Dot(const CodebookPanels& w, int64_t group, const Tile& tile, int64_t first, int64_t whole,
         uint32_t* sums) {
  constexpr int kBits = Source::kBits, kSets = Pixels >= 4 ? 1 : 4 / Pixels;
  Source source(w, group);
  const uint32_t* words = GranuleOf(w, group, 0);
  const float* x = reinterpret_cast<const float*>(tile.words) + first;
  __m512 acc[kSets][Pixels];
  for (int s = 0; s < kSets; ++s) {
    for (int p = 0; p < Pixels; ++p) acc[s][p] = _mm512_setzero_ps();
  }
  for (int64_t k = 0; k < whole; k += kGranule<kBits>, words += 16 * kWords<kBits>) {
    source.Enter(k);
#pragma GCC unroll 32
    for (int i = 0; i < kGranule<kBits>; ++i, x += tile.capacity) {
      const __m512 weights = source.Weights(words, i);
      for (int p = 0; p < Pixels; ++p)
        acc[i % kSets][p] = _mm512_fmadd_ps(_mm512_set1_ps(x[p]), weights, acc[i % kSets][p]);
    }
  }
  for (int p = 0; p < Pixels; ++p) {
    for (int s = 1; s < kSets; ++s) acc[0][p] = _mm512_add_ps(acc[0][p], acc[s][p]);
    _mm512_storeu_ps(sums + (first + p) * 16, acc[0][p]);
  }
}

// All whole granules; returns the number of columns they hold.
template <class Source>
int64_t DotTile(const CodebookPanels& w, int64_t group, const Tile& tile, uint32_t* sums) {
  const int64_t whole = w.columns / w.granule * w.granule, pixels = tile.pixels;
  int64_t p = 0;
  for (; p + 16 <= pixels; p += 16) Dot<Source, 16>(w, group, tile, p, whole, sums);
  if (p + 8 <= pixels) Dot<Source, 8>(w, group, tile, p, whole, sums), p += 8;
  if (p + 4 <= pixels) Dot<Source, 4>(w, group, tile, p, whole, sums), p += 4;
  if (p + 2 <= pixels) Dot<Source, 2>(w, group, tile, p, whole, sums), p += 2;
  if (p < pixels) Dot<Source, 1>(w, group, tile, p, whole, sums);
  return whole;
}

// Decodes whole granules of a shared codebook of 256 entries.
void DecodeBytes(const CodebookPanels& w, int64_t group, int64_t first, int64_t count, float* out) {
  const uint32_t* words = GranuleOf(w, group, first);
  for (int64_t k = first; k < first + count; k += 4, words += 16) {
    const std::byte* table = TableOf(w, group * 16, k);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i, out += 16) {
      const __m512i index = _mm512_and_si512(Indices<8>(words, i), _mm512_set1_epi32(255));
      _mm512_storeu_ps(out, _mm512_i32gather_ps(index, table, 4));
    }
  }
}

using DotFn = int64_t (*)(const CodebookPanels& w, int64_t group, const Tile& tile, uint32_t* sums);

// What can be decoded in registers; nullptr: nothing.
DotFn InRegisters(const CodebookPanels& w, int64_t group) {
  if (w.tables_across > 1 && w.table_columns % w.granule != 0) return nullptr;
  if (w.affine)
    return w.bits == 2 ? DotTile<Affine<2>> : w.bits == 4 ? DotTile<Affine<4>> : DotTile<Affine<8>>;
  if (!SharedTables(w, group) || w.bits == 8) return nullptr;
  return w.bits == 2   ? DotTile<SharedTable<2>>
         : w.bits == 3 ? DotTile<SharedTable<3>>
                       : DotTile<SharedTable<4>>;
}

// sums[Pixels][16] += w[count][16] times rows of x, `capacity` apart.
template <int Pixels>
void Multiply(const float* w, const float* x, int64_t count, int64_t capacity, uint32_t* sums) {
  __m512 acc[Pixels];
  for (int p = 0; p < Pixels; ++p) acc[p] = _mm512_loadu_ps(sums + p * 16);
  for (int64_t k = 0; k < count; ++k) {
    const __m512 wk = _mm512_load_ps(w + k * 16);
    for (int p = 0; p < Pixels; ++p)
      acc[p] = _mm512_fmadd_ps(_mm512_set1_ps(x[k * capacity + p]), wk, acc[p]);
  }
  for (int p = 0; p < Pixels; ++p) _mm512_storeu_ps(sums + p * 16, acc[p]);
}

// The same for one pixel, with four sets of sums to hide the latency of the multiply-adds.
void MultiplyOne(const float* w, const float* x, int64_t count, int64_t capacity, uint32_t* sums) {
  __m512 acc[4] = {_mm512_loadu_ps(sums), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
  int64_t k = 0;
  for (; k + 4 <= count; k += 4) {
    for (int i = 0; i < 4; ++i)
      acc[i] =
          _mm512_fmadd_ps(_mm512_set1_ps(x[(k + i) * capacity]), _mm512_load_ps(w + (k + i) * 16), acc[i]);
  }
  for (; k < count; ++k)
    acc[0] = _mm512_fmadd_ps(_mm512_set1_ps(x[k * capacity]), _mm512_load_ps(w + k * 16), acc[0]);
  _mm512_storeu_ps(sums, _mm512_add_ps(_mm512_add_ps(acc[0], acc[1]), _mm512_add_ps(acc[2], acc[3])));
}

void MultiplyTile(const float* w, const float* x, int64_t count, const Tile& tile, uint32_t* sums) {
  const int64_t pixels = tile.pixels, capacity = tile.capacity;
  int64_t p = 0;
  for (; p + 16 <= pixels; p += 16) Multiply<16>(w, x + p, count, capacity, sums + p * 16);
  if (p + 8 <= pixels) Multiply<8>(w, x + p, count, capacity, sums + p * 16), p += 8;
  if (p + 4 <= pixels) Multiply<4>(w, x + p, count, capacity, sums + p * 16), p += 4;
  for (; p < pixels; ++p) MultiplyOne(w, x + p, count, capacity, sums + p * 16);
}

void Panel(const void* weights, int64_t group, const Tile& tile, uint32_t* sums, std::byte* work) {
  const CodebookPanels& w = *static_cast<const CodebookPanels*>(weights);
  float* decoded = reinterpret_cast<float*>(work);
  const DotFn dot = InRegisters(w, group);
  int64_t k = 0;
  if (dot) {
    k = dot(w, group, tile, sums);
  } else {
    for (int64_t p = 0; p < tile.pixels; ++p) _mm512_storeu_si512(sums + p * 16, _mm512_setzero_si512());
  }
  const auto decode = w.bits == 8 && !w.affine && SharedTables(w, group) ? DecodeBytes : DecodeFloatPortable;
  for (; k < w.columns; k += kDecodeColumns) {
    const int64_t count = Least(kDecodeColumns, w.columns - k);
    decode(w, group, k, count, decoded);
    MultiplyTile(decoded, reinterpret_cast<const float*>(tile.words) + k * tile.capacity, count, tile, sums);
  }
}

}  // namespace

void CodebookAvx512Float(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte* work) {
  Panel(w, g, t, sums, work);
}
void NbitAvx512(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte* work) {
  Panel(w, g, t, sums, work);
}

}  // namespace planish
