// The float micro-kernel, for any vector type and format of weights. Included by tile_f32_*.inl, which define Accumulate, inside
// an anonymous namespace, after one of vec_f32_*.inl and
//   MaxPanels(rows): how many panels at once, a power of two, keep all sums in registers.
#include "kernels/gemm/write_sums_f32.inl"

constexpr int kPanelLanes = 16;
constexpr int kPanelVecs = kPanelLanes / kLanes;

// sum[r][v] += Σ_s Σ_k rows[s][r][k] · w[k][v], by the format of the weights.
template <int kRows, int kVecs>
inline __attribute__((always_inline)) void Accumulate(const TileArgs& a, const char* weights,
                                                      Vec (&sum)[kRows][kVecs]);

template <int kRows, int kVecs>
inline __attribute__((always_inline)) void Finish(const TileArgs& a, int64_t column,
                                                  const Vec (&sum)[kRows][kVecs]) {
  constexpr int64_t kOutputs = kVecs * kLanes;
  const int64_t left = a.outputs - column;
  if (left >= kOutputs && !a.residual) {
    const Vec low = Splat(a.low), high = Splat(a.high);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      float* out = reinterpret_cast<float*>(a.out[r] + a.out_offset) + column;
#pragma GCC unroll 16
      for (int v = 0; v < kVecs; ++v) Store(out + v * kLanes, ClampVec(sum[r][v], low, high));
    }
    return;
  }
  alignas(64) float sums[kRows * kOutputs];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) Store(sums + r * kOutputs + v * kLanes, sum[r][v]);
  }
  WriteSums(a, kRows, column, left < kOutputs ? left : kOutputs, sums, kOutputs);
}

// The sums begin with the bias.
template <int kRows, int kVecs>
inline __attribute__((always_inline)) void Begin(const TileArgs& a, int64_t column,
                                                 Vec (&sum)[kRows][kVecs]) {
  const float* bias = static_cast<const float*>(a.bias);
#pragma GCC unroll 16
  for (int v = 0; v < kVecs; ++v) {
    const int64_t at = column + v * kLanes, left = a.outputs - at;
    const Vec b = !bias || left <= 0 ? Zero() : left >= kLanes ? Load(bias + at) : LoadFirst(bias + at, left);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) sum[r][v] = b;
  }
}

template <int kRows, int kVecs>
__attribute__((noinline)) void Vectors(const TileArgs& a, int64_t column) {
  Vec sum[kRows][kVecs];
  Begin<kRows, kVecs>(a, column, sum);
  Accumulate<kRows, kVecs>(a, a.weights + column / kPanelLanes * a.panel_bytes, sum);
  Finish<kRows, kVecs>(a, column, sum);
}

// Covers the columns from `column` on with as many panels at once as there are left, at most kPanels, and the first half of a
// panel where there are no more.
template <int kRows, int kPanels>
void Columns(const TileArgs& a, int64_t column) {
  constexpr int64_t kFewest = kPanels > 1 || kPanelVecs % 2 ? (kPanels - 1) * kPanelLanes : kPanelLanes / 2;
  for (; a.outputs - column > kFewest; column += kPanels * kPanelLanes)
    Vectors<kRows, kPanels * kPanelVecs>(a, column);
  if constexpr (kPanels > 1) {
    if (column < a.outputs) Columns<kRows, kPanels / 2>(a, column);
  } else if constexpr (kPanelVecs % 2 == 0) {
    if (column < a.outputs) Vectors<kRows, kPanelVecs / 2>(a, column);
  }
}

template <int kRows>
void Rest(const TileArgs& a, int rows) {
  if (rows == kRows) return Columns<kRows, MaxPanels(kRows)>(a, 0);
  if constexpr (kRows > 1) Rest<kRows - 1>(a, rows);
}

// Covers all rows, kRows at a time.
template <int kRows>
void Dispatch(const TileArgs& a, int rows) {
  if (rows <= kRows) return Rest<kRows>(a, rows);
  TileArgs part = a;
  for (int first = 0; first < rows; first += kRows) {
    part.rows = a.rows + first;
    part.out = a.out + first;
    if (a.residual) part.residual = a.residual + first;
    Rest<kRows>(part, rows - first < kRows ? rows - first : kRows);
  }
}
