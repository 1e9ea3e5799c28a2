// Builds and runs the family dwconv.
#include "kernels/dwconv/dwconv.h"

#include <algorithm>

#include "base/check.h"
#include "base/thread_pool.h"
#include "formats/dense.h"
#include "kernels/gemm/layer.h"

namespace planish {

#define PLANISH_DEPTHWISE(name, Function, isa, lhs, packing, inputs, Lines) \
  void Function(const DepthwiseArgs&, int);
#include "kernels/dwconv/kernels.inc"
#undef PLANISH_DEPTHWISE
#if defined(__x86_64__)
void DepthwiseLinesU8Avx2(const DepthwiseArgs&, const DepthwiseLines&);
#endif

namespace {

constexpr DepthwiseKernel kTiles[] = {
#define PLANISH_DEPTHWISE(name, Function, isa, lhs, packing, inputs, Lines) \
  {#name, Isa::isa, DType::lhs, DepthwisePacking::packing, DepthwiseInputs::inputs, &Function, Lines},
#include "kernels/dwconv/kernels.inc"
#undef PLANISH_DEPTHWISE
};

#define PLANISH_DEPTHWISE(name, Function, isa, lhs, packing, inputs, Lines) {"dwconv", #name, Isa::isa},
constexpr KernelInfo kKernels[] = {
    {"dwconv", "reference", Isa::kScalar},
#include "kernels/dwconv/kernels.inc"
};
#undef PLANISH_DEPTHWISE

constexpr int64_t kBlockChannels = 32;  // PackBlocks

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
  p.line_taps = last.kernel;
  p.lines_of_window = p.map.taps / p.line_taps;
  p.quad_taps = last.kernel == 3 ? 3 : kQuad;
  p.shared = last.kernel == 3 && last.stride == last.dilation && !p.map.transposed;
  return p;
}

// The weights (null unless constant) as the kernel wants them; empty where they cannot be packed so.
Memory Repack(const DepthwiseProblem& p, DepthwisePacking packing, const int16_t* w) {
  if (!w) return {};
  switch (packing) {
    case DepthwisePacking::kPlain:
      return {};
    case DepthwisePacking::kQuads:
      return PackQuads(w, p.channels, p.map.taps, p.quad_taps);
    case DepthwisePacking::kPairs:
      return PackPairs(w, p.channels, p.lines_of_window, p.line_taps);
    case DepthwisePacking::kBlocks:
      return PackBlocks(w, p.channels, p.lines_of_window, p.line_taps);
  }
  return {};
}

// Measured: blocks of 32 channels pay for lines of three taps, and where the last block is not mostly empty; where lines can be
// widened as a whole, which few channels repay best, only for many channels, or where windows share few columns.
bool Pays(const DepthwiseProblem& p, DepthwisePacking packing) {
  if (packing != DepthwisePacking::kBlocks) return true;
  constexpr int64_t kManyChannels = 256;
  if (TakesLines(p) && p.map.axis[p.map.axes - 1].stride == 1 && p.channels < kManyChannels) return false;
  return p.line_taps == 3 && AlignUp(p.channels, kBlockChannels) * 8 <= p.channels * 9;
}

// The forced micro-kernel, or the last usable one for these types and weights, which it repacks.
const DepthwiseKernel& Choose(DepthwiseProblem& p, const int16_t* w, const std::string& forced) {
  for (size_t i = std::size(kTiles); i-- > 0;) {
    const DepthwiseKernel& k = kTiles[i];
    if (k.lhs != p.lhs || !Usable(k.isa)) continue;
    if (forced.empty() ? !Pays(p, k.packing) : forced != k.name) continue;
    p.repacked = Repack(p, k.packing, w);
    if (k.packing == DepthwisePacking::kPlain || p.repacked.size) return k;
  }
  Fail("kernel '" + forced +
       "' is not available here for these types; force one that `planish doctor` lists");
}

constexpr int64_t kPairBytes = 32;  // PackPairs, PackBlocks: eight pairs of int16
constexpr int64_t kPartPixels = 8;  // the fewest worth a part

// Windows that overlap share columns; others, whose columns would be many or far apart, list each tap of each pixel.
void ScheduleColumns(DepthwiseProblem& p) {
  constexpr int64_t kMostTaps = 8192;  // of a tile
  const Axis last = p.map.axes ? p.map.axis[p.map.axes - 1] : Axis{};
  p.tile_pixels = std::clamp<int64_t>(kMostTaps / p.map.taps, 1, kMaxTileRows);
  const int64_t columns = (p.tile_pixels - 1) * last.stride + p.line_taps;
  const int64_t separate = p.tile_pixels * p.line_taps;
  const bool share = !p.map.transposed && (last.stride == 1 || last.dilation == 1) && columns <= separate;
  p.column_pitch = share ? columns : separate;
  p.column_step = share ? last.stride : p.line_taps;
  p.spacing = share ? last.dilation : 1;
  p.share_columns = share;
  p.worker_scratch = AlignUp(
      CheckedMul(CheckedMul(p.lines_of_window, p.column_pitch + 1), static_cast<int64_t>(sizeof(char*))));
}

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
  if (kernel.inputs == DepthwiseInputs::kColumns) {
    ScheduleColumns(p);
    return;
  }
  p.worker_scratch =
      AlignUp(CheckedMul(p.map.taps, static_cast<int64_t>(sizeof(DepthwiseTap) + sizeof(int64_t))));
}

// The operands of a line of pixels: where its output begins, and the lines of x that the window's lines lie on.
class LineOperands {
 public:
  LineOperands(const DepthwiseProblem& p, std::byte* const* operands)
      : p_(p),
        x_(reinterpret_cast<const char*>(operands[0])),
        y_(reinterpret_cast<char*>(operands[p.y_operand])) {
    if (p.map.axes) last_ = p.map.axis[p.map.axes - 1];
  }

  const Axis& last() const { return last_; }
  const char* fill() const { return reinterpret_cast<const char*>(p_.fill.data); }

  // The first pixel of the line's output; lines[i]: where tap i · step finds its line of x, null if that is padding.
  char* Enter(int64_t line, int64_t step, const char** lines) const {
    const Odometer o(p_.map, line * p_.line_pixels);
    int64_t y = 0;
    for (int d = 0; d + 1 < p_.map.axes; ++d) y += o[d] * p_.map.axis[d].y_pitch;
    for (int64_t t = 0; t < p_.map.taps; t += step) {
      int64_t offset = 0;
      for (int d = 0; d + 1 < p_.map.axes && offset >= 0; ++d) {
        const int64_t i = p_.map.InputAt(d, o[d], Position(t, d));
        offset = i < 0 ? -1 : offset + i * p_.map.axis[d].x_pitch;
      }
      *lines++ = offset < 0 ? nullptr : x_ + offset;
    }
    return y_ + y;
  }

  int64_t Position(int64_t t, int d) const {
    return p_.map.tap_position[static_cast<size_t>(t * p_.map.axes + d)];
  }

  // The row that pixel `o` of the line reads at tap t, which lies on `line`.
  const char* Row(const char* line, int64_t t, int64_t o) const {
    const int d = p_.map.axes - 1;
    const int64_t at = d < 0 ? 0 : p_.map.InputAt(d, o, Position(t, d));
    return !line || at < 0 ? fill() : line + at * last_.x_pitch;
  }

 private:
  const DepthwiseProblem& p_;
  const char* x_;
  char* y_;
  Axis last_;
};

// Runs lines on a kernel that reads taps: pixels whose window lies inside along the last axis in tiles, the others singly.
class TapRun {
 public:
  TapRun(const DepthwiseProblem& p, std::byte* const* operands, std::byte* scratch)
      : p_(p), line_(p, operands), args_(ArgsOf(p, operands)) {
    taps_ = reinterpret_cast<DepthwiseTap*>(scratch);
    tap_lines_ = reinterpret_cast<const char**>(taps_ + p.map.taps);
    args_.taps = taps_;
    args_.quad_taps = p.quad_taps;
    args_.shared = p.shared;
    args_.out = out_;
  }

  // Runs the pixels [begin, end) of a line.
  void Run(int64_t line, int64_t begin, int64_t end) {
    y_ = line_.Enter(line, 1, tap_lines_);
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
  void RunInside(int64_t o, int count) {
    const Axis& last = line_.last();
    for (int64_t t = 0; t < p_.map.taps; ++t)
      taps_[t] = {line_.Row(tap_lines_[t], t, o), tap_lines_[t] ? last.stride * last.x_pitch : 0};
    RunTile(o, count);
  }

  void RunBorder(int64_t o) {
    for (int64_t t = 0; t < p_.map.taps; ++t) taps_[t] = {line_.Row(tap_lines_[t], t, o), 0};
    RunTile(o, 1);
  }

  void RunTile(int64_t o, int count) {
    for (int r = 0; r < count; ++r) out_[r] = y_ + (o + r) * line_.last().y_pitch;
    p_.kernel->run(args_, count);
  }

  const DepthwiseProblem& p_;
  LineOperands line_;
  DepthwiseTap* taps_;
  const char** tap_lines_;
  char* y_ = nullptr;
  DepthwiseArgs args_;
  char* out_[kMaxTileRows];
};

// Runs lines on a kernel that reads columns.
class ColumnRun {
 public:
  ColumnRun(const DepthwiseProblem& p, std::byte* const* operands, std::byte* scratch)
      : p_(p), line_(p, operands), args_(ArgsOf(p, operands)) {
    rows_ = reinterpret_cast<const char**>(scratch);
    window_lines_ = rows_ + p.lines_of_window * p.column_pitch;
    args_.columns = {rows_, p.column_pitch, p.lines_of_window, p.line_taps, p.column_step};
    args_.out = out_;
  }

  // Runs the pixels [begin, end) of a line.
  void Run(int64_t line, int64_t begin, int64_t end) {
    y_ = line_.Enter(line, p_.line_taps, window_lines_);
    const int64_t reach = p_.tile_pixels * p_.spacing;
    for (; begin < end; begin += reach) {
      const int64_t stop = std::min(end, begin + reach);
      for (int64_t o = begin; o < std::min(stop, begin + p_.spacing); ++o)
        RunTile(o, static_cast<int>(DivideUp(stop - o, p_.spacing)));
    }
  }

 private:
  // The pixels o, o + spacing, …
  void RunTile(int64_t o, int count) {
    for (int64_t l = 0; l < p_.lines_of_window; ++l) {
      const char** rows = rows_ + l * p_.column_pitch;
      p_.share_columns ? ListColumns(window_lines_[l], o, count, rows) : ListTaps(l, o, count, rows);
    }
    for (int r = 0; r < count; ++r) out_[r] = y_ + (o + r * p_.spacing) * line_.last().y_pitch;
    p_.kernel->run(args_, count);
  }

  // rows[j]: the j-th position of a line under the windows of `count` pixels from `o` on.
  void ListColumns(const char* line, int64_t o, int count, const char** rows) const {
    const Axis& a = line_.last();
    const int64_t columns = (count - 1) * p_.column_step + p_.line_taps;
    const int64_t first =
        o * a.stride - a.pad;  // the position of column 0, which lies `dilation` before the next
    const int64_t before = first < 0 ? std::min(columns, DivideUp(-first, a.dilation)) : 0;
    const int64_t begin = line ? before : columns;
    const int64_t end = std::clamp(first < a.in ? DivideUp(a.in - first, a.dilation) : 0, begin, columns);
    std::fill(rows, rows + begin, line_.fill());
    const char* at = begin < end ? line + (first + begin * a.dilation) * a.x_pitch : nullptr;
    for (int64_t j = begin; j < end; ++j, at += a.dilation * a.x_pitch) rows[j] = at;
    std::fill(rows + end, rows + columns, line_.fill());
  }

  // rows[r · line_taps + k]: what pixel o + r reads at tap k.
  void ListTaps(int64_t l, int64_t o, int count, const char** rows) const {
    for (int r = 0; r < count; ++r) {
      for (int64_t k = 0; k < p_.line_taps; ++k)
        *rows++ = line_.Row(window_lines_[l], l * p_.line_taps + k, o + r);
    }
  }

  const DepthwiseProblem& p_;
  LineOperands line_;
  const char** rows_;
  const char** window_lines_;
  char* y_ = nullptr;
  DepthwiseArgs args_;
  char* out_[kMaxTileRows];
};

template <class LineRun>
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

DepthwiseArgs ArgsOf(const DepthwiseProblem& p, std::byte* const* operands) {
  const auto input = [&](int i) {
    return i < p.y_operand ? reinterpret_cast<const char*>(operands[i]) : nullptr;
  };
  DepthwiseArgs a{};
  a.segments = p.map.taps;
  a.weights = p.repacked.size ? reinterpret_cast<const char*>(p.repacked.data) : input(1);
  a.panel_bytes = DepthwisePitch(p.channels) * WeightItem(p.lhs);
  a.outputs = p.channels;
  a.bias = input(2);
  a.scale = reinterpret_cast<const float*>(input(3));
  a.low = p.low;
  a.high = p.high;
  a.y_zero = p.y_zero;
  a.output = p.output;
  return a;
}

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

Memory PackPairs(const int16_t* w, int64_t channels, int64_t lines, int64_t line_taps) {
  const int64_t pitch = DepthwisePitch(channels), pairs = DivideUp(lines, 2);
  Memory packed = Memory::Allocate(
      CheckedMul(CheckedMul(DivideUp(channels, 8), CheckedMul(pairs, line_taps)), kPairBytes));
  int16_t* to = reinterpret_cast<int16_t*>(packed.data);
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t t = 0; t < lines * line_taps; ++t) {
      const int64_t l = t / line_taps, vector = (c / 8 * pairs + l / 2) * line_taps + t % line_taps;
      to[(vector * 8 + c % 8) * 2 + l % 2] = w[t * pitch + c];
    }
  }
  return packed;
}

Memory PackLinePairs(const int16_t* w, int64_t channels, int64_t lines, int64_t line_taps) {
  const int64_t pitch = DepthwisePitch(channels), pairs = DivideUp(lines + 1, 2);
  Memory packed = Memory::Allocate(
      CheckedMul(CheckedMul(DivideUp(channels, 8), CheckedMul(CheckedMul(pairs, 2), line_taps)), kPairBytes));
  int16_t* to = reinterpret_cast<int16_t*>(packed.data);
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t t = 0; t < lines * line_taps; ++t) {
      for (int64_t lower = 0; lower < 2; ++lower) {
        const int64_t l = t / line_taps + lower;
        const int64_t vector = ((c / 8 * pairs + l / 2) * 2 + lower) * line_taps + t % line_taps;
        to[(vector * 8 + c % 8) * 2 + l % 2] = w[t * pitch + c];
      }
    }
  }
  return packed;
}

Memory PackBlocks(const int16_t* w, int64_t channels, int64_t lines, int64_t line_taps) {
  const int64_t pitch = DepthwisePitch(channels), paired = lines / 2 * line_taps;
  const int64_t pairs = paired + (lines % 2 ? DivideUp(line_taps, 2) : 0);
  Memory packed = Memory::Allocate(
      CheckedMul(CheckedMul(DivideUp(channels, kBlockChannels), CheckedMul(pairs, 4)), kPairBytes));
  int16_t* to = reinterpret_cast<int16_t*>(packed.data);
  for (int64_t c = 0; c < channels; ++c) {
    const int64_t block = c / kBlockChannels, lane = c % kBlockChannels / 16, half = c % 16 / 8, i = c % 8;
    for (int64_t t = 0; t < lines * line_taps; ++t) {
      const int64_t l = t / line_taps, k = t % line_taps;
      const bool alone = l == lines - 1 && lines % 2;
      const int64_t pair = alone ? paired + k / 2 : l / 2 * line_taps + k;
      const int64_t second = alone ? k % 2 || k == line_taps - 1 : l % 2;
      const int64_t vector = ((block * 2 + half) * pairs + pair) * 2 + i % 2;
      to[(vector * 8 + lane * 4 + i / 2) * 2 + second] = w[t * pitch + c];
    }
  }
  return packed;
}

namespace {

Built ChooseAndSchedule(DepthwiseProblem& p, const OpDesc& op) {
  const std::string forced = op.attrs.ForcedKernel();
  if (forced == "reference") {
    return MakeBuilt(&RunDepthwiseReference, p, forced, p.map.taps * static_cast<int64_t>(sizeof(char*)));
  }
  const std::byte* w = p.lhs == DType::kU8 && op.data.size() > 1 ? op.data[1] : nullptr;
  const DepthwiseKernel& kernel = Choose(p, reinterpret_cast<const int16_t*>(w), forced);
  if (kernel.run_lines && TakesLines(p)) {
    ScheduleLines(p, op.threads);
    p.kernel = &kernel;
    p.repacked =
        PackLinePairs(reinterpret_cast<const int16_t*>(w), p.channels, p.lines_of_window, p.line_taps);
    return MakeBuilt(&RunDepthwiseLines, p, kernel.name, CheckedMul(p.worker_scratch, op.threads));
  }
  Schedule(p, kernel, op.threads);
  const RunFn run = kernel.inputs == DepthwiseInputs::kColumns ? &Run<ColumnRun> : &Run<TapRun>;
  return MakeBuilt(run, p, kernel.name, CheckedMul(p.worker_scratch, op.threads));
}

}  // namespace

Built BuildDwconv(const OpDesc& op) {
  DepthwiseProblem p = Describe(op);
  if (p.map.pixels == 0) return MakeBuilt(&RunNothing, 0, "empty");
  Built built = ChooseAndSchedule(p, op);
  built.work = static_cast<double>(p.map.pixels) * static_cast<double>(p.map.taps) *
               static_cast<double>(std::max<int64_t>(1, p.channels));
  return built;
}

std::span<const KernelInfo> DwconvKernels() { return kKernels; }

}  // namespace planish
