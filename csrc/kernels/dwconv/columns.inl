// How the kernels that read columns cut a tile. Included inside an anonymous namespace by a file that then calls
// CutTile(kernel, args, rows) with
//   kernel.Window<kRows, kTaps, kStep>(rows, out): kRows pixels of a window of kTaps taps a line
//   kernel.AnyWindow(rows, out): one pixel of any window
// where rows is columns.rows of the first pixel and out its entry of args.out.

template <int kRows, int kTaps, int kStep, class Kernel>
inline void CutRows(const Kernel& kernel, const DepthwiseArgs& a, int first, int end) {
  for (; end - first >= kRows; first += kRows)
    kernel.template Window<kRows, kTaps, kStep>(a.columns.rows + first * kStep, a.out + first);
  if constexpr (kRows > 1) CutRows<(kRows > 4 ? 4 : kRows / 2), kTaps, kStep>(kernel, a, first, end);
}

// Maps of 7, 14 and 28 pixels a line are cut without a rest.
template <int kTaps, int kStep, class Kernel>
void CutWindows(const Kernel& kernel, const DepthwiseArgs& a, int rows) {
  rows % 7 ? CutRows<8, kTaps, kStep>(kernel, a, 0, rows) : CutRows<7, kTaps, kStep>(kernel, a, 0, rows);
}

template <class Kernel>
void CutTile(const Kernel& kernel, const DepthwiseArgs& a, int rows) {
  const DepthwiseColumns& c = a.columns;
  if (c.line_taps == 3 && c.step == 1) return CutWindows<3, 1>(kernel, a, rows);
  if (c.line_taps == 5 && c.step == 1) return CutWindows<5, 1>(kernel, a, rows);
  if (c.line_taps == 7 && c.step == 1) return CutWindows<7, 1>(kernel, a, rows);
  if (c.line_taps == 3 && c.step == 2) return CutWindows<3, 2>(kernel, a, rows);
  if (c.line_taps == 5 && c.step == 2) return CutWindows<5, 2>(kernel, a, rows);
  if (c.line_taps == 7 && c.step == 2) return CutWindows<7, 2>(kernel, a, rows);
  for (int r = 0; r < rows; ++r) kernel.AnyWindow(c.rows + r * c.step, a.out + r);
}
