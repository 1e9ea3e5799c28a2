// Where an index lies (formats/codebook.h), as plain functions with internal linkage for files of every
// instruction set.
#pragma once

#include "kernels/codebook/codebook.h"

namespace planish {
namespace {

// The bit, in a word of fields of `bits` bits, of column i of the word.
constexpr int FieldShift(int64_t i, int bits) { return static_cast<int>(8 * (i % 4) + bits * (i / 4)); }

// The words [words][16] that hold column k of a panel.
inline const uint32_t* GranuleOf(const CodebookPanels& w, int64_t group, int64_t k) {
  return w.indices + (group * w.granules + k / w.granule) * w.words * kPanelOutputs;
}

// Which table, across, column k uses. Padding behind the last column uses the last table.
inline int64_t TableAcross(const CodebookPanels& w, int64_t k) {
  const int64_t t = k / w.table_columns;
  return t < w.tables_across ? t : w.tables_across - 1;
}

// Which table, down, an output uses; padding behind the last output uses the last table.
inline int64_t TableDown(const CodebookPanels& w, int64_t n) {
  return (n < w.outputs ? n : w.outputs - 1) / w.table_outputs;
}

// Whether all outputs of a panel share their table, and all columns of a granule too.
inline bool SharedTables(const CodebookPanels& w, int64_t group) {
  const int64_t n = group * kPanelOutputs;
  return TableDown(w, n) == TableDown(w, n + kPanelOutputs - 1) &&
         (w.tables_across == 1 || w.table_columns % w.granule == 0);
}

// The first column behind k's table, or block.
inline int64_t TableEnd(const CodebookPanels& w, int64_t k) {
  return w.tables_across == 1 ? w.granules * w.granule : (k / w.table_columns + 1) * w.table_columns;
}

// The table of entries that output n uses at column k.
inline const std::byte* TableOf(const CodebookPanels& w, int64_t n, int64_t k) {
  return w.tables + (TableDown(w, n) * w.tables_across + TableAcross(w, k)) * w.entries * (w.integer ? 1 : 4);
}

}  // namespace
}  // namespace planish
