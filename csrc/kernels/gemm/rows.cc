#include "kernels/gemm/rows.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace planish {
namespace {

// The byte offset of x's row for the pixel at `o` and one tap, or -1 for padding.
int64_t RowOffset(const PixelMap& map, const Odometer& o, const int64_t* position) {
  int64_t offset = 0;
  for (int d = 0; d < map.axes; ++d) {
    const int64_t i = map.InputAt(d, o[d], position[d]);
    if (i < 0) return -1;
    offset += i * map.axis[d].x_pitch;
  }
  return offset;
}

// Whether the whole window of the pixel at `o` lies inside x; `offset`: the byte offset of its first row.
bool WindowInside(const PixelMap& map, const Odometer& o, int64_t* offset) {
  bool inside = !map.transposed;
  int64_t sum = 0;
  for (int d = 0; d < map.axes; ++d) {
    const Axis& a = map.axis[d];
    const int64_t origin = o[d] * a.stride - a.pad;
    inside &= origin >= 0 && origin + (a.kernel - 1) * a.dilation < a.in;
    sum += origin * a.x_pitch;
  }
  *offset = sum;
  return inside;
}

// Copies in pieces of 16 bytes, the last of which may go beyond.
inline void CopyPieces(const char* from, char* to, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 16) std::memcpy(to + i, from + i, 16);
}

// Copies `taps` rows of depth_bytes ≤ 4, side by side, each widened to 4 bytes by zeros.
inline void CopyNarrow(const char* from, char* to, int64_t taps, int64_t depth_bytes) {
  const uint32_t mask = depth_bytes == 4 ? ~uint32_t{0} : (uint32_t{1} << (8 * depth_bytes)) - 1;
  for (int64_t t = 0; t < taps; ++t) {
    uint32_t quad;
    std::memcpy(&quad, from + t * depth_bytes, 4);
    quad &= mask;
    std::memcpy(to + t * 4, &quad, 4);
  }
}

inline void CopyTap(const GatherLayout& layout, const char* from, char* to) {
  std::memcpy(to, from, static_cast<size_t>(layout.depth_bytes));
  std::memset(to + layout.depth_bytes, 0, static_cast<size_t>(layout.tap_bytes - layout.depth_bytes));
}

// rows[t · pitch]: the row of the pixel at `o` and tap t.
void LocateWindow(const PixelMap& map, const Odometer& o, const char* x, const char* fill, const char** rows,
                  int64_t pitch) {
  for (int64_t t = 0; t < map.taps; ++t) {
    const int64_t at = RowOffset(map, o, map.tap_position.data() + t * map.axes);
    rows[t * pitch] = at < 0 ? fill : x + at;
  }
}

// rows[t · pitch + i]: the row of the i-th of `pixels` neighbours along the last axis, from `o` on (convolution).
void LocateLine(const PixelMap& map, const Odometer& o, int pixels, const char* x, const char* fill,
                const char** rows, int64_t pitch) {
  const int last = map.axes - 1;
  const Axis& a = map.axis[last];
  const int64_t begin = o[last], end = begin + pixels;
  const int64_t inside_begin = std::clamp(map.inside_begin, begin, end);
  const int64_t inside_end = std::clamp(map.inside_end, inside_begin, end);
  const char* line = nullptr;  // of x, for this tap; null: padding
  for (int64_t t = 0; t < map.taps; ++t, rows += pitch) {
    const int64_t* position = map.tap_position.data() + t * map.axes;
    if (position[last] == 0) {
      line = x;
      for (int d = 0; d < last && line; ++d) {
        const int64_t i = map.InputAt(d, o[d], position[d]);
        line = i < 0 ? nullptr : line + i * map.axis[d].x_pitch;
      }
    }
    const auto border = [&](int64_t pixel) {
      const int64_t i = map.InputAt(last, pixel, position[last]);
      rows[pixel - begin] = !line || i < 0 ? fill : line + i * a.x_pitch;
    };
    for (int64_t pixel = begin; pixel < inside_begin; ++pixel) border(pixel);
    const int64_t step = line ? a.stride * a.x_pitch : 0;
    const char* at = line ? line + (inside_begin * a.stride - a.pad + position[last]) * a.x_pitch : fill;
    for (int64_t pixel = inside_begin; pixel < inside_end; ++pixel, at += step) rows[pixel - begin] = at;
    for (int64_t pixel = inside_end; pixel < end; ++pixel) border(pixel);
  }
}

// The window of one pixel, line by line of taps (convolution).
void CopyLines(const PixelMap& map, const GatherLayout& layout, const Odometer& o, const char* x,
               const char* fill, char* to) {
  const int last = map.axes - 1;
  const Axis& a = map.axis[last];
  for (int64_t t = 0; t < map.taps; t += a.kernel) {
    const int64_t* position = map.tap_position.data() + t * map.axes;
    const char* line = x;
    for (int d = 0; d < last && line; ++d) {
      const int64_t i = map.InputAt(d, o[d], position[d]);
      line = i < 0 ? nullptr : line + i * map.axis[d].x_pitch;
    }
    int64_t at = o[last] * a.stride - a.pad;
    for (int64_t k = 0; k < a.kernel; ++k, at += a.dilation, to += layout.tap_bytes) {
      const char* from = line && at >= 0 && at < a.in ? line + at * a.x_pitch : fill;
      layout.depth_bytes == layout.tap_bytes ? CopyPieces(from, to, layout.tap_bytes)
                                             : CopyTap(layout, from, to);
    }
  }
}

// The window of one pixel, tap by tap.
void CopyWindow(const PixelMap& map, const GatherLayout& layout, const Odometer& o, const char* x,
                const char* fill, char* to) {
  if (!map.transposed && map.axes > 0) return CopyLines(map, layout, o, x, fill, to);
  for (int64_t t = 0; t < map.taps; ++t) {
    const int64_t at = RowOffset(map, o, map.tap_position.data() + t * map.axes);
    CopyTap(layout, at < 0 ? fill : x + at, to + t * layout.tap_bytes);
  }
}

void CheckAxis(const Axis& a, int64_t pad_end, bool transposed) {
  constexpr int64_t kLimit = int64_t{1} << 30;
  Check(a.out >= 0 && a.in >= 0 && a.out < kLimit && a.in < kLimit,
        "convolution: a dimension is too large; split the input");
  if (transposed) return;
  const int64_t reach = CheckedAdd(CheckedMul(a.kernel - 1, a.dilation), 1);
  const int64_t span = a.in + a.pad + pad_end - reach;
  const int64_t expected = span < 0 ? 0 : span / a.stride + 1;
  Check(a.out == expected,
        "convolution: the output's size does not follow from input, kernel, strides and pads; this is a bug "
        "in planish");
}

void Append(PixelMap& map, const Axis& a) {
  if (a.Trivial() && a.out == 1) return;
  if (map.axes > 0 && a.Trivial()) {
    Axis& last = map.axis[map.axes - 1];
    if (last.Trivial() && last.x_pitch == a.x_pitch * a.out && last.y_pitch == a.y_pitch * a.out &&
        last.r_pitch == a.r_pitch * a.out) {
      last.out = last.in = last.out * a.out;
      last.x_pitch = a.x_pitch;
      last.y_pitch = a.y_pitch;
      last.r_pitch = a.r_pitch;
      return;
    }
  }
  map.axis[map.axes++] = a;
}

void ListTaps(PixelMap& map) {
  map.taps = 1;
  for (int d = 0; d < map.axes; ++d) map.taps = CheckedMul(map.taps, map.axis[d].kernel);
  constexpr int64_t kMaxTaps = 1 << 20;
  Check(map.taps <= kMaxTaps, "convolution: the kernel has too many positions; at most 2^20 are supported");
  map.tap_offset.resize(static_cast<size_t>(map.taps));
  map.tap_position.resize(static_cast<size_t>(map.taps * map.axes));
  for (int64_t t = 0; t < map.taps; ++t) {
    int64_t rest = t, offset = 0;
    for (int d = map.axes - 1; d >= 0; --d) {
      const int64_t position = rest % map.axis[d].kernel * map.axis[d].dilation;
      rest /= map.axis[d].kernel;
      map.tap_position[static_cast<size_t>(t * map.axes + d)] = position;
      offset = CheckedAdd(offset, CheckedMul(position, map.axis[d].x_pitch));
    }
    map.tap_offset[static_cast<size_t>(t)] = offset;
  }
}

// Taps of the last axis whose rows lie side by side in x form runs that Gather copies at once.
void ListRuns(PixelMap& map, int64_t row_bytes) {
  const Axis* last = map.axes ? &map.axis[map.axes - 1] : nullptr;
  map.run_taps = last && last->dilation == 1 && last->x_pitch == row_bytes ? last->kernel : 1;
  for (int64_t t = 0; t < map.taps; t += map.run_taps)
    map.run_offset.push_back(map.tap_offset[static_cast<size_t>(t)]);
}

// Finds the pixels whose window lies inside x along the last axis.
void FindInside(PixelMap& map) {
  if (map.axes == 0 || map.transposed) return;
  const Axis& a = map.axis[map.axes - 1];
  const int64_t room = a.in - 1 - (a.kernel - 1) * a.dilation + a.pad;
  map.inside_begin = (std::max<int64_t>(0, a.pad) + a.stride - 1) / a.stride;
  map.inside_end = room < 0 ? 0 : room / a.stride + 1;
}

std::vector<int64_t> Sized(std::vector<int64_t> values, int count, int64_t fallback, int64_t low) {
  if (values.empty()) values.assign(static_cast<size_t>(count), fallback);
  constexpr int64_t kLimit = int64_t{1} << 30;
  bool fine = static_cast<int>(values.size()) == count;
  for (const int64_t v : values) fine &= v >= low && v < kLimit;
  Check(fine,
        "convolution: kernel, strides, dilations or pads are of the wrong length or range; check the node's "
        "attributes");
  return values;
}

}  // namespace

Window Window::FromAttrs(const Attrs& attrs, int spatial) {
  Check(spatial >= 1 && spatial <= 3,
        "convolution: 1 to 3 spatial dimensions are supported; reshape the input");
  Window w;
  w.kernel = Sized(attrs.Ints("kernel"), spatial, 1, 1);
  w.strides = Sized(attrs.Ints("strides"), spatial, 1, 1);
  w.dilations = Sized(attrs.Ints("dilations"), spatial, 1, 1);
  const std::vector<int64_t> pads = Sized(attrs.Ints("pads"), 2 * spatial, 0, -(int64_t{1} << 30));
  w.pads_begin.assign(pads.begin(), pads.begin() + spatial);
  w.pads_end.assign(pads.begin() + spatial, pads.end());
  w.transposed = attrs.Int("transposed", 0) != 0;
  return w;
}

int64_t Window::taps() const {
  int64_t taps = 1;
  for (const int64_t k : kernel) taps = CheckedMul(taps, k);
  return taps;
}

PixelMap MapPixels(const View& x, const View& y, const View* residual, const Window* window) {
  Check(x.rank >= 1 && x.rank == y.rank, "the ranks of input and output differ; this is a bug in planish");
  PixelMap map;
  map.transposed = window && window->transposed;
  if (residual) {
    Check(residual->rank == y.rank,
          "the residual's shape differs from the output's; this is a bug in planish");
    for (int d = 0; d < y.rank; ++d) {
      Check(residual->shape[d] == y.shape[d],
            "the residual's shape differs from the output's; this is a bug in planish");
    }
  }
  for (int d = 0; d + 1 < y.rank; ++d) {
    Axis a;
    a.out = y.shape[d];
    a.in = x.shape[d];
    a.x_pitch = x.stride[d];
    a.y_pitch = y.stride[d];
    a.r_pitch = residual ? residual->stride[d] : 0;
    Check(a.y_pitch != 0 || a.out <= 1, "an output overlaps itself; this is a bug in planish");
    int64_t pad_end = 0;
    if (window && d > 0) {
      const size_t s = static_cast<size_t>(d - 1);
      a.kernel = window->kernel[s];
      a.stride = window->strides[s];
      a.dilation = window->dilations[s];
      a.pad = window->pads_begin[s];
      pad_end = window->pads_end[s];
    }
    CheckAxis(a, pad_end, map.transposed && d > 0);
    map.pixels = CheckedMul(map.pixels, a.out);
    if (map.transposed) {
      map.axis[map.axes++] = a;
    } else {
      Append(map, a);
    }
  }
  ListTaps(map);
  FindInside(map);
  ListRuns(map, x.size(-1) * ItemSize(x.dtype));
  return map;
}

void LocateOutputs(const PixelMap& map, int64_t first, int count, bool residual, int64_t* offsets) {
  if (map.axes == 1) {
    const int64_t pitch = residual ? map.axis[0].r_pitch : map.axis[0].y_pitch;
    for (int i = 0; i < count; ++i) offsets[i] = (first + i) * pitch;
    return;
  }
  Odometer o(map, first);
  const int last = map.axes - 1;
  const auto pitch = [&](int d) { return residual ? map.axis[d].r_pitch : map.axis[d].y_pitch; };
  for (int i = 0; i < count;) {
    int64_t offset = 0;
    for (int d = 0; d < map.axes; ++d) offset += o[d] * pitch(d);
    const int64_t line = last < 0 ? 1 : map.axis[last].out - o[last];
    const int pixels = line < count - i ? static_cast<int>(line) : count - i;
    const int64_t step = last < 0 ? 0 : pitch(last);
    for (const int end = i + pixels; i < end; ++i, offset += step) offsets[i] = offset;
    o.Skip(pixels);
  }
}

void LocateInputs(const PixelMap& map, int64_t first, int count, const char* x, const char* fill,
                  const char** rows) {
  if (map.axes == 1 && map.axis[0].Trivial() && !map.transposed) {
    for (int i = 0; i < count; ++i) rows[i] = x + (first + i) * map.axis[0].x_pitch;
    return;
  }
  Odometer o(map, first);
  if (map.transposed || map.axes == 0) {
    for (int i = 0; i < count; ++i, o.Next()) LocateWindow(map, o, x, fill, rows + i, count);
    return;
  }
  for (int i = 0; i < count;) {
    const int64_t line = map.axis[map.axes - 1].out - o[map.axes - 1];
    const int pixels = line < count - i ? static_cast<int>(line) : count - i;
    LocateLine(map, o, pixels, x, fill, rows + i, count);
    i += pixels;
    o.Skip(pixels);
  }
}

void Gather(const PixelMap& map, const GatherLayout& layout, int64_t first, int count, const char* x,
            const char* fill, char* to) {
  const bool narrow = layout.tap_bytes == 4 && layout.depth_bytes < 4;
  const bool runs = (narrow || layout.depth_bytes == layout.tap_bytes) &&
                    (map.run_taps == 1 || map.axis[map.axes - 1].x_pitch == layout.depth_bytes);
  Odometer o(map, first);
  for (int i = 0; i < count; ++i, o.Next(), to += layout.pitch) {
    int64_t offset;
    if (runs && WindowInside(map, o, &offset)) {
      char* at = to;
      for (const int64_t run : map.run_offset) {
        const char* from = x + (offset + run);
        if (narrow) {
          CopyNarrow(from, at, map.run_taps, layout.depth_bytes);
        } else {
          CopyPieces(from, at, map.run_taps * layout.tap_bytes);
        }
        at += map.run_taps * layout.tap_bytes;
      }
      continue;
    }
    CopyWindow(map, layout, o, x, fill, to);
  }
}

void LocateRuns(const PixelMap& map, const GatherLayout& layout, int64_t first, int count, const char* x,
                const char* fill, char* copies, const char** rows) {
  const int64_t runs = map.taps / map.run_taps, run_bytes = map.run_taps * layout.tap_bytes;
  Odometer o(map, first);
  for (int i = 0; i < count; ++i, o.Next(), copies += layout.pitch) {
    int64_t offset;
    if (WindowInside(map, o, &offset)) {
      for (int64_t r = 0; r < runs; ++r) {
        rows[r * count + i] = x + (offset + map.run_offset[static_cast<size_t>(r)]);
      }
    } else {
      CopyWindow(map, layout, o, x, fill, copies);
      for (int64_t r = 0; r < runs; ++r) rows[r * count + i] = copies + r * run_bytes;
    }
  }
}

}  // namespace planish
