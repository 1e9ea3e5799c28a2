// Vectors as wide as the ISA this file is compiled for, with the compiler's element-wise operators (+, <,
// ?:). For loops that keep an accumulator in registers; plain loops over arrays are left to the vectoriser.
#pragma once

#include <stdint.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace planish {
namespace {

#if defined(__AVX512BW__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <class T, int kBytes = kVectorBytes>
struct VectorOf {
  typedef T Type __attribute__((vector_size(kBytes)));
  static constexpr int kCount = kBytes / static_cast<int>(sizeof(T));
};
template <class T, int kBytes = kVectorBytes>
using Vector = typename VectorOf<T, kBytes>::Type;

template <int kBytes = kVectorBytes, class T>
inline Vector<T, kBytes> LoadVector(const T* p) {
  Vector<T, kBytes> v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

template <class T, class V>
inline void StoreVector(T* p, V v) {
  __builtin_memcpy(p, &v, sizeof v);
}

// As many bytes as a vector has int32.
inline Vector<int32_t> WidenBytes(const uint8_t* p) {
#if defined(__AVX512BW__)
  return reinterpret_cast<Vector<int32_t>>(
      _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#elif defined(__AVX2__)
  return reinterpret_cast<Vector<int32_t>>(
      _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
#else
  Vector<int32_t> v;
  for (int i = 0; i < VectorOf<int32_t>::kCount; ++i) v[i] = p[i];
  return v;
#endif
}

// The greater, or the smaller, of two numbers; b where one is NaN.
inline Vector<float> LargerOf(Vector<float> a, Vector<float> b) {
#if defined(__AVX512BW__)
  return _mm512_max_ps(a, b);
#elif defined(__AVX2__)
  return _mm256_max_ps(a, b);
#else
  return a > b ? a : b;
#endif
}
inline Vector<float> SmallerOf(Vector<float> a, Vector<float> b) {
#if defined(__AVX512BW__)
  return _mm512_min_ps(a, b);
#elif defined(__AVX2__)
  return _mm256_min_ps(a, b);
#else
  return a < b ? a : b;
#endif
}

// The numbers of v, all from 0 to 255, as bytes.
inline void StoreBytes(uint8_t* p, Vector<int32_t> v) {
#if defined(__AVX512BW__)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(reinterpret_cast<__m512i>(v)));
#elif defined(__AVX2__)
  const __m256i ints = reinterpret_cast<__m256i>(v);
  const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(ints), _mm256_extracti128_si256(ints, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
#else
  for (int i = 0; i < VectorOf<int32_t>::kCount; ++i) p[i] = static_cast<uint8_t>(v[i]);
#endif
}

// Four vectors of such numbers, one after another.
inline void StoreBytes(uint8_t* p, const Vector<int32_t> (&v)[4]) {
#if defined(__AVX2__) && !defined(__AVX512BW__)
  const auto words = [&](int i) {
    return _mm256_packs_epi32(reinterpret_cast<__m256i>(v[i]), reinterpret_cast<__m256i>(v[i + 1]));
  };
  // Packing works within lanes: each holds four bytes of each vector.
  const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(words(0), words(2)),
                                                    _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), bytes);
#else
  for (int i = 0; i < 4; ++i) StoreBytes(p + i * VectorOf<int32_t>::kCount, v[i]);
#endif
}

}  // namespace
}  // namespace planish
