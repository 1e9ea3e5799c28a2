// Builds and runs the family winograd.
//
//   for a block of tiles          (a task)
//     V = Bᵀ d B                  for every tile and channel
//     M[e] = V[e] · U[e]          16 matrix products
//     y = Aᵀ M A + bias …         for every tile and output
#include "kernels/winograd/winograd.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "base/thread_pool.h"
#include "kernels/common/kernel_list.h"
#include "kernels/gemm/layer.h"

namespace planish {
namespace {

#define PLANISH_KERNEL(family, name, isa) {#family, #name, Isa::isa},
constexpr KernelInfo kKernels[] = {
#include "kernels/winograd/kernels.inc"
};
#undef PLANISH_KERNEL

constexpr int64_t kElements = kWinogradElements;

// The matrices of a block: elements of one tile are written side by side, so they must not share lines of L1.
int64_t SliceOf(int64_t tiles, int64_t pitch, int64_t item) {
  constexpr int64_t kPage = 4096, kApart = 320;
  return CheckedAdd(AlignUp(CheckedMul(tiles, pitch * item), kPage), kApart) / item;
}

// One task's view of the operands.
class Block {
 public:
  Block(const WinogradProblem& p, std::byte* const* operands, std::byte* scratch)
      : p_(p), operands_(operands), v_(scratch), m_(scratch + p.m_at) {}

  void Run(int64_t first) {
    count_ = static_cast<int>(std::min(p_.block_tiles, p_.tiles - first));
    for (int i = 0; i < count_; ++i) Enter(first + i, i);
    p_.u8 ? MultiplyBytes() : MultiplyFloats();
    for (int i = 0; i < count_; ++i) Leave(first + i, i);
  }

 private:
  template <class T>
  T* V(int64_t tile) const {
    return reinterpret_cast<T*>(v_) + tile * p_.v_pitch;
  }
  template <class T>
  T* M(int64_t tile) const {
    return reinterpret_cast<T*>(m_) + tile * p_.m_pitch;
  }
  template <class T>
  const T* Vector(int operand) const {
    return operand < p_.y_operand ? reinterpret_cast<const T*>(operands_[operand]) : nullptr;
  }

  struct Place {
    int64_t batch, row, column;  // of the tile's first output
  };

  Place At(int64_t tile) const {
    const int64_t line = tile / p_.tiles_across;
    return {line / p_.tiles_down, 2 * (line % p_.tiles_down), 2 * (tile % p_.tiles_across)};
  }

  static int64_t Offset(const int64_t (&pitch)[3], int64_t batch, int64_t row, int64_t column) {
    return batch * pitch[0] + row * pitch[1] + column * pitch[2];
  }

  void Enter(int64_t tile, int64_t nth) const {
    const Place at = At(tile);
    const std::byte* taps[kElements];
    for (int64_t i = 0; i < 4; ++i) {
      const int64_t row = at.row - p_.top + i;
      for (int64_t j = 0; j < 4; ++j) {
        const int64_t column = at.column - p_.left + j;
        const bool inside = row >= 0 && row < p_.x_height && column >= 0 && column < p_.x_width;
        taps[4 * i + j] = inside ? operands_[0] + Offset(p_.x_pitch, at.batch, row, column) : p_.fill.data;
      }
    }
    if (p_.u8) {
      p_.integers->input(reinterpret_cast<const uint8_t* const*>(taps), p_.channels, V<int16_t>(nth),
                         p_.v_slice);
    } else {
      p_.transforms->input(reinterpret_cast<const float* const*>(taps), p_.channels, V<float>(nth),
                           p_.v_slice);
    }
  }

  void MultiplyBytes() const {
    const int64_t pairs = DivideUp(p_.channels, 2), panels = DivideUp(p_.outputs, kPanel);
    const int16_t* u = reinterpret_cast<const int16_t*>(operands_[1]);
    for (int64_t e = 0; e < kElements; ++e) {
      p_.integers->multiply(V<int16_t>(0) + e * p_.v_slice, p_.v_pitch, count_,
                            u + e * panels * pairs * 2 * kPanel, pairs, panels,
                            M<int32_t>(0) + e * p_.m_slice, p_.m_pitch);
    }
  }

  void MultiplyFloats() const {
    constexpr int64_t kItem = sizeof(float);
    const char* rows[kMaxBlockTiles];
    char* out[kMaxBlockTiles];
    for (int i = 0; i < count_; ++i) {
      rows[i] = reinterpret_cast<const char*>(V<float>(i));
      out[i] = reinterpret_cast<char*>(M<float>(i));
    }
    TileArgs args{};
    args.segments = 1;
    args.depth = p_.channels;
    args.panel_bytes = p_.channels * kPanel * kItem;
    args.outputs = p_.outputs;
    args.low = -std::numeric_limits<float>::infinity();
    args.high = std::numeric_limits<float>::infinity();
    args.output = kTileF32;
    const int64_t matrix = DivideUp(p_.outputs, kPanel) * args.panel_bytes;
    const int calls = static_cast<int>(DivideUp(count_, p_.tile->max_rows));
    for (int64_t e = 0; e < kElements; ++e) {
      args.weights = reinterpret_cast<const char*>(operands_[1]) + e * matrix;
      args.row_offset = e * p_.v_slice * kItem;
      args.out_offset = e * p_.m_slice * kItem;
      for (int call = 0; call < calls; ++call) {
        const int first = count_ * call / calls, last = count_ * (call + 1) / calls;
        args.rows = rows + first;
        args.out = out + first;
        args.row_pitch = last - first;
        p_.tile->run(args, last - first);
      }
    }
  }

  void Leave(int64_t tile, int64_t nth) const {
    const Place at = At(tile);
    char* y[4];
    const float* residual[4];
    for (int64_t o = 0; o < 4; ++o) {
      const int64_t row = at.row + o / 2, column = at.column + o % 2;
      const bool inside = row < p_.y_height && column < p_.y_width;
      y[o] = inside ? reinterpret_cast<char*>(operands_[p_.y_operand]) +
                          Offset(p_.y_pitch, at.batch, row, column)
                    : nullptr;
      residual[o] =
          inside && p_.residual
              ? reinterpret_cast<const float*>(operands_[5] + Offset(p_.r_pitch, at.batch, row, column))
              : nullptr;
    }
    if (p_.u8) {
      TileArgs args{};
      args.out = y;
      args.outputs = p_.outputs;
      args.bias = Vector<int32_t>(2);
      args.scale = Vector<float>(3);
      args.low = p_.low;
      args.high = p_.high;
      args.y_zero = p_.y_zero;
      args.output = p_.output;
      p_.integers->output(M<int32_t>(nth), p_.m_slice, args);
    } else {
      p_.transforms->output(M<float>(nth), p_.m_slice, p_.outputs, Vector<float>(2),
                            p_.residual ? residual : nullptr, p_.low, p_.high,
                            reinterpret_cast<float* const*>(y));
    }
  }

  const WinogradProblem& p_;
  std::byte* const* operands_;
  std::byte *v_, *m_;
  int count_ = 0;
};

void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const WinogradProblem& p = *static_cast<const WinogradProblem*>(params);
  ParallelFor(p.blocks, context.threads, [&](int64_t block, int worker) {
    Block(p, operands, context.scratch + worker * p.worker_scratch).Run(block * p.block_tiles);
  });
}

void RunNothing(const void*, std::byte* const*, const RunContext&) {}

void CheckWindow(const Attrs& attrs) {
  const auto is = [&](const char* name, int64_t value) {
    const std::vector<int64_t> given = attrs.Ints(name);
    return given.empty() || given == std::vector<int64_t>{value, value};
  };
  Check(is("kernel", 3) && is("strides", 1) && is("dilations", 1) && attrs.Int("groups", 1) == 1 &&
            attrs.Int("transposed", 0) == 0,
        "only windows of 3 × 3 at stride 1 fit this form of the weights; the plan is damaged");
}

void CheckWeights(const View& w, const WinogradProblem& p) {
  Check(!p.u8 || p.channels <= kMostIntegerChannels,
        "too many channels for this form of the weights; the plan is damaged");
  Check(w.rank == 1 && w.stride[0] == 1 && ItemSize(w.dtype) == 1,
        "packed weights must be a vector of bytes; this is a bug in planish");
  Check(w.shape[0] == (p.u8 ? BytesWinogradS16 : BytesWinogradF32)(p.outputs, p.channels),
        "the packed weights' size does not belong to this shape; the plan is damaged");
}

// Validates the description; everything but the choice of the kernel.
WinogradProblem Describe(const OpDesc& op) {
  const LayerOperands o = FindOperands(op, 6);
  Check(o.x->rank == 4, "x must have four axes; this is a bug in planish");
  Check(!o.weight_zero, "this form of the weights takes no weight_zero; this is a bug in planish");
  CheckWindow(op.attrs);
  const std::vector<int64_t> given = op.attrs.Ints("pads");
  Check(given.empty() || given.size() == 4, "pads must be four numbers; check the node's attributes");
  const std::vector<int64_t> pads = given.empty() ? std::vector<int64_t>(4) : given;
  for (const int64_t pad : pads) {
    Check(pad > -(int64_t{1} << 40) && pad < int64_t{1} << 40,
          "pads out of range; check the node's attributes");
  }
  WinogradProblem p{};
  p.u8 = o.x->dtype == DType::kU8;
  p.output = OutputOf(o.x->dtype, o.y->dtype);
  p.channels = o.x->size(3);
  p.outputs = o.y->size(3);
  p.x_height = o.x->size(1), p.x_width = o.x->size(2);
  p.y_height = o.y->size(1), p.y_width = o.y->size(2);
  p.top = pads[0], p.left = pads[1];
  Check(o.y->size(0) == o.x->size(0) && p.y_height == p.x_height + pads[0] + pads[2] - 2 &&
            p.y_width == p.x_width + pads[1] + pads[3] - 2,
        "the output's shape does not follow from the input's; this is a bug in planish");
  Check(op.attrs.Int("N", p.outputs) == p.outputs,
        "N differs from the output's shape; this is a bug in planish");
  CheckWeights(*o.w, p);
  for (int d = 0; d < 3; ++d) {
    p.x_pitch[d] = o.x->stride[d], p.y_pitch[d] = o.y->stride[d];
    if (!o.residual) continue;
    Check(o.residual->shape[d] == o.y->shape[d], "a residual must have y's shape; this is a bug in planish");
    p.r_pitch[d] = o.residual->stride[d];
  }
  Check(!o.residual || o.residual->size(3) == p.outputs,
        "a residual must have y's shape; this is a bug in planish");
  p.residual = o.residual != nullptr;
  p.y_operand = static_cast<int>(op.inputs.size());
  const Bounds bounds = ReadBounds(op.attrs, p.output);
  p.low = bounds.low, p.high = bounds.high, p.y_zero = bounds.y_zero;
  p.tiles_down = DivideUp(p.y_height, 2), p.tiles_across = DivideUp(p.y_width, 2);
  p.tiles = CheckedMul(o.x->size(0), CheckedMul(p.tiles_down, p.tiles_across));
  p.fill = FillRow(o.x->dtype, p.channels, op.attrs);
  return p;
}

#if defined(__x86_64__)
constexpr const WinogradIntegers* kBestIntegers = &kWinogradIntegersAvx2;
#else
constexpr const WinogradIntegers* kBestIntegers = &kWinogradIntegersScalar;
#endif

// Cuts the tiles into blocks: as many as threads have use for, and none larger than kMaxBlockTiles.
void Schedule(WinogradProblem& p, const KernelInfo& kernel, int threads) {
  constexpr int64_t kFewestTiles = 6;
  if (p.u8) {
    p.integers = kernel.isa == Isa::kScalar ? &kWinogradIntegersScalar : kBestIntegers;
  } else {
    p.tile = &ChooseTile(DenseFormat::kF32, {}, kernel.name);
    p.transforms = &PLANISH_TABLE(kWinogradTransforms, kernel.isa);
  }
  const int64_t wanted = std::min<int64_t>(threads, DivideUp(p.tiles, kFewestTiles));
  p.blocks = std::max(DivideUp(p.tiles, kMaxBlockTiles), wanted);
  p.blocks = DivideUp(p.blocks, wanted) * wanted;
  p.block_tiles = DivideUp(p.tiles, p.blocks);
  p.blocks = DivideUp(p.tiles, p.block_tiles);
  const int64_t v_item = p.u8 ? sizeof(int16_t) : sizeof(float), m_item = sizeof(float);
  p.v_pitch = AlignUp(p.channels, kPanel);
  p.m_pitch = AlignUp(p.outputs, kPanel);
  p.v_slice = SliceOf(p.block_tiles, p.v_pitch, v_item);
  p.m_slice = SliceOf(p.block_tiles, p.m_pitch, m_item);
  p.m_at = CheckedMul(kElements * v_item, p.v_slice);
  p.worker_scratch = CheckedAdd(p.m_at, CheckedMul(kElements * m_item, p.m_slice));
}

// The kernels for this type of x, in their order.
std::vector<KernelInfo> Candidates(const WinogradProblem& p) {
  std::vector<KernelInfo> found;
  for (const KernelInfo& k : kKernels) {
    const std::string_view name = k.name;
    if (name == "reference" || name.starts_with(p.u8 ? "u8" : "f32")) found.push_back(k);
  }
  return found;
}

}  // namespace

Built BuildWinograd(const OpDesc& op) {
  WinogradProblem p = Describe(op);
  if (p.tiles == 0) return MakeBuilt(&RunNothing, 0, "empty");
  const std::vector<KernelInfo> candidates = Candidates(p);
  const KernelInfo& kernel = ChooseBest(candidates, op.attrs);
  const bool reference = std::string_view(kernel.name) == "reference";
  if (!reference) Schedule(p, kernel, op.threads);
  Built built = reference ? MakeBuilt(&RunWinogradReference, p, kernel.name)
                          : MakeBuilt(&Run, p, kernel.name, CheckedMul(p.worker_scratch, op.threads));
  built.work = static_cast<double>(p.tiles) * static_cast<double>(kElements) *
               std::max(1.0, static_cast<double>(p.channels) * static_cast<double>(p.outputs));
  return built;
}

PLANISH_KERNEL_LIST(winograd, Winograd, kKernels)

}  // namespace planish
