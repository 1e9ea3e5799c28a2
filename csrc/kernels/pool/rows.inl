// The bodies of rows.h for one ISA. The including file defines PLANISH_POOL_ROWS, the name of its table.
#include "kernels/common/float_math.h"
#include "kernels/common/vector.h"
#include "kernels/pool/rows.h"

namespace planish {
namespace {

struct Larger {
  template <class V>
  static V Combine(V a, V b) {
    return b > a ? b : a;
  }
};
struct Add {
  template <class V>
  static V Combine(V a, V b) {
    return a + b;
  }
};

// kVectors vectors of the accumulator, kept in registers over all taps.
template <class Op, int kBytes, int kVectors, class T>
inline void Block(const T* const* taps, int count, T* acc, int64_t i) {
  constexpr int kStep = VectorOf<T, kBytes>::kCount;
  Vector<T, kBytes> sum[kVectors];
  for (int v = 0; v < kVectors; ++v) sum[v] = LoadVector<kBytes>(acc + i + v * kStep);
  for (int t = 0; t < count; ++t) {
    for (int v = 0; v < kVectors; ++v)
      sum[v] = Op::Combine(sum[v], LoadVector<kBytes>(taps[t] + i + v * kStep));
  }
  for (int v = 0; v < kVectors; ++v) StoreVector(acc + i + v * kStep, sum[v]);
}

// What is left after the wide blocks, by ever narrower vectors.
template <class Op, int kBytes, class T>
inline void Tail(const T* const* taps, int count, T* acc, int64_t i, int64_t n) {
  if constexpr (kBytes > static_cast<int>(sizeof(T)) && kBytes >= 8) {
    constexpr int kStep = VectorOf<T, kBytes>::kCount;
    if (i + kStep <= n) {
      Block<Op, kBytes, 1>(taps, count, acc, i);
      i += kStep;
    }
    Tail<Op, kBytes / 2>(taps, count, acc, i, n);
  } else {
    for (; i < n; ++i) {
      for (int t = 0; t < count; ++t) acc[i] = Op::Combine(acc[i], taps[t][i]);
    }
  }
}

template <class Op, class T>
void Accumulate(const T* const* taps, int count, T* acc, int64_t n) {
  constexpr int kStep = VectorOf<T>::kCount;
  int64_t i = 0;
  for (; i + 4 * kStep <= n; i += 4 * kStep) Block<Op, kVectorBytes, 4>(taps, count, acc, i);
  for (; i + kStep <= n; i += kStep) Block<Op, kVectorBytes, 1>(taps, count, acc, i);
  if (i < n) Tail<Op, kVectorBytes / 2>(taps, count, acc, i, n);
}

// float(x - zero) * scale of as many bytes as a vector has floats.
inline Vector<float> Dequantized(const uint8_t* x, int32_t zero, float scale) {
  return __builtin_convertvector(WidenBytes(x) - zero, Vector<float>) * scale;
}

// kVectors vectors of the accumulator, as Block.
template <int kVectors>
inline void SumBlock(const uint8_t* const* taps, int count, int32_t zero, float scale, float* acc,
                     int64_t i) {
  constexpr int kStep = VectorOf<float>::kCount;
  Vector<float> sum[kVectors];
  for (int v = 0; v < kVectors; ++v) sum[v] = LoadVector(acc + i + v * kStep);
  for (int t = 0; t < count; ++t) {
    for (int v = 0; v < kVectors; ++v) sum[v] += Dequantized(taps[t] + i + v * kStep, zero, scale);
  }
  for (int v = 0; v < kVectors; ++v) StoreVector(acc + i + v * kStep, sum[v]);
}

void SumBytes(const uint8_t* const* taps, int count, int32_t zero, float scale, float* acc, int64_t n) {
  constexpr int kStep = VectorOf<float>::kCount;
  int64_t i = 0;
  for (; i + 4 * kStep <= n; i += 4 * kStep) SumBlock<4>(taps, count, zero, scale, acc, i);
  for (; i + kStep <= n; i += kStep) SumBlock<1>(taps, count, zero, scale, acc, i);
  for (; i < n; ++i) {
    for (int t = 0; t < count; ++t)
      acc[i] += static_cast<float>(static_cast<int32_t>(taps[t][i]) - zero) * scale;
  }
}

void DivideBy(float* acc, float by, int64_t n) {
  for (int64_t i = 0; i < n; ++i) acc[i] /= by;
}

void Quantize(const float* __restrict acc, float by, float scale, int32_t zero, int32_t lo, int32_t hi,
              uint8_t* __restrict y, int64_t n) {
  const float low = static_cast<float>(lo - zero), high = static_cast<float>(hi - zero);
  for (int64_t i = 0; i < n; ++i) {
    const float v = acc[i] / by / scale;
    const float above = v > low ? v : low;
    const float c = above < high ? above : high;
    y[i] = static_cast<uint8_t>(static_cast<int32_t>(BitsOf(c + kRounder) - BitsOf(kRounder)) + zero);
  }
}

}  // namespace

const PoolRows PLANISH_POOL_ROWS = {Accumulate<Larger, float>,
                                    Accumulate<Larger, uint8_t>,
                                    Accumulate<Add, float>,
                                    SumBytes,
                                    DivideBy,
                                    Quantize};

}  // namespace planish
