// The bodies of byte_rows.h for one ISA. The including file defines PLANISH_BYTE_ROWS, the name of its table.
#include "kernels/common/float_math.h"
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

// 32 bytes: each of the 16 stretches of the table answers for its bytes, and gives zero (a set top bit) for the others.
inline __m256i LookupVector(__m256i x, const __m256i (&stretch)[16]) {
  const __m256i others = _mm256_set1_epi8(0x70);
  __m256i y = _mm256_setzero_si256();
#pragma GCC unroll 16
  for (int k = 0; k < 16; ++k) {
    const __m256i within = _mm256_xor_si256(x, _mm256_set1_epi8(static_cast<char>(k << 4)));
    y = _mm256_or_si256(y, _mm256_shuffle_epi8(stretch[k], _mm256_adds_epu8(within, others)));
  }
  return y;
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
  static float Apply(float a, float b) { return a + b; }
};
struct Mul {
  static float Apply(float a, float b) { return a * b; }
};

template <class Op, bool kOneB>
void QBinary(const uint8_t* __restrict a, const uint8_t* __restrict b, uint8_t* __restrict y, int64_t n,
             const QBinaryArgs& args) {
  const QBinaryArgs q = args;
  const float lo = static_cast<float>(q.lo - q.y_zero), hi = static_cast<float>(q.hi - q.y_zero);
  for (int64_t i = 0; i < n; ++i) {
    const float da = static_cast<float>(static_cast<int32_t>(a[i]) - q.a_zero) * q.a_scale;
    const float db = static_cast<float>(static_cast<int32_t>(b[kOneB ? 0 : i]) - q.b_zero) * q.b_scale;
    const float v = Op::Apply(da, db) / q.y_scale;
    const float above = v > lo ? v : lo;
    const float c = above < hi ? above : hi;
    y[i] = static_cast<uint8_t>(static_cast<int32_t>(BitsOf(c + kRounder) - BitsOf(kRounder)) + q.y_zero);
  }
}

}  // namespace

const ByteRows PLANISH_BYTE_ROWS = {
    Lookup, {{QBinary<Add, false>, QBinary<Add, true>}, {QBinary<Mul, false>, QBinary<Mul, true>}}};

}  // namespace planish
