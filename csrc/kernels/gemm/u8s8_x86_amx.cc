// u8 × s8 micro-kernel for AMX: up to 32 rows × 32 outputs in four tiles. A panel's 16 quads are a tile as they lie.
//
// Sixteen rows that lie a constant distance apart are loaded in place; others, and groups of fewer than sixteen, are first
// copied to scratch (rows that are missing compute junk that nobody stores). The end of a row, where fewer than 64 bytes are
// left, goes through two narrower tiles.
//
// With PLANISH_EMULATE_AMX (base/x86_amx.h) the functions get other names.
#include <immintrin.h>
#include <string.h>

#include "base/x86_amx.h"
#include "kernels/gemm/tile.h"

#if defined(PLANISH_EMULATE_AMX)
#define TileU8S8Amx TileU8S8AmxEmulated
#define RegionU8S8Amx RegionU8S8AmxEmulated
#endif

namespace planish {
namespace {

#include "kernels/gemm/vec_int_avx512.inl"

constexpr int kTileDim = 16;        // rows of a tile, and outputs of a panel
constexpr int64_t kTileBytes = 64;  // bytes of a tile's row: 16 quads of x
constexpr int64_t kQuadBytes = 64;  // bytes of a panel's quad: 16 outputs × 4
// Tile registers: 0–3 the sums [group][panel], then the inputs and weights of whole and of last pieces.
constexpr int kX = 4, kW = 5, kLastX = 6, kLastW = 7;

// Where the 16 rows of one group at one segment lie.
struct Group {
  const char* base;
  int64_t pitch;
};

int64_t PaddedDepth(int64_t depth) { return (depth + kTileBytes - 1) / kTileBytes * kTileBytes; }

// Whether 16 rows lie a constant distance apart.
bool Uniform(const char* const* rows) {
  const int64_t pitch = rows[1] - rows[0];
  for (int r = 2; r < kTileDim; ++r) {
    if (rows[r] - rows[r - 1] != pitch) return false;
  }
  return true;
}

// Finds or copies the rows of every group and segment: groups[segment · 2 + group].
void Place(const TileArgs& a, int rows, Group* groups, char* copies) {
  const int64_t padded = PaddedDepth(a.depth);
  for (int64_t s = 0; s < a.segments; ++s) {
    const char* const* x = a.rows + s * a.row_pitch;
    for (int first = 0; first < rows; first += kTileDim) {
      Group& g = groups[s * 2 + first / kTileDim];
      if (rows - first >= kTileDim && Uniform(x + first)) {
        g = {x[first] + a.row_offset, x[first + 1] - x[first]};
        continue;
      }
      const int count = rows - first < kTileDim ? rows - first : kTileDim;
      g = {copies, padded};
      for (int r = 0; r < count; ++r)
        memcpy(copies + r * padded, x[first + r] + a.row_offset, static_cast<size_t>(a.depth));
      copies += kTileDim * padded;
    }
  }
}

// One piece of K for all tiles: kBigX and kBigW are its registers, the weights `w` of panel 0.
template <int kGroups, int kPanels, int kPieceX, int kPieceW>
inline void Multiply(const Group* groups, int64_t k, const char* w, int64_t panel_bytes) {
  AmxLoad<kPieceX>(groups[0].base + k, groups[0].pitch);
  AmxLoad<kPieceW>(w, kQuadBytes);
  AmxDotU8S8<0, kPieceX, kPieceW>();
  if constexpr (kPanels == 2) {
    AmxLoad<kPieceW>(w + panel_bytes, kQuadBytes);
    AmxDotU8S8<1, kPieceX, kPieceW>();
  }
  if constexpr (kGroups == 2) {
    AmxLoad<kPieceX>(groups[1].base + k, groups[1].pitch);
    AmxDotU8S8<kPanels == 2 ? 3 : 2, kPieceX, kPieceW>();
    if constexpr (kPanels == 2) {
      AmxLoad<kPieceW>(w, kQuadBytes);
      AmxDotU8S8<2, kPieceX, kPieceW>();
    }
  }
}

template <int kGroups, int kPanels>
void Tiles(const TileArgs& a, int rows, const Group* groups, const int32_t* x_sums, int64_t column) {
  AmxZero<0>();
  AmxZero<1>();
  AmxZero<2>();
  AmxZero<3>();
  const int64_t quads = (a.depth + 3) / 4, whole = a.depth / kTileBytes * kTileBytes;
  for (int64_t s = 0; s < a.segments; ++s, groups += 2) {
    const char* w = a.weights + column / kTileDim * a.panel_bytes + s * quads * kQuadBytes;
    int64_t k = 0;
    for (; k < whole; k += kTileBytes)
      Multiply<kGroups, kPanels, kX, kW>(groups, k, w + k / 4 * kQuadBytes, a.panel_bytes);
    if (k < a.depth)
      Multiply<kGroups, kPanels, kLastX, kLastW>(groups, k, w + k / 4 * kQuadBytes, a.panel_bytes);
  }
  alignas(64) int32_t sums[4][kTileDim * kTileDim];
  constexpr int64_t kPitch = kTileDim * sizeof(int32_t);
  AmxStore<0>(sums[0], kPitch);
  AmxStore<1>(sums[1], kPitch);
  AmxStore<2>(sums[2], kPitch);
  AmxStore<3>(sums[3], kPitch);
  for (int g = 0; g < kGroups; ++g) {
    const int first = g * kTileDim, last = rows < first + kTileDim ? rows : first + kTileDim;
    for (int p = 0; p < kPanels; ++p) {
      const int64_t at = column + p * kTileDim, left = a.outputs - at;
      WriteSums(a, x_sums, first, last, at, left < kTileDim ? left : kTileDim, sums[g * 2 + p], kTileDim);
    }
  }
}

template <int kGroups>
void Columns(const TileArgs& a, int rows, const Group* groups, const int32_t* x_sums) {
  int64_t column = 0;
  for (; a.outputs - column > kTileDim; column += 2 * kTileDim)
    Tiles<kGroups, 2>(a, rows, groups, x_sums, column);
  if (column < a.outputs) Tiles<kGroups, 1>(a, rows, groups, x_sums, column);
}

}  // namespace

void RegionU8S8Amx(const TileArgs& args, bool enter) {
  if (!enter) return AmxRelease();
  AmxConfig config;
  memset(&config, 0, sizeof config);
  config.palette = 1;
  for (int t = 0; t < 8; ++t) {
    config.rows[t] = kTileDim;
    config.row_bytes[t] = kTileBytes;
  }
  const int64_t last_quads = (args.depth % kTileBytes + 3) / 4;
  if (last_quads > 0) {
    config.row_bytes[kLastX] = static_cast<uint16_t>(last_quads * 4);
    config.rows[kLastW] = static_cast<uint8_t>(last_quads);
  }
  AmxConfigure(config);
}

void TileU8S8Amx(const TileArgs& args, int rows) {
  Group* groups = reinterpret_cast<Group*>(args.scratch);
  Place(args, rows, groups, args.scratch + args.segments * static_cast<int64_t>(2 * sizeof(Group)));
  int32_t x_sums[kMaxTileRows] = {};
  SumRows(args, rows, x_sums);
  if (rows <= kTileDim) return Columns<1>(args, rows, groups, x_sums);
  Columns<2>(args, rows, groups, x_sums);
}

}  // namespace planish
