// Family `trilu`: y[.., i, j] = x[.., i, j] where j - i >= k (attribute upper = 1, the default) or j - i <= k (upper = 0),
// else zero; k is an attribute. Any dtype, any strides, rank >= 2.
#include "kernels/indexing/index.h"

namespace planish {
namespace {

struct Params {
  Nest<2> matrices;  // x, y without the last two axes
  int64_t rows, columns, item, k;
  int64_t from_row, to_row, from_column, to_column;
  bool upper;
};

// One row: columns [first, last) are kept.
void RunRow(const Params& p, int64_t first, int64_t last, const std::byte* x, std::byte* y) {
  static constexpr std::byte kZero[8] = {};
  CopyItems(p.item, kZero, 0, y, p.to_column, first);
  CopyItems(p.item, x + first * p.from_column, p.from_column, y + first * p.to_column, p.to_column, last - first);
  CopyItems(p.item, kZero, 0, y + last * p.to_column, p.to_column, p.columns - last);
}

void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  const int64_t length = p.matrices.length(), count = p.matrices.rows * length;
  const int threads = ThreadsFor(count * p.rows * p.columns * p.item * 2, context.threads);
  ParallelFor(count * p.rows, threads, [&](int64_t task, int) {
    const int64_t matrix = task / p.rows, i = task % p.rows;
    // k lies within [-rows, columns], so that the sum does not overflow.
    const int64_t edge = std::clamp<int64_t>(p.upper ? i + p.k : i + p.k + 1, 0, p.columns);
    WalkRows(p.matrices, operands, matrix / length, 1, [&](std::byte* const* at) {
      const int64_t m = matrix % length;
      RunRow(p, p.upper ? edge : 0, p.upper ? p.columns : edge,
             at[0] + m * p.matrices.inner(0) + i * p.from_row, at[1] + m * p.matrices.inner(1) + i * p.to_row);
    });
  });
}

}  // namespace

PLANISH_KERNEL_LIST(trilu, Trilu, kIndexingLines)

Built BuildTrilu(const OpDesc& op) {
  CheckOperands(op, 1, 1);
  const View &x = op.inputs[0], &y = op.outputs[0];
  CheckSameShape(op, x, y);
  CheckType(op, x, y.dtype);
  Check(x.rank >= 2, "trilu: takes matrices; reshape the tensor");
  const KernelInfo& kernel = ChooseBest(TriluKernels(), op.attrs);
  if (y.elements() == 0) return BuildNothing(kernel.name);
  const int row = x.rank - 2, column = x.rank - 1;
  const View outer_x = Axes(x, 0, row), outer_y = Axes(y, 0, row);
  const int64_t k = std::clamp<int64_t>(op.attrs.Int("k", 0), -x.shape[row], x.shape[column]);
  const Params p{MakeNest<2>({&outer_x, &outer_y}),
                 x.shape[row],
                 x.shape[column],
                 ItemSize(x.dtype),
                 k,
                 x.stride[row],
                 y.stride[row],
                 x.stride[column],
                 y.stride[column],
                 op.attrs.Int("upper", 1) != 0};
  return MakeBuilt(&Run, p, kernel.name);
}

}  // namespace planish
