// Portable codebook panels: decoding for any grouping of tables, and loops of 16 outputs that compilers
// vectorise.
#include <cstring>

#include "kernels/codebook/decode.h"
#include "kernels/tiled/portable.h"

namespace planish {
namespace {

constexpr int kLanes = kPanelOutputs;

// Walks over the columns of a panel, keeping what they share at hand: the words of the granule, the tables of the outputs.
class Walk {
 public:
  Walk(const CodebookPanels& w, int64_t group, int64_t first)
      : w_(w), group_(group), k_(first), i_(first % w.granule), words_(GranuleOf(w, group, first)) {
    FindTables();
  }

  uint32_t Index(int j) const {
    if (w_.bits != 3) return words_[j] >> FieldShift(i_, w_.bits) & static_cast<uint32_t>(w_.entries - 1);
    const uint32_t high = words_[2 * kLanes + j] >> FieldShift(i_, 1) & 1;
    return (words_[i_ / 16 * kLanes + j] >> FieldShift(i_ % 16, 2) & 3) | high << 2;
  }

  // The table of entries of output j, for codebooks.
  const std::byte* Table(int j) const { return tables_[j]; }

  // Where the panel's scales and zeros lie, for affine weights.
  int64_t Block() const { return block_; }

  void Next() {
    ++k_;
    if (++i_ == w_.granule) {
      i_ = 0;
      words_ += w_.words * kLanes;
    }
    if (k_ == end_) FindTables();
  }

 private:
  void FindTables() {
    end_ = TableEnd(w_, k_);
    block_ = (group_ * w_.tables_across + TableAcross(w_, k_)) * kLanes;
    for (int j = 0; j < kLanes && !w_.affine; ++j) tables_[j] = TableOf(w_, group_ * kLanes + j, k_);
  }

  const CodebookPanels& w_;
  int64_t group_, k_, i_;
  const uint32_t* words_;
  int64_t end_ = 0, block_ = 0;
  const std::byte* tables_[kLanes];
};

int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

// sums += w[count][16] times the rows of x.
void MultiplyFloat(const float* w, const uint32_t* rows, int64_t count, const Tile& tile, uint32_t* sums) {
  const float* x = reinterpret_cast<const float*>(rows);
  for (int64_t p = 0; p < tile.pixels; ++p) {
    auto acc = Lanes16<Floats4>::Load(sums + p * kLanes);
    for (int64_t k = 0; k < count; ++k)
      acc.Add(Lanes16<Floats4>::Load(w + k * kLanes), x[k * tile.capacity + p]);
    acc.Store(sums + p * kLanes);
  }
}

// sums += w[count][16][4] times the rows of x.
void MultiplyInteger(const int8_t* w, const uint32_t* rows, int64_t count, const Tile& tile, uint32_t* sums) {
  for (int64_t p = 0; p < tile.pixels; ++p) {
    auto acc = Lanes16<Words4>::Load(sums + p * kLanes);
    for (int64_t q = 0; q < count; ++q) {
      const uint32_t x = rows[q * tile.capacity + p];
      const auto words = Lanes16<Words4>::Load(w + q * kLanes * 4);
      for (int l = 0; l < 4; ++l) acc.Add(SignedBytes(words, l), x >> 8 * l & 255);
    }
    acc.Store(sums + p * kLanes);
  }
}

void PanelFloat(const void* weights, int64_t group, const Tile& tile, uint32_t* sums, std::byte* work) {
  const CodebookPanels& w = *static_cast<const CodebookPanels*>(weights);
  float* decoded = reinterpret_cast<float*>(work);
  std::memset(sums, 0, static_cast<size_t>(tile.pixels) * kLanes * 4);
  for (int64_t k = 0; k < w.columns; k += kDecodeColumns) {
    const int64_t count = Least(kDecodeColumns, w.columns - k);
    DecodeFloatPortable(w, group, k, count, decoded);
    MultiplyFloat(decoded, tile.words + k * tile.capacity, count, tile, sums);
  }
}

}  // namespace

void DecodeFloatPortable(const CodebookPanels& w, int64_t group, int64_t first, int64_t count, float* out) {
  Walk walk(w, group, first);
  for (int64_t c = 0; c < count; ++c, walk.Next(), out += kLanes) {
    if (!w.affine) {
      for (int j = 0; j < kLanes; ++j) out[j] = reinterpret_cast<const float*>(walk.Table(j))[walk.Index(j)];
      continue;
    }
    const float* scales = reinterpret_cast<const float*>(w.tables) + walk.Block();
    for (int j = 0; j < kLanes; ++j) {
      const int zero = w.zeros ? w.zeros[walk.Block() + j] : static_cast<int>(w.entries / 2);
      out[j] = static_cast<float>(static_cast<int>(walk.Index(j)) - zero) * scales[j];
    }
  }
}

void DecodeIntegerPortable(const CodebookPanels& w, int64_t group, int64_t first, int64_t count,
                           int8_t* out) {
  Walk walk(w, group, first);
  for (int64_t c = 0; c < count; ++c, walk.Next()) {
    int8_t* quad = out + c / 4 * kLanes * 4 + c % 4;
    for (int j = 0; j < kLanes; ++j) quad[j * 4] = static_cast<int8_t>(walk.Table(j)[walk.Index(j)]);
  }
}

void CodebookScalarFloat(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte* work) {
  PanelFloat(w, g, t, sums, work);
}
void NbitScalar(const void* w, int64_t g, const Tile& t, uint32_t* sums, std::byte* work) {
  PanelFloat(w, g, t, sums, work);
}

void CodebookScalarInteger(const void* weights, int64_t group, const Tile& tile, uint32_t* sums,
                           std::byte* work) {
  const CodebookPanels& w = *static_cast<const CodebookPanels*>(weights);
  int8_t* decoded = reinterpret_cast<int8_t*>(work);
  std::memset(sums, 0, static_cast<size_t>(tile.pixels) * kLanes * 4);
  for (int64_t k = 0; k < w.columns; k += kDecodeColumns) {
    const int64_t count = Least(kDecodeColumns, w.columns - k);
    DecodeIntegerPortable(w, group, k, count, decoded);
    MultiplyInteger(decoded, tile.words + k / 4 * tile.capacity, count / 4, tile, sums);
  }
}

}  // namespace planish
