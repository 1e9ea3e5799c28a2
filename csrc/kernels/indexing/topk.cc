// Family `topk`: the k largest (attribute largest = 1, the default) or smallest values along attribute
// `axis`, best first, and their indices. x -> values (x's dtype), indices (int64), both with size k along the
// axis. Of equal values the one with the lower index comes first; NaN counts as larger than every number. Any
// strides.
#include "kernels/common/number_type.h"
#include "kernels/common/order_key.h"
#include "kernels/indexing/index.h"

namespace planish {
namespace {

struct Entry {
  uint64_t key;  // ascending: the best first
  int64_t index;
};

struct Params {
  Nest<3> lines;  // x, values, indices without the axis
  int64_t length, k, from, to_values, to_indices;
  bool largest;
};

template <class T>
void Select(const Params& p, const std::byte* x, std::byte* values, std::byte* indices, Entry* entries) {
  for (int64_t i = 0; i < p.length; ++i) {
    T v;
    std::memcpy(&v, x + i * p.from, sizeof v);
    const uint64_t key = OrderKey(v);
    entries[i] = {p.largest ? ~key : key, i};
  }
  std::partial_sort(entries, entries + p.k, entries + p.length, [](const Entry& a, const Entry& b) {
    return a.key != b.key ? a.key < b.key : a.index < b.index;
  });
  for (int64_t i = 0; i < p.k; ++i) {
    std::memcpy(values + i * p.to_values, x + entries[i].index * p.from, sizeof(T));
    std::memcpy(indices + i * p.to_indices, &entries[i].index, 8);
  }
}

template <class T>
void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  const int64_t length = p.lines.length();
  const int threads = ThreadsFor(p.lines.rows * length * p.length * 32, context.threads);
  ParallelFor(p.lines.rows * length, threads, [&](int64_t line, int worker) {
    auto* entries = reinterpret_cast<Entry*>(context.scratch) + worker * p.length;
    WalkRows(p.lines, operands, line / length, 1, [&](std::byte* const* at) {
      const int64_t i = line % length;
      Select<T>(p, at[0] + i * p.lines.inner(0), at[1] + i * p.lines.inner(1), at[2] + i * p.lines.inner(2),
                entries);
    });
  });
}

}  // namespace

PLANISH_KERNEL_LIST(topk, Topk, kIndexingLines)

Built BuildTopk(const OpDesc& op) {
  CheckOperands(op, 1, 2);
  const View &x = op.inputs[0], &values = op.outputs[0], &indices = op.outputs[1];
  CheckType(op, values, x.dtype);
  CheckType(op, indices, DType::kS64);
  CheckSameShape(op, values, indices);
  const KernelInfo& kernel = ChooseBest(TopkKernels(), op.attrs);
  const int axis = AxisOf(op, "axis", -1, x.rank);
  View line_x = x, line_v = values, line_i = indices;
  line_x.shape[axis] = 1;
  if (values.rank == x.rank) line_v.shape[axis] = line_i.shape[axis] = 1;
  CheckSameShape(op, line_x, line_v);
  Check(values.shape[axis] <= x.shape[axis], "topk: k exceeds the size of the axis; use a smaller k");
  const RunFn run = WithNumberType(op, x.dtype, [](auto number) { return &Run<decltype(number)>; });
  if (values.elements() == 0) return BuildNothing(kernel.name);
  const Params p{MakeNest<3>({&line_x, &line_v, &line_i}),
                 x.shape[axis],
                 values.shape[axis],
                 x.stride[axis],
                 values.stride[axis],
                 indices.stride[axis],
                 op.attrs.Int("largest", 1) != 0};
  const int64_t scratch = CheckedMul(CheckedMul(p.length, static_cast<int64_t>(sizeof(Entry))), op.threads);
  return MakeBuilt(run, p, kernel.name, scratch);
}

}  // namespace planish
