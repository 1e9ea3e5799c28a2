// The bodies of byte_rows.h for one ISA. The including file defines PLANISH_BYTE_ROWS, the name of its table.
#include "kernels/common/float_math.h"
#include "kernels/common/vector.h"
#include "kernels/eltwise/byte_rows.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace planish {
namespace {

void LookupElements(const uint8_t* x, const uint8_t* table, uint8_t* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = table[x[i]];
}

#if defined(__AVX2__)

// 32 bytes. The lower half of an index picks in each of the 16 stretches of the table, its upper half one of their answers: a
// bit at a time, the lowest first, brought to the place that blending looks at.
template <int kAnswers>
inline __attribute__((always_inline)) __m256i PickAnswer(const __m256i* answers, __m256i x, int bit) {
  if constexpr (kAnswers == 1) {
    return answers[0];
  } else {
    const __m256i chosen = _mm256_slli_epi16(x, 7 - bit);
    __m256i left[kAnswers / 2];
#pragma GCC unroll 8
    for (int k = 0; k < kAnswers / 2; ++k)
      left[k] = _mm256_blendv_epi8(answers[2 * k], answers[2 * k + 1], chosen);
    return PickAnswer<kAnswers / 2>(left, x, bit + 1);
  }
}

inline __attribute__((always_inline)) __m256i LookupVector(__m256i x, const __m256i (&stretch)[16]) {
  const __m256i lower = _mm256_and_si256(x, _mm256_set1_epi8(15)), chosen = _mm256_slli_epi16(x, 3);
  __m256i answers[8];
#pragma GCC unroll 8
  for (int k = 0; k < 8; ++k) {
    answers[k] = _mm256_blendv_epi8(_mm256_shuffle_epi8(stretch[2 * k], lower),
                                    _mm256_shuffle_epi8(stretch[2 * k + 1], lower), chosen);
  }
  return PickAnswer<8>(answers, x, 5);
}

void Lookup(const uint8_t* x, const uint8_t* table, uint8_t* y, int64_t n) {
  if (n < 64) return LookupElements(x, table, y, n);
  __m256i stretch[16];
  for (int k = 0; k < 16; ++k) {
    stretch[k] =
        _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table + 16 * k)));
  }
  int64_t i = 0;
  for (; i + 32 <= n; i += 32) {
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + i));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + i), LookupVector(v, stretch));
  }
  LookupElements(x + i, table, y + i, n - i);
}

#else

void Lookup(const uint8_t* x, const uint8_t* table, uint8_t* y, int64_t n) { LookupElements(x, table, y, n); }

#endif

struct Add {
  template <class V>
  static V Apply(V a, V b) {
    return a + b;
  }
};
struct Mul {
  template <class V>
  static V Apply(V a, V b) {
    return a * b;
  }
};

using Floats = Vector<float>;
using Ints = Vector<int32_t>;

inline Floats Dequantized(Ints x, int32_t zero, float scale) {
  return __builtin_convertvector(x - zero, Floats) * scale;
}
inline float Dequantized(uint8_t x, int32_t zero, float scale) {
  return static_cast<float>(static_cast<int32_t>(x) - zero) * scale;
}

void Dequantize(const uint8_t* x, int32_t zero, float scale, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = Dequantized(x[i], zero, scale);
}

// What stands at b, for a vector of elements and for one.
struct RowOfBytes {
  const uint8_t* b;
  int32_t zero;
  float scale;
  Floats Several(int64_t i) const { return Dequantized(WidenBytes(b + i), zero, scale); }
  float One(int64_t i) const { return Dequantized(b[i], zero, scale); }
};
struct RowOfFloats {
  const float* b;
  Floats Several(int64_t i) const { return LoadVector(b + i); }
  float One(int64_t i) const { return b[i]; }
};
struct SameFloat {
  float b;
  Floats Several(int64_t) const { return b - Floats{}; }
  float One(int64_t) const { return b; }
};

// Rows are often short, so what does not fill a vector counts.
template <class Op, class Row>
inline void Combine(const uint8_t* a, const Row& row, uint8_t* y, int64_t n, const QBinaryArgs& args) {
  const QBinaryArgs q = args;
  const float lo = static_cast<float>(q.lo - q.y_zero), hi = static_cast<float>(q.hi - q.y_zero);
  const auto several = [&](int64_t i) {
    const Floats v =
        Op::Apply(Dequantized(WidenBytes(a + i), q.a_zero, q.a_scale), row.Several(i)) / q.y_scale;
    const Floats c = SmallerOf(LargerOf(v, lo - Floats{}), hi - Floats{}) + kRounder;
    return reinterpret_cast<Ints>(c) + (q.y_zero - static_cast<int32_t>(BitsOf(kRounder)));
  };
  constexpr int64_t step = VectorOf<float>::kCount;
  int64_t i = 0;
  for (; i + 4 * step <= n; i += 4 * step) {
    const Ints four[4] = {several(i), several(i + step), several(i + 2 * step), several(i + 3 * step)};
    StoreBytes(y + i, four);
  }
  for (; i + step <= n; i += step) StoreBytes(y + i, several(i));
  for (; i < n; ++i) {
    const float v = Op::Apply(Dequantized(a[i], q.a_zero, q.a_scale), row.One(i)) / q.y_scale;
    const float above = v > lo ? v : lo;
    const float c = above < hi ? above : hi;
    y[i] = static_cast<uint8_t>(static_cast<int32_t>(BitsOf(c + kRounder) - BitsOf(kRounder)) + q.y_zero);
  }
}

template <class Op>
void CombineBytes(const uint8_t* a, const void* b, uint8_t* y, int64_t n, const QBinaryArgs& args) {
  Combine<Op>(a, RowOfBytes{static_cast<const uint8_t*>(b), args.b_zero, args.b_scale}, y, n, args);
}
template <class Op>
void CombineByte(const uint8_t* a, const void* b, uint8_t* y, int64_t n, const QBinaryArgs& args) {
  const uint8_t one = *static_cast<const uint8_t*>(b);
  Combine<Op>(a, SameFloat{Dequantized(one, args.b_zero, args.b_scale)}, y, n, args);
}
template <class Op>
void CombineFloats(const uint8_t* a, const void* b, uint8_t* y, int64_t n, const QBinaryArgs& args) {
  Combine<Op>(a, RowOfFloats{static_cast<const float*>(b)}, y, n, args);
}

}  // namespace

const ByteRows PLANISH_BYTE_ROWS = {Lookup,
                                    {{CombineBytes<Add>, CombineByte<Add>, CombineFloats<Add>},
                                     {CombineBytes<Mul>, CombineByte<Mul>, CombineFloats<Mul>}},
                                    Dequantize};

}  // namespace planish
