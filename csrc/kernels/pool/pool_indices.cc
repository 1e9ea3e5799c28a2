// Family `pool_indices`: max pooling that also says where the largest values are (ONNX MaxPool with indices).
// x [N, C, s1..sk] -> y [N, C, o1..ok], indices int64 of y's shape, k = 1..3; float32, int8, uint8; any strides.
// An index is the position in x as if x were row-major, or with attribute column_major = 1 each map column-major. Of
// equal values the first counts, a NaN only if it is the window's first; an empty window gives the lowest value and the
// index 0. Attributes kernel[k], strides[k], dilations[k], pads[2k] as of family `pool`.
#include <limits>

#include "kernels/common/nest.h"
#include "kernels/common/operands.h"
#include "kernels/pool/lines.h"

namespace planish {
namespace {

constexpr int kSpatial = 3;

struct Axis {
  int64_t in = 1, out = 1, kernel = 1, stride = 1, dilation = 1, pad = 0;
  int64_t from = 0, to = 0, to_index = 0;  // byte strides
  int64_t pitch = 0;                       // of an index
};

struct Params {
  Axis axis[kSpatial];
  int64_t maps, channels;
  int64_t from_batch, from_channel, to_batch, to_channel, index_batch, index_channel;
};

// The pixels of one window along one axis: from the first inside x on, in steps of the dilation, before `end`.
struct Range {
  int64_t first, end;
};

Range RangeOf(const Axis& a, int64_t o) {
  const int64_t start = o * a.stride - a.pad;
  const int64_t skipped = start < 0 ? (-start + a.dilation - 1) / a.dilation : 0;
  return {start + skipped * a.dilation, start + (a.kernel - 1) * a.dilation + 1};
}

template <class T>
void RunWindow(const Params& p, const int64_t (&o)[kSpatial], const std::byte* x, int64_t base, std::byte* y,
               std::byte* index) {
  T best = std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::min();
  int64_t at = -1;
  Range r[kSpatial];
  for (int d = 0; d < kSpatial; ++d) r[d] = RangeOf(p.axis[d], o[d]);
  for (int64_t i = r[0].first; i < p.axis[0].in && i < r[0].end; i += p.axis[0].dilation) {
    for (int64_t j = r[1].first; j < p.axis[1].in && j < r[1].end; j += p.axis[1].dilation) {
      for (int64_t k = r[2].first; k < p.axis[2].in && k < r[2].end; k += p.axis[2].dilation) {
        T value;
        std::memcpy(&value, x + i * p.axis[0].from + j * p.axis[1].from + k * p.axis[2].from, sizeof value);
        if (at >= 0 && !(value > best)) continue;
        best = value;
        at = base + i * p.axis[0].pitch + j * p.axis[1].pitch + k * p.axis[2].pitch;
      }
    }
  }
  at = std::max<int64_t>(at, 0);
  std::memcpy(y, &best, sizeof best);
  std::memcpy(index, &at, 8);
}

template <class T>
void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  const Axis(&axis)[kSpatial] = p.axis;
  const int64_t points = axis[0].out * axis[1].out * axis[2].out, pixels = axis[0].in * axis[1].in * axis[2].in;
  const int threads = ThreadsFor(p.maps * points * 64, context.threads);
  ParallelFor(p.maps, threads, [&](int64_t map, int) {
    const int64_t n = map / p.channels, c = map % p.channels;
    const std::byte* x = operands[0] + n * p.from_batch + c * p.from_channel;
    std::byte* y = operands[1] + n * p.to_batch + c * p.to_channel;
    std::byte* index = operands[2] + n * p.index_batch + c * p.index_channel;
    int64_t o[kSpatial];
    for (o[0] = 0; o[0] < axis[0].out; ++o[0]) {
      for (o[1] = 0; o[1] < axis[1].out; ++o[1]) {
        for (o[2] = 0; o[2] < axis[2].out; ++o[2]) {
          int64_t to = 0, to_index = 0;
          for (int d = 0; d < kSpatial; ++d) {
            to += o[d] * axis[d].to;
            to_index += o[d] * axis[d].to_index;
          }
          RunWindow<T>(p, o, x, map * pixels, y + to, index + to_index);
        }
      }
    }
  });
}

// Attribute `name`: one value per spatial dimension (`count` in all), each within [least, 2^31).
std::vector<int64_t> Values(const OpDesc& op, std::string_view name, size_t count, int64_t least) {
  std::vector<int64_t> v = op.attrs.Ints(name);
  if (v.empty()) v.assign(count, least);
  bool ok = v.size() == count;
  for (const int64_t x : v) ok = ok && x >= least && x < (int64_t{1} << 31);
  if (!ok) Fail("pool_indices: attribute " + std::string(name) + " has a wrong length or value; correct the model");
  return v;
}

void FillAxes(const OpDesc& op, Params& p) {
  const View &x = op.inputs[0], &y = op.outputs[0], &indices = op.outputs[1];
  const int k = x.rank - 2;
  const auto size = static_cast<size_t>(k);
  const auto kernel = Values(op, "kernel", size, 1), strides = Values(op, "strides", size, 1);
  const auto dilations = Values(op, "dilations", size, 1), pads = Values(op, "pads", 2 * size, 0);
  for (int i = 0; i < k; ++i) {
    const auto u = static_cast<size_t>(i);
    Check(x.shape[i + 2] < (int64_t{1} << 31) && y.shape[i + 2] < (int64_t{1} << 31),
          "pool_indices: a dimension exceeds 2^31; use smaller tensors");
    p.axis[kSpatial - k + i] = {x.shape[i + 2],  y.shape[i + 2],  kernel[u],       strides[u],
                                dilations[u],    pads[u],         x.stride[i + 2], y.stride[i + 2],
                                indices.stride[i + 2], 0};
  }
  int64_t pitch = 1;
  const bool column_major = op.attrs.Int("column_major", 0) != 0;
  for (int d = 0; d < kSpatial; ++d) {
    Axis& axis = p.axis[column_major ? d : kSpatial - 1 - d];
    axis.pitch = pitch;
    pitch *= axis.in;
  }
}

}  // namespace

PLANISH_KERNEL_LIST(pool_indices, PoolIndices, kPoolLines)

Built BuildPoolIndices(const OpDesc& op) {
  CheckOperands(op, 1, 2);
  const View &x = op.inputs[0], &y = op.outputs[0], &indices = op.outputs[1];
  Check(x.rank >= 3 && x.rank <= 2 + kSpatial && x.rank == y.rank,
        "pool_indices: takes 1 to 3 spatial dimensions; reshape the tensor");
  CheckType(op, y, x.dtype);
  CheckType(op, indices, DType::kS64);
  CheckSameShape(op, y, indices);
  Check(x.shape[0] == y.shape[0] && x.shape[1] == y.shape[1],
        "pool_indices: batch or channels differ; the plan is damaged or of another version");
  const KernelInfo& kernel = ChooseBest(PoolIndicesKernels(), op.attrs);
  Params p{};
  FillAxes(op, p);
  p.channels = x.shape[1];
  p.maps = CheckedMul(x.shape[0], x.shape[1]);
  p.from_batch = x.stride[0];
  p.from_channel = x.stride[1];
  p.to_batch = y.stride[0];
  p.to_channel = y.stride[1];
  p.index_batch = indices.stride[0];
  p.index_channel = indices.stride[1];
  const RunFn run = x.dtype == DType::kF32   ? &Run<float>
                    : x.dtype == DType::kU8  ? &Run<uint8_t>
                    : x.dtype == DType::kS8  ? &Run<int8_t>
                                             : nullptr;
  if (!run) FailType(op, x.dtype);
  if (y.elements() == 0) return BuildNothing(kernel.name);
  return MakeBuilt(run, p, kernel.name);
}

}  // namespace planish
