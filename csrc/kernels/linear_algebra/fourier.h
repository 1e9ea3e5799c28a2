// Discrete Fourier transforms of one line, of any length.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <memory>
#include <numbers>
#include <utility>
#include <vector>

namespace planish {

template <class R>
struct Complex {
  R re, im;
};

template <class R>
Complex<R> operator*(Complex<R> a, Complex<R> b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
template <class R>
Complex<R> operator+(Complex<R> a, Complex<R> b) {
  return {a.re + b.re, a.im + b.im};
}
template <class R>
Complex<R> operator-(Complex<R> a, Complex<R> b) {
  return {a.re - b.re, a.im - b.im};
}
template <class R>
Complex<R> operator*(R a, Complex<R> b) {
  return {a * b.re, a * b.im};
}
template <class R>
Complex<R> Conjugate(Complex<R> a) {
  return {a.re, -a.im};
}
template <class R>
Complex<R> TimesI(Complex<R> a) {
  return {-a.im, a.re};
}

// e^(-2 pi i k / n)
template <class R>
Complex<R> UnitRoot(int64_t k, int64_t n) {
  const double angle = 2.0 * std::numbers::pi * static_cast<double>(k) / static_cast<double>(n);
  return {static_cast<R>(std::cos(angle)), static_cast<R>(-std::sin(angle))};
}

// a[k] = sum over j of a[j] e^(-2 pi i j k / n), computed in R. Lengths of prime factors up to kLargestPrime run factor by
// factor (Cooley and Tukey 1965, in Stockham's order, which needs no bit reversal), with one loop for odd factors that
// pairs conjugate roots (Singleton 1969). Other lengths are a convolution of a power of two (Bluestein 1970).
template <class R>
class Fourier {
 public:
  static constexpr int64_t kLargestPrime = 61;

  explicit Fourier(int64_t length) : length_(length) {
    for (int64_t radix : Factors(length)) AddStage(radix);
    if (before_ != length) FillConvolution();
  }

  static bool IsSmooth(int64_t length) {
    int64_t product = 1;
    for (int64_t radix : Factors(length)) product *= radix;
    return product == length;
  }

  int64_t room() const { return inner_ ? inner_->room() : 2 * length_; }

  // About as many operations as a transform takes.
  double Work() const {
    if (inner_) return 2 * inner_->Work() + 16 * static_cast<double>(inner_->length_);
    double each = 0;
    for (const Stage& stage : stages_) each += stage.radix < 5 ? 10 : 2 * static_cast<double>(stage.radix);
    return each * static_cast<double>(length_);
  }

  // Transforms a[0, length) in place; `a` has room() values.
  void Run(Complex<R>* a) const {
    if (inner_) return RunConvolution(a);
    Complex<R>*from = a, *to = a + length_;
    for (const Stage& stage : stages_) {
      stage.radix == 4 ? RunFours(stage, from, to) : RunAny(stage, from, to);
      std::swap(from, to);
    }
    if (from != a) std::copy_n(from, length_, a);
  }

 private:
  // [before, radix, after] -> [radix, before, after]
  struct Stage {
    int64_t radix, before, after;
    std::vector<Complex<R>> twiddles;  // [radix, after]
    std::vector<Complex<R>> roots;     // [radix]
  };

  // A 2 that the fours leave over comes first, odd primes last; without the primes that are too large.
  static std::vector<int64_t> Factors(int64_t n) {
    std::vector<int64_t> factors;
    for (; n % 4 == 0; n /= 4) factors.push_back(4);
    if (n % 2 == 0) {
      factors.insert(factors.begin(), 2);
      n /= 2;
    }
    for (int64_t p = 3; p <= kLargestPrime; p += 2) {
      for (; n % p == 0; n /= p) factors.push_back(p);
    }
    return factors;
  }

  void AddStage(int64_t radix) {
    Stage stage{radix, before_, length_ / (before_ * radix), {}, {}};
    for (int64_t j = 0; j < radix; ++j) {
      stage.roots.push_back(UnitRoot<R>(j, radix));
      for (int64_t i = 0; i < stage.after; ++i)
        stage.twiddles.push_back(UnitRoot<R>(j * i * before_, length_));
    }
    stages_.push_back(std::move(stage));
    before_ *= radix;
  }

  static void RunFours(const Stage& s, const Complex<R>* x, Complex<R>* y) {
    const int64_t part = s.before * s.after;
    for (int64_t k = 0; k < s.before; ++k, x += 4 * s.after, y += s.after) {
      for (int64_t i = 0; i < s.after; ++i) {
        const Complex<R> even = x[i] + x[i + 2 * s.after], odd = x[i + s.after] + x[i + 3 * s.after];
        const Complex<R> rest = x[i] - x[i + 2 * s.after],
                         turned = TimesI(x[i + s.after] - x[i + 3 * s.after]);
        y[i] = even + odd;
        y[i + part] = Turn(s, 1, i, rest - turned);
        y[i + 2 * part] = Turn(s, 2, i, even - odd);
        y[i + 3 * part] = Turn(s, 3, i, rest + turned);
      }
    }
  }

  static Complex<R> Turn(const Stage& s, int64_t j, int64_t i, Complex<R> value) {
    return i == 0 ? value : value * s.twiddles[static_cast<size_t>(j * s.after + i)];
  }

  // Two, and the odd primes: inputs j and radix - j enter with conjugate roots.
  static void RunAny(const Stage& s, const Complex<R>* x, Complex<R>* y) {
    const int64_t part = s.before * s.after, half = (s.radix - 1) / 2;
    std::array<Complex<R>, kLargestPrime / 2 + 1> sum, difference;
    for (int64_t k = 0; k < s.before; ++k, x += s.radix * s.after, y += s.after) {
      for (int64_t i = 0; i < s.after; ++i) {
        if (s.radix == 2) {
          y[i] = x[i] + x[i + s.after];
          y[i + part] = Turn(s, 1, i, x[i] - x[i + s.after]);
          continue;
        }
        Complex<R> total = x[i];
        for (int64_t j = 1; j <= half; ++j) {
          const Complex<R> left = x[i + j * s.after], right = x[i + (s.radix - j) * s.after];
          sum[static_cast<size_t>(j)] = left + right;
          difference[static_cast<size_t>(j)] = left - right;
          total = total + sum[static_cast<size_t>(j)];
        }
        y[i] = total;
        for (int64_t m = 1; m <= half; ++m) {
          Complex<R> a = x[i], b = {0, 0};
          for (int64_t j = 1; j <= half; ++j) {
            const Complex<R> root = s.roots[static_cast<size_t>(j * m % s.radix)];
            a = a + root.re * sum[static_cast<size_t>(j)];
            b = b + root.im * difference[static_cast<size_t>(j)];
          }
          y[i + m * part] = Turn(s, m, i, a + TimesI(b));
          y[i + (s.radix - m) * part] = Turn(s, s.radix - m, i, a - TimesI(b));
        }
      }
    }
  }

  void FillConvolution() {
    int64_t size = 1;
    while (size < 2 * length_ - 1) size *= 2;
    inner_ = std::make_shared<const Fourier>(size);
    for (int64_t k = 0; k < length_; ++k) chirp_.push_back(UnitRoot<R>(k * k % (2 * length_), 2 * length_));
    filter_.assign(static_cast<size_t>(inner_->room()), {0, 0});
    for (int64_t k = 0; k < length_; ++k) {
      filter_[static_cast<size_t>(k)] = Conjugate(chirp_[static_cast<size_t>(k)]);
      filter_[static_cast<size_t>((size - k) % size)] = filter_[static_cast<size_t>(k)];
    }
    inner_->Run(filter_.data());
  }

  void RunConvolution(Complex<R>* a) const {
    const int64_t size = inner_->length_;
    for (int64_t k = 0; k < size; ++k)
      a[k] = k < length_ ? a[k] * chirp_[static_cast<size_t>(k)] : Complex<R>{0, 0};
    inner_->Run(a);
    for (int64_t k = 0; k < size; ++k) a[k] = Conjugate(a[k] * filter_[static_cast<size_t>(k)]);
    inner_->Run(a);  // of the conjugates: the inverse, conjugated and times size
    const R by = R{1} / static_cast<R>(size);
    for (int64_t k = 0; k < length_; ++k) a[k] = by * Conjugate(a[k]) * chirp_[static_cast<size_t>(k)];
  }

  int64_t length_, before_ = 1;
  std::vector<Stage> stages_;
  std::shared_ptr<const Fourier>
      inner_;  // where a prime is too large: e^(-pi i k^2 / n), and the conjugate's transform
  std::vector<Complex<R>> chirp_, filter_;
};

}  // namespace planish
