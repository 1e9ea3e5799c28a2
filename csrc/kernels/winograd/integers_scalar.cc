// Family winograd on bytes, in portable C++.
#include <string.h>

#include "kernels/winograd/integers.h"

namespace planish {
namespace {

#include "kernels/gemm/vec_int_scalar.inl"
#include "kernels/winograd/integers.inl"

void Multiply(const int16_t* v, int64_t v_pitch, int rows, const int16_t* u, int64_t pairs, int64_t panels,
              int32_t* m, int64_t m_pitch) {
  constexpr int kPanelLanes = 16;
  for (int64_t panel = 0; panel < panels; ++panel, u += pairs * kPanelLanes * 2) {
    for (int r = 0; r < rows; ++r) {
      uint32_t sum[kPanelLanes] = {};
      for (int64_t k = 0; k < pairs; ++k) {
        const int32_t x0 = v[r * v_pitch + 2 * k], x1 = v[r * v_pitch + 2 * k + 1];
        const int16_t* w = u + k * kPanelLanes * 2;
        for (int n = 0; n < kPanelLanes; ++n)
          sum[n] += static_cast<uint32_t>(x0 * w[2 * n] + x1 * w[2 * n + 1]);
      }
      memcpy(m + r * m_pitch + panel * kPanelLanes, sum, sizeof sum);
    }
  }
}

}  // namespace

const WinogradIntegers kWinogradIntegersScalar = {&InputTile, &Multiply, &OutputTile};

}  // namespace planish
