// u8 × s8 micro-kernel for AMX, see tile_amx.inl.
//
// Sixteen rows that lie a constant distance apart are loaded in place; others, and groups of fewer than sixteen, are first
// copied to scratch (rows that are missing compute junk that nobody stores).
//
// With PLANISH_EMULATE_AMX (base/x86_amx.h) the functions get other names, and AVX2 is enough.
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

#if defined(__AVX512F__)
#include "kernels/gemm/vec_int_avx512.inl"
#else
#include "kernels/gemm/vec_int_avx2.inl"
#endif

using Sum = int32_t;
constexpr int64_t kItem = 1;

template <int kC, int kA, int kB>
inline void Dot() {
  AmxDotU8S8<kC, kA, kB>();
}

inline void Write(const TileArgs& a, const int32_t* x_sums, int first, int last, int64_t column,
                  int64_t count, const int32_t* sums, int64_t pitch) {
  WriteSums(a, x_sums, first, last, column, count, sums, pitch);
}

#include "kernels/gemm/tile_amx.inl"

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
  const int64_t padded = PaddedBytes(a.depth);
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

}  // namespace

void RegionU8S8Amx(const TileArgs& args, bool enter) { enter ? ConfigureTiles(args.depth) : AmxRelease(); }

void TileU8S8Amx(const TileArgs& args, int rows) {
  Group* groups = reinterpret_cast<Group*>(args.scratch);
  Place(args, rows, groups, args.scratch + args.segments * static_cast<int64_t>(2 * sizeof(Group)));
  int32_t x_sums[kMaxTileRows] = {};
  SumRows(args, rows, x_sums);
  AllTiles(args, rows, groups, x_sums);
}

}  // namespace planish
