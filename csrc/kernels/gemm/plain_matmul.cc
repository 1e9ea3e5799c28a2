#include "kernels/gemm/plain_matmul.h"

#include <cmath>
#include <type_traits>

#include "kernels/common/nest.h"
#include "kernels/common/operands.h"

namespace planish {
namespace {

struct Params {
  Nest<3> rows;  // lhs, rhs, y over the batches and the rows of y
  int64_t K, N, lhs_k, rhs_k, rhs_n, y_n;  // sizes, and pitches in bytes
  double alpha;
};

template <class T>
T At(const std::byte* p) {
  return *reinterpret_cast<const T*>(p);
}

template <class T>
void RunRow(const Params& p, const std::byte* lhs, const std::byte* rhs, std::byte* y) {
  const auto to = [&](int64_t n) -> T& { return *reinterpret_cast<T*>(y + n * p.y_n); };
  for (int64_t n = 0; n < p.N; ++n) to(n) = 0;
  for (int64_t k = 0; k < p.K; ++k) {
    const T a = At<T>(lhs + k * p.lhs_k);
    const std::byte* row = rhs + k * p.rhs_k;
    for (int64_t n = 0; n < p.N; ++n) to(n) += a * At<T>(row + n * p.rhs_n);
  }
  if constexpr (std::is_floating_point_v<T>) {
    for (int64_t n = 0; n < p.N; ++n) to(n) *= p.alpha;
  }
}

template <class T>
void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  const int64_t length = p.rows.length();
  ParallelFor(p.rows.rows, ThreadsFor(p.rows.rows * length * p.K * p.N * 8, context.threads), [&](int64_t outer, int) {
    WalkRows(p.rows, operands, outer, 1, [&](std::byte* const* at) {
      for (int64_t i = 0; i < length; ++i) {
        RunRow<T>(p, at[0] + i * p.rows.inner(0), at[1] + i * p.rows.inner(1), at[2] + i * p.rows.inner(2));
      }
    });
  });
}

}  // namespace

bool IsPlainMatmul(DType t) {
  return t == DType::kF64 || t == DType::kS32 || t == DType::kU32 || t == DType::kS64 || t == DType::kU64;
}

Built BuildPlainMatmul(const OpDesc& op) {
  CheckOperands(op, 2, 1);
  const View &a = op.inputs[0], &b = op.inputs[1], &y = op.outputs[0];
  CheckType(op, b, a.dtype);
  CheckType(op, y, a.dtype);
  Check(a.rank >= 2 && a.rank == b.rank && a.rank == y.rank,
        "batch_matmul: operands must have equal ranks of at least 2; the plan is damaged or of another version");
  const int m = y.rank - 2, n = y.rank - 1;
  Params p{{}, a.shape[n], y.shape[n], a.stride[n], b.stride[m], b.stride[n], y.stride[n], op.attrs.Float("alpha", 1)};
  View lhs = a, rhs = b, rows = y;  // the axes of y but the last
  lhs.rank = rhs.rank = rows.rank = n;
  rhs.shape[m] = y.shape[m];
  rhs.stride[m] = 0;
  CheckSameShape(op, lhs, rows);
  CheckSameShape(op, rhs, rows);
  Check(b.shape[m] == p.K && b.shape[n] == p.N,
        "batch_matmul: the operands' shapes do not fit together; the plan is damaged or of another version");
  Check(std::isfinite(p.alpha) && (a.dtype == DType::kF64 || p.alpha == 1),
        "batch_matmul: alpha must be finite, and 1 for integers; the plan is damaged or of another version");
  CheckedMul(CheckedMul(y.elements(), 8), p.K);
  if (y.elements() == 0) return BuildNothing("scalar");
  p.rows = MakeNest<3>({&lhs, &rhs, &rows});
  const RunFn integer = ItemSize(a.dtype) == 4 ? &Run<uint32_t> : &Run<uint64_t>;
  Built built = MakeBuilt(a.dtype == DType::kF64 ? &Run<double> : integer, p, "scalar");
  built.work = static_cast<double>(y.elements()) * static_cast<double>(p.K);
  return built;
}

}  // namespace planish
