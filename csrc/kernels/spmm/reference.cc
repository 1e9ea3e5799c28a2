// The meaning of a sparse panel: every product of every block, one pixel and output at a time.
#include <cstring>
#include <type_traits>

#include "kernels/spmm/spmm.h"

namespace planish {
namespace {

template <class T, class Sum>
Sum Input(const Tile& tile, int64_t channel_column, int64_t pixel) {
  if constexpr (sizeof(T) == 4) {
    float x;
    std::memcpy(&x, &tile.words[channel_column * tile.capacity + pixel], 4);
    return x;
  } else {
    return tile.words[channel_column / 4 * tile.capacity + pixel] >> 8 * (channel_column % 4) & 255;
  }
}

// T: float or int8_t; blocks of `Rows` outputs and `Width` channels.
template <class T, int Rows, int Width>
void Panel(const void* weights, int64_t group, const Tile& tile, uint32_t* sums) {
  using Sum = std::conditional_t<sizeof(T) == 4, float, uint32_t>;
  const SparsePanels& w = *static_cast<const SparsePanels*>(weights);
  const T* values = reinterpret_cast<const T*>(w.values);
  for (int64_t p = 0; p < tile.pixels; ++p) {
    for (int64_t j = 0; j < kPanelOutputs && group * kPanelOutputs + j < w.outputs; ++j) {
      const int64_t row_group = Rows == 1 ? group * kPanelOutputs + j : group;
      Sum sum = 0;
      for (uint32_t b = w.starts[row_group]; b < w.starts[row_group + 1]; ++b) {
        for (int64_t l = 0; l < Width; ++l) {
          const int64_t lane = Rows == 1 ? l : sizeof(T) == 4 ? l * Rows + j : j * Width + l;
          const Sum weight = static_cast<Sum>(values[int64_t{b} * Rows * Width + lane]);
          sum += weight * Input<T, Sum>(tile, int64_t{w.columns[b]} * Width + l, p);
        }
      }
      std::memcpy(&sums[p * kPanelOutputs + j], &sum, 4);
    }
  }
}

}  // namespace

void SpmmReferenceCsrF32(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte*) {
  Panel<float, 1, 1>(w, g, t, sums);
}
void SpmmReferenceBlock1x4F32(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte*) {
  Panel<float, 1, 4>(w, g, t, sums);
}
void SpmmReferenceBlock16x4F32(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte*) {
  Panel<float, 16, 4>(w, g, t, sums);
}
void SpmmReferenceCsrS8(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte*) {
  Panel<int8_t, 1, 1>(w, g, t, sums);
}
void SpmmReferenceBlock1x4S8(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte*) {
  Panel<int8_t, 1, 4>(w, g, t, sums);
}
void SpmmReferenceBlock16x4S8(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte*) {
  Panel<int8_t, 16, 4>(w, g, t, sums);
}

}  // namespace planish
