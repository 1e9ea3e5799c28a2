// The functions of float_math.h in double precision, from the C library, which rounds them nearly correctly. Unlike the
// float32 ones they are not one written sequence: C libraries may differ in the last bit.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

namespace planish {
namespace {

inline double Magnitude(double x) { return std::fabs(x); }
inline double Infinity() { return std::numeric_limits<double>::infinity(); }
inline double Sqrt(double x) { return std::sqrt(x); }
inline double Floor(double x) { return std::floor(x); }
inline double Ceil(double x) { return std::ceil(x); }
inline double Rint(double x) { return std::nearbyint(x); }
inline double Fmod(double a, double b) { return std::fmod(a, b); }
inline double Exp(double x) { return std::exp(x); }
inline double ExpMinus1(double x) { return std::expm1(x); }
inline double Log(double x) { return std::log(x); }
inline double Tanh(double x) { return std::tanh(x); }
inline double Erf(double x) { return std::erf(x); }
inline double Sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }
inline double Softplus(double x) { return (x > 0.0 ? x : 0.0) + std::log1p(std::exp(x > 0.0 ? -x : x)); }
inline double Mish(double x) { return x * std::tanh(Softplus(x)); }
inline double Pow(double a, double b) { return std::pow(a, b); }
inline double Tan(double x) { return std::tan(x); }
inline double Asin(double x) { return std::asin(x); }
inline double Acos(double x) { return std::acos(x); }
inline double Atan(double x) { return std::atan(x); }
inline double Sinh(double x) { return std::sinh(x); }
inline double Cosh(double x) { return std::cosh(x); }
inline double Asinh(double x) { return std::asinh(x); }
inline double Acosh(double x) { return std::acosh(x); }
inline double Atanh(double x) { return std::atanh(x); }

// sin (quadrant 0) or cos (quadrant 1) over an array.
inline void TrigRow(const double* x, double* y, int64_t n, int32_t quadrant) {
  for (int64_t i = 0; i < n; ++i) y[i] = quadrant ? std::cos(x[i]) : std::sin(x[i]);
}

}  // namespace
}  // namespace planish
