// The bodies of rows.h for one ISA. The including file defines PLANISH_COPY_ROWS, the name of its table.
#include "kernels/copy/rows.h"

namespace planish {
namespace {

// 16-byte vectors: a square tile is transposed by interleaving rows i and i + N/2, log2(N) times.
typedef uint8_t V1 __attribute__((vector_size(16)));
typedef uint16_t V2 __attribute__((vector_size(16)));
typedef uint32_t V4 __attribute__((vector_size(16)));
typedef uint64_t V8 __attribute__((vector_size(16)));

inline V1 Low(V1 a, V1 b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
inline V1 High(V1 a, V1 b) {
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}
inline V2 Low(V2 a, V2 b) { return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11); }
inline V2 High(V2 a, V2 b) { return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15); }
inline V4 Low(V4 a, V4 b) { return __builtin_shufflevector(a, b, 0, 4, 1, 5); }
inline V4 High(V4 a, V4 b) { return __builtin_shufflevector(a, b, 2, 6, 3, 7); }
inline V8 Low(V8 a, V8 b) { return __builtin_shufflevector(a, b, 0, 2); }
inline V8 High(V8 a, V8 b) { return __builtin_shufflevector(a, b, 1, 3); }

inline V1 Even(V1 a, V1 b) {
  return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}
inline V2 Even(V2 a, V2 b) { return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14); }
inline V4 Even(V4 a, V4 b) { return __builtin_shufflevector(a, b, 0, 2, 4, 6); }
inline V8 Even(V8 a, V8 b) { return Low(a, b); }

template <class V, class T>
inline void Tile(const char* x, int64_t from_column, char* y, int64_t to_row) {
  constexpr int n = 16 / static_cast<int>(sizeof(T));
  V a[n], b[n];
#pragma GCC unroll 16
  for (int i = 0; i < n; ++i) __builtin_memcpy(&a[i], x + i * from_column, 16);
#pragma GCC unroll 4
  for (int step = 1; step < n; step *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < n / 2; ++i) {
      b[2 * i] = Low(a[i], a[i + n / 2]);
      b[2 * i + 1] = High(a[i], a[i + n / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < n; ++i) a[i] = b[i];
  }
#pragma GCC unroll 16
  for (int i = 0; i < n; ++i) __builtin_memcpy(y + i * to_row, &a[i], 16);
}

template <class T>
void Elements(const char* x, int64_t from_column, char* y, int64_t to_row, int64_t rows, int64_t columns) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      __builtin_memcpy(y + r * to_row + c * static_cast<int64_t>(sizeof(T)),
                       x + r * static_cast<int64_t>(sizeof(T)) + c * from_column, sizeof(T));
    }
  }
}

// Few columns, packed: planes become interleaved channels.
template <class T, int kColumns>
void Interleave(const char* x, int64_t from_column, char* y, int64_t rows) {
  const T* from[kColumns];
  for (int c = 0; c < kColumns; ++c) from[c] = reinterpret_cast<const T*>(x + c * from_column);
  T* __restrict to = reinterpret_cast<T*>(y);
  for (int64_t r = 0; r < rows; ++r) {
    for (int c = 0; c < kColumns; ++c) to[r * kColumns + c] = from[c][r];
  }
}

// Few rows, packed: interleaved channels become planes.
template <class T, int kRows>
void Deinterleave(const char* x, char* y, int64_t to_row, int64_t columns) {
  const T* __restrict from = reinterpret_cast<const T*>(x);
  T* to[kRows];
  for (int r = 0; r < kRows; ++r) to[r] = reinterpret_cast<T*>(y + r * to_row);
  for (int64_t c = 0; c < columns; ++c) {
    for (int r = 0; r < kRows; ++r) to[r][c] = from[c * kRows + r];
  }
}

template <class V, class T>
void Transpose(const char* x, int64_t from_column, char* y, int64_t to_row, int64_t rows, int64_t columns) {
  constexpr int64_t item = sizeof(T), n = 16 / item;
  const bool packed_out = to_row == columns * item, packed_in = from_column == rows * item;
  if (packed_out && columns == 2) return Interleave<T, 2>(x, from_column, y, rows);
  if (packed_out && columns == 3) return Interleave<T, 3>(x, from_column, y, rows);
  if (packed_out && columns == 4) return Interleave<T, 4>(x, from_column, y, rows);
  if (packed_in && rows == 2) return Deinterleave<T, 2>(x, y, to_row, columns);
  if (packed_in && rows == 3) return Deinterleave<T, 3>(x, y, to_row, columns);
  if (packed_in && rows == 4) return Deinterleave<T, 4>(x, y, to_row, columns);
  // Bands of columns, one cache line of y wide.
  constexpr int64_t band = 64 / item;
  const int64_t whole_rows = rows / n * n;
  for (int64_t c0 = 0; c0 < columns; c0 += band) {
    const int64_t c1 = c0 + band < columns ? c0 + band : columns, whole = c0 + (c1 - c0) / n * n;
    const char* from = x + c0 * from_column;
    char* to = y + c0 * item;
    for (int64_t r = 0; r < whole_rows; r += n) {
      for (int64_t c = c0; c < whole; c += n) {
        Tile<V, T>(x + r * item + c * from_column, from_column, y + r * to_row + c * item, to_row);
      }
    }
    Elements<T>(x + whole * from_column, from_column, y + whole * item, to_row, whole_rows, c1 - whole);
    Elements<T>(from + whole_rows * item, from_column, to + whole_rows * to_row, to_row, rows - whole_rows,
                c1 - c0);
  }
}

// A vector reads the element behind its last one, so the last elements are copied singly.
template <class V, class T>
void Second(const char* x, char* y, int64_t n) {
  constexpr int64_t item = sizeof(T), step = 16 / item;
  int64_t i = 0;
  for (; i + step < n; i += step) {
    V a, b;
    __builtin_memcpy(&a, x + 2 * i * item, 16);
    __builtin_memcpy(&b, x + 2 * i * item + 16, 16);
    const V even = Even(a, b);
    __builtin_memcpy(y + i * item, &even, 16);
  }
  for (; i < n; ++i) __builtin_memcpy(y + i * item, x + 2 * i * item, sizeof(T));
}

}  // namespace

const CopyRows PLANISH_COPY_ROWS = {
    {Transpose<V1, uint8_t>, Transpose<V2, uint16_t>, Transpose<V4, uint32_t>, Transpose<V8, uint64_t>},
    {Second<V1, uint8_t>, Second<V2, uint16_t>, Second<V4, uint32_t>, Second<V8, uint64_t>}};

}  // namespace planish
