// Byte tables with AVX-512 VBMI: two permutations look up 64 bytes in half a table each.
#include <immintrin.h>

#include "kernels/eltwise/byte_rows.h"

namespace planish {
namespace {

struct Table {
  __m512i part[4];
};

inline __m512i LookupVector(__m512i x, const Table& t) {
  const __m512i low = _mm512_permutex2var_epi8(t.part[0], x, t.part[1]);  // by the low seven bits
  const __m512i high = _mm512_permutex2var_epi8(t.part[2], x, t.part[3]);
  return _mm512_mask_blend_epi8(_mm512_movepi8_mask(x), low, high);
}

}  // namespace

void LookupAvx512Vbmi(const uint8_t* x, const uint8_t* table, uint8_t* y, int64_t n) {
  Table t;
  for (int k = 0; k < 4; ++k) t.part[k] = _mm512_loadu_si512(table + 64 * k);
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) _mm512_storeu_si512(y + i, LookupVector(_mm512_loadu_si512(x + i), t));
  if (i < n) {
    const __mmask64 rest = (__mmask64{1} << (n - i)) - 1;
    _mm512_mask_storeu_epi8(y + i, rest, LookupVector(_mm512_maskz_loadu_epi8(rest, x + i), t));
  }
}

}  // namespace planish
