// Family `pad`: y[i] = x[m(i - begin)] per axis, with m the attribute mode: "edge" clamps, "reflect" mirrors
// without repeating the edge, "wrap" repeats. Attribute pads: begins, then ends, one per axis; negative ones
// crop. Any dtype, any strides.
#include <cstring>
#include <vector>

#include "kernels/common/kernel_list.h"
#include "kernels/common/nest.h"
#include "kernels/common/operands.h"

namespace planish {
namespace {

constexpr KernelInfo kLines[] = {
#define PLANISH_KERNEL(family, name, isa) {#family, #name, Isa::isa},
#include "kernels/pad/kernels.inc"
#undef PLANISH_KERNEL
};

enum Mode { kReflect, kEdge, kWrap };
constexpr const char* kModes[] = {"reflect", "edge", "wrap"};

// Where a position before, in or behind an axis of `n` elements is read.
int64_t Source(Mode mode, int64_t i, int64_t n) {
  if (mode == kEdge || n == 1) return std::clamp<int64_t>(i, 0, n - 1);
  const int64_t period = mode == kWrap ? n : 2 * (n - 1);
  const int64_t r = (i % period + period) % period;
  return mode == kReflect && r >= n ? period - r : r;
}

struct Params {
  int rank = 0;  // axes by descending output stride; at least one
  Dims shape{}, to{};
  std::vector<int64_t> from[kMaxRank];    // byte offset in x of every index of an axis
  int64_t item = 0, rows = 1, inner = 0;  // inner: x's stride along the last axis
};

void CopyRow(const Params& p, const std::byte* x, std::byte* y) {
  const int last = p.rank - 1;
  const int64_t n = p.shape[last];
  const int64_t* from = p.from[last].data();
  // Stretches of consecutive elements are copied whole.
  for (int64_t i = 0; i < n;) {
    int64_t end = i + 1;
    while (end < n && from[end] == from[end - 1] + p.inner) ++end;
    if (p.inner == p.item && p.to[last] == p.item) {
      std::memcpy(y + i * p.item, x + from[i], static_cast<size_t>((end - i) * p.item));
    } else {
      CopyItems(p.item, x + from[i], p.inner, y + i * p.to[last], p.to[last], end - i);
    }
    i = end;
  }
}

void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  const int64_t group = std::max<int64_t>(1, kTaskBytes / (p.shape[p.rank - 1] * p.item));
  ParallelFor((p.rows + group - 1) / group, context.threads, [&](int64_t task, int) {
    for (int64_t row = task * group; row < std::min(p.rows, (task + 1) * group); ++row) {
      const std::byte* x = operands[0];
      std::byte* y = operands[1];
      int64_t rest = row;
      for (int d = p.rank - 2; d >= 0; --d) {
        const int64_t k = rest % p.shape[d];
        rest /= p.shape[d];
        x += p.from[d][static_cast<size_t>(k)];
        y += k * p.to[d];
      }
      CopyRow(p, x, y);
    }
  });
}

void FillAxes(const OpDesc& op, const View& x, const View& y, Mode mode, Params& p) {
  const std::vector<int64_t> pads = op.attrs.Ints("pads");
  Check(static_cast<int>(pads.size()) == 2 * x.rank, "pad: pads has two values an axis; correct the model");
  int axes[kMaxRank];
  for (int i = 0; i < x.rank; ++i) {
    const int64_t begin = pads[static_cast<size_t>(i)], end = pads[static_cast<size_t>(x.rank + i)];
    Check(y.shape[i] == CheckedAdd(CheckedAdd(x.shape[i], begin), end),
          "pad: the output's shape does not fit the pads; the plan is damaged or of another version");
    Check(x.shape[i] > 0 || y.shape[i] == 0,
          "pad: an axis without elements cannot be extended; use mode constant");
    axes[i] = i;
  }
  if (y.elements() == 0) return;
  std::stable_sort(axes, axes + x.rank,
                   [&](int a, int b) { return std::abs(y.stride[a]) > std::abs(y.stride[b]); });
  for (int k = 0; k < x.rank; ++k) {
    const int a = axes[k];
    p.shape[k] = y.shape[a];
    p.to[k] = y.stride[a];
    p.inner = x.stride[a];
    p.from[k].reserve(static_cast<size_t>(y.shape[a]));
    for (int64_t i = 0; i < y.shape[a]; ++i) {
      p.from[k].push_back(Source(mode, i - pads[static_cast<size_t>(a)], x.shape[a]) * x.stride[a]);
    }
    if (k + 1 < x.rank) p.rows *= y.shape[a];
  }
  p.rank = x.rank;
}

}  // namespace

PLANISH_KERNEL_LIST(pad, Pad, kLines)

Built BuildPad(const OpDesc& op) {
  CheckOperands(op, 1, 1);
  const View &x = op.inputs[0], &y = op.outputs[0];
  CheckType(op, x, y.dtype);
  Check(x.rank == y.rank && x.rank >= 1,
        "pad: operands differ in rank; the plan is damaged or of another version");
  const KernelInfo& kernel = ChooseBest(PadKernels(), op.attrs);
  Params p;
  p.item = ItemSize(y.dtype);
  FillAxes(op, x, y, static_cast<Mode>(ChoiceOf(op, "mode", op.attrs.String("mode", ""), kModes)), p);
  if (y.elements() == 0) return BuildNothing(kernel.name);
  return MakeBuilt(&Run, p, kernel.name);
}

}  // namespace planish
