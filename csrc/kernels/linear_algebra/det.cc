// Family `det`: determinants. x [.., n, n] -> y [..]; float32, float64, any strides. By elimination with row pivots in
// float64. The determinant of a matrix without elements is 1.
#include <cmath>

#include "kernels/common/nest.h"
#include "kernels/common/operands.h"
#include "kernels/linear_algebra/lines.h"

namespace planish {
namespace {

struct Params {
  Nest<2> matrices;  // x without its last two axes, y
  int64_t n, row, column;
};

// Destroys the matrix a[n][n].
double Determinant(double* a, int64_t n) {
  double product = 1;
  for (int64_t k = 0; k < n; ++k) {
    int64_t pivot = k;
    for (int64_t i = k + 1; i < n; ++i) {
      if (std::fabs(a[i * n + k]) > std::fabs(a[pivot * n + k])) pivot = i;
    }
    if (pivot != k) {
      std::swap_ranges(a + k * n, a + (k + 1) * n, a + pivot * n);
      product = -product;
    }
    const double head = a[k * n + k];
    product *= head;
    if (head == 0) return product;
    for (int64_t i = k + 1; i < n; ++i) {
      const double factor = a[i * n + k] / head;
      for (int64_t j = k + 1; j < n; ++j) a[i * n + j] -= factor * a[k * n + j];
    }
  }
  return product;
}

template <class T>
void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  const int64_t length = p.matrices.length(), count = p.matrices.rows * length;
  ParallelFor(count, ThreadsFor(count * p.n * p.n * 16, context.threads), [&](int64_t task, int worker) {
    double* a = reinterpret_cast<double*>(context.scratch) + worker * p.n * p.n;
    WalkRows(p.matrices, operands, task / length, 1, [&](std::byte* const* at) {
      const std::byte* x = at[0] + task % length * p.matrices.inner(0);
      for (int64_t i = 0; i < p.n * p.n; ++i) {
        T value;
        std::memcpy(&value, x + i / p.n * p.row + i % p.n * p.column, sizeof value);
        a[i] = static_cast<double>(value);
      }
      const T result = static_cast<T>(Determinant(a, p.n));
      std::memcpy(at[1] + task % length * p.matrices.inner(1), &result, sizeof result);
    });
  });
}

}  // namespace

PLANISH_KERNEL_LIST(det, Det, kLinearAlgebraLines)

Built BuildDet(const OpDesc& op) {
  CheckOperands(op, 1, 1);
  const View &x = op.inputs[0], &y = op.outputs[0];
  CheckType(op, y, x.dtype);
  if (x.dtype != DType::kF32 && x.dtype != DType::kF64) FailType(op, x.dtype);
  const KernelInfo& kernel = ChooseBest(DetKernels(), op.attrs);
  const int row = x.rank - 2;
  Check(x.rank >= 2 && x.shape[row] == x.shape[row + 1], "det: takes square matrices; check the model");
  View outer = x;
  outer.rank = row;
  CheckSameShape(op, outer, y);
  if (y.elements() == 0) return BuildNothing(kernel.name);
  const Params p{MakeNest<2>({&outer, &y}), x.shape[row], x.stride[row], x.stride[row + 1]};
  const int64_t scratch = CheckedMul(CheckedMul(CheckedMul(p.n, p.n), 8), op.threads);
  Built built = MakeBuilt(x.dtype == DType::kF32 ? &Run<float> : &Run<double>, p, kernel.name, scratch);
  built.work = static_cast<double>(x.elements()) * static_cast<double>(p.n);
  return built;
}

}  // namespace planish
