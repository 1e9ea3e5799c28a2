// The part of the pixel-tile front end (tiled.h) that kernels of every instruction set include: plain data
// only.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <cstddef>

namespace planish {

inline constexpr int kPanelOutputs = 16;
inline constexpr int kMaxTilePixels = 64;

enum class FinishMode : uint8_t { kFloat, kRequantize, kDequantize, kRaw };

// How `finish` turns sums into outputs. bias and scale may be read up to a whole panel past their end (the
// readable tail).
struct Finish {
  FinishMode mode;
  bool clamp;    // whether lo, hi bound a float output
  float lo, hi;  // kRequantize: already without y_zero
  int32_t y_zero;
  int64_t outputs;
  const std::byte* bias;  // nullptr: none
  const float* scale;     // nullptr: none
};

// What a tile's kernel functions know of it.
struct Tile {
  const uint32_t* words;  // [rows][capacity]
  int64_t rows;           // taps * words a tap
  int64_t capacity;       // P
  int64_t pixels;         // those in use, from the first
};

}  // namespace planish
