// The meaning of winograd: the algorithm's matrices, one loop per index.
#include "kernels/requantize.h"
#include "kernels/winograd/winograd.h"

namespace planish {
namespace {

constexpr int kB[4][4] = {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, 1, 0, -1}};  // Bᵀ
constexpr int kA[2][4] = {{1, 1, 1, 0}, {0, 1, -1, -1}};                               // Aᵀ

struct Operands {
  const std::byte *x, *w, *bias, *scale, *residual;
  std::byte* y;
};

template <class T>
T Read(const std::byte* p, int64_t index) {
  return reinterpret_cast<const T*>(p)[index];
}

// What differs between the types of x. Number: what sums are made of, modulo 2^32 for integers.
struct Floats {
  using Item = float;
  using Number = float;
  static float Weight(const WinogradProblem& p, const std::byte* w, int64_t e, int64_t n, int64_t c) {
    return Read<float>(w, IndexWinogradF32(p.outputs, p.channels, e, n, c));
  }
  static void Write(const WinogradProblem& p, const Operands& o, float sum, int64_t n, int64_t y,
                    int64_t residual) {
    if (o.bias) sum += Read<float>(o.bias, n);
    if (o.residual) sum += Read<float>(o.residual + residual, n);
    reinterpret_cast<float*>(o.y + y)[n] = ClampF32(sum, p.low, p.high);
  }
};

struct Bytes {
  using Item = uint8_t;
  using Number = uint32_t;
  static uint32_t Weight(const WinogradProblem& p, const std::byte* w, int64_t e, int64_t n, int64_t c) {
    return static_cast<uint32_t>(Read<int16_t>(w, IndexWinogradS16(p.outputs, p.channels, e, n, c)));
  }
  static void Write(const WinogradProblem& p, const Operands& o, uint32_t sum, int64_t n, int64_t y,
                    int64_t) {
    uint32_t total = static_cast<uint32_t>(static_cast<int32_t>(sum) >> 2);
    if (o.bias) total += Read<uint32_t>(o.bias, n);
    const int32_t acc = static_cast<int32_t>(total);
    switch (p.output) {
      case kTileS32:
        reinterpret_cast<int32_t*>(o.y + y)[n] = acc;
        break;
      case kTileF32:
        reinterpret_cast<float*>(o.y + y)[n] =
            ClampF32(static_cast<float>(acc) * Read<float>(o.scale, n), p.low, p.high);
        break;
      case kTileU8:
        reinterpret_cast<uint8_t*>(o.y + y)[n] =
            RequantizeU8(static_cast<float>(acc) * Read<float>(o.scale, n), p.low, p.high, p.y_zero);
        break;
    }
  }
};

// ± number, or 0 where the factor is: 0 · ∞ is no part of the algorithm.
template <class Number>
void AddSigned(Number& sum, int factor, Number number) {
  if (factor > 0) sum += number;
  if (factor < 0) sum -= number;
}

template <class Type>
class Reference {
 public:
  using Number = typename Type::Number;

  Reference(const WinogradProblem& p, const Operands& o) : p_(p), o_(o) {}

  void Run(int64_t tile) const {
    const int64_t across = tile % p_.tiles_across, line = tile / p_.tiles_across;
    const int64_t row = 2 * (line % p_.tiles_down), column = 2 * across, batch = line / p_.tiles_down;
    for (int64_t n = 0; n < p_.outputs; ++n) {
      Number m[4][4];
      for (int i = 0; i < 4; ++i) {
        for (int j = 0; j < 4; ++j) m[i][j] = Product(batch, row - p_.top, column - p_.left, n, i, j);
      }
      for (int i = 0; i < 2 && row + i < p_.y_height; ++i) {
        for (int j = 0; j < 2 && column + j < p_.y_width; ++j) {
          Number sum = 0;
          for (int r = 0; r < 4; ++r) {
            for (int s = 0; s < 4; ++s) AddSigned(sum, kA[i][r] * kA[j][s], m[r][s]);
          }
          Type::Write(p_, o_, sum, n, Offset(p_.y_pitch, batch, row + i, column + j),
                      Offset(p_.r_pitch, batch, row + i, column + j));
        }
      }
    }
  }

 private:
  static int64_t Offset(const int64_t (&pitch)[3], int64_t batch, int64_t row, int64_t column) {
    return batch * pitch[0] + row * pitch[1] + column * pitch[2];
  }

  // Element (i, j) of Σ_c U[n][c] ∘ (Bᵀ d[c] B), where d begins at row, column of x.
  Number Product(int64_t batch, int64_t row, int64_t column, int64_t n, int i, int j) const {
    Number sum = 0;
    for (int64_t c = 0; c < p_.channels; ++c) {
      Number v = 0;
      for (int r = 0; r < 4; ++r) {
        for (int s = 0; s < 4; ++s) AddSigned(v, kB[i][r] * kB[j][s], Input(batch, row + r, column + s, c));
      }
      sum += Type::Weight(p_, o_.w, 4 * i + j, n, c) * v;
    }
    return sum;
  }

  Number Input(int64_t batch, int64_t row, int64_t column, int64_t c) const {
    const bool inside = row >= 0 && row < p_.x_height && column >= 0 && column < p_.x_width;
    const std::byte* pixel = inside ? o_.x + Offset(p_.x_pitch, batch, row, column) : p_.fill.data;
    return Read<typename Type::Item>(pixel, c);
  }

  const WinogradProblem& p_;
  const Operands& o_;
};

}  // namespace

void RunWinogradReference(const void* params, std::byte* const* operands, const RunContext&) {
  const WinogradProblem& p = *static_cast<const WinogradProblem*>(params);
  const auto input = [&](int i) { return i < p.y_operand ? operands[i] : nullptr; };
  const Operands o{
      input(0), input(1), input(2), input(3), p.residual ? input(5) : nullptr, operands[p.y_operand]};
  for (int64_t tile = 0; tile < p.tiles; ++tile) {
    p.u8 ? Reference<Bytes>(p, o).Run(tile) : Reference<Floats>(p, o).Run(tile);
  }
}

}  // namespace planish
