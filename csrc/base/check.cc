#include "base/check.h"

namespace planish {

void Fail(const std::string& message) { throw Error(message); }

int64_t CheckedAdd(int64_t a, int64_t b) {
  int64_t sum;
  if (__builtin_add_overflow(a, b, &sum)) Fail("size: the sum overflows 64 bits; use smaller tensors");
  return sum;
}

int64_t CheckedMul(int64_t a, int64_t b) {
  int64_t product;
  if (__builtin_mul_overflow(a, b, &product)) Fail("size: the product overflows 64 bits; use smaller tensors");
  return product;
}

}  // namespace planish
