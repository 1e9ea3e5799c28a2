// Family `pool`: x [N, s1..sk, C] -> y [N, o1..ok, C], k = 1..3; the channels are contiguous, other strides
// arbitrary.
//   y[n, o, c] = OP over window taps t with 0 <= o * stride - pad + t * dilation < s  of  x[n, o * stride -
//   pad + t * dilation, c]
// Attributes: op max, average or sum; kernel[k], strides[k], dilations[k], pads[2k] (begins, ends),
// count_include_pad. The size of the output is that of y's view (so ceil mode needs nothing of its own). An
// average divides by the number of taps inside x, or with count_include_pad by those inside the padded x. An
// empty window gives the lowest value, or an average of zero. A sum runs over the window in row-major order; one
// over the whole of x (a global pool) in four interleaved lanes l, added as (l0 + l2) + (l1 + l3), and then the
// pixels that are left: the order in which ONNX Runtime adds, so that results rounded to bytes are its own.
//   float32; uint8 max on bytes; uint8 average with x_scale, x_zero, y_scale, y_zero, lo, hi: dequantized,
//   averaged and quantized in float32
#include <limits>

#include "base/check.h"
#include "kernels/common/nest.h"
#include "kernels/common/operands.h"
#include "kernels/pool/lines.h"

namespace planish {
namespace {

constexpr const char* kOps[] = {"max", "average", "sum"};
constexpr int kSpatial = 3;
constexpr int kTaps = 16;           // gathered before they are accumulated
constexpr int kLanes = 4;           // partial sums of a global pool
constexpr int64_t kChannels = 256;  // of a float accumulator on the stack

// One spatial dimension.
struct Axis {
  int64_t in = 1, out = 1, from = 0, to = 0;  // sizes, byte strides of x and y
  int64_t kernel = 1, stride = 1, dilation = 1, pad = 0, pad_end = 0;
};

// The taps of one window along one axis: t in [begin, end) lie inside x; `padded` of them inside the padded
// x.
struct Range {
  int64_t start, begin, end, padded;
};

Range RangeOf(const Axis& a, int64_t o) {
  const int64_t start = o * a.stride - a.pad;
  const auto taps_before = [&](int64_t limit) {  // the number of taps at positions < limit
    if (limit <= start) return int64_t{0};
    return std::min(a.kernel,
                    a.dilation == 1 ? limit - start : (limit - start + a.dilation - 1) / a.dilation);
  };
  const int64_t end = taps_before(a.in);
  return {start, std::min(end, taps_before(0)), end, taps_before(a.in + a.pad_end) - taps_before(-a.pad)};
}

struct Params {
  Axis axis[kSpatial];
  int64_t batch, batch_from, batch_to, channels, item;
  int64_t block;    // channels of a task
  int64_t touched;  // bytes read, about
  bool max, sum, include_pad, bytes;
  float x_scale, y_scale;
  int32_t x_zero, y_zero, lo, hi;
  const PoolRows* rows;
  int listed;              // taps of a window, 0 if more than kTaps or if none fits into x
  int64_t offsets[kTaps];  // of the taps from the first
};

bool IsWhole(const Params& p, const Range (&r)[kSpatial]) {
  bool whole = true;
  for (int d = 0; d < kSpatial; ++d) {
    whole =
        whole && r[d].begin == 0 && r[d].start == 0 && r[d].end == p.axis[d].in && p.axis[d].dilation == 1;
  }
  return whole;
}

// Calls f(taps, count) for groups of at most kTaps pointers to the window's pixels, in ascending order.
template <class F>
void ForEachTaps(const Params& p, const Range (&r)[kSpatial], const std::byte* x, const F& f) {
  const std::byte* taps[kTaps];
  int count = 0;
  const auto at = [&](int d, int64_t t) { return (r[d].start + t * p.axis[d].dilation) * p.axis[d].from; };
  for (int64_t i = r[0].begin; i < r[0].end; ++i) {
    for (int64_t j = r[1].begin; j < r[1].end; ++j) {
      const std::byte* row = x + at(0, i) + at(1, j);
      for (int64_t k = r[2].begin; k < r[2].end; ++k) {
        taps[count++] = row + at(2, k);
        if (count == kTaps) {
          f(taps, count);
          count = 0;
        }
      }
    }
  }
  if (count > 0) f(taps, count);
}

// Whether the whole window lies inside x, and is small enough to be listed: Params::offsets.
bool IsListed(const Params& p, const Range (&r)[kSpatial]) {
  bool inside = p.listed > 0;
  for (int d = 0; d < kSpatial; ++d) inside = inside && r[d].begin == 0 && r[d].end == p.axis[d].kernel;
  return inside;
}

template <class T>
void MaxWindow(const Params& p, const Range (&r)[kSpatial], const std::byte* x, std::byte* y, int64_t n,
               void (*max)(const T* const*, int, T*, int64_t)) {
  T* out = reinterpret_cast<T*>(y);
  if (!std::numeric_limits<T>::has_infinity && IsListed(p, r)) {  // of floats, a first NaN must not stay
    for (int d = 0; d < kSpatial; ++d) x += r[d].start * p.axis[d].from;
    const T* taps[kTaps];
    for (int t = 0; t < p.listed; ++t) taps[t] = reinterpret_cast<const T*>(x + p.offsets[t]);
    std::copy_n(taps[0], n, out);
    return max(taps + 1, p.listed - 1, out, n);
  }
  std::fill_n(out, n, std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity() : T{0});
  ForEachTaps(p, r, x, [&](const std::byte* const* taps, int count) {
    max(reinterpret_cast<const T* const*>(taps), count, out, n);
  });
}

// acc[i] += taps[0][i], then taps[1][i], ...
void AddTaps(const Params& p, const std::byte* const* taps, int count, float* acc, int64_t n) {
  if (p.bytes) {
    p.rows->sum_u8(reinterpret_cast<const uint8_t* const*>(taps), count, p.x_zero, p.x_scale, acc, n);
  } else {
    p.rows->sum_f32(reinterpret_cast<const float* const*>(taps), count, acc, n);
  }
}

// The sum over all of x, n <= kChannels, in the lanes that the contract describes.
void SumWhole(const Params& p, const Range (&r)[kSpatial], const std::byte* x, float* acc, int64_t n) {
  static_assert(kTaps % kLanes == 0);
  float lane[kLanes][kChannels];
  for (float* l : lane) std::fill_n(l, n, 0.0f);
  const std::byte* rest[kLanes];
  int left = 0;
  ForEachTaps(p, r, x, [&](const std::byte* const* taps, int count) {  // only the last group is not full
    const std::byte* mine[kTaps / kLanes];
    const int rounds = count / kLanes;
    for (int l = 0; l < kLanes; ++l) {
      for (int i = 0; i < rounds; ++i) mine[i] = taps[i * kLanes + l];
      AddTaps(p, mine, rounds, lane[l], n);
    }
    left = count % kLanes;
    std::copy_n(taps + count - left, left, rest);
  });
  for (int64_t i = 0; i < n; ++i) acc[i] = (lane[0][i] + lane[2][i]) + (lane[1][i] + lane[3][i]);
  AddTaps(p, rest, left, acc, n);
}

void AverageWindow(const Params& p, const Range (&r)[kSpatial], const std::byte* x, std::byte* y, int64_t n) {
  double divisor = 1;  // three lengths below 2^32 may exceed int64
  if (!p.sum) {
    for (const Range& a : r) divisor *= static_cast<double>(p.include_pad ? a.padded : a.end - a.begin);
  }
  const float by = static_cast<float>(std::max(1.0, divisor));
  for (int64_t c = 0; c < n; c += kChannels) {
    const int64_t m = std::min(kChannels, n - c);
    float acc[kChannels];
    std::fill_n(acc, m, 0.0f);
    if (IsWhole(p, r)) {
      SumWhole(p, r, x + c * p.item, acc, m);
    } else {
      ForEachTaps(p, r, x + c * p.item,
                  [&](const std::byte* const* taps, int count) { AddTaps(p, taps, count, acc, m); });
    }
    if (p.bytes) {
      p.rows->quantize(acc, by, p.y_scale, p.y_zero, p.lo, p.hi, reinterpret_cast<uint8_t*>(y) + c, m);
    } else {
      p.rows->divide(acc, by, m);
      std::copy_n(acc, m, reinterpret_cast<float*>(y) + c);
    }
  }
}

void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  const int64_t blocks = (p.channels + p.block - 1) / p.block, width = p.axis[2].out;
  // A task: one row of output pixels, one block of channels.
  ParallelFor(p.batch * p.axis[0].out * p.axis[1].out * blocks, ThreadsFor(p.touched, context.threads),
              [&](int64_t task, int) {
                const int64_t channel = task % blocks * p.block, n = std::min(p.block, p.channels - channel);
                int64_t index = task / blocks;
                const int64_t o1 = index % p.axis[1].out;
                index /= p.axis[1].out;
                const int64_t o0 = index % p.axis[0].out, image = index / p.axis[0].out;
                const std::byte* x = operands[0] + image * p.batch_from + channel * p.item;
                std::byte* y = operands[1] + image * p.batch_to + o0 * p.axis[0].to + o1 * p.axis[1].to +
                               channel * p.item;
                Range r[kSpatial] = {RangeOf(p.axis[0], o0), RangeOf(p.axis[1], o1), {}};
                for (int64_t o2 = 0; o2 < width; ++o2, y += p.axis[2].to) {
                  r[2] = RangeOf(p.axis[2], o2);
                  if (!p.max) {
                    AverageWindow(p, r, x, y, n);
                  } else if (p.bytes) {
                    MaxWindow<uint8_t>(p, r, x, y, n, p.rows->max_u8);
                  } else {
                    MaxWindow<float>(p, r, x, y, n, p.rows->max_f32);
                  }
                }
              });
}

// ---- Build
// ------------------------------------------------------------------------------------------------------------

// Attribute `name`: one value per spatial dimension (`count` in all), each within [least, 2^31); `fallback`
// if absent.
std::vector<int64_t> Values(const OpDesc& op, std::string_view name, size_t count, int64_t least,
                            int64_t fallback) {
  std::vector<int64_t> v = op.attrs.Ints(name);
  if (v.empty()) v.assign(count, fallback);
  bool ok = v.size() == count;
  for (const int64_t x : v) ok = ok && x >= least && x < (int64_t{1} << 31);
  if (!ok) Fail("pool: attribute " + std::string(name) + " has a wrong length or value; correct the model");
  return v;
}

void FillAxes(const OpDesc& op, const View& x, const View& y, Params& p) {
  const int k = x.rank - 2;
  const auto size = static_cast<size_t>(k);
  const auto kernel = Values(op, "kernel", size, 1, 1), strides = Values(op, "strides", size, 1, 1);
  const auto dilations = Values(op, "dilations", size, 1, 1), pads = Values(op, "pads", 2 * size, 0, 0);
  for (int i = 0; i < k; ++i) {
    const auto u = static_cast<size_t>(i);
    p.axis[kSpatial - k + i] = {x.shape[i + 1], y.shape[i + 1], x.stride[i + 1], y.stride[i + 1], kernel[u],
                                strides[u],     dilations[u],   pads[u],         pads[u + size]};
    Check(y.shape[i + 1] < (int64_t{1} << 31) && x.shape[i + 1] < (int64_t{1} << 31),
          "pool: a dimension exceeds 2^31; use smaller tensors");
  }
}

// The taps of a window that fits into x, in row-major order.
void ListTaps(Params& p) {
  p.listed = 0;
  int64_t taps = 1;
  for (const Axis& a : p.axis) {
    if (a.kernel > kTaps || (taps *= a.kernel) > kTaps || (a.kernel - 1) * a.dilation >= a.in) return;
  }
  for (int64_t t = 0; t < taps; ++t) {
    int64_t rest = t, offset = 0;
    for (int d = kSpatial - 1; d >= 0; --d) {
      offset += rest % p.axis[d].kernel * p.axis[d].dilation * p.axis[d].from;
      rest /= p.axis[d].kernel;
    }
    p.offsets[p.listed++] = offset;
  }
}

void FillQuantization(const OpDesc& op, Params& p) {
  p.x_scale = static_cast<float>(op.attrs.Float("x_scale", 1));
  p.y_scale = static_cast<float>(op.attrs.Float("y_scale", 1));
  const auto byte = [&](const char* name, int64_t fallback) {
    const double v = op.attrs.Float(name, static_cast<double>(fallback));
    Check(v >= 0 && v <= 255,  // NaN is neither
          "pool: zero points and bounds are uint8; the plan is damaged or of another version");
    return static_cast<int32_t>(v);
  };
  p.x_zero = byte("x_zero", 0);
  p.y_zero = byte("y_zero", 0);
  p.lo = byte("lo", 0);
  p.hi = byte("hi", 255);
  Check(p.x_scale > 0 && p.y_scale > 0 && p.lo <= p.hi,
        "pool: scales must be positive and lo <= hi; the plan is damaged or of another version");
}

}  // namespace

PLANISH_KERNEL_LIST(pool, Pool, kPoolLines)

Built BuildPool(const OpDesc& op) {
  CheckOperands(op, 1, 1);
  const View &x = op.inputs[0], &y = op.outputs[0];
  Check(x.rank >= 3 && x.rank <= 2 + kSpatial && x.rank == y.rank,
        "pool: takes 1 to 3 spatial dimensions; reshape the tensor");
  CheckType(op, y, x.dtype);
  if (x.dtype != DType::kF32 && x.dtype != DType::kU8) FailType(op, x.dtype);
  const int last = x.rank - 1;
  Check(x.shape[0] == y.shape[0] && x.shape[last] == y.shape[last],
        "pool: batch or channels differ; the plan is damaged or of another version");
  const KernelInfo& kernel = ChooseBest(PoolKernels(), op.attrs);
  Params p{};
  const int which = ChoiceOf(op, "op", op.attrs.String("op", ""), kOps);
  p.max = which == 0;
  p.sum = which == 2;
  p.bytes = x.dtype == DType::kU8;
  p.include_pad = op.attrs.Int("count_include_pad", 0) != 0;
  p.item = ItemSize(x.dtype);
  p.channels = x.shape[last];
  const auto contiguous = [&](const View& v) {
    return v.stride[last] == p.item || v.shape[last] == 1 || v.elements() == 0;
  };
  Check(contiguous(x) && contiguous(y), "pool: the channels must be contiguous; copy the operand first");
  p.batch = x.shape[0];
  p.batch_from = x.stride[0];
  p.batch_to = y.stride[0];
  FillAxes(op, x, y, p);
  ListTaps(p);
  FillQuantization(op, p);
  p.rows = &PoolRowsFor(kernel.isa);
  // Few output rows (a global pool): split the channels, in whole cache lines.
  const int64_t rows = p.batch * p.axis[0].out * p.axis[1].out;
  p.block = std::max<int64_t>(1, p.channels);
  if (op.threads > 1 && rows < op.threads && p.channels >= 256)
    p.block = (p.channels / op.threads + 63) / 64 * 64;
  if (y.elements() == 0) return BuildNothing(kernel.name);
  p.touched = y.elements() * p.item;
  double work = static_cast<double>(y.elements());
  for (const Axis& a : p.axis) {
    p.touched *= std::min<int64_t>(16, std::min(a.kernel, a.in));
    work *= static_cast<double>(std::min(a.kernel, a.in));
  }
  Built built = MakeBuilt(&Run, p, kernel.name);
  built.work = work;
  return built;
}

}  // namespace planish
