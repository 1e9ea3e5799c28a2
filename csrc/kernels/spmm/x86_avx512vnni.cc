// Integer sparse panels with AVX-512 VNNI: vpdpbusd multiplies a word of four u8 by four s8 and adds the sum,
// exactly.
#include "kernels/spmm/spmm.h"
#include "kernels/tiled/avx512.h"

namespace planish {
namespace {

// CSR: one output over 64 pixels. Four elements at a time, their rows of a tile of bytes are interleaved into
// words of four channels, one word a pixel.
void ElementsOverPixels(const SparsePanels& w, int64_t n, const Tile& tile, uint32_t* out) {
  const std::byte* rows = reinterpret_cast<const std::byte*>(tile.words);
  __m512i sums[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                     _mm512_setzero_si512()};
  const auto add = [&](const uint16_t* columns, int packed) {
    const auto row = [&](int i) { return _mm512_load_si512(rows + 64 * columns[i]); };
    const __m512i weights = _mm512_set1_epi32(packed);
    const __m512i low01 = _mm512_unpacklo_epi8(row(0), row(1)), high01 = _mm512_unpackhi_epi8(row(0), row(1));
    const __m512i low23 = _mm512_unpacklo_epi8(row(2), row(3)), high23 = _mm512_unpackhi_epi8(row(2), row(3));
    sums[0] = _mm512_dpbusd_epi32(sums[0], _mm512_unpacklo_epi16(low01, low23), weights);
    sums[1] = _mm512_dpbusd_epi32(sums[1], _mm512_unpackhi_epi16(low01, low23), weights);
    sums[2] = _mm512_dpbusd_epi32(sums[2], _mm512_unpacklo_epi16(high01, high23), weights);
    sums[3] = _mm512_dpbusd_epi32(sums[3], _mm512_unpackhi_epi16(high01, high23), weights);
  };
  uint32_t b = w.starts[n];
  const uint32_t end = w.starts[n + 1];
  for (; b + 4 <= end; b += 4) {
    int packed;
    __builtin_memcpy(&packed, w.values + b, 4);
    add(w.columns + b, packed);
  }
  if (b < end) {  // weights of zero complete the last four
    uint16_t columns[4] = {};
    int packed = 0;
    __builtin_memcpy(columns, w.columns + b, 2 * (end - b));
    __builtin_memcpy(&packed, w.values + b, end - b);
    add(columns, packed);
  }
  for (int v = 0; v < 4; ++v) _mm512_storeu_si512(out + 16 * v, sums[v]);
}

// Blocks of 1 x 4: one output over V vectors of 16 pixels. Two sets of sums hide the latency of the products.
template <int V>
void BlocksOverPixels(const SparsePanels& w, int64_t n, const Tile& tile, uint32_t* out) {
  const int* values = reinterpret_cast<const int*>(w.values);
  __m512i even[V], odd[V];
  for (int v = 0; v < V; ++v) even[v] = odd[v] = _mm512_setzero_si512();
  const auto add = [&](uint32_t b, __m512i* sums) {
    const uint32_t* x = tile.words + w.columns[b] * tile.capacity;
    const __m512i weights = _mm512_set1_epi32(values[b]);
    for (int v = 0; v < V; ++v)
      sums[v] = _mm512_dpbusd_epi32(sums[v], _mm512_loadu_si512(x + 16 * v), weights);
  };
  uint32_t b = w.starts[n];
  const uint32_t end = w.starts[n + 1];
  for (; b + 2 <= end; b += 2) {
    add(b, even);
    add(b + 1, odd);
  }
  if (b < end) add(b, even);
  for (int v = 0; v < V; ++v) _mm512_storeu_si512(out + 16 * v, _mm512_add_epi32(even[v], odd[v]));
}

using OutputFn = void (*)(const SparsePanels& w, int64_t n, const Tile& tile, uint32_t* out);

void OverPixels(OutputFn output, const void* weights, int64_t group, const Tile& tile, uint32_t* sums,
                std::byte* work) {
  const SparsePanels& w = *static_cast<const SparsePanels*>(weights);
  uint32_t* outputs = reinterpret_cast<uint32_t*>(work);
  for (int64_t j = 0; j < 16 && group * 16 + j < w.outputs; ++j)
    output(w, group * 16 + j, tile, outputs + j * tile.capacity);
  TransposeSums(outputs, tile.capacity, tile.pixels, sums);
}

// 16 outputs of Pixels pixels, from pixel `first`; few pixels use several sets of sums, to hide latency.
template <int Pixels>
void PanelOverOutputs(const SparsePanels& w, int64_t group, const Tile& tile, int64_t first, uint32_t* sums) {
  constexpr int kSets = Pixels >= 4 ? 1 : 4 / Pixels;
  const uint32_t* words = tile.words + first;
  __m512i acc[kSets][Pixels];
  for (int s = 0; s < kSets; ++s) {
    for (int p = 0; p < Pixels; ++p) acc[s][p] = _mm512_setzero_si512();
  }
  const auto add = [&](uint32_t b, __m512i* sum) {
    const uint32_t* x = words + w.columns[b] * tile.capacity;
    const __m512i value = _mm512_loadu_si512(w.values + int64_t{b} * 64);
    for (int p = 0; p < Pixels; ++p)
      sum[p] = _mm512_dpbusd_epi32(sum[p], _mm512_set1_epi32(static_cast<int>(x[p])), value);
  };
  uint32_t b = w.starts[group];
  const uint32_t end = w.starts[group + 1];
  for (; b + kSets <= end; b += kSets) {
    for (int s = 0; s < kSets; ++s) add(b + static_cast<uint32_t>(s), acc[s]);
  }
  for (; b < end; ++b) add(b, acc[0]);
  for (int p = 0; p < Pixels; ++p) {
    for (int s = 1; s < kSets; ++s) acc[0][p] = _mm512_add_epi32(acc[0][p], acc[s][p]);
    _mm512_storeu_si512(sums + (first + p) * 16, acc[0][p]);
  }
}

}  // namespace

void SpmmAvx512VnniCsrS8(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte* work) {
  OverPixels(&ElementsOverPixels, w, g, t, sums, work);
}

void SpmmAvx512VnniBlock1x4S8(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte* work) {
  static constexpr OutputFn kFns[4] = {BlocksOverPixels<1>, BlocksOverPixels<2>, BlocksOverPixels<3>,
                                       BlocksOverPixels<4>};
  OverPixels(kFns[(t.pixels + 15) / 16 - 1], w, g, t, sums, work);
}

void SpmmAvx512VnniBlock16x4S8(const void* weights, int64_t group, const Tile& tile, uint32_t* sums,
                               std::byte*) {
  const SparsePanels& w = *static_cast<const SparsePanels*>(weights);
  const int64_t pixels = tile.pixels;
  int64_t p = 0;
  for (; p + 16 <= pixels; p += 16) PanelOverOutputs<16>(w, group, tile, p, sums);
  if (p + 8 <= pixels) PanelOverOutputs<8>(w, group, tile, p, sums), p += 8;
  if (p + 4 <= pixels) PanelOverOutputs<4>(w, group, tile, p, sums), p += 4;
  if (p + 2 <= pixels) PanelOverOutputs<2>(w, group, tile, p, sums), p += 2;
  if (p < pixels) PanelOverOutputs<1>(w, group, tile, p, sums);
}

}  // namespace planish
