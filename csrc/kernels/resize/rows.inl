// The bodies of rows.h for one ISA. The including file defines PLANISH_RESIZE_ROWS, the name of its table.
#include "kernels/resize/rows.h"

namespace planish {
namespace {

void Add(const float* __restrict x, float w, bool first, float* __restrict y, int64_t n) {
  if (first) {
    for (int64_t i = 0; i < n; ++i) y[i] = w * x[i];
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] += w * x[i];
  }
}

void Combine(const float* line, const int64_t* pixel, const float* weight, int taps, int64_t channels,
             float* __restrict y) {
  if (taps == 2) {
    const float *a = line + pixel[0] * channels, *b = line + pixel[1] * channels;
    const float u = weight[0], v = weight[1];
    for (int64_t c = 0; c < channels; ++c) y[c] = u * a[c] + v * b[c];
    return;
  }
  Add(line + pixel[0] * channels, weight[0], true, y, channels);
  for (int t = 1; t < taps; ++t) Add(line + pixel[t] * channels, weight[t], false, y, channels);
}

}  // namespace

const ResizeRows PLANISH_RESIZE_ROWS = {Add, Combine};

}  // namespace planish
