// The meaning of dwconv: one loop per index.
#include "formats/dense.h"
#include "kernels/dwconv/dwconv.h"
#include "kernels/requantize.h"

namespace planish {
namespace {

float SumF32(const DepthwiseProblem& p, const char* const* rows, const float* w, int64_t c) {
  float sum = 0;
  for (int64_t t = 0; t < p.map.taps; ++t) {
    sum += reinterpret_cast<const float*>(rows[t])[c] * w[t * DepthwisePitch(p.channels) + c];
  }
  return sum;
}

int32_t SumU8(const DepthwiseProblem& p, const char* const* rows, const int16_t* w, int64_t c) {
  uint32_t sum = 0;
  for (int64_t t = 0; t < p.map.taps; ++t) {
    const int32_t x = reinterpret_cast<const uint8_t*>(rows[t])[c];
    sum += static_cast<uint32_t>(x * w[t * DepthwisePitch(p.channels) + c]);
  }
  return static_cast<int32_t>(sum);
}

}  // namespace

void RunDepthwiseReference(const void* params, std::byte* const* operands, const RunContext& context) {
  const DepthwiseProblem& p = *static_cast<const DepthwiseProblem*>(params);
  const char** rows = reinterpret_cast<const char**>(context.scratch);
  const std::byte* bias = p.y_operand > 2 ? operands[2] : nullptr;
  const float* scale = p.y_operand > 3 ? reinterpret_cast<const float*>(operands[3]) : nullptr;
  for (int64_t pixel = 0; pixel < p.map.pixels; ++pixel) {
    int64_t offset = 0;
    LocateInputs(p.map, pixel, 1, reinterpret_cast<const char*>(operands[0]),
                 reinterpret_cast<const char*>(p.fill.data), rows);
    LocateOutputs(p.map, pixel, 1, false, &offset);
    std::byte* y = operands[p.y_operand] + offset;
    for (int64_t c = 0; c < p.channels; ++c) {
      if (p.lhs == DType::kF32) {
        float v = SumF32(p, rows, reinterpret_cast<const float*>(operands[1]), c);
        if (bias) v += reinterpret_cast<const float*>(bias)[c];
        reinterpret_cast<float*>(y)[c] = ClampF32(v, p.low, p.high);
        continue;
      }
      uint32_t sum = static_cast<uint32_t>(SumU8(p, rows, reinterpret_cast<const int16_t*>(operands[1]), c));
      if (bias) sum += static_cast<uint32_t>(reinterpret_cast<const int32_t*>(bias)[c]);
      const int32_t acc = static_cast<int32_t>(sum);
      switch (p.output) {
        case kTileS32:
          reinterpret_cast<int32_t*>(y)[c] = acc;
          break;
        case kTileF32:
          reinterpret_cast<float*>(y)[c] = ClampF32(static_cast<float>(acc) * scale[c], p.low, p.high);
          break;
        case kTileU8:
          reinterpret_cast<uint8_t*>(y)[c] =
              RequantizeU8(static_cast<float>(acc) * scale[c], p.low, p.high, p.y_zero);
          break;
      }
    }
  }
}

}  // namespace planish
