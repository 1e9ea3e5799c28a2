// The element-wise halves of recurrent steps over one batch row of H units: one table of functions per ISA.
// What they add to the matrix products is the same bits everywhere. `clip` bounds every argument of an
// activation, infinity if none.
#pragma once

#include <stdint.h>

namespace planish {

struct RnnRows {
  // gates [4][H] in the order i, o, f, c; peephole [3][H] in the order i, o, f, or null:
  //   i = sigmoid(gi + pi c), f = sigmoid(gf + pf c), c = f c + i tanh(gc), o = sigmoid(go + po c), h = o
  //   tanh(c)
  void (*lstm)(const float* gates, const float* peephole, float clip, float* h, float* c, int64_t units);
  // x and r [3][H] in the order z, r, h, the input's and the state's products:
  //   z = sigmoid(xz + rz), r = sigmoid(xr + rr), n = tanh(xh + r rh), h = (1 - z) n + z h
  void (*gru_after)(const float* x, const float* r, float clip, float* h, int64_t units);
  // The same with the reset applied before the product, in two halves: z into `update` and r h into `reset`,
  // then n from rh, the product of r h.
  void (*gru_gates)(const float* x, const float* r, float clip, const float* h, float* update, float* reset,
                    int64_t units);
  void (*gru_state)(const float* xh, const float* rh, float clip, const float* update, float* h,
                    int64_t units);
  void (*rnn_tanh)(const float* gates, float clip, float* h, int64_t units);
  void (*rnn_relu)(const float* gates, float clip, float* h, int64_t units);
};

extern const RnnRows kRnnRowsScalar, kRnnRowsAvx2, kRnnRowsAvx512;

}  // namespace planish
