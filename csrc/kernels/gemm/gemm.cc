// Builds the families gemm and conv: validates a description completely, then chooses the micro-kernel and the schedule.
#include "kernels/gemm/gemm.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/gemm/layer.h"

namespace planish {

#define PLANISH_TILE(name, Function, isa, lhs, max_rows, Pays, gather_depth, Scratch, Region) \
  void Function(const TileArgs&, int);
#include "kernels/gemm/kernels.inc"
#undef PLANISH_TILE
void RegionU8S8Amx(const TileArgs&, bool);
void RegionU8S8AmxEmulated(const TileArgs&, bool);
void RegionBf16Amx(const TileArgs&, bool);
void RegionBf16AmxEmulated(const TileArgs&, bool);
void StripU8S8Avx2(const TileArgs&, const Strip&);

namespace {

constexpr DenseFormat WeightsFor(DType lhs) {
  return lhs == DType::kF32 ? DenseFormat::kF32 : DenseFormat::kS8;
}

bool Always(const TileWork&) { return true; }

// Tile registers of 16 rows must not be half empty.
[[maybe_unused]] bool ManyPixels(const TileWork& work) { return work.pixels >= 8; }

// Measured: what it saves after the sums, on half panels and on two panels at once, against widening panels for each tile.
[[maybe_unused]] bool PanelPays(const TileWork& work) {
  const bool wide = work.outputs >= 2 * kPanel;
  if (work.pixels < (wide ? 9 : 16)) return work.pixels >= 7 && work.depth <= 64;
  const int64_t rest = work.outputs % kPanel;
  const bool half = rest > 0 && rest <= kPanel / 2;
  return work.depth <= (wide ? 256 : 192) || (half && (work.depth <= 256 || work.outputs < 4 * kPanel));
}

// Measured: not where it is all beginning and end, which longer blocks of rows share better.
[[maybe_unused]] bool PairsPay(const TileWork& work) { return work.depth >= 16 || work.outputs <= 8; }

int64_t NoScratch(int64_t, int64_t, int64_t) { return 0; }

// Rows of all segments as 16-bit numbers, each segment padded to quads, and what may be written behind the last.
int64_t WidenedRows(int64_t segments, int64_t depth, int64_t rows) {
  constexpr int64_t kSlack = 64;
  return CheckedAdd(CheckedMul(CheckedMul(segments, AlignUp(depth, kQuad) * 2), rows), kSlack);
}

// Rows of all segments padded to 64 bytes, in groups of 16, and 32 bytes a segment to find them.
[[maybe_unused]] int64_t AmxRows(int64_t segments, int64_t depth, int64_t rows) {
  return CheckedMul(segments, CheckedAdd(32, CheckedMul(AlignUp(depth, 64), AlignUp(rows, 16))));
}

// Rows of all segments as bfloat16 padded to 64 bytes, in groups of 16, and 32 bytes a segment to find them.
[[maybe_unused]] int64_t AmxHalfRows(int64_t segments, int64_t depth, int64_t rows) {
  return AmxRows(segments, CheckedMul(depth, 2), rows);
}

constexpr TileKernel kTiles[] = {
#define PLANISH_TILE(name, Function, isa, lhs, max_rows, Pays, gather_depth, Scratch, Region)   \
  {#name,    Isa::isa, WeightsFor(DType::lhs), max_rows, &Pays, gather_depth, false, &Function, \
   &Scratch, Region,   nullptr},
#define PLANISH_STRIP_TILE(name, Function, isa, lhs, max_rows, Pays, gather_depth, Scratch, Strip) \
  {#name,    Isa::isa, WeightsFor(DType::lhs), max_rows, &Pays, gather_depth, false, &Function,    \
   &Scratch, nullptr,  Strip},
#define PLANISH_SAFE_PAIRS_TILE(name, Function, isa, lhs, max_rows, Pays, gather_depth, Scratch, Region) \
  {#name, Isa::isa, WeightsFor(DType::lhs), max_rows, &Pays, gather_depth, true, &Function, &Scratch, Region, nullptr},
#define PLANISH_BF16_TILE(name, Function, isa, lhs, max_rows, Pays, gather_depth, Scratch, Region) \
  {#name, Isa::isa, DenseFormat::kBf16, max_rows, &Pays, gather_depth, false, &Function, &Scratch, Region, nullptr},
#include "kernels/gemm/kernels.inc"
#undef PLANISH_TILE
};

#define PLANISH_TILE(name, Function, isa, lhs, max_rows, Pays, gather_depth, Scratch, Region) \
  {"gemm", #name, Isa::isa},
constexpr KernelInfo kGemmKernels[] = {
    {"gemm", "reference", Isa::kScalar},
#include "kernels/gemm/kernels.inc"
};
#undef PLANISH_TILE
#define PLANISH_TILE(name, Function, isa, lhs, max_rows, Pays, gather_depth, Scratch, Region) \
  {"conv", #name, Isa::isa},
constexpr KernelInfo kConvKernels[] = {
    {"conv", "reference", Isa::kScalar},
#include "kernels/gemm/kernels.inc"
};
#undef PLANISH_TILE

#define PLANISH_TILE(name, Function, isa, lhs, max_rows, Pays, gather_depth, Scratch, Region) \
  {"batch_matmul", #name, Isa::isa},
#define PLANISH_SAFE_PAIRS_TILE(...)  // its weights are no constants
#define PLANISH_BF16_TILE(...)
constexpr KernelInfo kBatchMatmulKernels[] = {
    {"batch_matmul", "reference", Isa::kScalar},
#include "kernels/gemm/kernels.inc"
};
#undef PLANISH_TILE

void RunNothing(const void*, std::byte* const*, const RunContext&) {}

void CheckWeights(const View& w, const Problem& p) {
  Check(w.rank == 1 && w.stride[0] == 1 && ItemSize(w.dtype) == 1,
        "packed weights must be a vector of bytes; this is a bug in planish");
  Check(w.shape[0] == BytesDense(p.format, p.shape),
        "the packed weights' size does not belong to this shape; the plan is damaged");
}

DenseFormat FormatOf(DType lhs, const Attrs& attrs) {
  const bool bf16 = attrs.Int("bf16", 0) != 0;
  Check(!bf16 || lhs == DType::kF32, "bfloat16 weights need a float32 input; this is a bug in planish");
  return bf16 ? DenseFormat::kBf16 : WeightsFor(lhs);
}

// Validates the description; everything but the choice of the kernel.
Problem Describe(const OpDesc& op, bool conv) {
  const LayerOperands o = FindOperands(op, 6);
  const int64_t channels = o.x->size(-1), outputs = o.y->size(-1);
  Check(op.attrs.Int("N", outputs) == outputs && op.attrs.Int("K", channels) == channels,
        "N or K differ from the operands' shapes; this is a bug in planish");
  const Window window = conv ? Window::FromAttrs(op.attrs, o.x->rank - 2) : Window{};
  const int64_t groups = conv ? op.attrs.Int("groups", 1) : 1;
  Check(groups >= 1 && channels % groups == 0,
        "groups must divide the channels; check the node's attributes");

  Problem p{};
  p.lhs = o.x->dtype;
  p.format = FormatOf(p.lhs, op.attrs);
  p.output = OutputOf(p.lhs, o.y->dtype);
  p.y_operand = static_cast<int>(op.inputs.size());
  p.residual = o.residual != nullptr;
  p.shape = {outputs, conv ? window.taps() : 1, channels / groups, groups};
  CheckShape(p.shape);
  CheckWeights(*o.w, p);
  p.map = MapPixels(*o.x, *o.y, o.residual, conv ? &window : nullptr);
  const Bounds bounds = ReadBounds(op.attrs, p.output);
  p.low = bounds.low;
  p.high = bounds.high;
  p.y_zero = bounds.y_zero;
  p.fill = FillRow(p.lhs, channels, op.attrs);
  return p;
}

// Whether the zero points of the weights, if there are any, are constants that a weight of 16 bits can be reduced by.
bool ZerosAreBytes(const OpDesc& op) {
  if (op.inputs.size() <= 4 || op.inputs[4].buffer < 0) return true;
  if (op.data.size() <= 4 || !op.data[4]) return false;
  const int32_t* zero = reinterpret_cast<const int32_t*>(op.data[4]);
  return std::all_of(zero, zero + op.inputs[4].shape[0], [](int32_t z) { return z >= -255 && z <= 255; });
}

Built Choose(Problem& p, const OpDesc& op) {
  const std::string forced = op.attrs.ForcedKernel();
  if (forced == "reference") {
    return MakeBuilt(&RunReference, p, forced, p.shape.taps * static_cast<int64_t>(sizeof(char*)));
  }
  const TileWork work{p.map.pixels, p.shape.group_outputs(), p.shape.taps * p.shape.depth};
  const std::byte* w = op.data.size() > 1 ? op.data[1] : nullptr;
  const size_t bytes = w ? static_cast<size_t>(op.inputs[1].shape[0]) : 0;
  const TileKernel& kernel = ChooseTile(p.format, work, forced, {w, bytes});
  if (kernel.strip && StripsPay(p) && ZerosAreBytes(op)) {
    ScheduleStrips(p, kernel, op.threads);
    return MakeBuilt(&RunStrips, p, kernel.name, CheckedMul(p.worker_scratch, op.threads));
  }
  Schedule(p, kernel, op.threads);
  return MakeBuilt(&RunTiles, p, kernel.name, CheckedMul(p.worker_scratch, op.threads));
}

Built Build(const OpDesc& op, bool conv) {
  Problem p = Describe(op, conv);
  if (p.map.pixels == 0) return MakeBuilt(&RunNothing, 0, "empty");
  Built built = Choose(p, op);
  built.work = static_cast<double>(p.map.pixels) * static_cast<double>(p.shape.taps) *
               std::max(1.0, static_cast<double>(p.shape.depth) * static_cast<double>(p.shape.outputs));
  return built;
}

}  // namespace

std::span<const TileKernel> TileKernels() { return kTiles; }

const TileKernel& ChooseTile(DenseFormat format, const TileWork& work, const std::string& forced,
                             std::span<const std::byte> weights) {
  for (size_t i = std::size(kTiles); i-- > 0;) {
    const TileKernel& k = kTiles[i];
    if (k.weights != format || !Usable(k.isa)) continue;
    if (forced.empty() ? !k.pays(work) : forced != k.name) continue;
    if (!k.safe_pairs || (!weights.empty() && PairsAreSafe(weights))) return k;
  }
  Fail("kernel '" + forced +
       "' is not available here for these types and weights; force one that `planish doctor` lists");
}

Built BuildGemm(const OpDesc& op) { return Build(op, false); }
Built BuildConv(const OpDesc& op) { return Build(op, true); }

std::span<const KernelInfo> GemmKernels() { return kGemmKernels; }
std::span<const KernelInfo> ConvKernels() { return kConvKernels; }
std::span<const KernelInfo> BatchMatmulKernels() { return kBatchMatmulKernels; }

}  // namespace planish
