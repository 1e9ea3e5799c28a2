// Blocks of 16 x 4 with AMX: 16 blocks are one tile of weights (A: 16 outputs x 64 channels), the rows of the
// pixel tile at their columns one tile of inputs (B: 16 words x 16 pixels), and one product adds all of them.
//
// Neither lies in memory as a tile: a block's outputs are neighbours in the packed weights, and the rows that
// a group keeps are scattered over the pixel tile. Both are copied to first-level scratch; the weights, once
// for all pixels.
//
// With PLANISH_EMULATE_AMX (base/x86_amx.h) the function gets another name.
#include "base/x86_amx.h"

#include "kernels/spmm/spmm.h"
#include "kernels/tiled/avx512.h"

#if defined(PLANISH_EMULATE_AMX)
#define SpmmAmxBlock16x4S8 SpmmAmxEmulatedBlock16x4S8
#endif

namespace planish {
namespace {

constexpr int kBlocks = 16;        // a tile of weights
constexpr int64_t kRowBytes = 64;  // of every tile
// Tile registers: 0-3 the sums of four vectors of 16 pixels, then the weights and the inputs.
constexpr int kWeights = 4, kInputs = 5;

void Configure() {
  AmxConfig config;
  memset(&config, 0, sizeof config);
  config.palette = 1;
  for (int t = 0; t <= kInputs; ++t) {
    config.rows[t] = 16;
    config.row_bytes[t] = kRowBytes;
  }
  AmxConfigure(config);
}

// rows[output][block] = values[block][output] (words of four channels); missing blocks are zero.
void GatherWeights(const std::byte* values, int64_t count, uint32_t* rows) {
  alignas(64) static const uint32_t kZeros[16] = {};
  const void* from[kBlocks];
  for (int64_t i = 0; i < kBlocks; ++i)
    from[i] = i < count ? static_cast<const void*>(values + i * 64) : kZeros;
  Transpose16x16(from, rows, 16);
}

template <int kVector>
inline void MultiplyVector(const uint32_t* const* rows, uint32_t* inputs) {
  for (int i = 0; i < kBlocks; ++i)
    _mm512_store_si512(inputs + i * 16, _mm512_loadu_si512(rows[i] + kVector * 16));
  AmxLoad<kInputs>(inputs, kRowBytes);
  AmxDotS8U8<kVector, kWeights, kInputs>();
}

template <int kVectors>
void Blocks(const SparsePanels& w, int64_t group, const Tile& tile, uint32_t* outputs) {
  alignas(64) uint32_t weights[kBlocks * 16], inputs[kVectors][kBlocks * 16];
  AmxZero<0>();
  AmxZero<1>();
  AmxZero<2>();
  AmxZero<3>();
  const int64_t end = w.starts[group + 1];
  for (int64_t b = w.starts[group]; b < end; b += kBlocks) {
    const int64_t count = end - b < kBlocks ? end - b : kBlocks;
    GatherWeights(w.values + b * 64, count, weights);
    AmxLoad<kWeights>(weights, kRowBytes);
    const uint32_t* rows[kBlocks];  // those of missing blocks meet weights of zero
    for (int64_t i = 0; i < kBlocks; ++i)
      rows[i] = tile.words + (i < count ? w.columns[b + i] : 0) * tile.capacity;
    MultiplyVector<0>(rows, inputs[0]);
    if constexpr (kVectors > 1) MultiplyVector<1>(rows, inputs[1]);
    if constexpr (kVectors > 2) MultiplyVector<2>(rows, inputs[2]);
    if constexpr (kVectors > 3) MultiplyVector<3>(rows, inputs[3]);
  }
  const int64_t pitch = tile.capacity * 4;
  AmxStore<0>(outputs, pitch);
  if constexpr (kVectors > 1) AmxStore<1>(outputs + 16, pitch);
  if constexpr (kVectors > 2) AmxStore<2>(outputs + 32, pitch);
  if constexpr (kVectors > 3) AmxStore<3>(outputs + 48, pitch);
}

}  // namespace

void SpmmAmxBlock16x4S8(const void* weights, int64_t group, const Tile& tile, uint32_t* sums,
                        std::byte* work) {
  const SparsePanels& w = *static_cast<const SparsePanels*>(weights);
  uint32_t* outputs = reinterpret_cast<uint32_t*>(work);
  Configure();
  switch ((tile.pixels + 15) / 16) {
    case 1:
      Blocks<1>(w, group, tile, outputs);
      break;
    case 2:
      Blocks<2>(w, group, tile, outputs);
      break;
    case 3:
      Blocks<3>(w, group, tile, outputs);
      break;
    default:
      Blocks<4>(w, group, tile, outputs);
  }
  AmxRelease();
  TransposeSums(outputs, tile.capacity, tile.pixels, sums);
}

}  // namespace planish
