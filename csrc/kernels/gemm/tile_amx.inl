// The walk of AMX micro-kernels: up to 32 rows × 32 outputs in four tiles. A panel's pieces of 64 bytes, 16 outputs each, are a
// tile as they lie. The end of a row, where fewer than 64 bytes are left, goes through two narrower tiles. Included inside an
// anonymous namespace, after base/x86_amx.h, that has defined
//   kItem: bytes of an element of x, as it is multiplied, and of w;  Sum: the type of the sums;
//   Dot<C, A, B>(): the product of tiles;
//   Write(a, x_sums, first, last, column, count, sums, pitch): completes and writes the rows [first, last), of which `sums`,
//   which it may change, holds `count` outputs from `column` on; x_sums are the rows' own sums, where Write needs them.

constexpr int kTileDim = 16;         // rows of a tile, and outputs of a panel
constexpr int64_t kTileBytes = 64;   // bytes of a tile's row
constexpr int64_t kPieceBytes = 64;  // bytes of 16 outputs × 4 bytes of depth in a panel
// Tile registers: 0–3 the sums [group][panel], then the inputs and weights of whole and of last pieces.
constexpr int kX = 4, kW = 5, kLastX = 6, kLastW = 7;

// Where the 16 rows of one group at one segment lie.
struct Group {
  const char* base;
  int64_t pitch;
};

inline int64_t PaddedBytes(int64_t depth) {
  return (depth * kItem + kTileBytes - 1) / kTileBytes * kTileBytes;
}

// The tiles' shapes, for rows of this depth.
inline void ConfigureTiles(int64_t depth) {
  AmxConfig config;
  memset(&config, 0, sizeof config);
  config.palette = 1;
  for (int t = 0; t < 8; ++t) {
    config.rows[t] = kTileDim;
    config.row_bytes[t] = kTileBytes;
  }
  const int64_t last = (depth * kItem % kTileBytes + 3) / 4;
  if (last > 0) {
    config.row_bytes[kLastX] = static_cast<uint16_t>(last * 4);
    config.rows[kLastW] = static_cast<uint8_t>(last);
  }
  AmxConfigure(config);
}

// One piece of K for all tiles: kPieceX and kPieceW are its registers, `w` the weights of panel 0.
template <int kGroups, int kPanels, int kPieceX, int kPieceW>
inline void Multiply(const Group* groups, int64_t at, const char* w, int64_t panel_bytes) {
  AmxLoad<kPieceX>(groups[0].base + at, groups[0].pitch);
  AmxLoad<kPieceW>(w, kPieceBytes);
  Dot<0, kPieceX, kPieceW>();
  if constexpr (kPanels == 2) {
    AmxLoad<kPieceW>(w + panel_bytes, kPieceBytes);
    Dot<1, kPieceX, kPieceW>();
  }
  if constexpr (kGroups == 2) {
    AmxLoad<kPieceX>(groups[1].base + at, groups[1].pitch);
    Dot<kPanels == 2 ? 3 : 2, kPieceX, kPieceW>();
    if constexpr (kPanels == 2) {
      AmxLoad<kPieceW>(w, kPieceBytes);
      Dot<2, kPieceX, kPieceW>();
    }
  }
}

template <int kGroups, int kPanels>
void Tiles(const TileArgs& a, int rows, const Group* groups, const int32_t* x_sums, int64_t column) {
  AmxZero<0>();
  AmxZero<1>();
  AmxZero<2>();
  AmxZero<3>();
  const int64_t bytes = a.depth * kItem, pieces = (bytes + 3) / 4, whole = bytes / kTileBytes * kTileBytes;
  for (int64_t s = 0; s < a.segments; ++s, groups += 2) {
    const char* w = a.weights + column / kTileDim * a.panel_bytes + s * pieces * kPieceBytes;
    int64_t at = 0;
    for (; at < whole; at += kTileBytes)
      Multiply<kGroups, kPanels, kX, kW>(groups, at, w + at / 4 * kPieceBytes, a.panel_bytes);
    if (at < bytes)
      Multiply<kGroups, kPanels, kLastX, kLastW>(groups, at, w + at / 4 * kPieceBytes, a.panel_bytes);
  }
  alignas(64) Sum sums[4][kTileDim * kTileDim];
  constexpr int64_t kPitch = kTileDim * sizeof(Sum);
  AmxStore<0>(sums[0], kPitch);
  AmxStore<1>(sums[1], kPitch);
  AmxStore<2>(sums[2], kPitch);
  AmxStore<3>(sums[3], kPitch);
  for (int g = 0; g < kGroups; ++g) {
    const int first = g * kTileDim, last = rows < first + kTileDim ? rows : first + kTileDim;
    for (int p = 0; p < kPanels; ++p) {
      const int64_t from = column + p * kTileDim, left = a.outputs - from;
      Write(a, x_sums, first, last, from, left < kTileDim ? left : kTileDim, sums[g * 2 + p], kTileDim);
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

// groups: [segments][2].
inline void AllTiles(const TileArgs& a, int rows, const Group* groups, const int32_t* x_sums) {
  if (rows <= kTileDim) return Columns<1>(a, rows, groups, x_sums);
  Columns<2>(a, rows, groups, x_sums);
}
