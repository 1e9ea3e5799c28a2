// The functions that build tiles and write outputs, by instruction set (see TiledKernel). Those named Wide
// write a tile of two copies: of each word of four u8 channels, channels 0 and 2, then channels 1 and 3, as
// pairs of 16 bits: tile[taps * words][2][capacity]. BuildByteTileAvx512 writes channels apart, tile[taps *
// words * 4][64] bytes; byte 16 * l + 4 * i + j of a row is pixel 16 * i + 4 * l + j, the order in which
// unpacking four rows gives words of 16 pixels.
#pragma once

#include "kernels/tiled/panel.h"

namespace planish {

#define PLANISH_TILE_BUILDER(Name)                                                                      \
  void Name(const std::byte* const* rows, int64_t taps, int64_t words, uint32_t tail, int64_t capacity, \
            uint32_t* tile);
#define PLANISH_TILE_FINISH(Name)                                                                      \
  void Name(const Finish& f, int64_t first, const uint32_t* sums, int64_t pixels, std::byte* const* y, \
            const std::byte* const* residual);

PLANISH_TILE_BUILDER(BuildTilePortable)
PLANISH_TILE_FINISH(FinishPortable)
#if defined(__x86_64__)
PLANISH_TILE_BUILDER(BuildTileAvx2)
PLANISH_TILE_BUILDER(BuildWideTileAvx2)
PLANISH_TILE_BUILDER(BuildTileAvx512)
PLANISH_TILE_BUILDER(BuildByteTileAvx512)
PLANISH_TILE_FINISH(FinishFloatAvx2)
PLANISH_TILE_FINISH(FinishIntegerAvx2)
PLANISH_TILE_FINISH(FinishFloatAvx512)
PLANISH_TILE_FINISH(FinishIntegerAvx512)
#endif

#undef PLANISH_TILE_BUILDER
#undef PLANISH_TILE_FINISH

}  // namespace planish
