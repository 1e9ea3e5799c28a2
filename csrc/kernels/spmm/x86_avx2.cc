// Sparse panels with AVX2. Integer kernels read tiles widened to 16 bits (builders.h): vpmaddwd adds products
// of u8 and s8 in pairs, exactly.
#include "kernels/spmm/spmm.h"
#include "kernels/tiled/avx2.h"

namespace planish {
namespace {

// One output over V vectors of 8 pixels, float.
template <int V, int Width>
void FloatOverPixels(const SparsePanels& w, int64_t n, const Tile& tile, uint32_t* out) {
  const float* words = reinterpret_cast<const float*>(tile.words);
  const float* values = reinterpret_cast<const float*>(w.values);
  const int64_t row = tile.capacity;
  __m256 even[V], odd[V];
  for (int v = 0; v < V; ++v) even[v] = odd[v] = _mm256_setzero_ps();
  const auto add = [&](const float* x, float value, __m256* sum) {
    const __m256 broadcast = _mm256_set1_ps(value);
    for (int v = 0; v < V; ++v) sum[v] = _mm256_fmadd_ps(broadcast, _mm256_loadu_ps(x + 8 * v), sum[v]);
  };
  uint32_t b = w.starts[n];
  const uint32_t end = w.starts[n + 1];
  if constexpr (Width == 1) {
    for (; b + 2 <= end; b += 2) {
      add(words + w.columns[b] * row, values[b], even);
      add(words + w.columns[b + 1] * row, values[b + 1], odd);
    }
    if (b < end) add(words + w.columns[b] * row, values[b], even);
  } else {
    for (; b < end; ++b) {
      const float* x = words + w.columns[b] * 4 * row;
      for (int l = 0; l < 4; ++l) add(x + l * row, values[int64_t{b} * 4 + l], l % 2 ? odd : even);
    }
  }
  for (int v = 0; v < V; ++v) {
    _mm256_storeu_ps(reinterpret_cast<float*>(out) + 8 * v, _mm256_add_ps(even[v], odd[v]));
  }
}

// One output over V vectors of 8 pixels, integer.
template <int V, int Width>
void IntegerOverPixels(const SparsePanels& w, int64_t n, const Tile& tile, uint32_t* out) {
  const int64_t row = tile.capacity;
  __m256i sum[V];
  for (int v = 0; v < V; ++v) sum[v] = _mm256_setzero_si256();
  const auto add = [&](const uint32_t* x, __m256i pairs) {
    for (int v = 0; v < V; ++v) {
      const __m256i xs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + 8 * v));
      sum[v] = _mm256_add_epi32(sum[v], _mm256_madd_epi16(xs, pairs));
    }
  };
  for (uint32_t b = w.starts[n]; b < w.starts[n + 1]; ++b) {
    if constexpr (Width == 1) {  // the element is one half of a pair; the other half is zero
      const uint32_t column = w.columns[b];
      const uint32_t value = static_cast<uint16_t>(static_cast<int8_t>(w.values[b]));
      const __m256i pairs = _mm256_set1_epi32(static_cast<int>(value << 8 * (column & 2)));
      add(tile.words + (column / 4 * 2 + column % 2) * row, pairs);
    } else {
      const __m256i value = _mm256_set1_epi32(reinterpret_cast<const int*>(w.values)[b]);
      const uint32_t* x = tile.words + w.columns[b] * 2 * row;
      add(x, _mm256_srai_epi16(_mm256_slli_epi16(value, 8), 8));
      add(x + row, _mm256_srai_epi16(value, 8));
    }
  }
  for (int v = 0; v < V; ++v) _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 8 * v), sum[v]);
}

using OutputFn = void (*)(const SparsePanels& w, int64_t n, const Tile& tile, uint32_t* out);

// by_vectors: the function for 1, 2, 3, 4 vectors of 8 pixels.
void OverPixels(const OutputFn (&by_vectors)[4], const void* weights, int64_t group, const Tile& tile,
                uint32_t* sums, std::byte* work) {
  const SparsePanels& w = *static_cast<const SparsePanels*>(weights);
  uint32_t* outputs = reinterpret_cast<uint32_t*>(work);
  const OutputFn output = by_vectors[(tile.pixels + 7) / 8 - 1];
  for (int64_t j = 0; j < 16 && group * 16 + j < w.outputs; ++j)
    output(w, group * 16 + j, tile, outputs + j * tile.capacity);
  TransposeSums8(outputs, tile.capacity, tile.pixels, sums);
}

// 16 outputs of Pixels pixels from pixel `first`, float.
template <int Pixels>
void FloatOverOutputs(const SparsePanels& w, int64_t group, const Tile& tile, int64_t first, uint32_t* sums) {
  const float* words = reinterpret_cast<const float*>(tile.words) + first;
  const float* values = reinterpret_cast<const float*>(w.values);
  __m256 low[Pixels], high[Pixels];
  for (int p = 0; p < Pixels; ++p) low[p] = high[p] = _mm256_setzero_ps();
  for (uint32_t b = w.starts[group]; b < w.starts[group + 1]; ++b) {
    const float* x = words + w.columns[b] * 4 * tile.capacity;
    const float* value = values + int64_t{b} * 64;
    for (int l = 0; l < 4; ++l) {
      const __m256 w0 = _mm256_loadu_ps(value + 16 * l), w1 = _mm256_loadu_ps(value + 16 * l + 8);
      for (int p = 0; p < Pixels; ++p) {
        const __m256 xs = _mm256_broadcast_ss(x + l * tile.capacity + p);
        low[p] = _mm256_fmadd_ps(xs, w0, low[p]);
        high[p] = _mm256_fmadd_ps(xs, w1, high[p]);
      }
    }
  }
  for (int p = 0; p < Pixels; ++p) {
    float* out = reinterpret_cast<float*>(sums) + (first + p) * 16;
    _mm256_storeu_ps(out, low[p]);
    _mm256_storeu_ps(out + 8, high[p]);
  }
}

// 16 outputs of Pixels pixels from pixel `first`, integer.
template <int Pixels>
void IntegerOverOutputs(const SparsePanels& w, int64_t group, const Tile& tile, int64_t first,
                        uint32_t* sums) {
  __m256i low[Pixels], high[Pixels];
  for (int p = 0; p < Pixels; ++p) low[p] = high[p] = _mm256_setzero_si256();
  for (uint32_t b = w.starts[group]; b < w.starts[group + 1]; ++b) {
    const uint32_t* x = tile.words + w.columns[b] * 2 * tile.capacity + first;
    const __m256i* value = reinterpret_cast<const __m256i*>(w.values + int64_t{b} * 64);
    const __m256i w0 = _mm256_loadu_si256(value), w1 = _mm256_loadu_si256(value + 1);
    const __m256i even0 = _mm256_srai_epi16(_mm256_slli_epi16(w0, 8), 8), odd0 = _mm256_srai_epi16(w0, 8);
    const __m256i even1 = _mm256_srai_epi16(_mm256_slli_epi16(w1, 8), 8), odd1 = _mm256_srai_epi16(w1, 8);
    for (int p = 0; p < Pixels; ++p) {
      const __m256i even = _mm256_set1_epi32(static_cast<int>(x[p])),
                    odd = _mm256_set1_epi32(static_cast<int>(x[tile.capacity + p]));
      low[p] = _mm256_add_epi32(
          low[p], _mm256_add_epi32(_mm256_madd_epi16(even, even0), _mm256_madd_epi16(odd, odd0)));
      high[p] = _mm256_add_epi32(
          high[p], _mm256_add_epi32(_mm256_madd_epi16(even, even1), _mm256_madd_epi16(odd, odd1)));
    }
  }
  for (int p = 0; p < Pixels; ++p) {
    __m256i* out = reinterpret_cast<__m256i*>(sums + (first + p) * 16);
    _mm256_storeu_si256(out, low[p]);
    _mm256_storeu_si256(out + 1, high[p]);
  }
}

using OutputsFn = void (*)(const SparsePanels& w, int64_t group, const Tile& tile, int64_t first,
                           uint32_t* sums);

// by_pixels: the function for 1, 2, 4 pixels.
void OverOutputs(const OutputsFn (&by_pixels)[3], const void* weights, int64_t group, const Tile& tile,
                 uint32_t* sums) {
  const SparsePanels& w = *static_cast<const SparsePanels*>(weights);
  int64_t p = 0;
  for (; p + 4 <= tile.pixels; p += 4) by_pixels[2](w, group, tile, p, sums);
  if (p + 2 <= tile.pixels) by_pixels[1](w, group, tile, p, sums), p += 2;
  if (p < tile.pixels) by_pixels[0](w, group, tile, p, sums);
}

}  // namespace

void SpmmAvx2CsrF32(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte* work) {
  static constexpr OutputFn kFns[4] = {FloatOverPixels<1, 1>, FloatOverPixels<2, 1>, FloatOverPixels<3, 1>,
                                       FloatOverPixels<4, 1>};
  OverPixels(kFns, w, g, t, sums, work);
}

void SpmmAvx2Block1x4F32(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte* work) {
  static constexpr OutputFn kFns[4] = {FloatOverPixels<1, 4>, FloatOverPixels<2, 4>, FloatOverPixels<3, 4>,
                                       FloatOverPixels<4, 4>};
  OverPixels(kFns, w, g, t, sums, work);
}

void SpmmAvx2Block16x4F32(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte*) {
  static constexpr OutputsFn kFns[3] = {FloatOverOutputs<1>, FloatOverOutputs<2>, FloatOverOutputs<4>};
  OverOutputs(kFns, w, g, t, sums);
}

void SpmmAvx2CsrS8(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte* work) {
  static constexpr OutputFn kFns[4] = {IntegerOverPixels<1, 1>, IntegerOverPixels<2, 1>,
                                       IntegerOverPixels<3, 1>, IntegerOverPixels<4, 1>};
  OverPixels(kFns, w, g, t, sums, work);
}

void SpmmAvx2Block1x4S8(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte* work) {
  static constexpr OutputFn kFns[4] = {IntegerOverPixels<1, 4>, IntegerOverPixels<2, 4>,
                                       IntegerOverPixels<3, 4>, IntegerOverPixels<4, 4>};
  OverPixels(kFns, w, g, t, sums, work);
}

void SpmmAvx2Block16x4S8(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte*) {
  static constexpr OutputsFn kFns[3] = {IntegerOverOutputs<1>, IntegerOverOutputs<2>, IntegerOverOutputs<4>};
  OverOutputs(kFns, w, g, t, sums);
}

}  // namespace planish
