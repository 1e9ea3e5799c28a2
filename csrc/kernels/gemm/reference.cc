// The meaning of gemm and conv: one loop per index, the weights read through the format's index equation.
#include "base/half.h"
#include "kernels/gemm/gemm.h"
#include "kernels/requantize.h"

namespace planish {
namespace {

template <class T>
const T* As(const std::byte* p) {
  return reinterpret_cast<const T*>(p);
}

struct Operands {
  const std::byte *x, *w, *bias, *scale, *zero, *residual;
  std::byte* y;
};

float WeightF32(const Problem& p, const std::byte* w, int64_t n, int64_t t, int64_t k) {
  return p.format == DenseFormat::kBf16 ? ToFloat(As<BFloat>(w)[IndexDenseBf16(p.shape, n, t, k)])
                                        : As<float>(w)[IndexDenseF32(p.shape, n, t, k)];
}

float SumF32(const Problem& p, const Operands& o, const char* const* rows, int64_t n) {
  const int64_t channel0 = n / p.shape.group_outputs() * p.shape.depth;
  float sum = 0;
  for (int64_t t = 0; t < p.shape.taps; ++t) {
    const float* x = reinterpret_cast<const float*>(rows[t]) + channel0;
    for (int64_t k = 0; k < p.shape.depth; ++k) sum += x[k] * WeightF32(p, o.w, n, t, k);
  }
  return sum;
}

int32_t AccumulatorU8(const Problem& p, const Operands& o, const char* const* rows, int64_t n) {
  const int64_t channel0 = n / p.shape.group_outputs() * p.shape.depth;
  const int32_t zero = o.zero ? As<int32_t>(o.zero)[n] : 0;
  uint32_t sum = o.bias ? static_cast<uint32_t>(As<int32_t>(o.bias)[n]) : 0;
  for (int64_t t = 0; t < p.shape.taps; ++t) {
    const uint8_t* x = reinterpret_cast<const uint8_t*>(rows[t]) + channel0;
    for (int64_t k = 0; k < p.shape.depth; ++k) {
      const int32_t w = As<int8_t>(o.w)[IndexDenseS8(p.shape, n, t, k)];
      sum += static_cast<uint32_t>(x[k]) * (static_cast<uint32_t>(w) - static_cast<uint32_t>(zero));
    }
  }
  return static_cast<int32_t>(sum);
}

void StoreU8S8(const Problem& p, const Operands& o, int32_t acc, int64_t n, std::byte* y) {
  if (p.output == kTileS32) {
    reinterpret_cast<int32_t*>(y)[n] = acc;
    return;
  }
  const float v = static_cast<float>(acc) * As<float>(o.scale)[n];
  if (p.output == kTileF32) {
    reinterpret_cast<float*>(y)[n] = ClampF32(v, p.low, p.high);
  } else {
    reinterpret_cast<uint8_t*>(y)[n] = RequantizeU8(v, p.low, p.high, p.y_zero);
  }
}

}  // namespace

void RunReference(const void* params, std::byte* const* operands, const RunContext& context) {
  const Problem& p = *static_cast<const Problem*>(params);
  const int y = p.y_operand;
  const auto input = [&](int i) { return i < y ? operands[i] : nullptr; };
  const Operands o{input(0), input(1), input(2), input(3), input(4), input(5), operands[y]};
  const char** rows = reinterpret_cast<const char**>(context.scratch);
  for (int64_t pixel = 0; pixel < p.map.pixels; ++pixel) {
    int64_t y_offset = 0, r_offset = 0;
    LocateInputs(p.map, pixel, 1, reinterpret_cast<const char*>(o.x),
                 reinterpret_cast<const char*>(p.fill.data), rows);
    LocateOutputs(p.map, pixel, 1, false, &y_offset);
    LocateOutputs(p.map, pixel, 1, true, &r_offset);
    for (int64_t n = 0; n < p.shape.outputs; ++n) {
      if (p.lhs == DType::kU8) {
        StoreU8S8(p, o, AccumulatorU8(p, o, rows, n), n, o.y + y_offset);
        continue;
      }
      float v = SumF32(p, o, rows, n);
      if (o.bias) v += As<float>(o.bias)[n];
      if (o.residual) v += As<float>(o.residual + r_offset)[n];
      reinterpret_cast<float*>(o.y + y_offset)[n] = ClampF32(v, p.low, p.high);
    }
  }
}

}  // namespace planish
