// Builds and runs the family dwconv.
#include "kernels/dwconv/dwconv.h"

#include <algorithm>

#include "base/check.h"
#include "base/thread_pool.h"
#include "formats/dense.h"
#include "kernels/gemm/layer.h"

namespace planish {

#define PLANISH_DEPTHWISE(name, Function, isa, lhs, quads) void Function(const DepthwiseArgs&, int);
#include "kernels/dwconv/kernels.inc"
#undef PLANISH_DEPTHWISE

namespace {

constexpr DepthwiseKernel kTiles[] = {
#define PLANISH_DEPTHWISE(name, Function, isa, lhs, quads) {#name, Isa::isa, DType::lhs, quads, &Function},
#include "kernels/dwconv/kernels.inc"
#undef PLANISH_DEPTHWISE
};

#define PLANISH_DEPTHWISE(name, Function, isa, lhs, quads) {"dwconv", #name, Isa::isa},
constexpr KernelInfo kKernels[] = {
    {"dwconv", "reference", Isa::kScalar},
#include "kernels/dwconv/kernels.inc"
};
#undef PLANISH_DEPTHWISE

void RunNothing(const void*, std::byte* const*, const RunContext&) {}

int64_t WeightItem(DType lhs) { return lhs == DType::kF32 ? 4 : 2; }

DepthwiseProblem Describe(const OpDesc& op) {
  const LayerOperands o = FindOperands(op, 4);
  const Window window = Window::FromAttrs(op.attrs, o.x->rank - 2);
  DepthwiseProblem p{};
  p.lhs = o.x->dtype;
  p.output = OutputOf(p.lhs, o.y->dtype);
  p.y_operand = static_cast<int>(op.inputs.size());
  p.channels = o.x->size(-1);
  Check(o.y->size(-1) == p.channels, "input and output differ in channels; this is a bug in planish");
  Check(o.w->rank == 1 && o.w->stride[0] == 1 && ItemSize(o.w->dtype) == 1 &&
            o.w->shape[0] == BytesDepthwise(p.channels, window.taps(), WeightItem(p.lhs)),
        "the packed weights' size does not belong to this shape; the plan is damaged");
  p.map = MapPixels(*o.x, *o.y, nullptr, &window);
  const Bounds bounds = ReadBounds(op.attrs, p.output);
  p.low = bounds.low;
  p.high = bounds.high;
  p.y_zero = bounds.y_zero;
  p.fill = FillRow(p.lhs, p.channels, op.attrs);
  const Axis last = p.map.axes ? p.map.axis[p.map.axes - 1] : Axis{};
  p.quad_taps = last.kernel == 3 ? 3 : kQuad;
  p.shared = last.kernel == 3 && last.stride == last.dilation && !p.map.transposed;
  return p;
}

// The forced micro-kernel, or the last usable one for these types and weights.
const DepthwiseKernel& Choose(const DepthwiseProblem& p, const std::string& forced) {
  const DepthwiseKernel* best = nullptr;
  for (const DepthwiseKernel& k : kTiles) {
    if (k.lhs != p.lhs || !Usable(k.isa) || (k.quads && p.quads.size == 0)) continue;
    if (forced == k.name) return k;
    best = &k;
  }
  if (!forced.empty())
    Fail("kernel '" + forced +
         "' is not available here for these types; force one that `planish doctor` lists");
  return *best;
}

int64_t DivideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }

constexpr int64_t kPartPixels = 8;  // the fewest worth a part

void Schedule(DepthwiseProblem& p, const DepthwiseKernel& kernel, int threads) {
  p.kernel = &kernel;
  p.line_pixels = p.map.axes ? p.map.axis[p.map.axes - 1].out : 1;
  p.lines = p.map.pixels / p.line_pixels;
  // A task is at least 20 µs of work, a few tasks a thread.
  const double macs = static_cast<double>(p.map.pixels) * static_cast<double>(p.channels * p.map.taps);
  const int64_t wanted = threads == 1 ? 1 : static_cast<int64_t>(std::clamp(macs / 5e5, 1.0, 4.0 * threads));
  const int64_t parts = std::min(DivideUp(wanted, p.lines), DivideUp(p.line_pixels, kPartPixels));
  p.part_pixels = DivideUp(p.line_pixels, parts);
  p.parts = DivideUp(p.line_pixels, p.part_pixels);
  p.units_per_task = DivideUp(p.lines * p.parts, wanted);
  p.tasks = DivideUp(p.lines * p.parts, p.units_per_task);
  p.worker_scratch =
      AlignUp(CheckedMul(p.map.taps, static_cast<int64_t>(sizeof(DepthwiseTap) + sizeof(int64_t))));
}

// The pixels of one line, tile by tile.
class LineRun {
 public:
  LineRun(const DepthwiseProblem& p, std::byte* const* operands, std::byte* scratch)
      : p_(p), operands_(operands) {
    taps_ = reinterpret_cast<DepthwiseTap*>(scratch);
    tap_lines_ = reinterpret_cast<int64_t*>(taps_ + p.map.taps);
    const auto input = [&](int i) {
      return i < p.y_operand ? reinterpret_cast<const char*>(operands[i]) : nullptr;
    };
    x_ = input(0);
    args_.taps = taps_;
    args_.segments = p.map.taps;
    args_.weights = p.kernel->quads ? reinterpret_cast<const char*>(p.quads.data) : input(1);
    args_.panel_bytes = DepthwisePitch(p.channels) * WeightItem(p.lhs);
    args_.quad_taps = p.quad_taps;
    args_.shared = p.shared;
    args_.outputs = p.channels;
    args_.out = out_;
    args_.bias = input(2);
    args_.scale = reinterpret_cast<const float*>(input(3));
    args_.low = p.low;
    args_.high = p.high;
    args_.y_zero = p.y_zero;
    args_.output = p.output;
    if (p.map.axes) last_ = p.map.axis[p.map.axes - 1];
  }

  // Runs the pixels [begin, end) of a line.
  void Run(int64_t line, int64_t begin, int64_t end) {
    Enter(line);
    // The pixels whose window lies inside along the last axis, whatever its lines do.
    int64_t inside0 = std::clamp(p_.map.inside_begin, begin, end);
    int64_t inside1 = std::clamp(p_.map.inside_end, inside0, end);
    if (p_.map.transposed || p_.map.axes == 0) inside0 = inside1 = end;
    for (int64_t o = begin; o < inside0; ++o) RunBorder(o);
    for (int64_t o = inside0; o < inside1;) {
      const int count = static_cast<int>(std::min<int64_t>(kMaxTileRows, inside1 - o));
      RunInside(o, count);
      o += count;
    }
    for (int64_t o = inside1; o < end; ++o) RunBorder(o);
  }

 private:
  // Finds the line's output, and for every tap the line of x it reads (−1: padding).
  void Enter(int64_t line) {
    const Odometer o(p_.map, line * p_.line_pixels);
    int64_t y = 0;
    for (int d = 0; d + 1 < p_.map.axes; ++d) y += o[d] * p_.map.axis[d].y_pitch;
    y_ = reinterpret_cast<char*>(operands_[p_.y_operand]) + y;
    for (int64_t t = 0; t < p_.map.taps; ++t) {
      int64_t offset = 0;
      for (int d = 0; d + 1 < p_.map.axes && offset >= 0; ++d) {
        const int64_t i = p_.map.InputAt(d, o[d], Position(t, d));
        offset = i < 0 ? -1 : offset + i * p_.map.axis[d].x_pitch;
      }
      tap_lines_[t] = offset;
    }
  }

  int64_t Position(int64_t t, int d) const {
    return p_.map.tap_position[static_cast<size_t>(t * p_.map.axes + d)];
  }

  void RunInside(int64_t o, int count) {
    const int64_t origin = o * last_.stride - last_.pad;
    for (int64_t t = 0; t < p_.map.taps; ++t) {
      if (tap_lines_[t] < 0) {
        taps_[t] = {Fill(), 0};
      } else {
        const int64_t at = origin + (p_.map.axes ? Position(t, p_.map.axes - 1) : 0);
        taps_[t] = {x_ + (tap_lines_[t] + at * last_.x_pitch), last_.stride * last_.x_pitch};
      }
    }
    RunTile(o, count);
  }

  void RunBorder(int64_t o) {
    for (int64_t t = 0; t < p_.map.taps; ++t) {
      const int last = p_.map.axes - 1;
      const int64_t at = last < 0 ? 0 : p_.map.InputAt(last, o, Position(t, last));
      taps_[t] = {tap_lines_[t] < 0 || at < 0 ? Fill() : x_ + (tap_lines_[t] + at * last_.x_pitch), 0};
    }
    RunTile(o, 1);
  }

  void RunTile(int64_t o, int count) {
    for (int r = 0; r < count; ++r) out_[r] = y_ + (o + r) * last_.y_pitch;
    p_.kernel->run(args_, count);
  }

  const char* Fill() const { return reinterpret_cast<const char*>(p_.fill.data); }

  const DepthwiseProblem& p_;
  std::byte* const* operands_;
  DepthwiseTap* taps_;
  int64_t* tap_lines_;
  const char* x_;
  char* y_ = nullptr;
  Axis last_;
  DepthwiseArgs args_{};
  char* out_[kMaxTileRows];
};

void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const DepthwiseProblem& p = *static_cast<const DepthwiseProblem*>(params);
  ParallelFor(p.tasks, context.threads, [&](int64_t task, int worker) {
    LineRun run(p, operands, context.scratch + worker * p.worker_scratch);
    const int64_t last = std::min(p.lines * p.parts, (task + 1) * p.units_per_task);
    for (int64_t unit = task * p.units_per_task; unit < last; ++unit) {
      const int64_t begin = unit % p.parts * p.part_pixels;
      run.Run(unit / p.parts, begin, std::min(p.line_pixels, begin + p.part_pixels));
    }
  });
}

}  // namespace

Memory PackQuads(const int16_t* w, int64_t channels, int64_t taps, int64_t quad_taps) {
  constexpr int64_t kBlock = 64;
  const int64_t pitch = DepthwisePitch(channels), quads = DivideUp(taps, quad_taps);
  const bool fits = std::all_of(w, w + taps * pitch, [](int16_t v) { return v >= -128 && v <= 127; });
  if (!fits) return {};
  Memory packed = Memory::Allocate(CheckedMul(AlignUp(channels, kBlock), quads * kQuad));
  for (int64_t c = 0; c < channels; ++c) {
    const int64_t lane = c % kBlock / 16, j = c % 16 / 4, i = c % 4;
    for (int64_t t = 0; t < taps; ++t) {
      const int64_t quad = c / kBlock * quads + t / quad_taps;
      packed.data[(quad * 4 + j) * kBlock + 16 * lane + 4 * i + t % quad_taps] =
          static_cast<std::byte>(static_cast<int8_t>(w[t * pitch + c]));
    }
  }
  return packed;
}

Built BuildDwconv(const OpDesc& op) {
  DepthwiseProblem p = Describe(op);
  const std::string forced = op.attrs.ForcedKernel();
  if (p.map.pixels == 0) return MakeBuilt(&RunNothing, 0, "empty");
  if (forced == "reference") {
    return MakeBuilt(&RunDepthwiseReference, p, forced, p.map.taps * static_cast<int64_t>(sizeof(char*)));
  }
  if (p.lhs == DType::kU8 && op.data.size() > 1 && op.data[1]) {
    p.quads = PackQuads(reinterpret_cast<const int16_t*>(op.data[1]), p.channels, p.map.taps, p.quad_taps);
  }
  const DepthwiseKernel& kernel = Choose(p, forced);
  Schedule(p, kernel, op.threads);
  return MakeBuilt(&Run, p, kernel.name, CheckedMul(p.worker_scratch, op.threads));
}

std::span<const KernelInfo> DwconvKernels() { return kKernels; }

}  // namespace planish
