// Family `dft`: discrete Fourier transforms along attribute `axis` (not the last). x [.., n, .., c] -> y [.., m, .., d];
// the last axis holds a real number (size 1) or a complex one (2). With N = attribute length and x[j] = 0 for j >= N or
// j >= n:
//   y[k] = sum over j < N of x[j] e^(-2 pi i j k / N)         k < m <= N
// attribute inverse = 1: e^(+2 pi i j k / N), and divided by N. With half = 1 (inverse only, c = 2, d = 1) x holds the
// first N / 2 + 1 values of a spectrum of which X[N - j] is the conjugate of X[j]; y is real.
// float32, float64; computed in float64: by powers of two directly, other lengths as a convolution (Bluestein).
#include <cmath>
#include <numbers>
#include <vector>

#include "kernels/common/nest.h"
#include "kernels/common/operands.h"
#include "kernels/linear_algebra/lines.h"

namespace planish {
namespace {

constexpr int64_t kLongest = 1 << 22;

struct Complex {
  double re, im;
};

Complex operator*(Complex a, Complex b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
Complex Conjugate(Complex a) { return {a.re, -a.im}; }

struct Params {
  Nest<2> lines;  // x, y without the axis and the last one
  int64_t length, given, wanted;
  int64_t from, to, from_part, to_part;
  bool complex_in, complex_out, inverse, half;
  int64_t size = 0;             // of the transforms by powers of two: length, or that of the convolution
  std::vector<Complex> root;    // e^(-2 pi i k / size), k < size / 2
  std::vector<Complex> chirp;   // e^(-pi i k^2 / length), k < length; empty where length is a power of two
  std::vector<Complex> filter;  // the transform of the conjugate chirp
};

// The transform of `size` (a power of two) values in place.
void Transform(Complex* a, int64_t size, const std::vector<Complex>& root) {
  for (int64_t i = 1, j = 0; i < size; ++i) {
    int64_t bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) std::swap(a[i], a[j]);
  }
  for (int64_t half = 1; half < size; half *= 2) {
    const int64_t step = size / (2 * half);
    for (int64_t start = 0; start < size; start += 2 * half) {
      for (int64_t k = 0; k < half; ++k) {
        const Complex u = a[start + k], v = a[start + k + half] * root[static_cast<size_t>(k * step)];
        a[start + k] = u + v;
        a[start + k + half] = u - v;
      }
    }
  }
}

// a[k] = sum of a[j] e^(-2 pi i j k / length) for the first `length` values; `a` has p.size of them.
void TransformAny(const Params& p, Complex* a) {
  if (p.chirp.empty()) return Transform(a, p.size, p.root);
  for (int64_t k = 0; k < p.size; ++k) a[k] = k < p.length ? a[k] * p.chirp[static_cast<size_t>(k)] : Complex{0, 0};
  Transform(a, p.size, p.root);
  for (int64_t k = 0; k < p.size; ++k) a[k] = Conjugate(a[k] * p.filter[static_cast<size_t>(k)]);
  Transform(a, p.size, p.root);  // of the conjugates: the inverse, conjugated and times size
  const double by = 1.0 / static_cast<double>(p.size);
  for (int64_t k = 0; k < p.length; ++k) {
    a[k] = Complex{a[k].re * by, -a[k].im * by} * p.chirp[static_cast<size_t>(k)];
  }
}

template <class T>
T Load(const std::byte* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

template <class T>
void RunLine(const Params& p, const std::byte* x, std::byte* y, Complex* a) {
  const int64_t count = std::min(p.given, p.length);
  std::fill_n(a, p.size, Complex{0, 0});
  for (int64_t j = 0; j < count; ++j) {
    const double re = static_cast<double>(Load<T>(x + j * p.from));
    const double im = p.complex_in ? static_cast<double>(Load<T>(x + j * p.from + p.from_part)) : 0.0;
    a[j] = {re, p.inverse ? -im : im};  // the inverse is the conjugate of the conjugates' transform
  }
  if (p.half) {
    for (int64_t j = p.length / 2 + 1; j < p.length; ++j) a[j] = Conjugate(a[p.length - j]);
    a[0].im = 0;
    if (p.length % 2 == 0) a[p.length / 2].im = 0;
  }
  TransformAny(p, a);
  const double by = p.inverse ? 1.0 / static_cast<double>(p.length) : 1.0;
  for (int64_t k = 0; k < p.wanted; ++k) {
    const T re = static_cast<T>(a[k].re * by), im = static_cast<T>((p.inverse ? -a[k].im : a[k].im) * by);
    std::memcpy(y + k * p.to, &re, sizeof re);
    if (p.complex_out) std::memcpy(y + k * p.to + p.to_part, &im, sizeof im);
  }
}

template <class T>
void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  const int64_t length = p.lines.length();
  const int threads = ThreadsFor(p.lines.rows * length * p.size * 64, context.threads);
  ParallelFor(p.lines.rows * length, threads, [&](int64_t line, int worker) {
    Complex* a = reinterpret_cast<Complex*>(context.scratch) + worker * p.size;
    WalkRows(p.lines, operands, line / length, 1, [&](std::byte* const* at) {
      const int64_t i = line % length;
      RunLine<T>(p, at[0] + i * p.lines.inner(0), at[1] + i * p.lines.inner(1), a);
    });
  });
}

// e^(-i pi numerator / denominator)
Complex UnitRoot(int64_t numerator, int64_t denominator) {
  const double angle = std::numbers::pi * static_cast<double>(numerator) / static_cast<double>(denominator);
  return {std::cos(angle), -std::sin(angle)};
}

void FillTables(Params& p) {
  const bool direct = (p.length & (p.length - 1)) == 0;
  p.size = 1;
  while (p.size < (direct ? p.length : 2 * p.length - 1)) p.size *= 2;
  for (int64_t k = 0; k < p.size / 2; ++k) p.root.push_back(UnitRoot(2 * k, p.size));
  if (direct) return;
  for (int64_t k = 0; k < p.length; ++k) p.chirp.push_back(UnitRoot(k * k % (2 * p.length), p.length));
  p.filter.assign(static_cast<size_t>(p.size), {0, 0});
  for (int64_t k = 0; k < p.length; ++k) {
    p.filter[static_cast<size_t>(k)] = Conjugate(p.chirp[static_cast<size_t>(k)]);
    p.filter[static_cast<size_t>((p.size - k) % p.size)] = p.filter[static_cast<size_t>(k)];
  }
  Transform(p.filter.data(), p.size, p.root);
}

}  // namespace

PLANISH_KERNEL_LIST(dft, Dft, kLinearAlgebraLines)

Built BuildDft(const OpDesc& op) {
  CheckOperands(op, 1, 1);
  const View &x = op.inputs[0], &y = op.outputs[0];
  CheckType(op, y, x.dtype);
  if (x.dtype != DType::kF32 && x.dtype != DType::kF64) FailType(op, x.dtype);
  const KernelInfo& kernel = ChooseBest(DftKernels(), op.attrs);
  Check(x.rank >= 2 && x.rank == y.rank, "dft: the last axis holds the parts of a number; reshape the tensor");
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
  FillTables(p);
  const int64_t scratch = CheckedMul(CheckedMul(p.size, static_cast<int64_t>(sizeof(Complex))), op.threads);
  Built built = MakeBuilt(x.dtype == DType::kF32 ? &Run<float> : &Run<double>, p, kernel.name, scratch);
  const double size = static_cast<double>(p.size), transforms = p.chirp.empty() ? 1 : 2;
  built.work = lines * transforms * size * (5 * std::log2(size) + 8);  // and loading, scaling, storing
  return built;
}

}  // namespace planish
