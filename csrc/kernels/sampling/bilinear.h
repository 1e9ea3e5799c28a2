// Bilinear interpolation at a point of a plane of float32.
#pragma once

#include <cmath>
#include <cstring>

#include "base/view.h"

namespace planish {

struct Plane {
  int64_t height, width, row, column;  // sizes, byte strides
};

// Four pixels and their weights.
struct Corners {
  int64_t offset[4];
  float weight[4];
};

inline float At(const std::byte* p) {
  float value;
  std::memcpy(&value, p, 4);
  return value;
}

// A pixel of weight zero does not count, whatever it holds.
inline float Interpolate(const Corners& c, const std::byte* plane) {
  float part[4];
  for (int k = 0; k < 4; ++k) part[k] = c.weight[k] == 0 ? 0.0f : c.weight[k] * At(plane + c.offset[k]);
  return (part[0] + part[1]) + (part[2] + part[3]);
}

}  // namespace planish
