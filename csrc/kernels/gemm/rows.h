// Which rows of x a pixel of y reads: the index arithmetic of matrix products, convolutions and transposed convolutions.
//
//   convolution:             i_d = o_d·stride_d − pad_d + k_d·dilation_d
//   transposed convolution:  i_d = (o_d + pad_d − k_d·dilation_d) / stride_d, where that divides
//
// A position outside x, or one that does not divide, is padding: its row is the fill row. The dimensions of a matrix
// product and the batch are the case kernel = stride = 1, pad = 0; neighbours of that kind are merged where strides allow.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernel.h"

namespace planish {

struct Axis {
  int64_t out = 1, in = 1, kernel = 1, stride = 1, dilation = 1, pad = 0;
  int64_t x_pitch = 0, y_pitch = 0, r_pitch = 0;  // bytes

  bool Trivial() const { return kernel == 1 && stride == 1 && pad == 0 && out == in; }
};

struct PixelMap {
  int axes = 0;
  Axis axis[kMaxRank];
  bool transposed = false;
  int64_t pixels = 1, taps = 1;
  std::vector<int64_t> tap_offset;    // [taps] bytes from tap 0, for pixels whose whole window lies inside x
  std::vector<int64_t> tap_position;  // [taps][axes]: k_d · dilation_d
  std::vector<int64_t> run_offset;    // as tap_offset, of every run_taps-th tap: see Gather
  int64_t run_taps = 1;
  int64_t inside_begin = 0,
          inside_end = 0;  // pixels whose window lies inside along the last axis (convolution)

  // The coordinate in x along axis d of output coordinate o at a tap's position; -1 for padding.
  int64_t InputAt(int d, int64_t o, int64_t position) const {
    const Axis& a = axis[d];
    int64_t i = transposed ? o + a.pad - position : o * a.stride - a.pad + position;
    if (i < 0) return -1;
    if (transposed) {
      if (i % a.stride) return -1;
      i /= a.stride;
    }
    return i < a.in ? i : -1;
  }
};

// Coordinates of a pixel, counted up like an odometer.
class Odometer {
 public:
  Odometer(const PixelMap& map, int64_t pixel) : map_(map) {
    for (int d = map.axes - 1; d >= 0; --d) {
      at_[d] = pixel % map.axis[d].out;
      pixel /= map.axis[d].out;
    }
  }
  void Next() { Skip(1); }
  // Goes `pixels` forward, at most to the end of the line along the last axis.
  void Skip(int64_t pixels) {
    for (int d = map_.axes - 1; d >= 0; --d, pixels = 1) {
      at_[d] += pixels;
      if (at_[d] < map_.axis[d].out) return;
      at_[d] = 0;
    }
  }
  int64_t operator[](int d) const { return at_[d]; }

 private:
  const PixelMap& map_;
  int64_t at_[kMaxRank];
};

// The window of a convolution over the spatial axes; empty vectors mean ones (pads: zeros).
struct Window {
  std::vector<int64_t> kernel, strides, dilations, pads_begin, pads_end;
  bool transposed = false;

  // Reads and validates the attributes kernel, strides, dilations, pads, transposed.
  static Window FromAttrs(const Attrs& attrs, int spatial);
  int64_t taps() const;
};

// x: [..., C], y: [..., N] with equal leading dimensions (window == nullptr), or x: [B, s1.., C], y: [B, o1.., N].
// `residual` (may be null) has y's shape. Validates all sizes and the strides of the last axes.
PixelMap MapPixels(const View& x, const View& y, const View* residual, const Window* window);

// Byte offsets of `count` consecutive pixels, starting with number `first`, in y (or, for `residual`, in r).
void LocateOutputs(const PixelMap& map, int64_t first, int count, bool residual, int64_t* offsets);

// rows[t · count + i]: the row that pixel first + i reads at tap t.
void LocateInputs(const PixelMap& map, int64_t first, int count, const char* x, const char* fill,
                  const char** rows);

// How Gather lays out the window of a pixel: [taps][tap_bytes], of which `depth_bytes` come from x, the rest is zero.
struct GatherLayout {
  int64_t depth_bytes, tap_bytes;
  int64_t pitch;  // from a pixel to the next, at least taps · tap_bytes
};

// Copies the windows of `count` pixels side by side. Up to 15 bytes behind the last window may be written, and as many
// read behind a row. x and fill point at the first channel to copy.
void Gather(const PixelMap& map, const GatherLayout& layout, int64_t first, int count, const char* x,
            const char* fill, char* to);

// As LocateInputs, but with the taps of a run as one row: rows[run · count + i]. Windows that touch padding are copied, with
// Gather's layout, into `copies` (count · pitch + 64 bytes).
void LocateRuns(const PixelMap& map, const GatherLayout& layout, int64_t first, int count, const char* x,
                const char* fill, char* copies, const char** rows);

}  // namespace planish
