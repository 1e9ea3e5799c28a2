// The rule by which lowering decides whether compressed weights pay: predicted times of the compressed kernel
// and of the dense one, for one thread of the instruction sets usable now. Deterministic; the constants are
// fitted to races of bench/compressed_kernels.py and lean towards the dense kernel.
#pragma once

#include <cstdint>

#include "formats/codebook.h"
#include "formats/sparse.h"

namespace planish {

// Below this predicted speed-up compressed weights are not worth it.
inline constexpr double kWorthwhile = 1.1;

struct LayerShape {
  int64_t pixels, outputs, taps, channels;  // pixels: rows of a GEMM, output positions of a convolution
  bool winograd = false;                    // whether dense weights would take that form (formats/winograd.h)
};

// Predicted time of the dense kernel over that of the sparse one. density: the part of the blocks that is
// kept.
double PredictSparse(SparseFormat format, const LayerShape& layer, double density);

// Predicted time of the dense kernel (float for kinds f32 and affine) over that of the lookup kernel.
// `shared`: whether all 16 outputs of a panel use one table.
double PredictCodebook(CodebookKind kind, int bits, const LayerShape& layer, bool shared);

}  // namespace planish
