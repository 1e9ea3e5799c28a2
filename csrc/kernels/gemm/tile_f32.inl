// The float micro-kernel, for any vector type and format of weights. Included by tile_f32_*.inl, which define Accumulate, inside
// an anonymous namespace, after one of vec_f32_*.inl and
//   MaxPanels(rows): how many panels at once, a power of two, keep all sums in registers.
#include "kernels/gemm/write_sums_f32.inl"

constexpr int kPanelLanes = 16;
constexpr int kPanelVecs = kPanelLanes / kLanes;

// sum[r][v] += Σ_s Σ_k rows[s][first + r][k] · w[s][k][v], by the format of the weights.
template <int kRows, int kVecs>
inline __attribute__((always_inline)) void Accumulate(const TileArgs& a, int first, const char* weights,
                                                      Vec (&sum)[kRows][kVecs]);

template <int kRows, int kVecs>
inline __attribute__((always_inline)) void Finish(const TileArgs& a, int first, int64_t column,
                                                  const Vec (&sum)[kRows][kVecs]) {
  constexpr int64_t kOutputs = kVecs * kLanes;
  const int64_t left = a.outputs - column;
  if (left >= kOutputs && !a.residual) {
    const Vec low = Splat(a.low), high = Splat(a.high);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      float* out = reinterpret_cast<float*>(a.out[first + r] + a.out_offset) + column;
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
  WriteSums(a, first, kRows, column, left < kOutputs ? left : kOutputs, sums, kOutputs);
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
__attribute__((noinline)) void Vectors(const TileArgs& a, int first, int64_t column) {
  Vec sum[kRows][kVecs];
  Begin<kRows, kVecs>(a, column, sum);
  Accumulate<kRows, kVecs>(a, first, a.weights + column / kPanelLanes * a.panel_bytes, sum);
  Finish<kRows, kVecs>(a, first, column, sum);
}

template <int n>
struct Constant {
  static constexpr int value = n;
};

// run(column, Constant<vectors>()) for the columns from `column` on: as many panels at once as there are left, at most kPanels,
// and the first half of a panel where there are no more.
template <int kPanels, class Run>
inline void ForColumns(int64_t outputs, int64_t column, const Run& run) {
  constexpr int64_t kFewest = kPanels > 1 || kPanelVecs % 2 ? (kPanels - 1) * kPanelLanes : kPanelLanes / 2;
  for (; outputs - column > kFewest; column += kPanels * kPanelLanes)
    run(column, Constant<kPanels * kPanelVecs>());
  if (column >= outputs) return;
  if constexpr (kPanels > 1) {
    ForColumns<kPanels / 2>(outputs, column, run);
  } else if constexpr (kPanelVecs % 2 == 0) {
    run(column, Constant<kPanelVecs / 2>());
  }
}

// Up to kRows rows, which read every weight once.
template <int kRows>
void Few(const TileArgs& a, int rows) {
  if (rows == kRows) {
    ForColumns<MaxPanels(kRows)>(a.outputs, 0, [&](int64_t column, auto vecs) {
      Vectors<kRows, decltype(vecs)::value>(a, 0, column);
    });
  } else if constexpr (kRows > 1) {
    Few<kRows - 1>(a, rows);
  }
}

template <int kRows, int kVecs>
inline void Group(const TileArgs& a, int first, int rows, int64_t column) {
  if (rows == kRows) return Vectors<kRows, kVecs>(a, first, column);
  if constexpr (kRows > 1) Group<kRows - 1, kVecs>(a, first, rows, column);
}

// Many rows, in groups of nearly the same size: of kWideRows rows, and of kRows where too few columns are left for these.
template <int kRows, int kWideRows>
void Many(const TileArgs& a, int rows) {
  constexpr int kPanels = MaxPanels(kWideRows);
  ForColumns<kPanels>(a.outputs, 0, [&](int64_t column, auto vecs) {
    constexpr int kVecs = decltype(vecs)::value, kMost = kVecs == kPanels * kPanelVecs ? kWideRows : kRows;
    const int groups = (rows + kMost - 1) / kMost;
    for (int g = 0; g < groups; ++g) {
      const int first = rows * g / groups;
      Group<kMost, kVecs>(a, first, rows * (g + 1) / groups - first, column);
    }
  });
}

// kRows: the most rows whose sums of one panel fit into registers; kWideRows: those of a kernel that takes several panels, and
// by that fewer instructions a product.
template <int kRows, int kWideRows = kRows>
void Dispatch(const TileArgs& a, int rows) {
  rows <= kRows ? Few<kRows>(a, rows) : Many<kRows, kWideRows>(a, rows);
}
