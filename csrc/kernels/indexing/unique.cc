// Family `unique`: the distinct rows of a matrix x [n, m]. Outputs, all int64: first [n], the index of the first row of
// each kind; inverse [n], the kind of each row; counts [n], how many rows there are of each kind; count, a scalar, the
// number of kinds, behind which `first` and `counts` hold zeros. Kinds are numbered in lexicographic order (attribute
// sorted = 1, the default) or in that of their first rows. -0 equals 0, NaN equals NaN and is the largest number.
// Every dtype but float16 and bfloat16; any strides; one thread.
#include "kernels/common/number_type.h"
#include "kernels/common/order_key.h"
#include "kernels/indexing/index.h"

namespace planish {
namespace {

struct Params {
  int64_t rows, columns, row_pitch, column_pitch;
  int64_t to_first, to_inverse, to_counts;
  bool sorted;
};

template <class T>
int Compare(const Params& p, const std::byte* x, int64_t a, int64_t b) {
  for (int64_t j = 0; j < p.columns; ++j) {
    T u, v;
    std::memcpy(&u, x + a * p.row_pitch + j * p.column_pitch, sizeof u);
    std::memcpy(&v, x + b * p.row_pitch + j * p.column_pitch, sizeof v);
    const uint64_t left = OrderKey(u), right = OrderKey(v);
    if (left != right) return left < right ? -1 : 1;
  }
  return 0;
}

int64_t Get(const std::byte* p) {
  int64_t value;
  std::memcpy(&value, p, 8);
  return value;
}

void Put(std::byte* p, int64_t value) { std::memcpy(p, &value, 8); }

template <class T>
void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  const std::byte* x = operands[0];
  // The rows in order; then the kinds in the order of their first rows, and their new numbers.
  int64_t* const order = reinterpret_cast<int64_t*>(context.scratch);
  int64_t* const kind = order + p.rows;
  for (int64_t i = 0; i < p.rows; ++i) order[i] = i;
  std::sort(order, order + p.rows, [&](int64_t a, int64_t b) {
    const int c = Compare<T>(p, x, a, b);
    return c != 0 ? c < 0 : a < b;
  });
  int64_t count = 0;
  for (int64_t i = 0; i < p.rows; ++i) {
    const bool fresh = i == 0 || Compare<T>(p, x, order[i - 1], order[i]) != 0;
    if (fresh) {
      Put(operands[1] + count * p.to_first, order[i]);
      Put(operands[3] + count * p.to_counts, 0);
      ++count;
    }
    Put(operands[2] + order[i] * p.to_inverse, count - 1);
    std::byte* const counter = operands[3] + (count - 1) * p.to_counts;
    Put(counter, Get(counter) + 1);
  }
  if (!p.sorted) {
    // A row that is the first of its kind gives the kind the next number.
    int64_t next = 0;
    for (int64_t i = 0; i < p.rows; ++i) {
      const int64_t k = Get(operands[2] + i * p.to_inverse);
      if (Get(operands[1] + k * p.to_first) == i) kind[k] = next++;
    }
    for (int64_t k = 0; k < count; ++k) order[kind[k]] = Get(operands[3] + k * p.to_counts);
    for (int64_t k = 0; k < count; ++k) Put(operands[3] + k * p.to_counts, order[k]);
    for (int64_t k = 0; k < count; ++k) order[kind[k]] = Get(operands[1] + k * p.to_first);
    for (int64_t k = 0; k < count; ++k) Put(operands[1] + k * p.to_first, order[k]);
    for (int64_t i = 0; i < p.rows; ++i) {
      std::byte* const inverse = operands[2] + i * p.to_inverse;
      Put(inverse, kind[Get(inverse)]);
    }
  }
  for (int64_t k = count; k < p.rows; ++k) {
    Put(operands[1] + k * p.to_first, 0);
    Put(operands[3] + k * p.to_counts, 0);
  }
  Put(operands[4], count);
}

}  // namespace

PLANISH_KERNEL_LIST(unique, Unique, kIndexingLines)

Built BuildUnique(const OpDesc& op) {
  CheckOperands(op, 1, 4);
  const View& x = op.inputs[0];
  const KernelInfo& kernel = ChooseBest(UniqueKernels(), op.attrs);
  Check(x.rank == 2, "unique: takes a matrix; reshape the tensor");
  for (size_t i = 0; i < 4; ++i) {
    const View& y = op.outputs[i];
    CheckType(op, y, DType::kS64);
    Check(i == 3 ? y.elements() == 1 : y.rank == 1 && y.shape[0] == x.shape[0],
          "unique: shapes do not fit together; the plan is damaged or of another version");
  }
  const RunFn run = WithNumberType(op, x.dtype, [](auto number) { return &Run<decltype(number)>; });
  const Params p{x.shape[0],
                 x.shape[1],
                 x.stride[0],
                 x.stride[1],
                 op.outputs[0].stride[0],
                 op.outputs[1].stride[0],
                 op.outputs[2].stride[0],
                 op.attrs.Int("sorted", 1) != 0};
  return MakeBuilt(run, p, kernel.name, CheckedMul(x.shape[0], 16));
}

}  // namespace planish
