// Portable sparse panels on 16 lanes of pixels or outputs.
#include "kernels/spmm/spmm.h"
#include "kernels/tiled/portable.h"

namespace planish {
namespace {

constexpr int kLanes = kPanelOutputs;

// The sums of one output over the tile's 16 pixels.
template <int Width>
void FloatOverPixels(const SparsePanels& w, int64_t n, const Tile& tile, uint32_t* out) {
  const float* values = reinterpret_cast<const float*>(w.values);
  Lanes16<Floats4> sums;
  for (uint32_t b = w.starts[n]; b < w.starts[n + 1]; ++b) {
    for (int64_t l = 0; l < Width; ++l) {
      const auto x = Lanes16<Floats4>::Load(tile.words + (int64_t{w.columns[b]} * Width + l) * kLanes);
      sums.Add(x, values[int64_t{b} * Width + l]);
    }
  }
  sums.Store(out);
}

// The same; s32 sums are kept unsigned, so that they wrap.
template <int Width>
void IntegerOverPixels(const SparsePanels& w, int64_t n, const Tile& tile, uint32_t* out) {
  const int8_t* values = reinterpret_cast<const int8_t*>(w.values);
  Lanes16<Words4> sums;
  for (uint32_t b = w.starts[n]; b < w.starts[n + 1]; ++b) {
    const int64_t column = int64_t{w.columns[b]} * Width;
    const auto words = Lanes16<Words4>::Load(tile.words + column / 4 * kLanes);
    for (int l = 0; l < Width; ++l) {
      const int byte = static_cast<int>(column % 4) + l;
      sums.Add(UnsignedBytes(words, byte), static_cast<uint32_t>(values[int64_t{b} * Width + l]));
    }
  }
  sums.Store(out);
}

using OutputFn = void (*)(const SparsePanels& w, int64_t n, const Tile& tile, uint32_t* out);

void OverPixels(OutputFn output, const void* weights, int64_t group, const Tile& tile, uint32_t* sums) {
  const SparsePanels& w = *static_cast<const SparsePanels*>(weights);
  for (int64_t j = 0; j < kLanes && group * kLanes + j < w.outputs; ++j) {
    uint32_t out[kLanes];
    output(w, group * kLanes + j, tile, out);
    for (int p = 0; p < kLanes; ++p) sums[p * kLanes + j] = out[p];
  }
}

void FloatOverOutputs(const void* weights, int64_t group, const Tile& tile, uint32_t* sums) {
  const SparsePanels& w = *static_cast<const SparsePanels*>(weights);
  const float* values = reinterpret_cast<const float*>(w.values);
  const float* x = reinterpret_cast<const float*>(tile.words);
  for (int64_t p = 0; p < tile.pixels; ++p) {
    Lanes16<Floats4> acc;
    for (uint32_t b = w.starts[group]; b < w.starts[group + 1]; ++b) {
      for (int64_t l = 0; l < 4; ++l) {
        const auto weight = Lanes16<Floats4>::Load(values + (int64_t{b} * 4 + l) * kLanes);
        acc.Add(weight, x[(int64_t{w.columns[b]} * 4 + l) * tile.capacity + p]);
      }
    }
    acc.Store(&sums[p * kLanes]);
  }
}

void IntegerOverOutputs(const void* weights, int64_t group, const Tile& tile, uint32_t* sums) {
  const SparsePanels& w = *static_cast<const SparsePanels*>(weights);
  for (int64_t p = 0; p < tile.pixels; ++p) {
    Lanes16<Words4> acc;
    for (uint32_t b = w.starts[group]; b < w.starts[group + 1]; ++b) {
      const uint32_t x = tile.words[int64_t{w.columns[b]} * tile.capacity + p];
      const auto words = Lanes16<Words4>::Load(w.values + int64_t{b} * 4 * kLanes);
      for (int l = 0; l < 4; ++l) acc.Add(SignedBytes(words, l), x >> 8 * l & 255);
    }
    acc.Store(&sums[p * kLanes]);
  }
}

}  // namespace

void SpmmScalarCsrF32(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte*) {
  OverPixels(&FloatOverPixels<1>, w, g, t, sums);
}
void SpmmScalarBlock1x4F32(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte*) {
  OverPixels(&FloatOverPixels<4>, w, g, t, sums);
}
void SpmmScalarBlock16x4F32(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte*) {
  FloatOverOutputs(w, g, t, sums);
}
void SpmmScalarCsrS8(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte*) {
  OverPixels(&IntegerOverPixels<1>, w, g, t, sums);
}
void SpmmScalarBlock1x4S8(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte*) {
  OverPixels(&IntegerOverPixels<4>, w, g, t, sums);
}
void SpmmScalarBlock16x4S8(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte*) {
  IntegerOverOutputs(w, g, t, sums);
}

}  // namespace planish
