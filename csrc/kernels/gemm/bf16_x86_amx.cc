// float32 × bfloat16 micro-kernel for AMX, see tile_amx.inl. Rows of x are rounded to bfloat16 in scratch and filled up with
// zeros (rows that are missing compute junk that nobody stores).
//
// With PLANISH_EMULATE_AMX (base/x86_amx.h) the functions get other names, and AVX2 is enough.
#include <immintrin.h>
#include <string.h>

#include "base/x86_amx.h"
#include "kernels/gemm/tile.h"

#if defined(PLANISH_EMULATE_AMX)
#define TileBf16Amx TileBf16AmxEmulated
#define RegionBf16Amx RegionBf16AmxEmulated
#endif

namespace planish {
namespace {

#if defined(__AVX512F__)
#include "kernels/gemm/vec_f32_avx512.inl"
#else
#include "kernels/gemm/vec_f32_avx2.inl"
#endif
#include "kernels/gemm/write_sums_f32.inl"

using Sum = float;
constexpr int64_t kItem = 2;

template <int kC, int kA, int kB>
inline void Dot() {
  AmxDotBf16<kC, kA, kB>();
}

inline void Write(const TileArgs& a, const int32_t*, int first, int last, int64_t column, int64_t count, float* sums,
                  int64_t pitch) {
  if (a.bias) {
    const float* bias = static_cast<const float*>(a.bias) + column;
    for (int r = 0; r < last - first; ++r) {
      for (int64_t n = 0; n < count; ++n) sums[r * pitch + n] += bias[n];
    }
  }
  WriteSums(a, first, last - first, column, count, sums, pitch);
}

#include "kernels/gemm/tile_amx.inl"

// bfloat16 of float32 bits, halves to even; a NaN stays one.
inline uint16_t Rounded(uint32_t bits) {
  const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16, nan = bits >> 16 | 0x40;
  return static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? nan : rounded);
}

// Rounds `depth` numbers and fills up with zeros to `padded` bytes.
inline void RoundRow(const char* x, int64_t depth, int64_t padded, char* to) {
  for (int64_t k = 0; k < depth; ++k) {
    uint32_t bits;
    memcpy(&bits, x + k * 4, 4);
    const uint16_t half = Rounded(bits);
    memcpy(to + k * kItem, &half, kItem);
  }
  memset(to + depth * kItem, 0, static_cast<size_t>(padded - depth * kItem));
}

// Rounds the rows of every segment: groups[segment · 2 + group].
void Place(const TileArgs& a, int rows, Group* groups, char* copies) {
  const int64_t padded = PaddedBytes(a.depth);
  for (int64_t s = 0; s < a.segments; ++s) {
    for (int first = 0; first < rows; first += kTileDim, copies += kTileDim * padded) {
      groups[s * 2 + first / kTileDim] = {copies, padded};
      const int last = rows < first + kTileDim ? rows : first + kTileDim;
      for (int r = first; r < last; ++r)
        RoundRow(a.rows[s * a.row_pitch + r] + a.row_offset, a.depth, padded, copies + (r - first) * padded);
    }
  }
}

}  // namespace

void RegionBf16Amx(const TileArgs& args, bool enter) { enter ? ConfigureTiles(args.depth) : AmxRelease(); }

void TileBf16Amx(const TileArgs& args, int rows) {
  Group* groups = reinterpret_cast<Group*>(args.scratch);
  Place(args, rows, groups, args.scratch + args.segments * static_cast<int64_t>(2 * sizeof(Group)));
  AllTiles(args, rows, groups, nullptr);
}

}  // namespace planish
