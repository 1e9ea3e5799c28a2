// Family `nonzero`: where x is not zero. Outputs: indices int64 [rank, n] with n = x's number of elements, of which the
// first `count` columns are written with the positions in row-major order and the others with zeros; count int64,
// a scalar. Any dtype (floats: -0 is zero, NaN is not); any strides; one thread.
#include "kernels/indexing/index.h"

namespace planish {
namespace {

struct Params {
  Dims shape, stride;
  int rank;
  int64_t elements, item;
  uint64_t mask;  // of the bits that make an element nonzero
  int64_t to_axis, to_column;
};

bool IsNonzero(const std::byte* p, int64_t item, uint64_t mask) {
  uint64_t bits = 0;
  std::memcpy(&bits, p, static_cast<size_t>(item));
  return (bits & mask) != 0;
}

void Run(const void* params, std::byte* const* operands, const RunContext&) {
  const Params& p = *static_cast<const Params*>(params);
  const std::byte* x = operands[0];
  int64_t count = 0;
  Dims index{};
  const auto put = [&](int axis, int64_t column, int64_t value) {
    std::memcpy(operands[1] + axis * p.to_axis + column * p.to_column, &value, 8);
  };
  for (int64_t i = 0; i < p.elements; ++i) {
    if (IsNonzero(x, p.item, p.mask)) {
      for (int a = 0; a < p.rank; ++a) put(a, count, index[a]);
      ++count;
    }
    for (int a = p.rank - 1; a >= 0; --a) {
      x += p.stride[a];
      if (++index[a] < p.shape[a]) break;
      x -= p.shape[a] * p.stride[a];
      index[a] = 0;
    }
  }
  for (int64_t i = count; i < p.elements; ++i) {
    for (int a = 0; a < p.rank; ++a) put(a, i, 0);
  }
  std::memcpy(operands[2], &count, 8);
}

}  // namespace

PLANISH_KERNEL_LIST(nonzero, Nonzero, kIndexingLines)

Built BuildNonzero(const OpDesc& op) {
  CheckOperands(op, 1, 2);
  const View &x = op.inputs[0], &indices = op.outputs[0], &count = op.outputs[1];
  const KernelInfo& kernel = ChooseBest(NonzeroKernels(), op.attrs);
  CheckType(op, indices, DType::kS64);
  CheckType(op, count, DType::kS64);
  Check(indices.rank == 2 && indices.shape[0] == x.rank && indices.shape[1] == x.elements() && count.elements() == 1,
        "nonzero: shapes do not fit together; the plan is damaged or of another version");
  const bool real = x.dtype == DType::kF32 || x.dtype == DType::kF64 || x.dtype == DType::kF16 ||
                    x.dtype == DType::kBF16;
  const int bits = static_cast<int>(ItemSize(x.dtype)) * 8 - (real ? 1 : 0);  // a float's sign does not count
  const uint64_t mask = bits == 64 ? UINT64_MAX : (uint64_t{1} << bits) - 1;
  const Params p{x.shape, x.stride, x.rank, x.elements(), ItemSize(x.dtype), mask, indices.stride[0], indices.stride[1]};
  return MakeBuilt(&Run, p, kernel.name);
}

}  // namespace planish
