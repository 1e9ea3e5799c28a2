// Family `dft`: discrete Fourier transforms along attribute `axis` (not the last). x [.., n, .., c] -> y [.., m, .., d];
// the last axis holds a real number (size 1) or a complex one (2). With N = attribute length and x[j] = 0 for j >= N or
// j >= n:
//   y[k] = sum over j < N of x[j] e^(-2 pi i j k / N)         k < m <= N
// attribute inverse = 1: e^(+2 pi i j k / N), and divided by N. With half = 1 (inverse only, c = 2, d = 1) x holds the
// first N / 2 + 1 values of a spectrum of which X[N - j] is the conjugate of X[j]; y is real.
// float32, float64. Complex float32 of smooth lengths is computed in float32, everything else in float64: of a real
// signal some parts are exactly zero, and the rounding errors of float32 would stand in their place.
#include <optional>

#include "kernels/common/nest.h"
#include "kernels/common/operands.h"
#include "kernels/linear_algebra/fourier.h"
#include "kernels/linear_algebra/lines.h"

namespace planish {
namespace {

constexpr int64_t kLongest = 1 << 22;

struct Params {
  Nest<2> lines;  // x, y without the axis and the last one
  int64_t length, given, wanted;
  int64_t from, to, from_part, to_part;
  bool complex_in, complex_out, inverse, half;
  std::optional<Fourier<float>> fast;
  std::optional<Fourier<double>> precise;  // one of the two
};

template <class R>
const Fourier<R>& TransformOf(const Params& p) {
  if constexpr (std::is_same_v<R, float>) {
    return *p.fast;
  } else {
    return *p.precise;
  }
}

template <class T>
T Load(const std::byte* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

// T is how numbers are stored, R what is computed in.
template <class T, class R>
void RunLine(const Params& p, const std::byte* x, std::byte* y, Complex<R>* a) {
  const int64_t count = std::min(p.given, p.length);
  std::fill(a + count, a + p.length, Complex<R>{0, 0});
  for (int64_t j = 0; j < count; ++j) {
    const R re = static_cast<R>(Load<T>(x + j * p.from));
    const R im = p.complex_in ? static_cast<R>(Load<T>(x + j * p.from + p.from_part)) : R{0};
    a[j] = {re, p.inverse ? -im : im};  // the inverse is the conjugate of the conjugates' transform
  }
  if (p.half) {
    for (int64_t j = p.length / 2 + 1; j < p.length; ++j) a[j] = Conjugate(a[p.length - j]);
    a[0].im = 0;
    if (p.length % 2 == 0) a[p.length / 2].im = 0;
  }
  TransformOf<R>(p).Run(a);
  const R by = p.inverse ? R{1} / static_cast<R>(p.length) : R{1};
  for (int64_t k = 0; k < p.wanted; ++k) {
    const T re = static_cast<T>(a[k].re * by), im = static_cast<T>((p.inverse ? -a[k].im : a[k].im) * by);
    std::memcpy(y + k * p.to, &re, sizeof re);
    if (p.complex_out) std::memcpy(y + k * p.to + p.to_part, &im, sizeof im);
  }
}

template <class T, class R>
void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  const int64_t length = p.lines.length(), room = TransformOf<R>(p).room();
  const int threads = ThreadsFor(p.lines.rows * length * room * 32, context.threads);
  ParallelFor(p.lines.rows * length, threads, [&](int64_t line, int worker) {
    Complex<R>* a = reinterpret_cast<Complex<R>*>(context.scratch) + worker * room;
    WalkRows(p.lines, operands, line / length, 1, [&](std::byte* const* at) {
      const int64_t i = line % length;
      RunLine<T, R>(p, at[0] + i * p.lines.inner(0), at[1] + i * p.lines.inner(1), a);
    });
  });
}

}  // namespace

PLANISH_KERNEL_LIST(dft, Dft, kLinearAlgebraLines)

Built BuildDft(const OpDesc& op) {
  CheckOperands(op, 1, 1);
  const View &x = op.inputs[0], &y = op.outputs[0];
  CheckType(op, y, x.dtype);
  if (x.dtype != DType::kF32 && x.dtype != DType::kF64) FailType(op, x.dtype);
  const KernelInfo& kernel = ChooseBest(DftKernels(), op.attrs);
  Check(x.rank >= 2 && x.rank == y.rank,
        "dft: the last axis holds the parts of a number; reshape the tensor");
  const int axis = AxisOf(op, "axis", -2, x.rank), last = x.rank - 1;
  Check(axis != last, "dft: the last axis cannot be transformed; correct the model");
  Params p{};
  p.length = op.attrs.Int("length", x.shape[axis]);
  p.inverse = op.attrs.Int("inverse", 0) != 0;
  p.half = op.attrs.Int("half", 0) != 0;
  p.given = x.shape[axis];
  p.wanted = y.shape[axis];
  p.complex_in = x.shape[last] == 2;
  p.complex_out = y.shape[last] == 2;
  Check(p.length >= 1 && p.length <= kLongest, "dft: the length is outside 1..2^22; use a shorter signal");
  const bool parts = x.shape[last] >= 1 && x.shape[last] <= 2 && y.shape[last] == (p.half ? 1 : 2);
  Check(parts && p.wanted <= p.length && (!p.half || (p.inverse && p.complex_in)),
        "dft: shapes do not fit together; correct the model");
  View line_x = x, line_y = y;
  line_x.shape[axis] = line_x.shape[last] = line_y.shape[axis] = line_y.shape[last] = 1;
  CheckSameShape(op, line_x, line_y);
  if (y.elements() == 0) return BuildNothing(kernel.name);
  const double lines = static_cast<double>(line_y.elements());
  p.lines = MakeNest<2>({&line_x, &line_y});
  p.from = x.stride[axis];
  p.to = y.stride[axis];
  p.from_part = x.stride[last];
  p.to_part = y.stride[last];
  const auto made = [&]<class R>(const Fourier<R>& transform, RunFn run) {
    const int64_t line = transform.room() * static_cast<int64_t>(sizeof(Complex<R>));
    Built built = MakeBuilt(run, p, kernel.name, CheckedMul(line, op.threads));
    built.work =
        lines * (transform.Work() + 8 * static_cast<double>(p.length));  // and loading, scaling, storing
    return built;
  };
  const bool single = x.dtype == DType::kF32;
  if (single && p.complex_in && !p.half && Fourier<float>::IsSmooth(p.length)) {
    return made(p.fast.emplace(p.length), &Run<float, float>);
  }
  return made(p.precise.emplace(p.length), single ? &Run<float, double> : &Run<double, double>);
}

}  // namespace planish
