#include "formats/winograd.h"

#include "base/check.h"

namespace planish {
namespace {

constexpr int64_t kTaps = 9;

// Two times G v: halves stay whole numbers.
template <class T>
void Spread(T v0, T v1, T v2, T (&out)[4]) {
  out[0] = 2 * v0;
  out[1] = v0 + v2 + v1;
  out[2] = v0 + v2 - v1;
  out[3] = 2 * v2;
}

// 4 U of one window; its elements lie `pitch` apart.
template <class T, class W>
void Transform(const W* g, int64_t pitch, T (&u)[4][4]) {
  T rows[3][4];  // 2 G g, by columns
  for (int j = 0; j < 3; ++j) {
    const auto at = [&](int i) { return static_cast<T>(g[(3 * i + j) * pitch]); };
    Spread(at(0), at(1), at(2), rows[j]);
  }
  for (int i = 0; i < 4; ++i) Spread(rows[0][i], rows[1][i], rows[2][i], u[i]);
}

// Put(e, n, c, 4 U[n][c][e]) for everything.
template <class T, class W, class Put>
void ForEach(const W* w, int64_t outputs, int64_t channels, Put put) {
  for (int64_t n = 0; n < outputs; ++n) {
    for (int64_t c = 0; c < channels; ++c) {
      T u[4][4];
      Transform(w + n * kTaps * channels + c, channels, u);
      for (int e = 0; e < kWinogradElements; ++e) put(e, n, c, u[e / 4][e % 4]);
    }
  }
}

}  // namespace

int64_t BytesWinogradF32(int64_t outputs, int64_t channels) {
  const DenseShape shape{CheckedMul(kWinogradElements, outputs), 1, channels, kWinogradElements};
  CheckShape(shape);
  return BytesDense(DenseFormat::kF32, shape);
}

int64_t BytesWinogradS16(int64_t outputs, int64_t channels) {
  return BytesWinogradF32(outputs, CheckedAdd(channels, 1) / 2);  // a pair is as wide as a float
}

Memory PackWinogradF32(const float* w, int64_t outputs, int64_t channels) {
  Memory packed = Memory::Allocate(BytesWinogradF32(outputs, channels));
  float* to = reinterpret_cast<float*>(packed.data);
  const int64_t apart = IndexWinogradF32(outputs, channels, 1, 0, 0);
  ForEach<double>(w, outputs, channels, [&](int e, int64_t n, int64_t c, double u) {
    to[e * apart + IndexWinogradF32(outputs, channels, 0, n, c)] = static_cast<float>(u / 4);
  });
  return packed;
}

Memory PackWinogradS16(const int8_t* w, int64_t outputs, int64_t channels) {
  Memory packed = Memory::Allocate(BytesWinogradS16(outputs, channels));
  int16_t* to = reinterpret_cast<int16_t*>(packed.data);
  const int64_t apart = IndexWinogradS16(outputs, channels, 1, 0, 0);
  ForEach<int32_t>(w, outputs, channels, [&](int e, int64_t n, int64_t c, int32_t u) {
    to[e * apart + IndexWinogradS16(outputs, channels, 0, n, c)] = static_cast<int16_t>(u);
  });
  return packed;
}

}  // namespace planish
