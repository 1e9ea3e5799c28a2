// Families `lstm`, `gru`, `rnn`: one direction of ONNX's recurrent layers, float32.
//
//   inputs   x [T, B, I], W, R, bias, h0 [B, H], c0 [B, H], P [3H], lengths int32 [B]
//   outputs  Y [T, B, H], Y_h [B, H], and of lstm Y_c [B, H]
//
//            gates             bias                                             uses c0, P
//   lstm     i, o, f, c        [4H]: the input's and the recurrent one, summed    yes (P: i, o, f)
//   gru      z, r, h           [6H]: the input's, then the recurrent one          no
//   rnn      one               [H]: the input's and the recurrent one, summed     no
//
//   W and R are packed dense_f32 (formats/dense.h) of gates*H outputs and depth I or H, one tap, one group.
//   Everything behind R may be absent (zeros; full lengths), and so may every output but one. The last axis
//   of every tensor is contiguous, other strides are free.
//
//   Attributes: reverse (0, 1: each sequence is read from its own end), clip (bounds the activations'
//   arguments), linear_before_reset (gru), act "tanh" or "relu" (rnn). Behind a sequence's length Y is zero
//   and the state stays.
//
// The products x W of all steps are one matrix product; each step then adds h R. Both run on the
// micro-kernels of gemm.
#pragma once

#include "formats/dense.h"
#include "kernels/gemm/gemm.h"
#include "kernels/rnn/lines.h"

namespace planish {

// A packed matrix of the layer.
struct PackedMatrix {
  int64_t outputs, depth;
  int64_t panel_bytes() const { return depth * kPanel * 4; }
};

// y[r][0..columns) = rows[r] · w (+ bias) (+ y[r] as it was, if `add`), columns from panel `first_panel` on.
struct Product {
  const PackedMatrix& matrix;
  const std::byte* weights;
  const float* bias;  // of the first column; may be null
  int64_t first_panel, columns;
  bool add;
};

// rows, out: `count` pointers.
void Multiply(const TileKernel& kernel, const Product& product, const char* const* rows, char* const* out,
              int64_t count, int threads);

}  // namespace planish
