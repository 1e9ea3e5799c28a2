// The bodies of rows.h for one ISA. The including file defines PLANISH_RNN_ROWS, the name of its table.
#include "kernels/common/float_math.h"
#include "kernels/rnn/rows.h"

namespace planish {
namespace {

inline float Clip(float x, float clip) { return x > clip ? clip : (x < -clip ? -clip : x); }

void LstmPlain(const float* __restrict g, float clip, float* __restrict h, float* __restrict c, int64_t n) {
  for (int64_t j = 0; j < n; ++j) {
    const float i = Sigmoid(Clip(g[j], clip)), f = Sigmoid(Clip(g[2 * n + j], clip));
    const float state = f * c[j] + i * Tanh(Clip(g[3 * n + j], clip));
    c[j] = state;
    h[j] = Sigmoid(Clip(g[n + j], clip)) * Tanh(state);
  }
}

void Lstm(const float* __restrict g, const float* __restrict p, float clip, float* __restrict h,
          float* __restrict c, int64_t n) {
  if (!p) return LstmPlain(g, clip, h, c, n);
  for (int64_t j = 0; j < n; ++j) {
    const float i = Sigmoid(Clip(g[j] + p[j] * c[j], clip)),
                f = Sigmoid(Clip(g[2 * n + j] + p[2 * n + j] * c[j], clip));
    const float state = f * c[j] + i * Tanh(Clip(g[3 * n + j], clip));
    c[j] = state;
    h[j] = Sigmoid(Clip(g[n + j] + p[n + j] * state, clip)) * Tanh(state);
  }
}

void GruAfter(const float* __restrict x, const float* __restrict r, float clip, float* __restrict h,
              int64_t n) {
  for (int64_t j = 0; j < n; ++j) {
    const float z = Sigmoid(Clip(x[j] + r[j], clip)), reset = Sigmoid(Clip(x[n + j] + r[n + j], clip));
    const float next = Tanh(Clip(x[2 * n + j] + reset * r[2 * n + j], clip));
    h[j] = (1.0f - z) * next + z * h[j];
  }
}

void GruGates(const float* __restrict x, const float* __restrict r, float clip, const float* __restrict h,
              float* __restrict update, float* __restrict reset, int64_t n) {
  for (int64_t j = 0; j < n; ++j) {
    update[j] = Sigmoid(Clip(x[j] + r[j], clip));
    reset[j] = Sigmoid(Clip(x[n + j] + r[n + j], clip)) * h[j];
  }
}

void GruState(const float* __restrict xh, const float* __restrict rh, float clip,
              const float* __restrict update, float* __restrict h, int64_t n) {
  for (int64_t j = 0; j < n; ++j) {
    const float z = update[j];
    h[j] = (1.0f - z) * Tanh(Clip(xh[j] + rh[j], clip)) + z * h[j];
  }
}

void RnnTanh(const float* __restrict g, float clip, float* __restrict h, int64_t n) {
  for (int64_t j = 0; j < n; ++j) h[j] = Tanh(Clip(g[j], clip));
}

void RnnRelu(const float* __restrict g, float clip, float* __restrict h, int64_t n) {
  for (int64_t j = 0; j < n; ++j) {
    const float v = Clip(g[j], clip);
    h[j] = v < 0.0f ? 0.0f : v;
  }
}

}  // namespace

const RnnRows PLANISH_RNN_ROWS = {Lstm, GruAfter, GruGates, GruState, RnnTanh, RnnRelu};

}  // namespace planish
