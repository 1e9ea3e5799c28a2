// Family `deform_columns`: the columns of a deformable convolution (ONNX DeformConv), which a matrix product turns into
// its result. x [N, C, H, W], offsets [N, G * kh * kw * 2, oh, ow], mask [N, G * kh * kw, oh, ow] (optional) ->
// y [N, C, kh * kw, oh * ow]; float32, any strides. With g the offset group of channel c and t = (i, j) a tap:
//   y[n, c, t, o] = mask[n, g, t, o] * x[n, c, at (o * stride - pad + t * dilation + offset[n, g, t, :, o])]
// interpolated bilinearly; pixels outside are zero. Attributes: kernel[2], strides[2], dilations[2], pads[2] (begins),
// groups (G), size[2] (oh, ow). Offsets are data: NaN counts as far outside.
#include "kernels/common/nest.h"
#include "kernels/common/operands.h"
#include "kernels/sampling/bilinear.h"
#include "kernels/sampling/lines.h"

namespace planish {
namespace {

struct Params {
  Plane plane;
  int64_t batch, channels, groups, taps, points;
  int64_t kernel[2], strides[2], dilations[2], pads[2], size[2];
  int64_t from_batch, from_channel;
  Dims offset_pitch, mask_pitch, to;
  bool masked;
};

Corners CornersAt(const Plane& p, float y, float x) {
  y = Bounded(y);
  x = Bounded(x);
  const float top = std::floor(y), left = std::floor(x);
  Corners c;
  for (int k = 0; k < 4; ++k) {
    const int64_t i = static_cast<int64_t>(top) + k / 2, j = static_cast<int64_t>(left) + k % 2;
    const bool inside = i >= 0 && i < p.height && j >= 0 && j < p.width;
    const float low = y - top, right = x - left;
    c.weight[k] = inside ? (k / 2 ? low : 1 - low) * (k % 2 ? right : 1 - right) : 0.0f;
    c.offset[k] = inside ? i * p.row + j * p.column : 0;
  }
  return c;
}

// One image, tap and output pixel of one group of channels.
void RunPoint(const Params& p, std::byte* const* operands, int64_t n, int64_t g, int64_t t, int64_t o) {
  const int64_t row = o / p.size[1], column = o % p.size[1];
  const auto offset_at = [&](int64_t axis) {
    return At(operands[1] + n * p.offset_pitch[0] + ((g * p.taps + t) * 2 + axis) * p.offset_pitch[1] +
              row * p.offset_pitch[2] + column * p.offset_pitch[3]);
  };
  const auto start = [&](int axis, int64_t at, int64_t tap) {
    return static_cast<float>(at * p.strides[axis] - p.pads[axis] + tap * p.dilations[axis]);
  };
  const Corners c = CornersAt(p.plane, start(0, row, t / p.kernel[1]) + offset_at(0),
                              start(1, column, t % p.kernel[1]) + offset_at(1));
  const float factor = p.masked ? At(operands[2] + n * p.mask_pitch[0] + (g * p.taps + t) * p.mask_pitch[1] +
                                     row * p.mask_pitch[2] + column * p.mask_pitch[3])
                                : 1.0f;
  const int64_t share = p.channels / p.groups;
  for (int64_t ch = g * share; ch < (g + 1) * share; ++ch) {
    const float value = factor * Interpolate(c, operands[0] + n * p.from_batch + ch * p.from_channel);
    std::memcpy(operands[3] + n * p.to[0] + ch * p.to[1] + t * p.to[2] + o * p.to[3], &value, 4);
  }
}

void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  const int64_t rows = p.batch * p.groups * p.taps;
  const int threads = ThreadsFor(rows * p.points * (p.channels / p.groups * 16 + 64), context.threads);
  ParallelFor(rows, threads, [&](int64_t task, int) {
    const int64_t t = task % p.taps, g = task / p.taps % p.groups, n = task / p.taps / p.groups;
    for (int64_t o = 0; o < p.points; ++o) RunPoint(p, operands, n, g, t, o);
  });
}

// Attribute `name`: two values within [least, 2^24).
void Pair(const OpDesc& op, std::string_view name, int64_t least, int64_t fallback, int64_t (&to)[2]) {
  std::vector<int64_t> v = op.attrs.Ints(name);
  if (v.empty()) v.assign(2, fallback);
  bool ok = v.size() == 2;
  for (size_t i = 0; ok && i < 2; ++i) {
    ok = v[i] >= least && v[i] < (1 << 24);
    to[i] = v[i];
  }
  if (!ok) Fail("deform_columns: attribute " + std::string(name) + " has a wrong length or value; correct the model");
}

}  // namespace

PLANISH_KERNEL_LIST(deform_columns, DeformColumns, kSamplingLines)

Built BuildDeformColumns(const OpDesc& op) {
  CheckOperands(op, 3, 1, 2);
  const View &x = op.inputs[0], &offset = op.inputs[1], &mask = op.inputs[2], &y = op.outputs[0];
  const KernelInfo& kernel = ChooseBest(DeformColumnsKernels(), op.attrs);
  Params p{};
  p.masked = Present(op, 2);
  for (const View* v : {&x, &offset, &y}) CheckType(op, *v, DType::kF32);
  if (p.masked) CheckType(op, mask, DType::kF32);
  Pair(op, "kernel", 1, 1, p.kernel);
  Pair(op, "strides", 1, 1, p.strides);
  Pair(op, "dilations", 1, 1, p.dilations);
  Pair(op, "pads", -(1 << 24), 0, p.pads);
  Pair(op, "size", 0, 0, p.size);
  p.groups = op.attrs.Int("groups", 1);
  p.taps = p.kernel[0] * p.kernel[1];
  p.points = p.size[0] * p.size[1];
  const bool ranks = x.rank == 4 && y.rank == 4 && offset.rank == 4 && (!p.masked || mask.rank == 4);
  Check(ranks && p.groups >= 1 && p.groups <= x.shape[1] && x.shape[1] % p.groups == 0,
        "deform_columns: ranks or groups do not fit; correct the model");
  const int64_t maps = CheckedMul(p.groups, p.taps);
  const auto fits = [&](const View& v, int64_t channels) {
    return v.shape[0] == x.shape[0] && v.shape[1] == channels && v.shape[2] == p.size[0] && v.shape[3] == p.size[1];
  };
  Check(fits(offset, CheckedMul(maps, 2)) && (!p.masked || fits(mask, maps)) && y.shape[0] == x.shape[0] &&
            y.shape[1] == x.shape[1] && y.shape[2] == p.taps && y.shape[3] == p.points,
        "deform_columns: shapes do not fit together; correct the model");
  if (y.elements() == 0) return BuildNothing(kernel.name);
  Check(x.elements() > 0, "deform_columns: the image is empty; feed another one");
  p.plane = {x.shape[2], x.shape[3], x.stride[2], x.stride[3]};
  p.batch = x.shape[0];
  p.channels = x.shape[1];
  p.from_batch = x.stride[0];
  p.from_channel = x.stride[1];
  p.offset_pitch = offset.stride;
  p.mask_pitch = mask.stride;
  p.to = y.stride;
  Built built = MakeBuilt(&Run, p, kernel.name);
  const double points = static_cast<double>(p.batch) * static_cast<double>(maps) * static_cast<double>(p.points);
  built.work = 4 * points * (static_cast<double>(p.channels / p.groups) + 1);  // four corners, and their weights
  return built;
}

}  // namespace planish
