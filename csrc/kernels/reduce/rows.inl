// The bodies of rows.h for one ISA. The including file defines PLANISH_REDUCE_ROWS, the name of its table.
#include "kernels/common/float_math.h"
#include "kernels/common/vector.h"
#include "kernels/reduce/rows.h"

namespace planish {
namespace {

// Combine takes floats or vectors of them, and so does Map where kVector is set.
struct Plain {
  static constexpr bool kVector = true;
  template <class T>
  static T Map(T x, float) {
    return x;
  }
};
struct Sum : Plain {
  template <class T>
  static T Combine(T a, T b) {
    return a + b;
  }
};
struct SumSquare : Sum {
  template <class T>
  static T Map(T x, float) {
    return x * x;
  }
};
struct SumSquareMinus : Sum {
  template <class T>
  static T Map(T x, float offset) {
    return (x - offset) * (x - offset);
  }
};
struct SumAbs : Sum {
  static constexpr bool kVector = false;
  static float Map(float x, float) { return Magnitude(x); }
};
struct SumExp : Sum {
  static constexpr bool kVector = false;
  static float Map(float x, float offset) { return Exp(x - offset); }
};
struct Max : Plain {  // NaN wins
  template <class T>
  static T Combine(T a, T b) {
    return (b > a) | (b != b) ? b : a;
  }
};
struct Min : Plain {
  template <class T>
  static T Combine(T a, T b) {
    return (b < a) | (b != b) ? b : a;
  }
};
struct Product : Plain {
  template <class T>
  static T Combine(T a, T b) {
    return a * b;
  }
};

template <class Op>
void Lanes(const float* x, int64_t n, float offset, float* lanes) {
  constexpr int kStep = VectorOf<float>::kCount, kVectors = kLanes / kStep;
  Vector<float> acc[kVectors];
  for (int v = 0; v < kVectors; ++v) acc[v] = LoadVector(lanes + v * kStep);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    if constexpr (Op::kVector) {
      for (int v = 0; v < kVectors; ++v) {
        acc[v] = Op::Combine(acc[v], Op::Map(LoadVector(x + i + v * kStep), offset));
      }
    } else {
      float mapped[kLanes];
      for (int l = 0; l < kLanes; ++l) mapped[l] = Op::Map(x[i + l], offset);
      for (int v = 0; v < kVectors; ++v) acc[v] = Op::Combine(acc[v], LoadVector(mapped + v * kStep));
    }
  }
  for (int v = 0; v < kVectors; ++v) StoreVector(lanes + v * kStep, acc[v]);
  for (int l = 0; i < n; ++i, ++l) lanes[l] = Op::Combine(lanes[l], Op::Map(x[i], offset));
}

template <class Op>
void Columns(const float* __restrict x, int64_t n, const float* __restrict offset, float* __restrict acc) {
  for (int64_t i = 0; i < n; ++i) acc[i] = Op::Combine(acc[i], Op::Map(x[i], offset[i]));
}

// t[l] = t[l] COMBINE t[l + kHalf] for l < kHalf.
template <class Op, int kHalf>
inline void Fold(float* t) {
  constexpr int kBytes = kHalf * 4 < kVectorBytes ? kHalf * 4 : kVectorBytes;
  if constexpr (kBytes >= 16) {
    for (int l = 0; l < kHalf; l += kBytes / 4) {
      StoreVector(t + l, Op::Combine(LoadVector<kBytes>(t + l), LoadVector<kBytes>(t + l + kHalf)));
    }
  } else {
    for (int l = 0; l < kHalf; ++l) t[l] = Op::Combine(t[l], t[l + kHalf]);
  }
}

template <class Op>
float Tree(const float* lanes) {
  float t[kLanes];
  __builtin_memcpy(t, lanes, sizeof t);
  Fold<Op, 8>(t);
  Fold<Op, 4>(t);
  Fold<Op, 2>(t);
  Fold<Op, 1>(t);
  return t[0];
}

template <class Op>
void Merge(const float* __restrict part, int64_t n, float* __restrict acc) {
  for (int64_t i = 0; i < n; ++i) acc[i] = Op::Combine(acc[i], part[i]);
}

void ExpMinus(const float* __restrict x, float offset, float* __restrict y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = Exp(x[i] - offset);
}

void ExpMinusEach(const float* __restrict x, const float* __restrict offset, float* __restrict y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = Exp(x[i] - offset[i]);
}

void Divide(const float* x, float by, float* y, int64_t n) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] / by;
}

void DivideEach(const float* x, const float* by, float* y, int64_t n) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] / by[i];
}

void Subtract(const float* __restrict x, float a, float b, float* __restrict y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] - a - b;
}

void SubtractEach(const float* __restrict x, const float* __restrict a, const float* __restrict b,
                  float* __restrict y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] - a[i] - b[i];
}

void LogRow(const float* x, float* y, int64_t n) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = Log(x[i]);
}

void Normalise(const float* __restrict x, float mean, float scale, const float* __restrict gamma,
               const float* __restrict beta, float* __restrict y, int64_t n) {
  if (beta) {
    for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - mean) * scale * gamma[i] + beta[i];
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - mean) * scale * gamma[i];
  }
}

float SumSquareOfDifference(const float* x, float mean, int64_t n) {
  float lanes[kLanes] = {};
  Lanes<SumSquareMinus>(x, n, mean, lanes);
  return Tree<SumSquareMinus>(lanes);
}

template <class Op>
constexpr AccumulateRows kAccumulate = {Lanes<Op>, Columns<Op>, Tree<Op>, Merge<Op>};

}  // namespace

const ReduceRows PLANISH_REDUCE_ROWS = {
    {kAccumulate<Sum>, kAccumulate<SumAbs>, kAccumulate<SumSquare>, kAccumulate<SumExp>, kAccumulate<Max>,
     kAccumulate<Min>, kAccumulate<Product>},
    ExpMinus,
    ExpMinusEach,
    Divide,
    DivideEach,
    Subtract,
    SubtractEach,
    LogRow,
    Normalise,
    SumSquareOfDifference};

}  // namespace planish
