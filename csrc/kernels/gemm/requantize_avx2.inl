// The rule of requantize.h on AVX2, 16 outputs at a time, and the vectors it needs. Included inside an anonymous namespace.
#include "kernels/gemm/vec_int_avx2.inl"

// The bytes of 16 outputs: `low` as a byte in every position; a NaN and what lies below int16 saturate to it.
struct Requantizer {
  explicit Requantizer(const TileArgs& a)
      : high(_mm256_set1_ps(a.high)),
        zero(_mm256_set1_epi16(static_cast<int16_t>(a.y_zero))),
        low(_mm_set1_epi8(static_cast<char>(static_cast<int32_t>(a.low) + a.y_zero))) {}

  __m256i Round(Ints acc, Floats scale) const {
    // min returns its second operand if that is a NaN, which is converted to the smallest int32.
    return _mm256_cvtps_epi32(_mm256_min_ps(high, _mm256_mul_ps(_mm256_cvtepi32_ps(acc), scale)));
  }
  // In each lane those of the first, then those of the second.
  __m256i Words(Ints rounded0, Ints rounded1) const {
    return _mm256_adds_epi16(_mm256_packs_epi32(rounded0, rounded1), zero);
  }
  __m256i Clamped(__m256i bytes) const { return _mm256_max_epu8(bytes, _mm256_broadcastb_epi8(low)); }
  __m128i Bytes(Ints rounded0, Ints rounded1) const {
    const __m256i ordered = _mm256_permute4x64_epi64(Words(rounded0, rounded1), _MM_SHUFFLE(3, 1, 2, 0));
    return _mm_max_epu8(
        _mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1)), low);
  }

  Floats high;
  __m256i zero;
  __m128i low;
};

// The first n of 16 bytes, in pieces that overlap.
inline __attribute__((always_inline)) void StoreFirstBytes(char* to, __m128i bytes, int64_t n) {
  if (n >= 16) return _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
  if (n == 8) return _mm_storel_epi64(reinterpret_cast<__m128i*>(to), bytes);
  char whole[16];
  _mm_storeu_si128(reinterpret_cast<__m128i*>(whole), bytes);
  const auto ends = [&](int64_t piece) {
    memcpy(to, whole, static_cast<size_t>(piece));
    memcpy(to + n - piece, whole + n - piece, static_cast<size_t>(piece));
  };
  n > 8 ? ends(8) : n >= 4 ? ends(4) : n >= 2 ? ends(2) : ends(1);
}
