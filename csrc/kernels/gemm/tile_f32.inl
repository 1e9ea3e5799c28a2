// The float micro-kernel, for any vector type. Included inside an anonymous namespace that has defined
//   Vec, kLanes (a divisor of 16), Zero(), Load(p), LoadFirst(p, n), StoreFirst(p, v, n), Store(p, v), Broadcast(p),
//   MulAdd(a, b, c) = a·b + c, Add(a, b), ClampVec(v, low, high), Splat(x),
//   MaxPanels(rows): how many panels at once, a power of two, keep all sums in registers.

constexpr int kPanelLanes = 16;
constexpr int kPanelVecs = kPanelLanes / kLanes;

template <int kRows, int kVecs>
inline __attribute__((always_inline)) void Accumulate(const TileArgs& a, const char* weights,
                                                      Vec (&sum)[kRows][kVecs]) {
  for (int64_t s = 0; s < a.segments; ++s) {
    const float* x[kRows];
    for (int r = 0; r < kRows; ++r)
      x[r] = reinterpret_cast<const float*>(a.rows[s * a.row_pitch + r] + a.row_offset);
    const char* w = weights + s * a.depth * static_cast<int64_t>(kPanelLanes * sizeof(float));
    for (int64_t k = 0; k < a.depth; ++k) {
      Vec b[kVecs];
#pragma GCC unroll 16
      for (int v = 0; v < kVecs; ++v) {
        const char* panel = w + v / kPanelVecs * a.panel_bytes;
        b[v] = Load(reinterpret_cast<const float*>(panel) + k * kPanelLanes + v % kPanelVecs * kLanes);
      }
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const Vec xv = Broadcast(x[r] + k);
#pragma GCC unroll 16
        for (int v = 0; v < kVecs; ++v) sum[r][v] = MulAdd(xv, b[v], sum[r][v]);
      }
    }
  }
}

// Writes sums that are spilled to [rows][pitch]: with a residual, or only `count` outputs.
__attribute__((noinline)) inline void WriteSums(const TileArgs& a, int rows, int64_t column, int64_t count,
                                                const float* sums, int64_t pitch) {
  const Vec low = Splat(a.low), high = Splat(a.high);
  for (int r = 0; r < rows; ++r, sums += pitch) {
    float* out = reinterpret_cast<float*>(a.out[r] + a.out_offset) + column;
    const float* residual =
        a.residual ? reinterpret_cast<const float*>(a.residual[r] + a.residual_offset) + column : nullptr;
    int64_t n = 0;
    for (; n + kLanes <= count; n += kLanes) {
      Vec y = Load(sums + n);
      if (residual) y = Add(y, Load(residual + n));
      Store(out + n, ClampVec(y, low, high));
    }
    if (n < count) {
      Vec y = Load(sums + n);
      if (residual) y = Add(y, LoadFirst(residual + n, count - n));
      StoreFirst(out + n, ClampVec(y, low, high), count - n);
    }
  }
}

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
    for (int v = 0; v < kVecs; ++v)
      Store(sums + r * kOutputs + v * kLanes, sum[r][v]);
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
