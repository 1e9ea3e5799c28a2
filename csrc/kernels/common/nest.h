// Loop nests over several operands of one shape: axes of size one dropped, the others ordered by the last
// operand's (the output's) strides, and neighbours that are contiguous in every operand merged.
//
//   Nest<N> nest = MakeNest<N>({&a, &b, &y});
//   ForEachRow(nest, operands, row_bytes, threads, [&](std::byte* const* at, int64_t n) { ... });
//
// A row is (a part of) the innermost axis: `n` elements, operand k's at[k] + i * nest.inner(k).
#pragma once

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

#include "base/thread_pool.h"
#include "base/view.h"

namespace planish {

template <int N>
struct Nest {
  int rank = 0;  // >= 1
  Dims shape{};
  std::array<Dims, N> stride{};  // bytes
  int64_t rows = 1;              // the product of all dimensions but the innermost

  int64_t length() const { return shape[rank - 1]; }
  int64_t inner(int operand) const { return stride[operand][rank - 1]; }
};

template <int N>
Nest<N> MakeNest(const std::array<const View*, N>& views) {
  const View& y = *views[N - 1];
  int axes[kMaxRank];
  int n = 0;
  for (int i = 0; i < y.rank; ++i) {
    if (y.shape[i] != 1) axes[n++] = i;
  }
  std::stable_sort(axes, axes + n,
                   [&](int a, int b) { return std::abs(y.stride[a]) > std::abs(y.stride[b]); });
  Nest<N> nest;
  for (int k = 0; k < n; ++k) {
    const int a = axes[k];
    const int last = nest.rank - 1;
    bool merge = nest.rank > 0;
    for (int i = 0; merge && i < N; ++i) merge = nest.stride[i][last] == views[i]->stride[a] * y.shape[a];
    const int to = merge ? last : nest.rank++;
    nest.shape[to] = merge ? nest.shape[to] * y.shape[a] : y.shape[a];
    for (int i = 0; i < N; ++i) nest.stride[i][to] = views[i]->stride[a];
  }
  if (nest.rank == 0) {
    nest.rank = 1;
    nest.shape[0] = 1;
    for (int i = 0; i < N; ++i) nest.stride[i][0] = ItemSize(views[i]->dtype);
  }
  for (int i = 0; i + 1 < nest.rank; ++i) nest.rows *= nest.shape[i];
  return nest;
}

// Visits rows first..first+count-1 in order: f(pointers of operands 0..N-1).
template <int N, class F>
void WalkRows(const Nest<N>& nest, std::byte* const* operands, int64_t first, int64_t count, const F& f) {
  if (count <= 0) return;
  Dims index{};
  std::byte* at[N];
  for (int k = 0; k < N; ++k) at[k] = operands[k];
  for (int d = nest.rank - 2; d >= 0; --d) {
    index[d] = first % nest.shape[d];
    first /= nest.shape[d];
    for (int k = 0; k < N; ++k) at[k] += index[d] * nest.stride[k][d];
  }
  while (count-- > 0) {
    f(at);
    for (int d = nest.rank - 2; d >= 0; --d) {
      if (++index[d] < nest.shape[d]) {
        for (int k = 0; k < N; ++k) at[k] += nest.stride[k][d];
        break;
      }
      index[d] = 0;
      for (int k = 0; k < N; ++k) at[k] -= (nest.shape[d] - 1) * nest.stride[k][d];
    }
  }
}

inline constexpr int64_t kTaskBytes = 64 << 10;  // what one task of an element-wise loop moves, about

// The threads worth waking for work that costs as much as moving this many bytes.
inline int ThreadsFor(int64_t bytes, int threads) { return bytes < 8 * kTaskBytes ? 1 : threads; }

// f(pointers of operands 0..N-1, n) over all rows, in parallel; rows longer than a task are cut. `cost` of an
// element: the bytes it moves, more where much is computed.
template <int N, class F>
void ForEachRow(const Nest<N>& nest, std::byte* const* operands, int64_t cost, int threads, const F& f) {
  const int64_t length = nest.length();
  const int64_t piece = std::max<int64_t>(64, kTaskBytes / cost / 64 * 64);
  const int64_t pieces = (length + piece - 1) / piece;
  const int64_t group = pieces > 1 ? 1 : std::max<int64_t>(1, piece / length);
  const int64_t groups = (nest.rows + group - 1) / group;
  threads = ThreadsFor(nest.rows * length * cost, threads);
  ParallelFor(groups * pieces, threads, [&](int64_t task, int) {
    const int64_t first = task / pieces * group, from = task % pieces * piece;
    const int64_t n = std::min(piece, length - from);
    std::byte* start[N];
    for (int k = 0; k < N; ++k) start[k] = operands[k] + from * nest.inner(k);
    WalkRows(nest, start, first, std::min(group, nest.rows - first), [&](std::byte* const* at) { f(at, n); });
  });
}

// Copies n items between strided memories; strides in bytes.
template <class T>
void CopyStrided(const std::byte* from, int64_t from_stride, std::byte* to, int64_t to_stride, int64_t n) {
  for (int64_t i = 0; i < n; ++i) std::memcpy(to + i * to_stride, from + i * from_stride, sizeof(T));
}

inline void CopyItems(int64_t item, const std::byte* from, int64_t from_stride, std::byte* to,
                      int64_t to_stride, int64_t n) {
  switch (item) {
    case 1:
      return CopyStrided<uint8_t>(from, from_stride, to, to_stride, n);
    case 2:
      return CopyStrided<uint16_t>(from, from_stride, to, to_stride, n);
    case 4:
      return CopyStrided<uint32_t>(from, from_stride, to, to_stride, n);
    default:
      return CopyStrided<uint64_t>(from, from_stride, to, to_stride, n);
  }
}

// A nest whose rows reach the body contiguous: strided operands pass through buffers on the stack. An operand
// named in `scalars` (bit k) whose inner stride is zero is passed as it is, one element.
template <int N>
struct RowLoop {
  Nest<N> nest;
  std::array<int64_t, N> item{};
  unsigned packed = 0;  // bit k: operand k passes through a buffer

  bool scalar(int k) const { return nest.inner(k) == 0; }
};

template <int N>
RowLoop<N> MakeRowLoop(const std::array<const View*, N>& views, unsigned scalars = 0) {
  RowLoop<N> loop;
  loop.nest = MakeNest<N>(views);
  for (int k = 0; k < N; ++k) {
    loop.item[k] = ItemSize(views[k]->dtype);
    const int64_t inner = loop.nest.inner(k);
    const bool direct = inner == loop.item[k] || (inner == 0 && ((scalars >> k) & 1));
    if (!direct) loop.packed |= 1u << k;
  }
  return loop;
}

inline constexpr int64_t kStrip = 256;  // elements of a buffered piece of a row

// f(pointers, n): operands 0..N-2 are read, operand N-1 is written. `extra_cost` of an element: beyond its
// bytes.
template <int N, class F>
void RunRowLoop(const RowLoop<N>& loop, std::byte* const* operands, int threads, const F& f,
                int64_t extra_cost = 0) {
  int64_t cost = extra_cost;
  for (int k = 0; k < N; ++k) cost += loop.item[k];
  ForEachRow(loop.nest, operands, cost, threads, [&](std::byte* const* at, int64_t n) {
    if (!loop.packed) return f(at, n);
    alignas(64) std::byte buffer[N][kStrip * 8];
    for (int64_t from = 0; from < n; from += kStrip) {
      const int64_t count = std::min(kStrip, n - from);
      std::byte* strip[N];
      for (int k = 0; k < N; ++k) {
        std::byte* here = at[k] + from * loop.nest.inner(k);
        strip[k] = (loop.packed >> k) & 1 ? buffer[k] : here;
        if (k < N - 1 && strip[k] != here)
          CopyItems(loop.item[k], here, loop.nest.inner(k), strip[k], loop.item[k], count);
      }
      f(strip, count);
      if ((loop.packed >> (N - 1)) & 1) {
        CopyItems(loop.item[N - 1], strip[N - 1], loop.item[N - 1], at[N - 1] + from * loop.nest.inner(N - 1),
                  loop.nest.inner(N - 1), count);
      }
    }
  });
}

}  // namespace planish
