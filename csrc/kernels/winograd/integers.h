// What family winograd does with bytes: one table of functions per ISA, all with the same bits.
#pragma once

#include <stdint.h>

#include "kernels/gemm/tile.h"

namespace planish {

struct WinogradIntegers {
  // v[e · slice + c] = element e of Bᵀ d B, with d[e] = taps[e][c], for c < channels (they lie within ± 1020), and 0 for the
  // other of the last pair.
  void (*input)(const uint8_t* const* taps, int64_t channels, int16_t* v, int64_t slice);
  // m[r · m_pitch + n] = Σ_k v[r · v_pitch + k] · U[k][n] modulo 2^32, for 1 <= rows, k < 2 · pairs and n < 16 · panels, with
  // u: [panels][pairs][16][2].
  void (*multiply)(const int16_t* v, int64_t v_pitch, int rows, const int16_t* u, int64_t pairs,
                   int64_t panels, int32_t* m, int64_t m_pitch);
  // acc = (Aᵀ m A)[o] / 4 + bias[n], with the tile's elements at m[e · slice + n], leaves for args.out[o] as tile.h says, for
  // n < args.outputs and the four outputs o of a tile, those without an address excepted. Four times the sum fits int32.
  void (*output)(const int32_t* m, int64_t slice, const TileArgs& args);
};

extern const WinogradIntegers kWinogradIntegersScalar, kWinogradIntegersAvx2;

}  // namespace planish
