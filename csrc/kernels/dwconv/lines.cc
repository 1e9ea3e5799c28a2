// Runs depthwise convolutions line by line on kernels that widen lines of x: every pair of neighbouring lines is widened once
// and kept for the lines of output whose windows it lies in.
#include <algorithm>

#include "base/check.h"
#include "base/thread_pool.h"
#include "kernels/dwconv/dwconv.h"

namespace planish {
namespace {

constexpr int64_t kGroupChannels = 8;        // of a widened column
constexpr int64_t kColumnBytes = 32;         // of eight channels
constexpr int64_t kWidenedBytes = 24 << 10;  // of all pairs at once: most of an L1
constexpr int64_t kPassChannels = 16;        // the fewest of a pass over all lines
constexpr int64_t kPartPixels = 32;          // the fewest of a part of a line
constexpr double kTaskMacs = 5e5;            // about 20 µs
constexpr int64_t kMostLines = 7;            // of a window

// The axes of the lines and of the pixels in a line.
const Axis& LineAxis(const DepthwiseProblem& p) { return p.map.axis[p.map.axes - 2]; }
const Axis& PixelAxis(const DepthwiseProblem& p) { return p.map.axis[p.map.axes - 1]; }

int64_t Columns(const DepthwiseProblem& p, int64_t pixels) {
  return (pixels - 1) * PixelAxis(p).stride + p.line_taps;
}

// A task's view of the operands: a pass of channels over lines.
class LineRun {
 public:
  LineRun(const DepthwiseProblem& p, std::byte* const* operands, std::byte* scratch, int64_t channel)
      : p_(p), args_(ArgsOf(p, operands)), item_(p.output == kTileU8 ? 1 : 4) {
    x_ = reinterpret_cast<const char*>(operands[0]) + channel;
    y_ = reinterpret_cast<char*>(operands[p.y_operand]) + channel * item_;
    const int64_t pairs = DivideUp(p.lines_of_window + 1, 2);
    args_.weights += channel / kGroupChannels * pairs * 2 * p.line_taps * kColumnBytes;
    if (args_.bias) args_.bias = static_cast<const int32_t*>(args_.bias) + channel;
    if (args_.scale) args_.scale += channel;
    args_.outputs = std::min(p.pass_channels, p.channels - channel);
    line_.pairs = pairs_;
    line_.pair_count = pairs;
    line_.line_taps = p.line_taps;
    line_.step = PixelAxis(p).stride;
    line_.x_pitch = PixelAxis(p).x_pitch;
    line_.y_pitch = PixelAxis(p).y_pitch;
    line_.fill = reinterpret_cast<const char*>(p.fill.data) + channel;
    line_.next_y = LineAxis(p).y_pitch;
    for (int64_t i = 0; i < p.lines_of_window + 1; ++i)
      kept_[i] = {nullptr, nullptr, reinterpret_cast<char*>(scratch) + i * p.pair_bytes, true};
  }

  // The pixels that all lines of a part have in common; forgets what is widened.
  void Enter(int64_t begin, int64_t end) {
    const Axis& a = PixelAxis(p_);
    const int64_t columns = Columns(p_, end - begin), first = begin * a.stride - a.pad;
    line_.before = std::clamp<int64_t>(-first, 0, columns);
    line_.inside = std::clamp<int64_t>(a.in - std::max<int64_t>(first, 0), 0, columns - line_.before);
    line_.after = columns - line_.before - line_.inside;
    line_.pixels = end - begin;
    x_column_ = line_.inside ? std::max<int64_t>(first, 0) * a.x_pitch : 0;
    y_pixel_ = begin * a.y_pitch;
    for (DepthwiseLinePair& pair : kept_) pair.stale = true;
  }

  // Runs the lines [line, end) up to the end of an image, at most two of them; returns how many.
  int64_t Run(int64_t line, int64_t end) {
    const Odometer o(p_.map, line * p_.line_pixels);
    const char* x = x_ + x_column_;
    line_.y = y_ + y_pixel_;
    for (int d = 0; d + 2 < p_.map.axes; ++d) {
      x += o[d] * p_.map.axis[d].x_pitch;
      line_.y += o[d] * p_.map.axis[d].y_pitch;
    }
    const int d = p_.map.axes - 2;
    line_.y += o[d] * LineAxis(p_).y_pitch;
    const int64_t first = o[d] * LineAxis(p_).stride - LineAxis(p_).pad;
    for (int64_t i = 0; i < line_.pair_count; ++i) {
      pairs_[i] = Keep(first + 2 * i, LineAt(x, first + 2 * i), LineAt(x, first + 2 * i + 1));
    }
    const bool two = LineAxis(p_).stride == 1 && line + 1 < end && o[d] + 1 < LineAxis(p_).out;
    line_.count = two ? 2 : 1;
    p_.kernel->run_lines(args_, line_);
    return line_.count;
  }

 private:
  const char* LineAt(const char* x, int64_t i) const {
    return i >= 0 && i < LineAxis(p_).in ? x + i * LineAxis(p_).x_pitch : nullptr;
  }

  // The pair of the lines i and i + 1: as it was widened for an earlier window, or to be widened now. Its place, by i, is not
  // that of another pair of the same window.
  DepthwiseLinePair Keep(int64_t i, const char* first, const char* second) {
    const int64_t places = p_.lines_of_window + 1;
    DepthwiseLinePair& kept = kept_[(i % places + places) % places];
    if (kept.first != first || kept.second != second) kept.stale = true;
    const DepthwiseLinePair pair{first, second, kept.widened, kept.stale};
    kept = {first, second, kept.widened, false};
    return pair;
  }

  const DepthwiseProblem& p_;
  DepthwiseArgs args_;
  int64_t item_;
  const char* x_;
  char* y_;
  int64_t x_column_ = 0, y_pixel_ = 0;
  DepthwiseLines line_{};
  DepthwiseLinePair pairs_[kMostLines], kept_[kMostLines + 1];
};

}  // namespace

bool TakesLines(const DepthwiseProblem& p) {
  if (p.map.axes < 2 || p.map.transposed) return false;
  const Axis &line = LineAxis(p), &pixel = PixelAxis(p);
  for (int d = 0; d + 2 < p.map.axes; ++d) {
    if (!p.map.axis[d].Trivial()) return false;
  }
  const bool taps = pixel.kernel == 3 || pixel.kernel == 5 || pixel.kernel == 7;
  return taps && pixel.dilation == 1 && (pixel.stride == 1 || pixel.stride == 2) && line.dilation == 1 &&
         line.kernel >= 2 && line.kernel <= kMostLines;
}

void ScheduleLines(DepthwiseProblem& p, int threads) {
  p.line_pixels = PixelAxis(p).out;
  p.lines = p.map.pixels / p.line_pixels;
  const auto bytes = [&](int64_t channels, int64_t pixels) {
    return CheckedMul(CheckedMul(DivideUp(channels, kGroupChannels) * kColumnBytes, p.lines_of_window + 1),
                      CheckedAdd(CheckedMul(pixels, PixelAxis(p).stride), p.line_taps));
  };
  const int64_t least = bytes(std::min(kPassChannels, p.channels), p.line_pixels);
  const int64_t shrunk = DivideUp(p.line_pixels, DivideUp(least, kWidenedBytes));
  p.part_pixels = std::min(p.line_pixels, std::max(kPartPixels, AlignUp(shrunk, 8)));
  p.parts = DivideUp(p.line_pixels, p.part_pixels);
  const int64_t passes = DivideUp(bytes(p.channels, p.part_pixels), kWidenedBytes);
  p.pass_channels = std::max(kPassChannels, AlignUp(DivideUp(p.channels, passes), kPassChannels));
  p.pair_bytes = bytes(std::min(p.pass_channels, AlignUp(p.channels, kGroupChannels)), p.part_pixels) /
                 (p.lines_of_window + 1);
  p.worker_scratch = AlignUp(CheckedMul(p.pair_bytes, p.lines_of_window + 1));
  // A task is a run of lines of a part, for all channels.
  const double macs = static_cast<double>(p.map.pixels) * static_cast<double>(p.channels * p.map.taps);
  const int64_t wanted =
      threads == 1 ? 1 : static_cast<int64_t>(std::clamp(macs / kTaskMacs, 1.0, 4.0 * threads));
  p.units_per_task = DivideUp(p.lines, DivideUp(wanted, p.parts));
  p.tasks = DivideUp(p.lines, p.units_per_task) * p.parts;
}

void RunDepthwiseLines(const void* params, std::byte* const* operands, const RunContext& context) {
  const DepthwiseProblem& p = *static_cast<const DepthwiseProblem*>(params);
  ParallelFor(p.tasks, context.threads, [&](int64_t task, int worker) {
    const int64_t begin = task % p.parts * p.part_pixels, first = task / p.parts * p.units_per_task;
    const int64_t last = std::min(p.lines, first + p.units_per_task);
    for (int64_t channel = 0; channel < p.channels; channel += p.pass_channels) {
      LineRun run(p, operands, context.scratch + worker * p.worker_scratch, channel);
      run.Enter(begin, std::min(p.line_pixels, begin + p.part_pixels));
      for (int64_t line = first; line < last;) line += run.Run(line, last);
    }
  });
}

}  // namespace planish
