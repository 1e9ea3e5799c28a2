// Elementary functions of float32, each one written sequence of +, *, / and bit operations without FMA: the
// same bits on every ISA. Except in `Trig`'s rare slow path they are free of branches, so loops over arrays
// vectorise. Errors stay below 3 units in the last place; infinities, NaN, signed zeros and denormals follow
// IEEE 754.
//
// Everything has internal linkage: this header is compiled into files of different ISAs.
#pragma once

#include <stdint.h>

namespace planish {
namespace {

inline uint32_t BitsOf(float x) { return __builtin_bit_cast(uint32_t, x); }
inline float FloatOf(uint32_t bits) { return __builtin_bit_cast(float, bits); }
inline float Magnitude(float x) { return FloatOf(BitsOf(x) & 0x7fffffffu); }
inline float WithSign(float magnitude, float sign) {
  return FloatOf((BitsOf(magnitude) & 0x7fffffffu) | (BitsOf(sign) & 0x80000000u));
}
inline float QuietNaN() { return __builtin_nanf(""); }
inline float Infinity() { return __builtin_inff(); }
inline float Sqrt(float x) { return __builtin_sqrtf(x); }
inline float Floor(float x) { return __builtin_floorf(x); }
inline float Ceil(float x) { return __builtin_ceilf(x); }
inline float Rint(float x) { return __builtin_rintf(x); }
inline float Fmod(float a, float b) { return __builtin_fmodf(a, b); }

// c0 z^n + c1 z^(n−1) + … + cn: Horner's rule in z^2 on pairs, which waits half as long for its own results.
template <class T>
inline T PolynomialPairs(T, T, T sum) {
  return sum;
}
template <class T, class... C>
inline T PolynomialPairs(T z, T square, T sum, T a, T b, C... rest) {
  return PolynomialPairs(z, square, sum * square + (a * z + b), rest...);
}
template <class T, class... C>
inline T Polynomial(T z, T a, T b, C... rest) {
  if constexpr (sizeof...(rest) % 2 == 0) {
    return PolynomialPairs(z, z * z, a * z + b, rest...);
  } else {
    return PolynomialPairs(z, z * z, a, b, rest...);
  }
}

// Adding and subtracting 1.5 * 2^23 rounds |x| < 2^22 to an integer, half to even; the sum's low bits hold
// it.
constexpr float kRounder = 12582912.0f;
constexpr double kRounderDouble = 6755399441055744.0;  // 1.5 * 2^52, in double

// (e^r - 1 - r) / r^2 for |r| <= ln(2)/2.
inline float ExpTail(float r) {
  return Polynomial(r, 1.9790062e-04f, 1.3944943e-03f, 8.333499e-03f, 4.166629e-02f, 1.6666666e-01f, 0.5f);
}

// Where e^x overflows, or is zero, the sum is junk, which is replaced: selecting at the end is cheaper than bounding x.
inline float Exp(float x) {
  const float shifted = x * 1.44269504f + kRounder;
  const float n = shifted - kRounder;
  const float r = (x - n * 0.693145751953125f) - n * 1.42860677e-06f;
  const float y = ExpTail(r) * (r * r) + r + 1.0f;
  // 2^n in two factors, each a normal number for -151 <= n <= 129.
  const int32_t k = static_cast<int32_t>(BitsOf(shifted) - BitsOf(kRounder));
  const int32_t half = k >> 1;
  const float low = FloatOf(static_cast<uint32_t>(half + 127) << 23);
  const float high = FloatOf(static_cast<uint32_t>(k - half + 127) << 23);
  float result = y * low * high;
  result = x > 89.0f ? Infinity() : result;
  result = x < -104.0f ? 0.0f : result;
  return x != x ? x : result;
}

// e^x - 1 without cancellation near zero.
inline float ExpMinus1(float x) {
  const float small = ExpTail(x) * (x * x) + x;
  const float large = Exp(x) - 1.0f;
  return Magnitude(x) < 0.34f ? small : large;
}

// ln(1 + f) for sqrt(1/2) - 1 <= f <= sqrt(2) - 1, plus n ln(2).
inline float LogOf1Plus(float f, float n) {
  const float q = Polynomial(f, 6.746592e-02f, -1.1675639e-01f, 1.1888178e-01f, -1.2405592e-01f,
                             1.4219551e-01f, -1.6667996e-01f, 2.0002119e-01f, -2.500001e-01f, 3.3333313e-01f);
  const float z = f * f;
  const float tail = q * f * z + n * 1.42860677e-06f - 0.5f * z;
  return f + tail + n * 0.693145751953125f;
}

inline float Log(float x) {
  const bool tiny = x < 1.17549435e-38f;
  const float scaled = tiny ? x * 8388608.0f : x;
  // The mantissa in [sqrt(1/2), sqrt(2)) and its exponent.
  const uint32_t bits = BitsOf(scaled) - 0x3f3504f3u;
  const int32_t exponent = static_cast<int32_t>(bits) >> 23;
  const float m = FloatOf((bits & 0x007fffffu) + 0x3f3504f3u);
  const float n = static_cast<float>(exponent) - (tiny ? 23.0f : 0.0f);
  float y = LogOf1Plus(m - 1.0f, n);
  y = x == Infinity() ? x : y;
  y = x == 0.0f ? -Infinity() : y;
  y = x < 0.0f ? QuietNaN() : y;
  return x != x ? x : y;
}

// ln(1 + e) for 0 <= e <= 1.
inline float Log1PlusUnit(float e) {
  const bool small = e < 0.41421356f;
  return LogOf1Plus(small ? e : 0.5f * e - 0.5f, small ? 0.0f : 1.0f);
}

inline float Tanh(float x) {
  const float z = x * x;
  const float p =
      Polynomial(z, -5.7170447e-03f, 2.0650586e-02f, -5.3743497e-02f, 1.3331491e-01f, -3.3333284e-01f);
  const float small = p * z * x + x;
  const float a = Magnitude(x);
  const float large = 1.0f - 2.0f / (Exp(2.0f * (a > 10.0f ? 10.0f : a)) + 1.0f);
  const float y = WithSign(a < 0.625f ? small : large, x);
  return x != x ? x : y;
}

inline float Sigmoid(float x) {
  const float e = Exp(-Magnitude(x));
  return (x >= 0.0f ? 1.0f : e) / (1.0f + e);
}

inline float Erf(float x) {
  const float z = x * x;
  const float p = Polynomial(z, 7.889123e-05f, -8.020842e-04f, 5.1895357e-03f, -2.6854444e-02f, 1.12836e-01f,
                             -3.7612626e-01f, 1.2837917e-01f);
  const float small = p * x + x;
  // ln(erfc(a)) for 1 <= a <= 4; erf(4) rounds to 1.
  const float a = Magnitude(x);
  const float c = a > 4.0f ? 4.0f : a;
  const float q =
      Polynomial(c, 2.512916e-07f, -2.5314317e-05f, 4.6378505e-04f, -4.2823725e-03f, 2.5373535e-02f,
                 -1.0863897e-01f, -6.3303965e-01f, -1.1296612e+00f, 2.0435809e-04f);
  const float large = WithSign(1.0f - Exp(q), x);
  const float y = a < 1.0f ? small : large;
  return x != x ? x : y;
}

inline float Softplus(float x) {
  const float y = (x > 0.0f ? x : 0.0f) + Log1PlusUnit(Exp(-Magnitude(x)));
  return x != x ? x : y;
}

// x tanh(ln(1 + e^x)) = x n / (n + 2) with n = e^x (e^x + 2); the ratio is 1 in float32 from x = 20 on.
inline float Mish(float x) {
  const float e = Exp(x > 20.0f ? 20.0f : x);
  const float n = e * (e + 2.0f);
  return x * (n / (n + 2.0f));
}

// sin for quadrant even, cos for odd, negated in quadrants 2 and 3, of a remainder |r| <= pi/4.
inline float TrigOfRemainder(float r, int32_t quadrant) {
  const float z = r * r;
  const float sine = ((-1.9515658e-04f * z + 8.332167e-03f) * z - 1.6666655e-01f) * z * r + r;
  const float cosine = ((2.4436607e-05f * z - 1.3887353e-03f) * z + 4.1666646e-02f) * z * z - 0.5f * z + 1.0f;
  const float y = (quadrant & 1) ? cosine : WithSign(sine, r);
  return FloatOf(BitsOf(y) ^ (static_cast<uint32_t>(quadrant & 2) << 30));
}

constexpr float kTrigFast = 1048576.0f;  // up to here the reduction by two doubles is exact enough

// sin(x + quadrant * pi/2) for |x| <= kTrigFast; meaningless, but harmless, beyond.
inline float TrigFast(float x, int32_t quadrant) {
  const double c = x;
  const double shifted = c * 0.63661977236758138 + kRounderDouble;
  const double n = shifted - kRounderDouble;
  const double r = (c - n * 1.5707963267341256) - n * 6.077100506506192e-11;
  const int32_t k = static_cast<int32_t>(__builtin_bit_cast(uint64_t, shifted));
  return TrigOfRemainder(static_cast<float>(r), k + quadrant);
}

// The same for any x, by Payne and Hanek's reduction: only the bits of 2/pi that matter modulo 4 are
// multiplied.
inline float TrigSlow(float x, int32_t quadrant) {
  if (!(Magnitude(x) < Infinity())) return QuietNaN();
  static const uint32_t kTwoOverPi[7] = {0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0,
                                         0xdb629599, 0x3c439041, 0xfe5163ab};
  const uint32_t bits = BitsOf(x);
  const int exponent = static_cast<int>((bits >> 23) & 0xff) - 150;  // >= -3 here
  const uint32_t mantissa = (bits & 0x7fffffu) | 0x800000u;
  const int start = exponent > 2 ? exponent - 2 : 0;
  unsigned __int128 window = 0;  // 96 bits of 2/pi behind bit `start`
  for (int i = 0; i < 3; ++i) {
    const int word = start / 32 + i, shift = start % 32;
    const uint64_t pair = (static_cast<uint64_t>(kTwoOverPi[word]) << 32) | kTwoOverPi[word + 1];
    window = (window << 32) | static_cast<uint32_t>(pair >> (32 - shift));
  }
  unsigned __int128 turns = window * mantissa;  // quarter turns, 94 fractional bits
  if (exponent < 2) turns >>= 2 - exponent;
  turns <<= 32;
  const int32_t k = static_cast<int32_t>((turns + (static_cast<unsigned __int128>(1) << 125)) >> 126);
  const __int128 fraction =
      static_cast<__int128>(turns - (static_cast<unsigned __int128>(static_cast<uint32_t>(k)) << 126));
  const double r =
      static_cast<double>(fraction) * (1.5707963267948966 / 85070591730234615865843651857942052864.0);
  const bool negative = (bits >> 31) != 0;
  return TrigOfRemainder(static_cast<float>(negative ? -r : r), (negative ? -k : k) + quadrant);
}

// sin (quadrant 0) or cos (quadrant 1) over an array.
inline void TrigRow(const float* x, float* y, int64_t n, int32_t quadrant) {
  int slow = 0;
  for (int64_t i = 0; i < n; ++i) {
    y[i] = TrigFast(x[i], quadrant);
    slow |= !(Magnitude(x[i]) <= kTrigFast);
  }
  if (!slow) return;
  for (int64_t i = 0; i < n; ++i) {
    if (!(Magnitude(x[i]) <= kTrigFast)) y[i] = TrigSlow(x[i], quadrant);
  }
}

// ---- In double, with relative errors of about 1e-10: for functions whose result in float32 needs more than float32.

// e^r 2^n for |r| <= ln(2)/2, where shifted = n + kRounderDouble: Taylor's series.
inline double ExpOfReduced(double r, double shifted) {
  const double e = Polynomial(r, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040,
                              1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1.0, 1.0);
  const int64_t n = static_cast<int32_t>(__builtin_bit_cast(uint64_t, shifted));
  return e * __builtin_bit_cast(double, static_cast<uint64_t>(n + 1023) << 52);
}

// A normal number as f 2^n with sqrt(1/2) <= f < sqrt(2).
struct Scaled {
  double f, n;
};
inline Scaled ScaledOf(double x) {
  const uint64_t bits = __builtin_bit_cast(uint64_t, x) - 0x3fe6a09e667f3bcdull;
  const double n = static_cast<double>(static_cast<int32_t>(static_cast<int64_t>(bits) >> 52));
  return {__builtin_bit_cast(double, (bits & 0x000fffffffffffffull) + 0x3fe6a09e667f3bcdull), n};
}

// atanh(s) = ln((1 + s) / (1 - s)) / 2 for |s| <= 0.172, by its series.
inline double HyperbolicArcTangent(double s) {
  const double z = s * s;
  const double p =
      Polynomial(z, 1.0 / 19, 1.0 / 17, 1.0 / 15, 1.0 / 13, 1.0 / 11, 1.0 / 9, 1.0 / 7, 1.0 / 5, 1.0 / 3);
  return s + s * z * p;
}

// |a|^b for finite a != 0.
inline double PowMagnitude(float a, double b) {
  const Scaled m = ScaledOf(Magnitude(a));
  const double log2 = m.n + HyperbolicArcTangent((m.f - 1.0) / (m.f + 1.0)) * 2.8853900817779268;
  const double t = b * log2;
  const double c = t > 300.0 ? 300.0 : (t < -300.0 ? -300.0 : t);
  const double shifted = c + kRounderDouble;
  return ExpOfReduced((c - (shifted - kRounderDouble)) * 0.69314718055994531, shifted);
}

inline double RootOf(double x) { return __builtin_sqrt(x); }

// atan(a) for a >= 0: reduced to a <= tan(pi/8) by a reciprocal and a half angle, then by its series.
inline double ArcTangent(double a) {
  const double inner = a > 1.0 ? 1.0 / a : a;
  const double t = inner / (1.0 + RootOf(1.0 + inner * inner)), z = t * t;
  const double p = Polynomial(z, -1.0 / 23, 1.0 / 21, -1.0 / 19, 1.0 / 17, -1.0 / 15, 1.0 / 13, -1.0 / 11,
                              1.0 / 9, -1.0 / 7, 1.0 / 5, -1.0 / 3);
  const double angle = 2.0 * (t + t * z * p);
  return a > 1.0 ? 1.5707963267948966 - angle : angle;
}

inline float Atan(float x) { return WithSign(static_cast<float>(ArcTangent(Magnitude(x))), x); }

inline float Asin(float x) {
  const double a = Magnitude(x);
  return WithSign(static_cast<float>(ArcTangent(a / RootOf((1.0 - a) * (1.0 + a)))), x);
}

inline float Acos(float x) {
  const double c = x;
  return static_cast<float>(2.0 * ArcTangent(RootOf((1.0 - c) / (1.0 + c))));
}

// ln(1 + y) for finite y >= 0.
inline double LogOf1PlusDouble(double y) {
  const Scaled v = ScaledOf(1.0 + y);
  const double s = v.n == 0.0 ? y / (2.0 + y) : (v.f - 1.0) / (v.f + 1.0);
  return v.n * 0.69314718055994531 + 2.0 * HyperbolicArcTangent(s);
}

inline float Asinh(float x) {
  const double a = Magnitude(x);
  const float y = static_cast<float>(LogOf1PlusDouble(a + a * a / (1.0 + RootOf(1.0 + a * a))));
  return Magnitude(x) < Infinity() ? WithSign(y, x) : x;
}

inline float Acosh(float x) {
  const double t = static_cast<double>(x) - 1.0;
  const float y = static_cast<float>(LogOf1PlusDouble(t + RootOf(t * (t + 2.0))));
  return x < 1.0f ? QuietNaN() : (x < Infinity() ? y : x);
}

inline float Atanh(float x) {
  const double a = Magnitude(x);
  const float y = static_cast<float>(0.5 * LogOf1PlusDouble(2.0 * a / (1.0 - a)));
  const float limit = a == 1.0 ? Infinity() : QuietNaN();
  return WithSign(a < 1.0 ? y : limit, x);
}

// e^a for 0 <= a <= 90.
inline double ExpDouble(double a) {
  const double shifted = a * 1.4426950408889634 + kRounderDouble;
  return ExpOfReduced(a - (shifted - kRounderDouble) * 0.69314718055994531, shifted);
}

inline float Sinh(float x) {
  const float m = Magnitude(x);
  const double a = m < 90.0f ? m : 90.0f, z = a * a;
  const double small = Polynomial(z, 1.0 / 362880, 1.0 / 5040, 1.0 / 120, 1.0 / 6) * z * a + a;
  const double e = ExpDouble(a);
  const float y = WithSign(static_cast<float>(a < 0.5 ? small : 0.5 * (e - 1.0 / e)), x);
  return x != x ? x : y;
}

inline float Cosh(float x) {
  const float m = Magnitude(x);
  const double e = ExpDouble(m < 90.0f ? m : 90.0f);
  return x != x ? x : static_cast<float>(0.5 * (e + 1.0 / e));
}

inline float Tan(float x) {
  if (!(Magnitude(x) <= kTrigFast)) return TrigSlow(x, 0) / TrigSlow(x, 1);
  const double c = x;
  const double shifted = c * 0.63661977236758138 + kRounderDouble;
  const double n = shifted - kRounderDouble;
  const double r = (c - n * 1.5707963267341256) - n * 6.077100506506192e-11, z = r * r;
  const double s =
      Polynomial(z, 1.0 / 6227020800, -1.0 / 39916800, 1.0 / 362880, -1.0 / 5040, 1.0 / 120, -1.0 / 6);
  const double sine = s * z * r + r;
  const double cosine =
      Polynomial(z, 1.0 / 479001600, -1.0 / 3628800, 1.0 / 40320, -1.0 / 720, 1.0 / 24, -0.5, 1.0);
  const bool odd = static_cast<int32_t>(__builtin_bit_cast(uint64_t, shifted)) & 1;
  return odd ? static_cast<float>(-cosine / sine)
             : WithSign(static_cast<float>(sine / cosine), static_cast<float>(r));
}

// a^b with the special cases of IEEE 754's pow.
inline float Pow(float a, float b) {
  const float magnitude_b = Magnitude(b);
  const bool whole = magnitude_b >= 8388608.0f || __builtin_truncf(b) == b;
  const bool odd =
      whole && magnitude_b < 16777216.0f && (static_cast<int64_t>(magnitude_b < 16777216.0f ? b : 0.0f) & 1);
  const float m = Magnitude(a);
  float y = static_cast<float>(PowMagnitude(m == 0.0f || !(m < Infinity()) ? 1.0f : a, b != b ? 0.0 : b));
  if (m == 0.0f) y = b > 0.0f ? 0.0f : Infinity();
  if (m == Infinity()) y = b > 0.0f ? Infinity() : 0.0f;
  if (a < 0.0f && !whole && m < Infinity()) y = QuietNaN();
  if (odd) y = WithSign(y, a);
  if (m == 1.0f && magnitude_b == Infinity()) y = 1.0f;
  if (a != a || b != b) y = QuietNaN();
  if (b == 0.0f || a == 1.0f) y = 1.0f;
  if (b == 2.0f) y = a * a;
  return y;
}

}  // namespace
}  // namespace planish
