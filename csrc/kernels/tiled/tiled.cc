#include "kernels/tiled/tiled.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/thread_pool.h"

namespace planish {
namespace {

constexpr int64_t kTileBudget =
    384 << 10;  // bytes: a tile and the weights that meet it share the second-level cache
constexpr double kTaskMacs = 600e3;  // about 20 us of work
constexpr int kBias = 2, kScale = 3, kZero = 4, kResidual = 5;

bool Present(const OpDesc& op, int input) {
  return input < static_cast<int>(op.inputs.size()) && op.inputs[static_cast<size_t>(input)].buffer >= 0;
}

void CheckVector(const OpDesc& op, int input, DType dtype, int64_t n, const char* message) {
  if (!Present(op, input)) return;
  const View& v = op.inputs[static_cast<size_t>(input)];
  Check(v.dtype == dtype && v.rank == 1 && v.size(0) == n && (n == 1 || v.pitch(0) == ItemSize(dtype)),
        message);
}

Finish DescribeFinish(const OpDesc& op, int64_t outputs, bool integer) {
  const DType dtype = op.outputs[0].dtype;
  Finish f{};
  f.outputs = outputs;
  const float infinity = std::numeric_limits<float>::infinity();
  f.clamp = op.attrs.Has("lo") || op.attrs.Has("hi");
  f.lo = static_cast<float>(op.attrs.Float("lo", -infinity));
  f.hi = static_cast<float>(op.attrs.Float("hi", infinity));
  CheckVector(op, kBias, integer ? DType::kS32 : DType::kF32, outputs,
              "bias: expected one float32 (int32 for integer inputs) per output");
  CheckVector(op, kScale, DType::kF32, outputs, "scale: expected one float32 per output");
  Check(!Present(op, kZero), "weight zero points: compressed weights are symmetric; keep this layer dense");
  if (!integer) {
    Check(dtype == DType::kF32, "output of float inputs: must be float32");
    f.mode = FinishMode::kFloat;
  } else if (dtype == DType::kU8) {
    f.mode = FinishMode::kRequantize;
    const int64_t zero = op.attrs.Int("y_zero", 0);
    const double lo = op.attrs.Float("lo", 0), hi = op.attrs.Float("hi", 255);
    Check(0 <= zero && zero <= 255 && 0 <= lo && lo <= hi && hi <= 255 && std::floor(lo) == lo &&
              std::floor(hi) == hi,
          "requantization: lo, hi and y_zero must be integers in 0..255");
    f.y_zero = static_cast<int32_t>(zero);
    f.lo = static_cast<float>(lo - static_cast<double>(zero));
    f.hi = static_cast<float>(hi - static_cast<double>(zero));
  } else {
    Check(dtype == DType::kF32 || dtype == DType::kS32,
          "output of integer inputs: must be uint8, float32 or int32");
    f.mode = dtype == DType::kF32 ? FinishMode::kDequantize : FinishMode::kRaw;
  }
  Check((f.mode == FinishMode::kRequantize || f.mode == FinishMode::kDequantize) == Present(op, kScale),
        "scale: required for integer inputs with uint8 or float32 outputs, and only there");
  return f;
}

struct Rows {
  const char** x;              // [taps][capacity]
  std::byte** y;               // [capacity]
  const std::byte** residual;  // [capacity]
};

// Finds the rows of `pixels` pixels from number `first`; the rows of the other pixels of the tile are
// padding.
void Locate(const TiledStep& s, int64_t first, int64_t pixels, const std::byte* x, std::byte* y,
            const std::byte* residual, const Rows& rows) {
  const int count = static_cast<int>(pixels);
  const char* pad = reinterpret_cast<const char*>(s.pad_row.data);
  LocateInputs(s.map, first, count, reinterpret_cast<const char*>(x), pad, rows.x);
  for (int64_t t = s.map.taps - 1; t >= 0 && pixels < s.capacity; --t) {
    std::memmove(rows.x + t * s.capacity, rows.x + t * pixels, static_cast<size_t>(pixels) * sizeof(char*));
    std::fill(rows.x + t * s.capacity + pixels, rows.x + (t + 1) * s.capacity, pad);
  }
  int64_t offsets[kMaxTilePixels];
  LocateOutputs(s.map, first, count, false, offsets);
  for (int64_t p = 0; p < pixels; ++p) rows.y[p] = y + offsets[p];
  if (!residual) return;
  LocateOutputs(s.map, first, count, true, offsets);
  for (int64_t p = 0; p < pixels; ++p) rows.residual[p] = residual + offsets[p];
}

// Only float tiles, which have one copy of each word, have spare words.
void ClearSpareWords(const TiledStep& s, uint32_t* tile) {
  if (s.spare_words == 0) return;
  for (int64_t t = 1; t <= s.map.taps; ++t) {
    std::memset(tile + (t * s.words - s.spare_words) * s.capacity, 0,
                static_cast<size_t>(s.spare_words * s.capacity * 4));
  }
}

}  // namespace

TiledStep DescribeStep(const OpDesc& op, bool conv, int64_t outputs, int64_t taps, int64_t channels,
                       int64_t words, bool integer) {
  Check(op.inputs.size() >= 2 && op.inputs.size() <= 6 && op.outputs.size() == 1,
        "takes x, w, bias, scale, zw, residual and one output");
  const View &x = op.inputs[0], &y = op.outputs[0];
  const View* residual = Present(op, kResidual) ? &op.inputs[kResidual] : nullptr;
  Check(x.buffer >= 0 && y.buffer >= 0 && x.rank >= 1 && x.rank == y.rank,
        "x and y must be present and of equal rank");
  Check(x.dtype == (integer ? DType::kU8 : DType::kF32), "x: its type does not fit the weights");
  const auto dense = [](const View& v) { return v.pitch(-1) == ItemSize(v.dtype) || v.size(-1) == 1; };
  Check(x.size(-1) == channels && dense(x), "x: the last axis does not fit the weights");
  Check(y.size(-1) == outputs && dense(y), "y: the last axis does not fit the weights");
  Check(op.attrs.Int("N", outputs) == outputs && op.attrs.Int("K", channels) == channels,
        "N, K: the weights have another shape");
  TiledStep s{};
  s.inputs = static_cast<int>(op.inputs.size());
  s.outputs = outputs;
  s.groups = (outputs + kPanelOutputs - 1) / kPanelOutputs;
  s.channels = channels;
  s.words = words;
  s.spare_words = words - (integer ? (channels + 3) / 4 : channels);
  s.tail = integer && channels % 4 ? (1u << 8 * (channels % 4)) - 1 : ~0u;
  s.finish = DescribeFinish(op, outputs, integer);
  Check(!residual ||
            (s.finish.mode == FinishMode::kFloat && residual->dtype == DType::kF32 && dense(*residual)),
        "residual: must be float32 with channels side by side, for float inputs");
  Check(op.attrs.Int("groups", 1) == 1, "groups: compressed weights have one group; keep this layer dense");
  const Window window = conv ? Window::FromAttrs(op.attrs, x.rank - 2) : Window{};
  Check(taps == (conv ? window.taps() : 1), "the weights have another window");
  s.map = MapPixels(x, y, residual, conv ? &window : nullptr);
  const int64_t x_zero = op.attrs.Int("x_zero", 0), item = ItemSize(x.dtype);
  Check(0 <= x_zero && x_zero <= 255, "x_zero: must be in 0..255");
  s.pad_row = Memory::Allocate(channels * item + kAlignment);
  if (integer) std::memset(s.pad_row.data, static_cast<int>(x_zero), static_cast<size_t>(channels));
  return s;
}

void ScheduleStep(const TiledKernel& kernel, const void* weights, double macs, int threads, TiledStep* s) {
  const int64_t row = CheckedMul(CheckedMul(s->map.taps, s->words) + 16, 4 * kernel.tile_copies);
  s->capacity = kernel.min_capacity;
  while (s->capacity < kernel.max_capacity && s->capacity < s->map.pixels &&
         2 * s->capacity * row <= kTileBudget)
    s->capacity *= 2;
  s->tiles = (s->map.pixels + s->capacity - 1) / s->capacity;
  const double total = macs * static_cast<double>(s->map.pixels);
  s->work = total + static_cast<double>(s->map.pixels) * static_cast<double>(s->map.taps * s->words);
  const int64_t useful = std::clamp<int64_t>(static_cast<int64_t>(total / kTaskMacs), 1, 2 * threads);
  s->parts = threads == 1 ? 1
                          : std::clamp<int64_t>((useful + s->tiles - 1) / std::max<int64_t>(1, s->tiles), 1,
                                                s->groups);
  s->rows_bytes = AlignUp(CheckedMul(s->map.taps + 2, s->capacity * 8));
  s->tile_bytes = AlignUp(CheckedMul(row, s->capacity));
  s->work_bytes = 2 * AlignUp(s->capacity * kPanelOutputs * 4) +
                  AlignUp(kernel.work_bytes ? kernel.work_bytes(weights) : 0);
}

void RunTiled(const TiledStep& s, const TiledKernel& kernel, const void* weights, std::byte* const* operands,
              const RunContext& context) {
  const auto input = [&](int i) -> const std::byte* { return i < s.inputs ? operands[i] : nullptr; };
  const std::byte* x = operands[0];
  const std::byte* residual = input(kResidual);
  std::byte* y = operands[s.inputs];
  Finish finish = s.finish;
  finish.bias = input(kBias);
  finish.scale = reinterpret_cast<const float*>(input(kScale));
  const bool small = s.tiles * s.parts == 1;
  ParallelFor(s.tiles * s.parts, small ? 1 : context.threads, [&](int64_t task, int worker) {
    std::byte* scratch = context.scratch + worker * s.scratch();
    const Rows rows{reinterpret_cast<const char**>(scratch),
                    reinterpret_cast<std::byte**>(scratch) + s.map.taps * s.capacity,
                    reinterpret_cast<const std::byte**>(scratch) + (s.map.taps + 1) * s.capacity};
    uint32_t* words = reinterpret_cast<uint32_t*>(scratch + s.rows_bytes);
    uint32_t* sums = reinterpret_cast<uint32_t*>(scratch + s.rows_bytes + s.tile_bytes);
    std::byte* work = reinterpret_cast<std::byte*>(sums) + AlignUp(s.capacity * kPanelOutputs * 4);
    const int64_t first = task / s.parts * s.capacity, part = task % s.parts;
    const Tile tile{words, s.map.taps * s.words, s.capacity, std::min(s.capacity, s.map.pixels - first)};
    Locate(s, first, tile.pixels, x, y, residual, rows);
    kernel.build(reinterpret_cast<const std::byte* const*>(rows.x), s.map.taps, s.words, s.tail, s.capacity,
                 words);
    ClearSpareWords(s, words);
    for (int64_t g = s.groups * part / s.parts; g < s.groups * (part + 1) / s.parts; ++g) {
      kernel.panel(weights, g, tile, sums, work);
      kernel.finish(finish, g * kPanelOutputs, sums, tile.pixels, rows.y, residual ? rows.residual : nullptr);
    }
  });
}

std::span<const std::byte> PackedWeights(const OpDesc& op) {
  Check(op.inputs.size() >= 2 && op.data.size() == op.inputs.size() && op.data[1],
        "w: packed weights must be a constant");
  const View& w = op.inputs[1];
  Check(w.rank == 1 && w.dtype == DType::kU8 && (w.size(0) == 1 || w.pitch(0) == 1),
        "w: packed weights must be a 1-D uint8 view");
  return {op.data[1], static_cast<size_t>(w.size(0))};
}

const TiledKernel& ChooseTiled(std::span<const TiledKernel> candidates, const Attrs& attrs, int64_t pixels) {
  const std::string forced = attrs.ForcedKernel();
  const TiledKernel *last = nullptr, *filled = nullptr;
  for (const TiledKernel& k : candidates) {
    if (!Usable(k.isa)) continue;
    if (forced == k.name) return k;
    if (std::string_view(k.name) == "reference") continue;
    last = &k;
    if (k.min_capacity <= 2 * pixels) filled = &k;
  }
  if (!forced.empty())
    Fail("kernel '" + forced +
         "' is not available for these weights here; force one that `planish doctor` lists");
  return filled && filled->isa != Isa::kScalar ? *filled
                                               : *last;  // half-empty vectors still beat scalar code
}

void BuildTilePortable(const std::byte* const* rows, int64_t taps, int64_t words, uint32_t tail,
                       int64_t capacity, uint32_t* tile) {
  for (int64_t t = 0; t < taps; ++t) {
    for (int64_t p = 0; p < capacity; ++p) {
      const std::byte* row = rows[t * capacity + p];
      for (int64_t j = 0; j < words; ++j) std::memcpy(&tile[(t * words + j) * capacity + p], row + 4 * j, 4);
      tile[(t * words + words - 1) * capacity + p] &= tail;
    }
  }
}

namespace {

void FinishFloat(const Finish& f, int64_t n, float sum, float* y, const float* residual) {
  float v = sum;
  if (f.bias) v += reinterpret_cast<const float*>(f.bias)[n];
  if (residual) v += *residual;
  if (f.clamp) {  // a NaN passes
    v = v < f.lo ? f.lo : v;
    v = v > f.hi ? f.hi : v;
  }
  *y = v;
}

void FinishInteger(const Finish& f, int64_t n, uint32_t sum, std::byte* y) {
  if (f.bias) sum += static_cast<uint32_t>(reinterpret_cast<const int32_t*>(f.bias)[n]);
  const int32_t acc = static_cast<int32_t>(sum);
  if (f.mode == FinishMode::kRaw) {
    std::memcpy(y, &acc, 4);
    return;
  }
  float v = static_cast<float>(acc) * f.scale[n];
  if (f.mode == FinishMode::kDequantize) {
    if (f.clamp) {
      v = v < f.lo ? f.lo : v;
      v = v > f.hi ? f.hi : v;
    }
    std::memcpy(y, &v, 4);
    return;
  }
  v = v > f.lo ? v : f.lo;  // NaN -> lo
  v = v < f.hi ? v : f.hi;
  *y = static_cast<std::byte>(static_cast<int32_t>(std::nearbyint(v)) + f.y_zero);
}

}  // namespace

void FinishPortable(const Finish& f, int64_t first, const uint32_t* sums, int64_t pixels, std::byte* const* y,
                    const std::byte* const* residual) {
  const int64_t lanes = std::min<int64_t>(kPanelOutputs, f.outputs - first);
  for (int64_t p = 0; p < pixels; ++p) {
    for (int64_t j = 0; j < lanes; ++j) {
      const uint32_t sum = sums[p * kPanelOutputs + j];
      const int64_t n = first + j;
      if (f.mode == FinishMode::kFloat) {
        float value;
        std::memcpy(&value, &sum, 4);
        FinishFloat(f, n, value, reinterpret_cast<float*>(y[p]) + n,
                    residual ? reinterpret_cast<const float*>(residual[p]) + n : nullptr);
      } else {
        FinishInteger(f, n, sum, y[p] + n * (f.mode == FinishMode::kRequantize ? 1 : 4));
      }
    }
  }
}

}  // namespace planish
