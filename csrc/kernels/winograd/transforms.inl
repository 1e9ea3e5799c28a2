// The bodies of transforms.h for one ISA. The including file defines PLANISH_WINOGRAD_TRANSFORMS, the name of its table.
#include "kernels/common/vector.h"
#include "kernels/winograd/transforms.h"

namespace planish {
namespace {

template <class V>
inline V Read(const float* p) {
  V v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

// One vector (or number) of channels.
template <class V>
inline void Input(const float* const* taps, int64_t c, float* v, int64_t slice) {
  for (int i = 0; i < 4; ++i) {
    // Row i of Bᵀ d: the difference or the sum of two rows of d.
    const int plus = i == 0 ? 0 : i == 2 ? 2 : 1, other = i == 0 ? 2 : i == 1 ? 2 : i == 2 ? 1 : 3;
    V t[4];
    for (int j = 0; j < 4; ++j) {
      const V a = Read<V>(taps[4 * plus + j] + c), b = Read<V>(taps[4 * other + j] + c);
      t[j] = i == 1 ? a + b : a - b;
    }
    float* to = v + 4 * i * slice + c;
    StoreVector(to, t[0] - t[2]);
    StoreVector(to + slice, t[1] + t[2]);
    StoreVector(to + 2 * slice, t[2] - t[1]);
    StoreVector(to + 3 * slice, t[1] - t[3]);
  }
}

void InputTile(const float* const* taps, int64_t channels, float* v, int64_t slice) {
  using V = Vector<float>;
  constexpr int64_t kStep = VectorOf<float>::kCount;
  int64_t c = 0;
  for (; c + kStep <= channels; c += kStep) Input<V>(taps, c, v, slice);
  for (; c < channels; ++c) Input<float>(taps, c, v, slice);
}

template <class V>
inline V Clamp(V v, float low, float high) {
  const V least = low - V{}, most = high - V{};  // as they are, a negative zero too
  v = least > v ? least : v;
  return most < v ? most : v;
}

template <class V>
inline void Output(const float* m, int64_t slice, int64_t n, const float* bias, const float* const* residual,
                   float low, float high, float* const* y) {
  V sums[2][4];  // Aᵀ m
  for (int j = 0; j < 4; ++j) {
    const float* at = m + j * slice + n;
    const V m1 = Read<V>(at + 4 * slice), m2 = Read<V>(at + 8 * slice);
    sums[0][j] = Read<V>(at) + m1 + m2;
    sums[1][j] = m1 - m2 - Read<V>(at + 12 * slice);
  }
  const V b = bias ? Read<V>(bias + n) : V{};
  for (int i = 0; i < 2; ++i) {
    const V both[2] = {sums[i][0] + sums[i][1] + sums[i][2], sums[i][1] - sums[i][2] - sums[i][3]};
    for (int j = 0; j < 2; ++j) {
      const int o = 2 * i + j;
      if (!y[o]) continue;
      V v = both[j] + b;
      if (residual) v = v + Read<V>(residual[o] + n);
      StoreVector(y[o] + n, Clamp(v, low, high));
    }
  }
}

void OutputTile(const float* m, int64_t slice, int64_t outputs, const float* bias,
                const float* const* residual, float low, float high, float* const* y) {
  using V = Vector<float>;
  constexpr int64_t kStep = VectorOf<float>::kCount;
  int64_t n = 0;
  for (; n + kStep <= outputs; n += kStep) Output<V>(m, slice, n, bias, residual, low, high, y);
  for (; n < outputs; ++n) Output<float>(m, slice, n, bias, residual, low, high, y);
}

}  // namespace

const WinogradTransforms PLANISH_WINOGRAD_TRANSFORMS = {&InputTile, &OutputTile};

}  // namespace planish
