// Runs layers whose pixels lie at equal steps through x, strip by strip: products of matrices, convolutions of 1 × 1, and first
// layers whose width has become channels. What a tile of few rows spends on finding rows, widening and packing again is spent
// once a strip, or once a task.
#include <algorithm>

#include "base/check.h"
#include "base/thread_pool.h"
#include "kernels/gemm/gemm.h"

namespace planish {
namespace {

constexpr int64_t kWidenedBytes = 16 << 10;  // of x: half of the smallest L1
constexpr int64_t kMostDepth = 256, kMostWideDepth = 32, kMostOutputs = 256;
constexpr int64_t kFewestPixels = 16;  // worth widening the weights for
constexpr int64_t kSlack = 64;         // behind the widened bytes of a segment

int64_t LastAxis(const Problem& p) { return p.map.axes - 1; }
int64_t Step(const Problem& p) { return p.map.axis[LastAxis(p)].x_pitch * p.map.axis[LastAxis(p)].stride; }

int64_t WeightBytes(const Problem& p) {
  return CheckedMul(CheckedMul(p.shape.taps, AlignUp(p.shape.depth, 2) * 2), p.panels * kPanel);
}
// Of a segment.
int64_t WidenedBytes(const Problem& p, int64_t pixels) {
  return AlignUp(CheckedAdd(CheckedMul(CheckedMul(pixels, Step(p)), 2), p.shape.depth * 2 + kSlack));
}

// A task's view of the operands.
class StripRun {
 public:
  StripRun(const Problem& p, std::byte* const* operands, std::byte* scratch) : p_(p) {
    const auto input = [&](int i) {
      return i < p.y_operand ? reinterpret_cast<const char*>(operands[i]) : nullptr;
    };
    x_ = input(0);
    y_ = reinterpret_cast<char*>(operands[p.y_operand]);
    args_.segments = p.shape.taps;
    args_.depth = p.shape.depth;
    args_.weights = input(1);
    args_.panel_bytes = PanelBytes(p.format, p.shape);
    args_.outputs = p.shape.outputs;
    args_.bias = input(2);
    args_.scale = reinterpret_cast<const float*>(input(3));
    args_.weight_zero = reinterpret_cast<const int32_t*>(input(4));
    args_.low = p.low;
    args_.high = p.high;
    args_.y_zero = p.y_zero;
    args_.output = p.output;
    args_.scratch = reinterpret_cast<char*>(scratch);
    strip_.rows = rows_;
    strip_.fill = reinterpret_cast<const char*>(p.fill.data);
    strip_.step = Step(p);
    strip_.y_step = p.map.axis[LastAxis(p)].y_pitch;
    strip_.first = true;
  }

  void Run(int64_t number) {
    const int64_t line = number / p_.line_strips, begin = number % p_.line_strips * p_.strip_pixels;
    const Odometer o(p_.map, line * p_.line_pixels);
    const Axis& last = p_.map.axis[LastAxis(p_)];
    int64_t y = begin * last.y_pitch;
    for (int d = 0; d < LastAxis(p_); ++d) y += o[d] * p_.map.axis[d].y_pitch;
    for (int64_t t = 0; t < p_.shape.taps; ++t) rows_[t] = RowAt(o, t, begin);
    strip_.y = y_ + y;
    strip_.pixels = std::min(p_.strip_pixels, p_.line_pixels - begin);
    p_.kernel->strip(args_, strip_);
    strip_.first = false;
  }

 private:
  const char* RowAt(const Odometer& o, int64_t t, int64_t pixel) const {
    int64_t offset =
        p_.map.InputAt(static_cast<int>(LastAxis(p_)), pixel, 0) * p_.map.axis[LastAxis(p_)].x_pitch;
    for (int d = 0; d < LastAxis(p_); ++d) {
      const int64_t i =
          p_.map.InputAt(d, o[d], p_.map.tap_position[static_cast<size_t>(t * p_.map.axes + d)]);
      if (i < 0) return nullptr;
      offset += i * p_.map.axis[d].x_pitch;
    }
    return x_ + offset;
  }

  const Problem& p_;
  const char* x_;
  char* y_;
  TileArgs args_{};
  Strip strip_{};
  const char* rows_[kMostStripSegments];
};

}  // namespace

bool StripsPay(const Problem& p) {
  if (p.map.transposed || p.map.axes == 0 || p.shape.groups != 1) return false;
  const Axis& last = p.map.axis[LastAxis(p)];
  const bool inside = last.kernel == 1 && p.map.inside_begin <= 0 && p.map.inside_end >= last.out;
  const bool dense = Step(p) > 0 && Step(p) <= 2 * p.shape.depth;
  if (!inside || !dense || last.out < kFewestPixels || p.shape.taps > kMostStripSegments) return false;
  // Measured: two whole panels at once need fewer instructions a product.
  const int64_t depth = p.shape.taps * p.shape.depth;
  return depth <= (p.shape.outputs < 2 * kPanel ? kMostDepth : kMostWideDepth) &&
         p.shape.outputs <= kMostOutputs;
}

void ScheduleStrips(Problem& p, const TileKernel& kernel, int threads) {
  p.kernel = &kernel;
  p.panels = p.shape.group_panels();
  p.line_pixels = p.map.axis[LastAxis(p)].out;
  const int64_t fitting = kWidenedBytes / CheckedMul(CheckedMul(p.shape.taps, Step(p)), 2);
  p.line_strips = DivideUp(p.line_pixels, std::max(kFewestPixels, fitting));
  p.strip_pixels = DivideUp(p.line_pixels, p.line_strips);
  p.line_strips = DivideUp(p.line_pixels, p.strip_pixels);
  p.strips = p.map.pixels / p.line_pixels * p.line_strips;
  const double macs = static_cast<double>(p.map.pixels) * static_cast<double>(p.panels * kPanel) *
                      static_cast<double>(p.shape.taps * p.shape.depth);
  constexpr double kTaskMacs = 3e6;
  const int64_t wanted =
      threads == 1 ? 1 : static_cast<int64_t>(std::clamp(macs / kTaskMacs, 1.0, 4.0 * threads));
  p.task_strips = DivideUp(p.strips, wanted);
  p.worker_scratch =
      CheckedAdd(AlignUp(WeightBytes(p)), CheckedMul(p.shape.taps, WidenedBytes(p, p.strip_pixels)));
}

void RunStrips(const void* params, std::byte* const* operands, const RunContext& context) {
  const Problem& p = *static_cast<const Problem*>(params);
  ParallelFor(DivideUp(p.strips, p.task_strips), context.threads, [&](int64_t task, int worker) {
    StripRun run(p, operands, context.scratch + worker * p.worker_scratch);
    const int64_t end = std::min(p.strips, (task + 1) * p.task_strips);
    for (int64_t strip = task * p.task_strips; strip < end; ++strip) run.Run(strip);
  });
}

}  // namespace planish
