// The bodies of rows.h for one ISA. The including file defines PLANISH_RESIZE_ROWS, the name of its table.
#include "kernels/common/float_math.h"
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

void Dequantize(const uint8_t* __restrict x, float scale, int32_t zero, float* __restrict y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(static_cast<int32_t>(x[i]) - zero) * scale;
}

void Quantize(const float* __restrict x, float scale, int32_t zero, uint8_t* __restrict y, int64_t n) {
  const float lo = static_cast<float>(-zero), hi = static_cast<float>(255 - zero);
  for (int64_t i = 0; i < n; ++i) {
    const float v = x[i] / scale;
    const float above = v > lo ? v : lo;
    const float c = above < hi ? above : hi;
    y[i] = static_cast<uint8_t>(static_cast<int32_t>(BitsOf(c + kRounder) - BitsOf(kRounder)) + zero);
  }
}

}  // namespace

const ResizeRows PLANISH_RESIZE_ROWS = {Add, Combine, Dequantize, Quantize};

}  // namespace planish
