// The bodies of rows.h for one ISA. The including file defines PLANISH_QUANTIZE_ROWS, the name of its table.
#include "kernels/common/float_math.h"
#include "kernels/common/vector.h"
#include "kernels/quantize/rows.h"

namespace planish {
namespace {

// v is clamped to an interval within 2^22 of zero and then rounded half to even; NaN gives lo.
inline int32_t ClampAndRound(float v, float lo, float hi) {
  const float low = v > lo ? v : lo;
  const float c = low < hi ? low : hi;
  return static_cast<int32_t>(BitsOf(c + kRounder) - BitsOf(kRounder));
}

template <class T, int kLow, int kHigh, bool kPerElement>
void Quantize(const float* __restrict x, const float* __restrict scale, const void* zero_points, void* to,
              int64_t n) {
  const T* __restrict zero = static_cast<const T*>(zero_points);
  T* __restrict y = static_cast<T*>(to);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t p = kPerElement ? i : 0;
    const int32_t z = zero[p];
    const float lo = static_cast<float>(kLow - z), hi = static_cast<float>(kHigh - z);
    y[i] = static_cast<T>(ClampAndRound(x[i] / scale[p], lo, hi) + z);
  }
}

// Quantize<uint8_t, 0, 255, false>, four vectors at a time.
void QuantizeToBytes(const float* __restrict x, const float* __restrict scale, const void* zero_point,
                     void* to, int64_t n) {
  constexpr int64_t kStep = VectorOf<float>::kCount;
  const int32_t zero = *static_cast<const uint8_t*>(zero_point);
  const float by = scale[0], lo = static_cast<float>(-zero), hi = static_cast<float>(255 - zero);
  uint8_t* __restrict y = static_cast<uint8_t*>(to);
  const auto several = [&](int64_t i) {
    const Vector<float> v = LargerOf(LoadVector(x + i) / by, lo - Vector<float>{});
    const Vector<float> c = SmallerOf(v, hi - Vector<float>{}) + kRounder;
    return reinterpret_cast<Vector<int32_t>>(c) + (zero - static_cast<int32_t>(BitsOf(kRounder)));
  };
  int64_t i = 0;
  for (; i + 4 * kStep <= n; i += 4 * kStep) {
    const Vector<int32_t> four[4] = {several(i), several(i + kStep), several(i + 2 * kStep),
                                     several(i + 3 * kStep)};
    StoreBytes(y + i, four);
  }
  for (; i < n; ++i) y[i] = static_cast<uint8_t>(ClampAndRound(x[i] / by, lo, hi) + zero);
}

template <class T, bool kPerElement>
void Dequantize(const void* from, const float* __restrict scale, const void* zero_points, float* __restrict y,
                int64_t n) {
  const T* __restrict x = static_cast<const T*>(from);
  const T* __restrict zero = static_cast<const T*>(zero_points);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t p = kPerElement ? i : 0;
    const uint32_t difference = static_cast<uint32_t>(static_cast<int32_t>(x[i])) -
                                static_cast<uint32_t>(static_cast<int32_t>(zero[p]));
    y[i] = static_cast<float>(static_cast<int32_t>(difference)) * scale[p];
  }
}

void Range(const float* x, int64_t n, float* lo, float* hi) {
  constexpr int kStep = VectorOf<float>::kCount, kWays = 4;  // as many chains as hide the latency
  float low = *lo, high = *hi;
  Vector<float> lows[kWays], highs[kWays];
  for (int w = 0; w < kWays; ++w) {
    lows[w] = low - Vector<float>{};
    highs[w] = high - Vector<float>{};
  }
  int64_t i = 0;
  for (; i + kWays * kStep <= n; i += kWays * kStep) {
    for (int w = 0; w < kWays; ++w) {
      const Vector<float> v = LoadVector(x + i + w * kStep);
      lows[w] = v < lows[w] ? v : lows[w];
      highs[w] = v > highs[w] ? v : highs[w];
    }
  }
  for (int w = 0; w < kWays; ++w) {
    for (int l = 0; l < kStep; ++l) {
      low = lows[w][l] < low ? lows[w][l] : low;
      high = highs[w][l] > high ? highs[w][l] : high;
    }
  }
  for (; i < n; ++i) {
    low = x[i] < low ? x[i] : low;
    high = x[i] > high ? x[i] : high;
  }
  *lo = low;
  *hi = high;
}

template <int kChannels>
void InterleavePacked(const uint8_t* const* planes, uint8_t* __restrict y, int64_t n) {
  const uint8_t* p[kChannels];
  for (int c = 0; c < kChannels; ++c) p[c] = planes[c];
  for (int64_t i = 0; i < n; ++i) {
    for (int c = 0; c < kChannels; ++c) y[i * kChannels + c] = p[c][i];
  }
}

void Interleave(const uint8_t* const* planes, int64_t channels, uint8_t* y, int64_t pitch, int64_t n) {
  if (pitch == channels && channels == 2) return InterleavePacked<2>(planes, y, n);
  if (pitch == channels && channels == 3) return InterleavePacked<3>(planes, y, n);
  if (pitch == channels && channels == 4) return InterleavePacked<4>(planes, y, n);
  for (int64_t c = 0; c < channels; ++c) {
    const uint8_t* p = planes[c];
    for (int64_t i = 0; i < n; ++i) y[i * pitch + c] = p[i];
  }
}

}  // namespace

const QuantizeRows PLANISH_QUANTIZE_ROWS = {
    {{QuantizeToBytes, Quantize<uint8_t, 0, 255, true>},
     {Quantize<int8_t, -128, 127, false>, Quantize<int8_t, -128, 127, true>},
     {Quantize<uint16_t, 0, 65535, false>, Quantize<uint16_t, 0, 65535, true>},
     {Quantize<int16_t, -32768, 32767, false>, Quantize<int16_t, -32768, 32767, true>}},
    {{Dequantize<uint8_t, false>, Dequantize<uint8_t, true>},
     {Dequantize<int8_t, false>, Dequantize<int8_t, true>},
     {Dequantize<uint16_t, false>, Dequantize<uint16_t, true>},
     {Dequantize<int16_t, false>, Dequantize<int16_t, true>},
     {Dequantize<int32_t, false>, Dequantize<int32_t, true>}},
    Range,
    Interleave};

}  // namespace planish
