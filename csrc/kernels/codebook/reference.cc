// The meaning of a codebook panel: every weight looked up by the index equation, one pixel and output at a
// time.
#include <cstring>

#include "formats/codebook.h"
#include "kernels/codebook/decode.h"

namespace planish {
namespace {

CodebookWeights Unstripped(const CodebookPanels& w) {
  CodebookWeights u{};
  // One tap of `columns` channels: the index equation depends on nothing else.
  u.shape = {w.integer ? CodebookKind::kS8 : CodebookKind::kF32, w.bits, w.outputs, 1, w.columns, 1, 1};
  u.indices = w.indices;
  return u;
}

void PanelFloat(const void* weights, int64_t group, const Tile& tile, uint32_t* sums) {
  const CodebookPanels& w = *static_cast<const CodebookPanels*>(weights);
  const CodebookWeights packed = Unstripped(w);
  for (int64_t p = 0; p < tile.pixels; ++p) {
    for (int64_t n = group * 16; n < group * 16 + 16 && n < w.outputs; ++n) {
      float sum = 0;
      for (int64_t k = 0; k < w.columns; ++k) {
        const uint32_t index = IndexAt(packed, n, k);
        float x, weight;
        std::memcpy(&x, &tile.words[k * tile.capacity + p], 4);
        if (w.affine) {
          const int64_t block = (group * w.tables_across + TableAcross(w, k)) * 16 + n % 16;
          const int zero = w.zeros ? w.zeros[block] : 1 << (w.bits - 1);
          weight = static_cast<float>(static_cast<int>(index) - zero) *
                   reinterpret_cast<const float*>(w.tables)[block];
        } else {
          weight = reinterpret_cast<const float*>(TableOf(w, n, k))[index];
        }
        sum += x * weight;
      }
      std::memcpy(&sums[p * 16 + n % 16], &sum, 4);
    }
  }
}

}  // namespace

void CodebookReferenceFloat(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte*) {
  PanelFloat(w, g, t, sums);
}
void NbitReference(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte*) {
  PanelFloat(w, g, t, sums);
}

void CodebookReferenceInteger(const void* weights, int64_t group, const Tile& tile, uint32_t* sums,
                              std::byte*) {
  const CodebookPanels& w = *static_cast<const CodebookPanels*>(weights);
  const CodebookWeights packed = Unstripped(w);
  for (int64_t p = 0; p < tile.pixels; ++p) {
    for (int64_t n = group * 16; n < group * 16 + 16 && n < w.outputs; ++n) {
      uint32_t sum = 0;
      for (int64_t k = 0; k < w.columns; ++k) {
        const uint32_t x = tile.words[k / 4 * tile.capacity + p] >> 8 * (k % 4) & 255;
        sum += x * static_cast<uint32_t>(static_cast<int8_t>(TableOf(w, n, k)[IndexAt(packed, n, k)]));
      }
      sums[p * 16 + n % 16] = sum;
    }
  }
}

}  // namespace planish
