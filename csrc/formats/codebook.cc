#include "formats/codebook.h"

#include <cstring>

#include "base/check.h"

namespace planish {
namespace {

constexpr uint32_t kMagic = 0x4B424443;  // the bytes "CDBK"
constexpr uint16_t kVersion = 1;

struct CodebookHeader {
  uint32_t magic;
  uint16_t version;
  uint8_t kind, bits;
  int64_t outputs, taps, channels, table_outputs, table_columns;
  uint8_t has_zeros;
  uint8_t unused[15];
};
static_assert(sizeof(CodebookHeader) == kAlignment);

struct Sections {
  int64_t tables, zeros, indices, end;
};

void CheckShape(const CodebookShape& s) {
  constexpr int64_t kMost = int64_t{1} << 31;
  Check(s.outputs > 0 && s.taps > 0 && s.channels > 0 && s.outputs < kMost && s.taps < kMost &&
            s.channels < kMost && CheckedMul(s.taps, s.channels + 3) < kMost,
        "codebook weights: a dimension is out of range; keep them dense");
  const bool bits_ok = s.bits == 2 || s.bits == 4 || (s.bits == 3 && s.kind != CodebookKind::kAffine) ||
                       (s.bits == 8 && s.kind != CodebookKind::kS8);
  Check(bits_ok,
        "codebook weights: this number of bits is not packed; use 2, 3, 4 or 8 (int8 values at 8 bits are "
        "dense weights)");
  Check(s.table_outputs > 0 && s.table_columns > 0 && s.table_columns <= s.taps * s.channels &&
            (s.taps == 1 || s.table_columns == s.taps * s.channels) &&
            (s.kind != CodebookKind::kAffine || s.table_outputs == 1),
        "codebook weights: groups must be whole outputs, or parts of one tap's channels; keep them dense");
}

int64_t TableBytes(const CodebookShape& s) {
  if (s.kind == CodebookKind::kAffine) return CheckedMul(s.panels() * 16 * 4, s.tables_across());
  return CheckedMul(CheckedMul(s.tables_down(), s.tables_across()),
                    s.entries() * (s.kind == CodebookKind::kF32 ? 4 : 1));
}

Sections SectionsOf(const CodebookShape& s, bool zeros) {
  CheckShape(s);
  Sections at{};
  at.tables = kAlignment;
  at.zeros = AlignUp(CheckedAdd(at.tables, TableBytes(s)));
  at.indices = AlignUp(CheckedAdd(at.zeros, zeros ? s.panels() * 16 * s.tables_across() : 0));
  at.end = CheckedAdd(at.indices, CheckedMul(s.panels() * 64 * s.words(), s.granules()));
  return at;
}

// The bit, in a word of fields of `bits` bits, of column i of the word.
int ShiftOf(int64_t i, int bits) { return static_cast<int>(8 * (i % 4) + bits * (i / 4)); }

void SetIndex(const CodebookShape& s, uint32_t* indices, int64_t n, int64_t k, uint32_t index) {
  const int64_t i = k % s.granule();
  uint32_t* words = indices + ((n / 16 * s.granules() + k / s.granule()) * s.words()) * 16 + n % 16;
  if (s.bits != 3) {
    words[0] |= index << ShiftOf(i, s.bits);
  } else {
    words[i / 16 * 16] |= (index & 3) << ShiftOf(i % 16, 2);
    words[2 * 16] |= (index >> 2) << ShiftOf(i, 1);
  }
}

// Calls visit(place among w[outputs, taps, channels], n, k).
template <class Visit>
void VisitWeights(const CodebookShape& s, const Visit& visit) {
  int64_t i = 0;
  for (int64_t n = 0; n < s.outputs; ++n) {
    for (int64_t tap = 0; tap < s.taps; ++tap) {
      for (int64_t c = 0; c < s.channels; ++c) visit(i++, n, tap * s.padded_channels() + c);
    }
  }
}

// Copies [outputs][blocks] into [panels][blocks][16], or back.
template <class T, bool kPack>
void CopyBlocks(const CodebookShape& s, T* panels, T* rows) {
  const int64_t blocks = s.tables_across();
  for (int64_t n = 0; n < s.outputs; ++n) {
    for (int64_t b = 0; b < blocks; ++b) {
      T& in_panel = panels[(n / 16 * blocks + b) * 16 + n % 16];
      T& in_row = rows[n * blocks + b];
      if constexpr (kPack) {
        in_panel = in_row;
      } else {
        in_row = in_panel;
      }
    }
  }
}

}  // namespace

int64_t CodebookBytes(const CodebookShape& shape, bool zeros) { return SectionsOf(shape, zeros).end; }

Memory PackCodebook(const CodebookShape& s, const uint8_t* indices, const std::byte* tables,
                    const uint8_t* zeros) {
  const Sections at = SectionsOf(s, zeros != nullptr);
  Memory memory = Memory::Allocate(at.end);
  const CodebookHeader header{kMagic,
                              kVersion,
                              static_cast<uint8_t>(s.kind),
                              static_cast<uint8_t>(s.bits),
                              s.outputs,
                              s.taps,
                              s.channels,
                              s.table_outputs,
                              s.table_columns,
                              static_cast<uint8_t>(zeros != nullptr),
                              {}};
  std::memcpy(memory.data, &header, sizeof header);
  if (s.kind == CodebookKind::kAffine) {
    CopyBlocks<float, true>(s, reinterpret_cast<float*>(memory.data + at.tables),
                            reinterpret_cast<float*>(const_cast<std::byte*>(tables)));
  } else {
    std::memcpy(memory.data + at.tables, tables, static_cast<size_t>(TableBytes(s)));
  }
  if (zeros) {
    for (int64_t i = 0; i < s.outputs * s.tables_across(); ++i)
      Check(zeros[i] < s.entries(), "codebook weights: a zero point has too many bits");
    CopyBlocks<uint8_t, true>(s, reinterpret_cast<uint8_t*>(memory.data + at.zeros),
                              const_cast<uint8_t*>(zeros));
  }
  uint32_t* words = reinterpret_cast<uint32_t*>(memory.data + at.indices);
  VisitWeights(s, [&](int64_t i, int64_t n, int64_t k) {
    Check(indices[i] < s.entries(), "codebook weights: an index is not below the number of entries");
    SetIndex(s, words, n, k, indices[i]);
  });
  return memory;
}

CodebookWeights ParseCodebook(std::span<const std::byte> packed) {
  CodebookHeader header;
  Check(packed.size() >= sizeof header && reinterpret_cast<uintptr_t>(packed.data()) % kAlignment == 0,
        "codebook weights: too short or misaligned; the plan is damaged");
  std::memcpy(&header, packed.data(), sizeof header);
  Check(header.magic == kMagic && header.version == kVersion &&
            header.kind <= static_cast<uint8_t>(CodebookKind::kAffine) &&
            header.has_zeros <= (header.kind == static_cast<uint8_t>(CodebookKind::kAffine)),
        "codebook weights: unknown header; the plan is damaged or of another version");
  CodebookWeights p{};
  p.shape = {static_cast<CodebookKind>(header.kind),
             header.bits,
             header.outputs,
             header.taps,
             header.channels,
             header.table_outputs,
             header.table_columns};
  const Sections at = SectionsOf(p.shape, header.has_zeros != 0);
  Check(static_cast<int64_t>(packed.size()) == at.end,
        "codebook weights: the size does not fit the header; the plan is damaged");
  p.tables = packed.data() + at.tables;
  p.zeros = header.has_zeros ? reinterpret_cast<const uint8_t*>(packed.data() + at.zeros) : nullptr;
  p.indices = reinterpret_cast<const uint32_t*>(packed.data() + at.indices);
  return p;
}

uint32_t IndexAt(const CodebookWeights& w, int64_t n, int64_t k) {
  const CodebookShape& s = w.shape;
  const int64_t i = k % s.granule();
  const uint32_t* words = w.granule(n / 16, k / s.granule()) + n % 16;
  if (s.bits != 3) return words[0] >> ShiftOf(i, s.bits) & ((1u << s.bits) - 1);
  return (words[i / 16 * 16] >> ShiftOf(i % 16, 2) & 3) | (words[2 * 16] >> ShiftOf(i, 1) & 1) << 2;
}

void UnpackIndices(const CodebookWeights& w, uint8_t* indices) {
  VisitWeights(w.shape,
               [&](int64_t i, int64_t n, int64_t k) { indices[i] = static_cast<uint8_t>(IndexAt(w, n, k)); });
}

void UnpackTables(const CodebookWeights& w, std::byte* tables, uint8_t* zeros) {
  if (w.shape.kind == CodebookKind::kAffine) {
    CopyBlocks<float, false>(w.shape, reinterpret_cast<float*>(const_cast<std::byte*>(w.tables)),
                             reinterpret_cast<float*>(tables));
  } else {
    std::memcpy(tables, w.tables, static_cast<size_t>(TableBytes(w.shape)));
  }
  if (zeros && w.zeros) CopyBlocks<uint8_t, false>(w.shape, const_cast<uint8_t*>(w.zeros), zeros);
}

}  // namespace planish
