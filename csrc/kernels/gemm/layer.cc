#include "kernels/gemm/layer.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"

namespace planish {
namespace {

bool ChannelsSideBySide(const View& v) {
  return v.pitch(-1) == ItemSize(v.dtype) || v.size(-1) <= 1 || v.elements() == 0;
}

// An optional vector of n items of 4 bytes.
void CheckVector(const View* v, DType dtype, int64_t n, const char* message) {
  Check(!v || (v->dtype == dtype && v->rank == 1 && v->shape[0] == n && (v->stride[0] == 4 || n <= 1)),
        message);
}

}  // namespace

TileOutput OutputOf(DType x, DType y) {
  Check(x == DType::kU8 || y == DType::kF32, "float32 input needs float32 output; this is a bug in planish");
  switch (y) {
    case DType::kF32:
      return kTileF32;
    case DType::kU8:
      return kTileU8;
    case DType::kS32:
      return kTileS32;
    default:
      Fail("an output of this type is not supported; this is a bug in planish");
  }
}

LayerOperands FindOperands(const OpDesc& op, size_t max_inputs) {
  const size_t n = op.inputs.size();
  Check(n >= 2 && n <= max_inputs && op.outputs.size() == 1,
        "wrong number of operands; this is a bug in planish");
  const auto input = [&](size_t i) { return i < n && op.inputs[i].buffer >= 0 ? &op.inputs[i] : nullptr; };
  const LayerOperands o{input(0), input(1), input(2), input(3), input(4), input(5), &op.outputs[0]};
  Check(o.x && o.w && o.y->buffer >= 0, "x, w and y are required; this is a bug in planish");
  Check(o.x->rank >= 1 && o.x->rank == o.y->rank,
        "the ranks of input and output differ; this is a bug in planish");
  Check(o.x->dtype == DType::kF32 || o.x->dtype == DType::kU8,
        "x must be float32 or uint8; this is a bug in planish");
  const bool u8 = o.x->dtype == DType::kU8;
  const TileOutput output = OutputOf(o.x->dtype, o.y->dtype);
  Check(ChannelsSideBySide(*o.x) && ChannelsSideBySide(*o.y),
        "channels must lie side by side; this is a bug in planish");
  Check(!o.residual || (!u8 && o.residual->dtype == DType::kF32 && o.residual->rank == o.y->rank &&
                        ChannelsSideBySide(*o.residual)),
        "a residual must be float32 with channels side by side; this is a bug in planish");
  const int64_t outputs = o.y->size(-1);
  CheckVector(o.bias, u8 ? DType::kS32 : DType::kF32, outputs,
              "bias must be a vector of N; this is a bug in planish");
  CheckVector(o.scale, DType::kF32, outputs, "scale must be a float32 vector of N; this is a bug in planish");
  CheckVector(o.weight_zero, DType::kS32, outputs,
              "weight_zero must be an int32 vector of N; this is a bug in planish");
  Check((o.scale != nullptr) == (u8 && output != kTileS32),
        "a scale must be given exactly where the output needs one; this is a bug in planish");
  Check(u8 || !o.weight_zero, "float32 takes no weight_zero; this is a bug in planish");
  return o;
}

Bounds ReadBounds(const Attrs& attrs, TileOutput output) {
  const bool u8 = output == kTileU8;
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const double low = attrs.Float("lo", u8 ? 0 : -kInfinity), high = attrs.Float("hi", u8 ? 255 : kInfinity);
  Check(low <= high, "lo exceeds hi; check the clamp's bounds");
  const int64_t y_zero = u8 ? attrs.Int("y_zero", 0) : 0;
  Check(!u8 || (y_zero >= 0 && y_zero <= 255 && low >= 0 && high <= 255 && low == std::floor(low) &&
                high == std::floor(high)),
        "quantized bounds and zero points must be whole numbers from 0 to 255; check the model's "
        "quantization parameters");
  return {static_cast<float>(low - static_cast<double>(y_zero)),
          static_cast<float>(high - static_cast<double>(y_zero)), static_cast<int32_t>(y_zero)};
}

Memory FillRow(DType x, int64_t channels, const Attrs& attrs) {
  const int64_t x_zero = attrs.Int("x_zero", 0);
  Check(x_zero >= 0 && x_zero <= 255 && (x_zero == 0 || x == DType::kU8),
        "x_zero must be a whole number from 0 to 255, and 0 for float32; check the model's quantization "
        "parameters");
  Memory fill = Memory::Allocate(channels * ItemSize(x));
  if (fill.size) std::memset(fill.data, static_cast<int>(x_zero), static_cast<size_t>(fill.size));
  return fill;
}

}  // namespace planish
