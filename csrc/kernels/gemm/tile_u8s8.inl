// The u8 × s8 micro-kernel, for any dot-product instruction. Included inside an anonymous namespace, after a vec_int_*.inl,
// that has also defined
//   Weights, Sums          a register of packed weights, and of running sums; kPanelVecs of each cover a panel
//   kXQuad                 bytes of a quad of x in the rows of the call
//   Inputs                 a quad of x in every position; LoadInputs(p)
//   LoadWeights(panel, v)  register v of the 64 bytes of a panel's quad
//   Dot(sums, x, w), NoSums()
//   kSignedInputs          the instruction wants signed x: LoadInputs has subtracted 128, and SumWeights(sums, w) gathers
//                          the Σw that puts it back
//   ReduceSums(sums of a panel, ints): 16 / kLanes vectors, output j in lane j
//   MaxPanels(rows)        how many panels at once, a power of two, keep all sums in registers

constexpr int kPanelInts = 16 / kLanes;
constexpr int64_t kQuadBytes = 64;  // of a panel

template <int kRows, int kPanels>
inline __attribute__((always_inline)) void Accumulate(
    const TileArgs& a, const char* weights, Sums (&sum)[kRows][kPanels][kPanelVecs],
    [[maybe_unused]] Sums (&weight_sum)[kPanels][kPanelVecs]) {
  const int64_t quads = (a.depth + 3) / 4;
  for (int64_t s = 0; s < a.segments; ++s) {
    const char* x[kRows];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) x[r] = a.rows[s * a.row_pitch + r] + a.row_offset;
    const char* w = weights + s * quads * kQuadBytes;
    for (int64_t q = 0; q < quads; ++q) {
      Weights b[kPanels][kPanelVecs];
#pragma GCC unroll 16
      for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 16
        for (int v = 0; v < kPanelVecs; ++v) {
          b[p][v] = LoadWeights(w + p * a.panel_bytes + q * kQuadBytes, v);
          if constexpr (kSignedInputs) weight_sum[p][v] = SumWeights(weight_sum[p][v], b[p][v]);
        }
      }
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const Inputs xq = LoadInputs(x[r] + q * kXQuad);
#pragma GCC unroll 16
        for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 16
          for (int v = 0; v < kPanelVecs; ++v) sum[r][p][v] = Dot(sum[r][p][v], xq, b[p][v]);
        }
      }
    }
  }
}

// Stores the sums of all panels side by side: int32 [kRows][kPanels · 16].
template <int kRows, int kPanels>
inline __attribute__((always_inline)) void StoreSums(
    const Sums (&sum)[kRows][kPanels][kPanelVecs],
    [[maybe_unused]] const Sums (&weight_sum)[kPanels][kPanelVecs], int32_t* to) {
#pragma GCC unroll 16
  for (int p = 0; p < kPanels; ++p) {
    [[maybe_unused]] Ints offset[kPanelInts];  // 128·Σw
    if constexpr (kSignedInputs) {
      ReduceSums(weight_sum[p], offset);
#pragma GCC unroll 16
      for (int v = 0; v < kPanelInts; ++v) offset[v] = MulInts(offset[v], SplatInt(128));
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      Ints acc[kPanelInts];
      ReduceSums(sum[r][p], acc);
#pragma GCC unroll 16
      for (int v = 0; v < kPanelInts; ++v) {
        if constexpr (kSignedInputs) acc[v] = AddInts(acc[v], offset[v]);
        StoreInts(to + (r * kPanels + p) * 16 + v * kLanes, acc[v]);
      }
    }
  }
}

// The sums of kPanels panels from `column` on: int32 [kRows][kPanels · 16].
template <int kRows, int kPanels>
__attribute__((noinline)) void SumPanels(const TileArgs& a, int64_t column, int32_t* to) {
  Sums sum[kRows][kPanels][kPanelVecs];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 16
      for (int v = 0; v < kPanelVecs; ++v) sum[r][p][v] = NoSums();
    }
  }
  Sums weight_sum[kPanels][kPanelVecs];
#pragma GCC unroll 16
  for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 16
    for (int v = 0; v < kPanelVecs; ++v) weight_sum[p][v] = NoSums();
  }
  Accumulate<kRows, kPanels>(a, a.weights + column / 16 * a.panel_bytes, sum, weight_sum);
  StoreSums<kRows, kPanels>(sum, weight_sum, to);
}

// Covers the columns from `column` on with as many panels at once as there are left, at most kPanels.
template <int kRows, int kPanels>
void Columns(const TileArgs& a, const int32_t* x_sums, int64_t column) {
  alignas(64) int32_t sums[kRows * kPanels * 16];
  for (; a.outputs - column > (kPanels - 1) * 16; column += kPanels * 16) {
    SumPanels<kRows, kPanels>(a, column, sums);
    const int64_t left = a.outputs - column;
    WriteSums(a, x_sums, 0, kRows, column, left < kPanels * 16 ? left : kPanels * 16, sums, kPanels * 16);
  }
  if constexpr (kPanels > 1) {
    if (column < a.outputs) Columns<kRows, kPanels / 2>(a, x_sums, column);
  }
}

template <int kRows>
void FewRows(const TileArgs& a, const int32_t* x_sums, int rows) {
  if (rows == kRows) return Columns<kRows, MaxPanels(kRows)>(a, x_sums, 0);
  if constexpr (kRows > 1) FewRows<kRows - 1>(a, x_sums, rows);
}

// One panel for at most kRows rows.
template <int kRows>
void SumRest(const TileArgs& a, int64_t column, int32_t* to, int rows) {
  if (rows == kRows) return SumPanels<kRows, 1>(a, column, to);
  if constexpr (kRows > 1) SumRest<kRows - 1>(a, column, to, rows);
}

// Covers all rows and columns. Up to kRows rows stay in registers; more share a panel while it is in L1.
template <int kRows>
void Dispatch(const TileArgs& a, const int32_t* x_sums, int rows) {
  if (rows <= kRows) return FewRows<kRows>(a, x_sums, rows);
  alignas(64) int32_t sums[kMaxTileRows * 16];
  TileArgs part = a;
  for (int64_t column = 0; column < a.outputs; column += 16) {
    for (int first = 0; first < rows; first += kRows) {
      part.rows = a.rows + first;
      SumRest<kRows>(part, column, sums + first * 16, rows - first < kRows ? rows - first : kRows);
    }
    const int64_t left = a.outputs - column;
    WriteSums(a, x_sums, 0, rows, column, left < 16 ? left : 16, sums, 16);
  }
}
