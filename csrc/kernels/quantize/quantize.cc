// Family `quantize`: inputs x (float32), scale (float32), zero (y's dtype, may be absent: 0) -> y (uint8,
// int8, uint16, int16). Family `dequantize`: inputs x (uint8, int8, uint16, int16, int32), scale, zero -> y
// (float32). Formulas in rows.h. scale and zero hold one element, or one per index of attribute `axis`. Any
// strides.
//
// A float image whose channels are planes, quantized into interleaved channels, takes a path of its own: each
// plane is quantized along its contiguous axis, then the bytes are interleaved.
#include "kernels/common/nest.h"
#include "kernels/common/operands.h"
#include "kernels/quantize/lines.h"

namespace planish {
namespace {

alignas(8) constexpr std::byte kNoZero[8] = {};

// An operand of one element, or of one per index of `axis`, as a broadcast view of shape `like`.
View BroadcastParameter(const OpDesc& op, size_t input, const View& like, DType dtype) {
  View v;
  v.dtype = dtype;
  v.rank = like.rank;
  v.shape = like.shape;
  if (!Present(op, input)) return v;
  const View& given = op.inputs[input];
  CheckType(op, given, dtype);
  if (given.elements() == 1) return v;
  const int axis = AxisOf(op, "axis", 1, like.rank);
  if (given.rank != 1 || given.shape[0] != like.shape[axis]) {
    Fail(std::string(op.family) +
         ": scale and zero point need one element or one per index of the axis; check their shapes");
  }
  v.stride[axis] = given.stride[0];
  return v;
}

QuantizedType TypeOf(const OpDesc& op, DType t) {
  switch (t) {
    case DType::kU8:
      return kTypeU8;
    case DType::kS8:
      return kTypeS8;
    case DType::kU16:
      return kTypeU16;
    case DType::kS16:
      return kTypeS16;
    case DType::kS32:
      return kTypeS32;
    default:
      FailType(op, t);
  }
}

struct Params {
  RowLoop<4> loop;  // x, scale, zero, y
  QuantizeRow quantize;
  DequantizeRow dequantize;
  bool has_zero;
};

template <class F>
void RunRows(const Params& p, std::byte* const* operands, const RunContext& context, const F& f) {
  std::byte* const zero = p.has_zero ? operands[2] : const_cast<std::byte*>(kNoZero);
  std::byte* const all[4] = {operands[0], operands[1], zero, operands[3]};
  RunRowLoop(p.loop, all, context.threads, f);
}

void RunQuantize(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  RunRows(p, operands, context, [&](std::byte* const* at, int64_t n) {
    p.quantize(reinterpret_cast<const float*>(at[0]), reinterpret_cast<const float*>(at[1]), at[2], at[3], n);
  });
}

void RunDequantize(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  RunRows(p, operands, context, [&](std::byte* const* at, int64_t n) {
    p.dequantize(at[0], reinterpret_cast<const float*>(at[1]), at[2], reinterpret_cast<float*>(at[3]), n);
  });
}

// Both parameters pass as single elements or both element by element.
ParameterForm ChooseForm(RowLoop<4>& loop) {
  if (loop.scalar(1) && loop.scalar(2)) {
    loop.packed &= ~0b0110u;
    return kShared;
  }
  for (const int k : {1, 2}) {
    if (loop.nest.inner(k) != loop.item[k]) loop.packed |= 1u << k;
  }
  return kEach;
}

Params MakeParams(const OpDesc& op, const View& x, const View& y, DType quantized) {
  CheckSameShape(op, x, y);
  const View scale = BroadcastParameter(op, 1, y, DType::kF32);
  const View zero = BroadcastParameter(op, 2, y, quantized);
  Params p{};
  p.loop = MakeRowLoop<4>({&x, &scale, &zero, &y});
  p.has_zero = Present(op, 2);
  return p;
}

// ---- Planes to interleaved channels
// ---------------------------------------------------------------------------------

constexpr int64_t kMaxPlanes = 4;
constexpr int64_t kPixels = 1024;  // of a piece: its planes stay in the first-level cache

struct PlanarParams {
  Nest<2> nest;  // x, y; the last two dimensions are pixels and channels
  QuantizeRow quantize;
  decltype(QuantizeRows::interleave) interleave;
  bool has_zero;
};

void RunPlanar(const void* params, std::byte* const* operands, const RunContext& context) {
  const PlanarParams& p = *static_cast<const PlanarParams*>(params);
  const int pixel = p.nest.rank - 2, channel = p.nest.rank - 1;
  const int64_t pixels = p.nest.shape[pixel], channels = p.nest.shape[channel];
  const int64_t pieces = (pixels + kPixels - 1) / kPixels, images = p.nest.rows / pixels;
  const float* scale = reinterpret_cast<const float*>(operands[1]);
  const std::byte* zero = p.has_zero ? operands[2] : kNoZero;
  std::byte* const both[2] = {operands[0], operands[3]};
  ParallelFor(images * pieces, ThreadsFor(p.nest.rows * channels * 5, context.threads),
              [&](int64_t task, int) {
                const int64_t from = task % pieces * kPixels, n = std::min(kPixels, pixels - from);
                WalkRows(p.nest, both, task / pieces * pixels + from, 1, [&](std::byte* const* at) {
                  alignas(64) uint8_t planes[kMaxPlanes][kPixels];
                  const uint8_t* rows[kMaxPlanes];
                  for (int64_t c = 0; c < channels; ++c) {
                    p.quantize(reinterpret_cast<const float*>(at[0] + c * p.nest.stride[0][channel]), scale,
                               zero, planes[c], n);
                    rows[c] = planes[c];
                  }
                  p.interleave(rows, channels, reinterpret_cast<uint8_t*>(at[1]), p.nest.stride[1][pixel], n);
                });
              });
}

bool IsPlanar(const Params& p) {
  const int r = p.loop.nest.rank;
  return r >= 2 && p.loop.item[3] == 1 && p.loop.nest.shape[r - 1] <= kMaxPlanes &&
         p.loop.nest.stride[3][r - 1] == 1 && p.loop.nest.stride[0][r - 2] == 4;
}

}  // namespace

PLANISH_KERNEL_LIST(quantize, Quantize, kQuantizeLines)
PLANISH_KERNEL_LIST(dequantize, Dequantize, kQuantizeLines)

Built BuildQuantize(const OpDesc& op) {
  CheckOperands(op, 3, 1, 2);
  const View &x = op.inputs[0], &y = op.outputs[0];
  CheckType(op, x, DType::kF32);
  const QuantizedType type = TypeOf(op, y.dtype);
  if (type == kTypeS32) FailType(op, y.dtype);
  const KernelInfo& kernel = ChooseBest(QuantizeKernels(), op.attrs);
  Params p = MakeParams(op, x, y, y.dtype);
  if (y.elements() == 0) return BuildNothing(kernel.name);
  const ParameterForm form = ChooseForm(p.loop);
  const QuantizeRows& rows = QuantizeRowsFor(kernel.isa);
  p.quantize = rows.quantize[type][form];
  if (form == kShared && IsPlanar(p) && op.inputs[1].elements() == 1) {
    const PlanarParams planar{MakeNest<2>({&x, &y}), p.quantize, rows.interleave, p.has_zero};
    return MakeBuilt(&RunPlanar, planar, kernel.name);
  }
  return MakeBuilt(&RunQuantize, p, kernel.name);
}

Built BuildDequantize(const OpDesc& op) {
  CheckOperands(op, 3, 1, 2);
  const View &x = op.inputs[0], &y = op.outputs[0];
  CheckType(op, y, DType::kF32);
  const QuantizedType type = TypeOf(op, x.dtype);
  const KernelInfo& kernel = ChooseBest(DequantizeKernels(), op.attrs);
  Params p = MakeParams(op, x, y, x.dtype);
  if (y.elements() == 0) return BuildNothing(kernel.name);
  p.dequantize = QuantizeRowsFor(kernel.isa).dequantize[type][ChooseForm(p.loop)];
  return MakeBuilt(&RunDequantize, p, kernel.name);
}

}  // namespace planish
