// Float sparse panels with AVX-512.
#include "kernels/spmm/spmm.h"
#include "kernels/tiled/avx512.h"

namespace planish {
namespace {

// One output over V vectors of 16 pixels. Two sets of sums hide the latency of the multiply-adds.
template <int V, int Width>
void OutputOverPixels(const SparsePanels& w, int64_t n, const Tile& tile, float* out) {
  const float* words = reinterpret_cast<const float*>(tile.words);
  const float* values = reinterpret_cast<const float*>(w.values);
  const int64_t row = tile.capacity;
  __m512 even[V], odd[V];
  for (int v = 0; v < V; ++v) even[v] = odd[v] = _mm512_setzero_ps();
  uint32_t b = w.starts[n];
  const uint32_t end = w.starts[n + 1];
  if constexpr (Width == 1) {
    for (; b + 2 <= end; b += 2) {
      const float* x0 = words + w.columns[b] * row;
      const float* x1 = words + w.columns[b + 1] * row;
      const __m512 w0 = _mm512_set1_ps(values[b]), w1 = _mm512_set1_ps(values[b + 1]);
      for (int v = 0; v < V; ++v) even[v] = _mm512_fmadd_ps(w0, _mm512_loadu_ps(x0 + 16 * v), even[v]);
      for (int v = 0; v < V; ++v) odd[v] = _mm512_fmadd_ps(w1, _mm512_loadu_ps(x1 + 16 * v), odd[v]);
    }
    if (b < end) {
      const float* x0 = words + w.columns[b] * row;
      const __m512 w0 = _mm512_set1_ps(values[b]);
      for (int v = 0; v < V; ++v) even[v] = _mm512_fmadd_ps(w0, _mm512_loadu_ps(x0 + 16 * v), even[v]);
    }
  } else {
    for (; b < end; ++b) {
      const float* x = words + w.columns[b] * 4 * row;
      const float* value = values + int64_t{b} * 4;
      for (int l = 0; l < 4; l += 2) {
        const __m512 w0 = _mm512_set1_ps(value[l]), w1 = _mm512_set1_ps(value[l + 1]);
        for (int v = 0; v < V; ++v)
          even[v] = _mm512_fmadd_ps(w0, _mm512_loadu_ps(x + l * row + 16 * v), even[v]);
        for (int v = 0; v < V; ++v)
          odd[v] = _mm512_fmadd_ps(w1, _mm512_loadu_ps(x + (l + 1) * row + 16 * v), odd[v]);
      }
    }
  }
  for (int v = 0; v < V; ++v) _mm512_storeu_ps(out + 16 * v, _mm512_add_ps(even[v], odd[v]));
}

template <int V, int Width>
void PanelOverPixels(const SparsePanels& w, int64_t group, const Tile& tile, uint32_t* sums,
                     uint32_t* outputs) {
  for (int64_t j = 0; j < 16 && group * 16 + j < w.outputs; ++j) {
    OutputOverPixels<V, Width>(w, group * 16 + j, tile,
                               reinterpret_cast<float*>(outputs + j * tile.capacity));
  }
  TransposeSums(outputs, tile.capacity, tile.pixels, sums);
}

template <int Width>
void OverPixels(const void* weights, int64_t group, const Tile& tile, uint32_t* sums, std::byte* work) {
  const SparsePanels& w = *static_cast<const SparsePanels*>(weights);
  uint32_t* outputs = reinterpret_cast<uint32_t*>(work);
  switch ((tile.pixels + 15) / 16) {
    case 1:
      return PanelOverPixels<1, Width>(w, group, tile, sums, outputs);
    case 2:
      return PanelOverPixels<2, Width>(w, group, tile, sums, outputs);
    case 3:
      return PanelOverPixels<3, Width>(w, group, tile, sums, outputs);
    default:
      return PanelOverPixels<4, Width>(w, group, tile, sums, outputs);
  }
}

// 16 outputs of Pixels pixels, from pixel `first`.
template <int Pixels>
void PanelOverOutputs(const SparsePanels& w, int64_t group, const Tile& tile, int64_t first, uint32_t* sums) {
  const float* words = reinterpret_cast<const float*>(tile.words) + first;
  const float* values = reinterpret_cast<const float*>(w.values);
  __m512 acc[Pixels];
  for (int p = 0; p < Pixels; ++p) acc[p] = _mm512_setzero_ps();
  for (uint32_t b = w.starts[group]; b < w.starts[group + 1]; ++b) {
    const float* x = words + w.columns[b] * 4 * tile.capacity;
    const float* value = values + int64_t{b} * 64;
    for (int l = 0; l < 4; ++l) {
      const __m512 wl = _mm512_loadu_ps(value + 16 * l);
      for (int p = 0; p < Pixels; ++p)
        acc[p] = _mm512_fmadd_ps(_mm512_set1_ps(x[l * tile.capacity + p]), wl, acc[p]);
    }
  }
  for (int p = 0; p < Pixels; ++p) _mm512_storeu_ps(sums + (first + p) * 16, acc[p]);
}

}  // namespace

void SpmmAvx512CsrF32(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte* work) {
  OverPixels<1>(w, g, t, sums, work);
}
void SpmmAvx512Block1x4F32(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte* work) {
  OverPixels<4>(w, g, t, sums, work);
}

void SpmmAvx512Block16x4F32(const void* weights, int64_t group, const Tile& tile, uint32_t* sums,
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
