// Family `resize`: x [N, s1..sk, C] -> y [N, o1..ok, C], k = 1..3, any strides (fastest where the channels
// are contiguous).
//   y[n, o, c] = sum over tk of w(ok, tk) * (sum over t1..  of w(o1, t1) * .. * x[n, t1..tk, c])
// The inner sum makes one line of the last spatial dimension from the lines of x; the outer one interpolates along it.
// Attributes, as ONNX's Resize: mode nearest, linear, cubic; coordinate half_pixel, half_pixel_symmetric,
// pytorch_half_pixel, asymmetric, align_corners; nearest_mode round_prefer_floor, round_prefer_ceil, floor,
// ceil; cubic_a; exclude_outside; scales, one per spatial dimension (default: o / s). Coordinates are
// computed in float32.
//   nearest: any dtype; linear and cubic: float32, and uint8 with x_scale, x_zero, y_scale, y_zero
//   (dequantized, interpolated and quantized in float32)
#include <cmath>
#include <cstring>
#include <vector>

#include "base/memory.h"
#include "kernels/common/nest.h"
#include "kernels/common/operands.h"
#include "kernels/resize/lines.h"

namespace planish {
namespace {

enum Mode { kNearest, kLinear, kCubic };
constexpr const char* kModes[] = {"nearest", "linear", "cubic"};
enum Coordinate { kHalfPixel, kHalfPixelSymmetric, kPytorchHalfPixel, kAsymmetric, kAlignCorners };
constexpr const char* kCoordinates[] = {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel",
                                        "asymmetric", "align_corners"};
enum NearestMode { kRoundPreferFloor, kRoundPreferCeil, kFloor, kCeil };
constexpr const char* kNearestModes[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};

constexpr int kSpatial = 3;
constexpr int kMaxTaps = 4;

// The taps of every output index of one dimension: indices and byte offsets in x, and weights.
struct Axis {
  int taps = 1;
  int64_t out = 1, to = 0;
  std::vector<int64_t> pixel = {0}, from = {0};
  std::vector<float> weight = {1};
};

struct Params {
  Axis axis[kSpatial];
  int64_t batch = 0, batch_from = 0, batch_to = 0, channels = 0, channel_from = 0, channel_to = 0, item = 0;
  bool copy = false;       // one tap of weight one
  bool bytes = false;      // dequantize and quantize
  int64_t width = 0;       // of x along the last spatial dimension
  int64_t line_pitch = 0;  // x's bytes between its pixels there
  const ResizeRows* rows = nullptr;
  float x_scale = 1, y_scale = 1;
  int32_t x_zero = 0, y_zero = 0;
};

// ---- Run
// ----------------------------------------------------------------------------------------------------------------

bool LiesPacked(const Params& p, int64_t pixel_pitch, int64_t channel_pitch) {
  return channel_pitch == p.item && pixel_pitch == p.channels * p.item;
}

// The elements [pixel][channel] of one line of x, side by side: in place where they already are, else through `buffer`.
const std::byte* LoadLine(const Params& p, const std::byte* x, std::byte* buffer) {
  if (LiesPacked(p, p.line_pitch, p.channel_from)) return x;
  for (int64_t i = 0; i < p.width; ++i)
    CopyItems(p.item, x + i * p.line_pitch, p.channel_from, buffer + i * p.channels * p.item, p.item,
              p.channels);
  return buffer;
}

// Writes one line of output pixels that lie side by side.
void StoreLine(const Params& p, const std::byte* from, std::byte* y) {
  const Axis& line = p.axis[kSpatial - 1];
  for (int64_t i = 0; i < line.out; ++i)
    CopyItems(p.item, from + i * p.channels * p.item, p.item, y + i * line.to, p.channel_to, p.channels);
}

// What a worker holds: the line; a line of x packed, and dequantized; a line of output pixels, and quantized.
struct Lines {
  float *line, *source, *result;
  std::byte *packed_source, *packed_result;
};

int64_t LineFloats(const Params& p) { return AlignUp(CheckedMul(p.width, p.channels), 16); }
int64_t ResultFloats(const Params& p) {
  return AlignUp(CheckedMul(p.axis[kSpatial - 1].out, p.channels), 16);
}
int64_t WorkerFloats(const Params& p) {
  return CheckedAdd(CheckedMul(3, LineFloats(p)), CheckedMul(2, ResultFloats(p)));
}

Lines LinesAt(const Params& p, float* base) {
  float* source = base + LineFloats(p);
  float* packed_source = source + LineFloats(p);
  float* result = packed_source + LineFloats(p);
  return {base, source, result, reinterpret_cast<std::byte*>(packed_source),
          reinterpret_cast<std::byte*>(result + ResultFloats(p))};
}

// One line of x as floats.
const float* LoadFloats(const Params& p, const std::byte* x, const Lines& b) {
  const std::byte* packed = LoadLine(p, x, b.packed_source);
  if (!p.bytes) return reinterpret_cast<const float*>(packed);
  p.rows->dequantize(reinterpret_cast<const uint8_t*>(packed), p.x_scale, p.x_zero, b.source,
                     p.width * p.channels);
  return b.source;
}

// One line of output pixels; o: its indices in the other spatial dimensions.
void InterpolateLine(const Params& p, const int64_t (&o)[kSpatial], const std::byte* x, std::byte* y,
                     const Lines& b) {
  const auto& [a0, a1, a2] = p.axis;
  const int64_t n = p.width * p.channels;
  bool first = true;
  for (int64_t i = o[0] * a0.taps; i < (o[0] + 1) * a0.taps; ++i) {
    for (int64_t j = o[1] * a1.taps; j < (o[1] + 1) * a1.taps; ++j) {
      const float* source = LoadFloats(p, x + a0.from[i] + a1.from[j], b);
      p.rows->add(source, a0.weight[i] * a1.weight[j], first, b.line, n);
      first = false;
    }
  }
  const bool packed = LiesPacked(p, a2.to, p.channel_to), direct = !p.bytes && p.channel_to == 4;
  for (int64_t k = 0; k < a2.out; ++k) {
    float* to = direct ? reinterpret_cast<float*>(y + k * a2.to) : b.result + k * p.channels;
    p.rows->combine(b.line, a2.pixel.data() + k * a2.taps, a2.weight.data() + k * a2.taps, a2.taps,
                    p.channels, to);
  }
  if (direct) return;
  if (!p.bytes) return StoreLine(p, reinterpret_cast<const std::byte*>(b.result), y);
  std::byte* bytes = packed ? y : b.packed_result;
  p.rows->quantize(b.result, p.y_scale, p.y_zero, reinterpret_cast<uint8_t*>(bytes), a2.out * p.channels);
  if (!packed) StoreLine(p, bytes, y);
}

void CopyPixel(const Params& p, const std::byte* from, std::byte* to) {
  if (p.channel_from == p.item && p.channel_to == p.item) {
    std::memcpy(to, from, static_cast<size_t>(p.channels * p.item));
  } else {
    CopyItems(p.item, from, p.channel_from, to, p.channel_to, p.channels);
  }
}

void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  const int64_t n0 = p.axis[0].out, n1 = p.axis[1].out, n2 = p.axis[2].out;
  const int threads = ThreadsFor(p.batch * n0 * n1 * n2 * p.channels * p.item, context.threads);
  // A task: one row of output pixels.
  ParallelFor(p.batch * n0 * n1, threads, [&](int64_t task, int worker) {
    int64_t o[kSpatial] = {task / n1 % n0, task % n1, 0};
    const int64_t image = task / n1 / n0;
    const std::byte* x = operands[0] + image * p.batch_from;
    std::byte* y = operands[1] + image * p.batch_to + o[0] * p.axis[0].to + o[1] * p.axis[1].to;
    if (!p.copy) {
      float* base = reinterpret_cast<float*>(context.scratch) + worker * WorkerFloats(p);
      return InterpolateLine(p, o, x, y, LinesAt(p, base));
    }
    for (; o[2] < n2; ++o[2], y += p.axis[2].to) {
      CopyPixel(p, x + p.axis[0].from[o[0]] + p.axis[1].from[o[1]] + p.axis[2].from[o[2]], y);
    }
  });
}

// ---- Build: the taps of a dimension
// ---------------------------------------------------------------------------------------

struct Rule {
  Mode mode;
  Coordinate coordinate;
  NearestMode nearest;
  float cubic_a;
  bool exclude_outside;
};

// The length that `out` is the whole part of: not a whole number where a scale was given that makes it so.
float ResizedLength(int64_t in, int64_t out, float scale) {
  constexpr float kRounding = 1e-3f;  // of a scale that was computed from `out`
  const float whole = static_cast<float>(out), length = scale * static_cast<float>(in);
  return length > whole + kRounding && length < whole + 1 ? length : whole;
}

float SourcePosition(const Rule& r, int64_t o, int64_t in, int64_t out, float scale) {
  const float position = static_cast<float>(o), half = (position + 0.5f) / scale - 0.5f;
  const float n_in = static_cast<float>(in), n_out = static_cast<float>(out);
  switch (r.coordinate) {
    case kHalfPixelSymmetric:
      return n_in / 2 * (1 - n_out / (scale * n_in)) + half;
    case kPytorchHalfPixel:
      return out > 1 ? half : 0.0f;
    case kAsymmetric:
      return position / scale;
    case kAlignCorners:
      return out > 1 ? position * (n_in - 1) / (ResizedLength(in, out, scale) - 1) : 0.0f;
    default:
      return half;
  }
}

float NearestOf(NearestMode mode, float x) {
  switch (mode) {
    case kRoundPreferFloor:
      return x - std::floor(x) == 0.5f ? std::floor(x) : std::round(x);
    case kRoundPreferCeil:
      return std::floor(x + 0.5f);
    case kFloor:
      return std::floor(x);
    default:
      return std::ceil(x);
  }
}

void CubicWeights(float a, float t, float (&w)[kMaxTaps]) {
  const auto near = [a](float d) { return ((a + 2) * d - (a + 3)) * d * d + 1; };
  const auto far = [a](float d) { return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a; };
  w[0] = far(t + 1);
  w[1] = near(t);
  w[2] = near(1 - t);
  w[3] = far(2 - t);
}

// Positions of the taps relative to the first, their weights, and how many there are.
int TapsOf(const Rule& r, float x, int64_t in, int64_t& first, float (&w)[kMaxTaps]) {
  const float limit = static_cast<float>(in) + 4;
  x = x > -4 ? std::min(x, limit) : -4;  // NaN gives -4; what follows fits an index
  if (r.mode == kNearest) {
    first = static_cast<int64_t>(NearestOf(r.nearest, x));
    w[0] = 1;
    return 1;
  }
  if (r.mode == kLinear) {
    x = std::clamp(x, 0.0f, static_cast<float>(in - 1));
    first = static_cast<int64_t>(std::floor(x));
    w[1] = x - static_cast<float>(first);
    w[0] = 1 - w[1];
    return 2;
  }
  first = static_cast<int64_t>(std::floor(x)) - 1;
  CubicWeights(r.cubic_a, x - std::floor(x), w);
  if (!r.exclude_outside) return 4;
  float sum = 0;
  for (int t = 0; t < 4; ++t) {
    if (first + t < 0 || first + t >= in) w[t] = 0;
    sum += w[t];
  }
  for (float& v : w) v = sum != 0 ? v / sum : 0;
  return 4;
}

Axis AxisOfDimension(const Rule& r, int64_t in, int64_t out, int64_t from, int64_t to, float scale) {
  Axis a;
  a.out = out;
  a.to = to;
  a.pixel.clear();
  a.from.clear();
  a.weight.clear();
  for (int64_t o = 0; o < out; ++o) {
    int64_t first = 0;
    float w[kMaxTaps] = {};
    a.taps = TapsOf(r, SourcePosition(r, o, in, out, scale), in, first, w);
    for (int t = 0; t < a.taps; ++t) {
      a.pixel.push_back(std::clamp<int64_t>(first + t, 0, in - 1));
      a.from.push_back(a.pixel.back() * from);
      a.weight.push_back(w[t]);
    }
  }
  return a;
}

void FillQuantization(const OpDesc& op, Params& p) {
  p.x_scale = static_cast<float>(op.attrs.Float("x_scale", 1));
  p.y_scale = static_cast<float>(op.attrs.Float("y_scale", 1));
  const int64_t x_zero = op.attrs.Int("x_zero", 0), y_zero = op.attrs.Int("y_zero", 0);
  Check(p.x_scale > 0 && p.y_scale > 0 && x_zero >= 0 && x_zero <= 255 && y_zero >= 0 && y_zero <= 255,
        "resize: scales must be positive and zero points uint8; the plan is damaged or of another version");
  p.x_zero = static_cast<int32_t>(x_zero);
  p.y_zero = static_cast<int32_t>(y_zero);
}

void FillAxes(const OpDesc& op, const View& x, const View& y, const Rule& rule, Params& p) {
  const int k = x.rank - 2;
  const std::vector<double> scales = op.attrs.Floats("scales");
  Check(scales.empty() || static_cast<int>(scales.size()) == k,
        "resize: one scale per spatial dimension; correct the model");
  for (int i = 0; i < k; ++i) {
    const int64_t in = x.shape[i + 1], out = y.shape[i + 1];
    Check(in > 0 && in < (1 << 24) && out < (1 << 24),
          "resize: a dimension is empty or exceeds 2^24; use smaller images");
    const float scale = scales.empty() ? static_cast<float>(out) / static_cast<float>(in)
                                       : static_cast<float>(scales[static_cast<size_t>(i)]);
    Check(scale > 0 && std::isfinite(scale), "resize: scales must be positive; correct the model");
    p.axis[kSpatial - k + i] = AxisOfDimension(rule, in, out, x.stride[i + 1], y.stride[i + 1], scale);
  }
}

// Multiply-adds of a run: lines of x are summed, then the pixels of the line.
double InterpolationWork(const Params& p) {
  const Axis &a0 = p.axis[0], &a1 = p.axis[1], &a2 = p.axis[2];
  const double lines = static_cast<double>(p.batch) * static_cast<double>(a0.out) * static_cast<double>(a1.out);
  const double summed = static_cast<double>(p.width) * a0.taps * a1.taps;
  return lines * static_cast<double>(p.channels) * (summed + static_cast<double>(a2.out) * a2.taps);
}

}  // namespace

PLANISH_KERNEL_LIST(resize, Resize, kResizeLines)

Built BuildResize(const OpDesc& op) {
  CheckOperands(op, 1, 1);
  const View &x = op.inputs[0], &y = op.outputs[0];
  Check(x.rank >= 3 && x.rank <= 2 + kSpatial && x.rank == y.rank,
        "resize: takes 1 to 3 spatial dimensions; reshape the tensor");
  CheckType(op, x, y.dtype);
  const int last = x.rank - 1;
  Check(x.shape[0] == y.shape[0] && x.shape[last] == y.shape[last],
        "resize: batch or channels differ; the plan is damaged or of another version");
  const KernelInfo& kernel = ChooseBest(ResizeKernels(), op.attrs);
  const Rule rule{
      static_cast<Mode>(ChoiceOf(op, "mode", op.attrs.String("mode", "nearest"), kModes)),
      static_cast<Coordinate>(
          ChoiceOf(op, "coordinate", op.attrs.String("coordinate", "half_pixel"), kCoordinates)),
      static_cast<NearestMode>(
          ChoiceOf(op, "nearest_mode", op.attrs.String("nearest_mode", "round_prefer_floor"), kNearestModes)),
      static_cast<float>(op.attrs.Float("cubic_a", -0.75)), op.attrs.Int("exclude_outside", 0) != 0};
  Params p;
  p.copy = rule.mode == kNearest;
  p.bytes = !p.copy && x.dtype == DType::kU8;
  if (!p.copy && !p.bytes) CheckType(op, x, DType::kF32);
  FillQuantization(op, p);
  p.item = ItemSize(x.dtype);
  p.batch = x.shape[0];
  p.batch_from = x.stride[0];
  p.batch_to = y.stride[0];
  p.channels = x.shape[last];
  p.channel_from = x.stride[last];
  p.channel_to = y.stride[last];
  if (y.elements() == 0) return BuildNothing(kernel.name);
  FillAxes(op, x, y, rule, p);
  p.width = x.shape[last - 1];
  p.line_pitch = x.stride[last - 1];
  p.rows = &ResizeRowsFor(kernel.isa);
  const int64_t scratch = p.copy ? 0 : CheckedMul(CheckedMul(WorkerFloats(p), 4), op.threads);
  Built built = MakeBuilt(&Run, p, kernel.name, scratch);
  built.work = p.copy ? 0 : InterpolationWork(p);
  return built;
}

}  // namespace planish
