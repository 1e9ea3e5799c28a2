// AMX tiles: configuration, loads, stores and products. The only place that issues AMX instructions.
//
// Written as assembly because the compiler's intrinsics declare memory operands that are too small, so that stores to a
// configuration or a tile's source may be optimised away. Every wrapper is volatile, which keeps their order, and those that
// touch memory through pointers say so.
//
// With PLANISH_EMULATE_AMX the same functions work on tiles in ordinary memory: how tests run the logic of AMX kernels on
// machines without it. Included by files compiled for one instruction set each: C types only.
#pragma once

#include <stdint.h>
#include <string.h>

namespace planish {
namespace {

// The operand of LDTILECFG: palette 1, up to 16 rows of up to 64 bytes a tile.
struct alignas(64) AmxConfig {
  uint8_t palette;
  uint8_t start_row;
  uint8_t reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
static_assert(sizeof(AmxConfig) == 64, "LDTILECFG reads 64 bytes");

#if defined(PLANISH_EMULATE_AMX)

struct EmulatedTiles {
  AmxConfig config;
  uint8_t data[8][16][64];
};
static thread_local EmulatedTiles emulated;

inline void AmxConfigure(const AmxConfig& config) {
  memset(&emulated, 0, sizeof emulated);
  emulated.config = config;
}
inline void AmxRelease() { memset(&emulated, 0, sizeof emulated); }
template <int kTile>
inline void AmxZero() {
  memset(emulated.data[kTile], 0, sizeof emulated.data[kTile]);
}
template <int kTile>
inline void AmxLoad(const void* from, int64_t pitch) {
  AmxZero<kTile>();
  for (int r = 0; r < emulated.config.rows[kTile]; ++r) {
    memcpy(emulated.data[kTile][r], static_cast<const char*>(from) + r * pitch,
           emulated.config.row_bytes[kTile]);
  }
}
template <int kTile>
inline void AmxStore(void* to, int64_t pitch) {
  for (int r = 0; r < emulated.config.rows[kTile]; ++r) {
    memcpy(static_cast<char*>(to) + r * pitch, emulated.data[kTile][r], emulated.config.row_bytes[kTile]);
  }
}
// C[m][n] += Σ_q Σ_i A[m][4q + i] · B[q][4n + i], with A and B of types TA and TB.
template <int kC, int kA, int kB, class TA, class TB>
inline void EmulatedDot() {
  for (int m = 0; m < emulated.config.rows[kC]; ++m) {
    for (int n = 0; n < emulated.config.row_bytes[kC] / 4; ++n) {
      uint32_t sum;
      memcpy(&sum, &emulated.data[kC][m][4 * n], 4);
      for (int k = 0; k < emulated.config.row_bytes[kA]; ++k) {
        sum += static_cast<uint32_t>(static_cast<TA>(emulated.data[kA][m][k]) *
                                     static_cast<TB>(emulated.data[kB][k / 4][4 * n + k % 4]));
      }
      memcpy(&emulated.data[kC][m][4 * n], &sum, 4);
    }
  }
}
template <int kC, int kA, int kB>
inline void AmxDotU8S8() {
  EmulatedDot<kC, kA, kB, uint8_t, int8_t>();
}
template <int kC, int kA, int kB>
inline void AmxDotS8U8() {
  EmulatedDot<kC, kA, kB, int8_t, uint8_t>();
}
inline float EmulatedBf16(const uint8_t* p) {
  uint16_t half;
  memcpy(&half, p, 2);
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  float x;
  memcpy(&x, &bits, 4);
  return x;
}
// C[m][n] += Σ_q A[m][2q]·B[q][2n] + Σ_q A[m][2q + 1]·B[q][2n + 1] in float32, without the flushing of subnormal numbers.
template <int kC, int kA, int kB>
inline void AmxDotBf16() {
  for (int m = 0; m < emulated.config.rows[kC]; ++m) {
    for (int n = 0; n < emulated.config.row_bytes[kC] / 4; ++n) {
      float sums[2] = {0, 0}, c;
      for (int k = 0; k < emulated.config.row_bytes[kA] / 2; ++k)
        sums[k % 2] += EmulatedBf16(&emulated.data[kA][m][2 * k]) *
                       EmulatedBf16(&emulated.data[kB][k / 2][4 * n + k % 2 * 2]);
      memcpy(&c, &emulated.data[kC][m][4 * n], 4);
      c += sums[0] + sums[1];
      memcpy(&emulated.data[kC][m][4 * n], &c, 4);
    }
  }
}

#else

inline void AmxConfigure(const AmxConfig& config) { __asm__ volatile("ldtilecfg %0" ::"m"(config)); }
inline void AmxRelease() { __asm__ volatile("tilerelease"); }
template <int kTile>
inline void AmxZero() {
  __asm__ volatile("tilezero %%tmm%c0" ::"i"(kTile));
}
// Reads the tile's configured rows, `pitch` bytes apart.
template <int kTile>
inline void AmxLoad(const void* from, int64_t pitch) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(pitch), "i"(kTile) : "memory");
}
template <int kTile>
inline void AmxStore(void* to, int64_t pitch) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(pitch), "i"(kTile) : "memory");
}
// C[m][n] += Σ_q Σ_i A[m][4q + i] · B[q][4n + i], A unsigned, B signed.
template <int kC, int kA, int kB>
inline void AmxDotU8S8() {
  __asm__ volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
}
// The same, A signed, B unsigned.
template <int kC, int kA, int kB>
inline void AmxDotS8U8() {
  __asm__ volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
}
// The same for pairs of bfloat16, summed in float32.
template <int kC, int kA, int kB>
inline void AmxDotBf16() {
  __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
}

#endif

}  // namespace
}  // namespace planish
