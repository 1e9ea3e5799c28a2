// Sixteen lanes in portable C++: four vectors of 16 bytes, which every compiler target of GCC has or lowers well.
#pragma once

#include <cstdint>
#include <cstring>

namespace planish {

typedef float Floats4 __attribute__((vector_size(16)));
typedef uint32_t Words4 __attribute__((vector_size(16)));
typedef int32_t Ints4 __attribute__((vector_size(16)));

// V: Floats4 or Words4.
template <class V>
struct Lanes16 {
  V part[4] = {};

  static Lanes16 Load(const void* from) {
    Lanes16 lanes;
    std::memcpy(lanes.part, from, sizeof lanes.part);
    return lanes;
  }
  void Store(void* to) const { std::memcpy(to, part, sizeof part); }

  // this += a * b
  template <class Scalar>
  void Add(const Lanes16& a, Scalar b) {
    for (int i = 0; i < 4; ++i) part[i] += a.part[i] * b;
  }
};

// Byte `l` of every word, unsigned.
inline Lanes16<Words4> UnsignedBytes(const Lanes16<Words4>& words, int l) {
  Lanes16<Words4> bytes;
  for (int i = 0; i < 4; ++i) bytes.part[i] = words.part[i] >> 8 * l & 255;
  return bytes;
}

// Byte `l` of every word, signed, as a number modulo 2^32.
inline Lanes16<Words4> SignedBytes(const Lanes16<Words4>& words, int l) {
  Lanes16<Words4> bytes;
  for (int i = 0; i < 4; ++i)
    bytes.part[i] = reinterpret_cast<Words4>(reinterpret_cast<Ints4>(words.part[i] << (24 - 8 * l)) >> 24);
  return bytes;
}

}  // namespace planish
