// Family `grid_sample` (ONNX GridSample): x [N, C, s1..sk], grid [N, o1..ok, k] -> y [N, C, o1..ok], k = 1..3; float32,
// any strides. The last axis of the grid holds a position in x, the coordinate of the last axis first, -1 and 1 being
// the ends of an axis: the centres of its outer pixels with align_corners = 1, else their outer edges.
//   y[n, c, o] = sum over taps t1..tk of w1(t1) * .. * wk(tk) * x[n, c, t1..tk]
// Attributes: mode nearest (half to even), linear, cubic (a = -0.75); padding zeros, border, reflection for what lies
// outside. Positions are data: NaN counts as far outside.
#include <cmath>

#include "kernels/common/nest.h"
#include "kernels/common/operands.h"
#include "kernels/sampling/lines.h"

namespace planish {
namespace {

enum Mode { kNearest, kLinear, kCubic };
constexpr const char* kModes[] = {"nearest", "linear", "cubic"};
enum Padding { kZeros, kBorder, kReflection };
constexpr const char* kPaddings[] = {"zeros", "border", "reflection"};

constexpr int kSpatial = 3;
constexpr int kMaxTaps = 4;
constexpr int64_t kLargest = 1 << 24;  // of an axis: positions are float32

struct Params {
  Mode mode;
  Padding padding;
  bool align_corners;
  int rank;  // spatial
  int64_t batch, channels, points;
  int64_t in[kSpatial], out[kSpatial];
  int64_t from[kSpatial], grid_from[kSpatial], to[kSpatial];
  int64_t from_batch, from_channel, grid_batch, grid_item, to_batch, to_channel;
};

// Taps along one axis: byte offsets and weights; a weight of zero also stands for a tap outside.
struct Taps {
  int count;
  int64_t offset[kMaxTaps];
  float weight[kMaxTaps];
};

// x mirrored at lo and hi until it lies between them.
float Reflect(float x, float lo, float hi) {
  const float range = hi - lo;
  if (!(range > 0)) return lo;
  const float beyond = x < lo ? lo - x : x - hi;
  if (beyond <= 0) return x;
  const float turns = std::floor(beyond / range), rest = beyond - turns * range;
  const bool even = static_cast<int64_t>(turns) % 2 == 0;
  return (x < lo) == even ? lo + rest : hi - rest;
}

// A position in pixels for a normalised one.
float PositionOf(const Params& p, float g, int64_t size) {
  const float n = static_cast<float>(size);
  return Bounded(p.align_corners ? (g + 1.0f) / 2.0f * (n - 1.0f) : ((g + 1.0f) * n - 1.0f) / 2.0f);
}

// A position beyond the outer pixels brought back.
float Inside(const Params& p, float x, int64_t size) {
  const float last = static_cast<float>(size - 1), edge = p.align_corners ? 0.0f : 0.5f;
  if (p.padding == kReflection) return Reflect(x, -edge, last + edge);
  return p.padding == kBorder && (x < -edge || x > last + edge) ? std::clamp(x, 0.0f, last) : x;
}

void CubicWeights(float t, float (&w)[kMaxTaps]) {
  constexpr float a = -0.75f;
  const auto near = [](float d) { return ((a + 2) * d - (a + 3)) * d * d + 1; };
  const auto far = [](float d) { return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a; };
  w[0] = far(t + 1);
  w[1] = near(t);
  w[2] = near(1 - t);
  w[3] = far(2 - t);
}

Taps TapsOf(const Params& p, float g, int64_t size, int64_t pitch) {
  Taps taps;
  float x = PositionOf(p, g, size);
  int64_t first;
  if (p.mode == kNearest) {
    taps.count = 1;
    x = std::nearbyint(x);
    first = static_cast<int64_t>(Inside(p, x, size));
    taps.weight[0] = 1;
  } else if (p.mode == kLinear) {
    taps.count = 2;
    x = Inside(p, x, size);
    first = static_cast<int64_t>(std::floor(x));
    taps.weight[1] = x - static_cast<float>(first);
    taps.weight[0] = 1 - taps.weight[1];
  } else {
    taps.count = 4;
    x = Inside(p, x, size);
    first = static_cast<int64_t>(std::floor(x)) - 1;
    CubicWeights(x - std::floor(x), taps.weight);
  }
  for (int t = 0; t < taps.count; ++t) {
    int64_t i = first + t;
    if (i < 0 || i >= size) {
      if (p.padding == kZeros) taps.weight[t] = 0;
      i = std::clamp<int64_t>(static_cast<int64_t>(Inside(p, static_cast<float>(i), size)), 0, size - 1);
    }
    taps.offset[t] = i * pitch;
  }
  return taps;
}

// One output point: the taps of its axes are combined once for all channels.
void SamplePoint(const Params& p, const std::byte* x, const std::byte* grid, std::byte* y) {
  Taps axis[kSpatial];
  for (int d = 0; d < kSpatial; ++d) {
    axis[d] = {1, {0}, {1}};
    if (d >= p.rank) continue;
    float g;
    std::memcpy(&g, grid + (p.rank - 1 - d) * p.grid_item, 4);
    axis[d] = TapsOf(p, g, p.in[d], p.from[d]);
  }
  int count = 0;
  int64_t offset[kMaxTaps * kMaxTaps * kMaxTaps];
  float weight[kMaxTaps * kMaxTaps * kMaxTaps];
  for (int i = 0; i < axis[0].count; ++i) {
    for (int j = 0; j < axis[1].count; ++j) {
      for (int k = 0; k < axis[2].count; ++k) {
        const float w = axis[0].weight[i] * axis[1].weight[j] * axis[2].weight[k];
        if (w == 0) continue;
        offset[count] = axis[0].offset[i] + axis[1].offset[j] + axis[2].offset[k];
        weight[count++] = w;
      }
    }
  }
  for (int64_t c = 0; c < p.channels; ++c) {
    float sum = 0;
    for (int t = 0; t < count; ++t) {
      float value;
      std::memcpy(&value, x + c * p.from_channel + offset[t], 4);
      sum += weight[t] * value;
    }
    std::memcpy(y + c * p.to_channel, &sum, 4);
  }
}

void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  const int threads = ThreadsFor(p.batch * p.points * (p.channels * 16 + 64), context.threads);
  ParallelFor(p.batch * p.points, threads, [&](int64_t task, int) {
    const int64_t n = task / p.points;
    const std::byte* grid = operands[1] + n * p.grid_batch;
    std::byte* y = operands[2] + n * p.to_batch;
    int64_t point = task % p.points;
    for (int d = p.rank - 1; d >= 0; --d) {
      const int64_t o = point % p.out[d];
      point /= p.out[d];
      grid += o * p.grid_from[d];
      y += o * p.to[d];
    }
    SamplePoint(p, operands[0] + n * p.from_batch, grid, y);
  });
}

}  // namespace

PLANISH_KERNEL_LIST(grid_sample, GridSample, kSamplingLines)

Built BuildGridSample(const OpDesc& op) {
  CheckOperands(op, 2, 1);
  const View &x = op.inputs[0], &grid = op.inputs[1], &y = op.outputs[0];
  for (const View* v : {&x, &grid, &y}) CheckType(op, *v, DType::kF32);
  const KernelInfo& kernel = ChooseBest(GridSampleKernels(), op.attrs);
  Check(x.rank >= 3 && x.rank <= 2 + kSpatial && grid.rank == x.rank && y.rank == x.rank,
        "grid_sample: takes 1 to 3 spatial dimensions; reshape the tensor");
  Params p{};
  p.mode = static_cast<Mode>(ChoiceOf(op, "mode", op.attrs.String("mode", "linear"), kModes));
  p.padding = static_cast<Padding>(ChoiceOf(op, "padding", op.attrs.String("padding", "zeros"), kPaddings));
  p.align_corners = op.attrs.Int("align_corners", 0) != 0;
  p.rank = x.rank - 2;
  bool fits = grid.shape[p.rank + 1] == p.rank && grid.shape[0] == x.shape[0] && y.shape[0] == x.shape[0] &&
              y.shape[1] == x.shape[1];
  for (int d = 0; d < p.rank; ++d) {
    fits = fits && grid.shape[d + 1] == y.shape[d + 2];
    p.in[d] = x.shape[d + 2];
    p.out[d] = y.shape[d + 2];
    p.from[d] = x.stride[d + 2];
    p.grid_from[d] = grid.stride[d + 1];
    p.to[d] = y.stride[d + 2];
  }
  Check(fits, "grid_sample: shapes do not fit together; the plan is damaged or of another version");
  if (y.elements() == 0) return BuildNothing(kernel.name);
  for (int d = 0; d < p.rank; ++d) {
    Check(p.in[d] > 0 && p.in[d] < kLargest, "grid_sample: a dimension is empty or exceeds 2^24; use smaller images");
  }
  p.batch = x.shape[0];
  p.channels = x.shape[1];
  p.points = y.elements() / p.batch / p.channels;
  p.from_batch = x.stride[0];
  p.from_channel = x.stride[1];
  p.grid_batch = grid.stride[0];
  p.grid_item = grid.stride[p.rank + 1];
  p.to_batch = y.stride[0];
  p.to_channel = y.stride[1];
  Built built = MakeBuilt(&Run, p, kernel.name);
  const double taps = std::pow(p.mode == kCubic ? 4 : p.mode == kLinear ? 2 : 1, p.rank);
  const double points = static_cast<double>(p.batch) * static_cast<double>(p.points);
  built.work = points * (static_cast<double>(p.channels) + 1) * taps;  // one more for the weights
  return built;
}

}  // namespace planish
