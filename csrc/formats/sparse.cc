#include "formats/sparse.h"

#include <cstring>
#include <string>

#include "base/check.h"

namespace planish {
namespace {

constexpr const char* kNames[kSparseFormatCount] = {"csr_f32",     "csr_s8",        "block1x4_f32",
                                                    "block1x4_s8", "block16x4_f32", "block16x4_s8"};
constexpr uint32_t kMagic = 0x53525053;  // the bytes "SPRS"
constexpr uint16_t kVersion = 1;

struct SparseHeader {
  uint32_t magic;
  uint16_t version;
  uint16_t format;
  int64_t outputs, taps, channels, blocks;
  int64_t unused[3];
};
static_assert(sizeof(SparseHeader) == kAlignment);

int64_t ValueBytes(SparseFormat f) { return BlockRows(f) * BlockWidth(f) * (IsFloat(f) ? 4 : 1); }

struct Sections {
  int64_t starts, columns, values, end;
};

Sections SectionsOf(const SparseShape& s, int64_t blocks) {
  constexpr int64_t kMost = int64_t{1} << 31;
  Check(s.outputs > 0 && s.taps > 0 && s.channels > 0 && s.outputs < kMost && s.taps < kMost &&
            s.channels < kMost,
        "sparse weights: a dimension is out of range; keep them dense");
  Check(s.columns() <= 65536,
        "sparse weights: more than 65536 columns; use blocks of four channels, or keep them dense");
  Check(blocks >= 0 && blocks < (int64_t{1} << 32) && blocks <= s.groups() * s.columns(),
        "sparse weights: the number of blocks is impossible; the plan is damaged");
  Sections sections{};
  sections.starts = kAlignment;
  sections.columns = AlignUp(sections.starts + 4 * (s.groups() + 1));
  sections.values = AlignUp(sections.columns + 2 * blocks);
  sections.end = AlignUp(CheckedAdd(sections.values, CheckedMul(blocks, ValueBytes(s.format))));
  return sections;
}

// Where lane (r, l) of a block is among the values of the block.
int64_t LaneOf(SparseFormat f, int64_t r, int64_t l) {
  return f == SparseFormat::kBlock16x4F32 ? l * 16 + r : r * 4 + l;
}

// Calls visit(index into w, lane of the block) for the elements of a block that exist (not padding).
template <class Visit>
void VisitBlock(const SparseShape& s, int64_t group, int64_t column, const Visit& visit) {
  const int64_t width = BlockWidth(s.format), per_tap = s.padded_channels() / width;
  const int64_t tap = column / per_tap, channel0 = column % per_tap * width;
  for (int64_t r = 0; r < BlockRows(s.format); ++r) {
    const int64_t n = group * BlockRows(s.format) + r;
    for (int64_t l = 0; l < width; ++l) {
      const int64_t c = channel0 + l;
      if (n < s.outputs && c < s.channels) visit((n * s.taps + tap) * s.channels + c, LaneOf(s.format, r, l));
    }
  }
}

template <class T>
bool HasNonzero(const SparseShape& s, const T* w, int64_t group, int64_t column) {
  bool any = false;
  VisitBlock(s, group, column, [&](int64_t i, int64_t) { any |= w[i] != T{0}; });
  return any;
}

template <class T>
int64_t CountBlocksOf(const SparseShape& s, const T* w) {
  int64_t blocks = 0;
  for (int64_t g = 0; g < s.groups(); ++g) {
    for (int64_t c = 0; c < s.columns(); ++c) blocks += HasNonzero(s, w, g, c);
  }
  return blocks;
}

template <class T>
void FillBlocks(const SparseShape& s, const T* w, uint32_t* starts, uint16_t* columns, T* values) {
  const int64_t lanes = BlockRows(s.format) * BlockWidth(s.format);
  uint32_t b = 0;
  for (int64_t g = 0; g < s.groups(); ++g) {
    starts[g] = b;
    for (int64_t c = 0; c < s.columns(); ++c) {
      if (!HasNonzero(s, w, g, c)) continue;
      columns[b] = static_cast<uint16_t>(c);
      VisitBlock(s, g, c, [&](int64_t i, int64_t lane) { values[b * lanes + lane] = w[i]; });
      ++b;
    }
  }
  starts[s.groups()] = b;
}

template <class T>
void ScatterBlocks(const SparseWeights& p, T* w) {
  const SparseShape& s = p.shape;
  const int64_t lanes = BlockRows(s.format) * BlockWidth(s.format);
  const T* values = reinterpret_cast<const T*>(p.values);
  for (int64_t g = 0; g < s.groups(); ++g) {
    for (uint32_t b = p.starts[g]; b < p.starts[g + 1]; ++b) {
      VisitBlock(s, g, p.columns[b], [&](int64_t i, int64_t lane) { w[i] = values[b * lanes + lane]; });
    }
  }
}

void CheckIndices(const SparseWeights& p) {
  const int64_t groups = p.shape.groups(), columns = p.shape.columns();
  Check(p.starts[0] == 0 && p.starts[groups] == p.blocks,
        "sparse weights: the row pointers do not span the blocks; the plan is damaged");
  for (int64_t g = 0; g < groups; ++g) {
    Check(p.starts[g] <= p.starts[g + 1] && p.starts[g + 1] <= p.blocks,
          "sparse weights: row pointers descend; the plan is damaged");
    int64_t last = -1;
    for (uint32_t b = p.starts[g]; b < p.starts[g + 1]; ++b) {
      Check(p.columns[b] > last && p.columns[b] < columns,
            "sparse weights: a column is out of range or out of order; the plan is damaged");
      last = p.columns[b];
    }
  }
}

}  // namespace

const char* SparseFormatName(SparseFormat format) { return kNames[static_cast<int>(format)]; }

SparseFormat ParseSparseFormat(std::string_view name) {
  for (int i = 0; i < kSparseFormatCount; ++i) {
    if (name == kNames[i]) return static_cast<SparseFormat>(i);
  }
  Fail("sparse weights: unknown format '" + std::string(name) +
       "'; use csr, block1x4 or block16x4 with _f32 or _s8");
}

int64_t SparseBytes(const SparseShape& shape, int64_t blocks) { return SectionsOf(shape, blocks).end; }

int64_t CountBlocks(const SparseShape& shape, const std::byte* w) {
  SectionsOf(shape, 0);
  return IsFloat(shape.format) ? CountBlocksOf(shape, reinterpret_cast<const float*>(w))
                               : CountBlocksOf(shape, reinterpret_cast<const int8_t*>(w));
}

Memory PackSparse(const SparseShape& shape, const std::byte* w) {
  const int64_t blocks = CountBlocks(shape, w);
  const Sections at = SectionsOf(shape, blocks);
  Memory memory = Memory::Allocate(at.end);
  const SparseHeader header{kMagic,        kVersion,   static_cast<uint16_t>(shape.format),
                            shape.outputs, shape.taps, shape.channels,
                            blocks,        {}};
  std::memcpy(memory.data, &header, sizeof header);
  uint32_t* starts = reinterpret_cast<uint32_t*>(memory.data + at.starts);
  uint16_t* columns = reinterpret_cast<uint16_t*>(memory.data + at.columns);
  if (IsFloat(shape.format)) {
    FillBlocks(shape, reinterpret_cast<const float*>(w), starts, columns,
               reinterpret_cast<float*>(memory.data + at.values));
  } else {
    FillBlocks(shape, reinterpret_cast<const int8_t*>(w), starts, columns,
               reinterpret_cast<int8_t*>(memory.data + at.values));
  }
  return memory;
}

SparseWeights ParseSparse(std::span<const std::byte> packed) {
  SparseHeader header;
  Check(packed.size() >= sizeof header && reinterpret_cast<uintptr_t>(packed.data()) % kAlignment == 0,
        "sparse weights: too short or misaligned; the plan is damaged");
  std::memcpy(&header, packed.data(), sizeof header);
  Check(header.magic == kMagic && header.version == kVersion && header.format < kSparseFormatCount,
        "sparse weights: unknown header; the plan is damaged or of another version");
  SparseWeights p{};
  p.shape = {static_cast<SparseFormat>(header.format), header.outputs, header.taps, header.channels};
  p.blocks = header.blocks;
  const Sections at = SectionsOf(p.shape, p.blocks);
  Check(static_cast<int64_t>(packed.size()) == at.end,
        "sparse weights: the size does not fit the header; the plan is damaged");
  p.starts = reinterpret_cast<const uint32_t*>(packed.data() + at.starts);
  p.columns = reinterpret_cast<const uint16_t*>(packed.data() + at.columns);
  p.values = packed.data() + at.values;
  CheckIndices(p);
  return p;
}

void UnpackSparse(const SparseWeights& weights, std::byte* w) {
  const SparseShape& s = weights.shape;
  const int64_t elements = s.outputs * s.taps * s.channels;
  std::memset(w, 0, static_cast<size_t>(elements * (IsFloat(s.format) ? 4 : 1)));
  if (IsFloat(s.format)) {
    ScatterBlocks(weights, reinterpret_cast<float*>(w));
  } else {
    ScatterBlocks(weights, reinterpret_cast<int8_t*>(w));
  }
}

}  // namespace planish
