// Packing of sparse and codebook weights: planish._core.pack_sparse, pack_codebook and relatives.
#include "base/check.h"
#include "bind/bind.h"
#include "formats/codebook.h"
#include "formats/sparse.h"
#include "kernels/tiled/cost.h"

namespace py = pybind11;

namespace planish {
namespace {

std::span<const std::byte> Bytes(const Memory& m) { return {m.data, static_cast<size_t>(m.size)}; }

const std::byte* Data(const py::array& a, DType dtype, int rank) {
  if (!(a.flags() & py::array::c_style) || DTypeOf(a) != dtype || a.ndim() != rank) {
    Fail("packing: expected a C-contiguous " + std::string(DTypeName(dtype)) + " array of rank " +
         std::to_string(rank) + "; convert it");
  }
  return static_cast<const std::byte*>(a.data());
}

SparseShape ShapeOf(SparseFormat format, const py::array& w) {
  return {format, w.shape(0), w.shape(1), w.shape(2)};
}

const std::byte* SparseData(SparseFormat format, const py::array& w) {
  return Data(w, IsFloat(format) ? DType::kF32 : DType::kS8, 3);
}

py::array Unpacked(const Memory& memory) {
  const SparseWeights p = ParseSparse(Bytes(memory));
  const std::vector<int64_t> shape{p.shape.outputs, p.shape.taps, p.shape.channels};
  py::array w(IsFloat(p.shape.format) ? py::dtype::of<float>() : py::dtype::of<int8_t>(), shape);
  UnpackSparse(p, static_cast<std::byte*>(w.mutable_data()));
  return w;
}

// One table for everything (rank 1), or one per output group and column group (rank 3).
CodebookShape ShapeOf(CodebookKind kind, int bits, const py::array& indices, const py::array& tables,
                      int64_t table_outputs, int64_t table_columns) {
  CodebookShape s{kind,          bits,         indices.shape(0), indices.shape(1), indices.shape(2),
                  table_outputs, table_columns};
  if (table_outputs <= 0) s.table_outputs = s.outputs;
  if (table_columns <= 0) s.table_columns = s.taps * s.channels;
  CodebookBytes(s, false);
  const bool affine = kind == CodebookKind::kAffine;
  const bool fits = tables.ndim() == (affine ? 2 : 3) && tables.shape(0) == s.tables_down() &&
                    tables.shape(1) == s.tables_across() && (affine || tables.shape(2) == s.entries());
  Check(fits,
        "packing: the tables do not match the weights; give [output groups, column groups, 2^bits] (affine: "
        "scales [outputs, blocks])");
  return s;
}

Memory PackTables(const py::array& indices, const py::array& tables, int bits, int64_t table_outputs,
                  int64_t table_columns) {
  const uint8_t* i = reinterpret_cast<const uint8_t*>(Data(indices, DType::kU8, 3));
  const bool integer = DTypeOf(tables) == DType::kS8;
  const std::byte* t = Data(tables, integer ? DType::kS8 : DType::kF32, 3);
  return PackCodebook(ShapeOf(integer ? CodebookKind::kS8 : CodebookKind::kF32, bits, indices, tables,
                              table_outputs, table_columns),
                      i, t, nullptr);
}

Memory PackAffine(const py::array& indices, const py::array& scales, const py::object& zeros, int bits,
                  int64_t block) {
  const uint8_t* i = reinterpret_cast<const uint8_t*>(Data(indices, DType::kU8, 3));
  const std::byte* s = Data(scales, DType::kF32, 2);
  const CodebookShape shape = ShapeOf(CodebookKind::kAffine, bits, indices, scales, 1, block);
  const uint8_t* z = nullptr;
  if (!zeros.is_none()) {
    const auto a = py::reinterpret_borrow<py::array>(zeros);
    z = reinterpret_cast<const uint8_t*>(Data(a, DType::kU8, 2));
    Check(a.shape(0) == scales.shape(0) && a.shape(1) == scales.shape(1),
          "packing: scales and zero points differ in shape");
  }
  return PackCodebook(shape, i, s, z);
}

py::tuple UnpackCodebook(const Memory& memory) {
  const CodebookWeights w = ParseCodebook(Bytes(memory));
  const CodebookShape& s = w.shape;
  py::array_t<uint8_t> indices(std::vector<int64_t>{s.outputs, s.taps, s.channels});
  UnpackIndices(w, indices.mutable_data());
  std::vector<int64_t> dims{s.tables_down(), s.tables_across()};
  py::object zeros = py::none();
  uint8_t* z = nullptr;
  if (w.zeros) {
    py::array_t<uint8_t> a(dims);
    z = a.mutable_data();
    zeros = a;
  }
  if (s.kind != CodebookKind::kAffine) dims.push_back(s.entries());
  py::array tables(s.kind == CodebookKind::kS8 ? py::dtype::of<int8_t>() : py::dtype::of<float>(), dims);
  UnpackTables(w, static_cast<std::byte*>(tables.mutable_data()), z);
  return py::make_tuple(indices, tables, zeros);
}

CodebookKind ParseKind(const std::string& kind) {
  Check(kind == "f32" || kind == "s8" || kind == "affine",
        "codebook weights: unknown kind; use f32, s8 or affine");
  return kind == "f32" ? CodebookKind::kF32 : kind == "s8" ? CodebookKind::kS8 : CodebookKind::kAffine;
}

std::pair<bool, double> Verdict(double ratio) { return {ratio >= kWorthwhile, ratio}; }

LayerShape Layer(int64_t m, int64_t n, int64_t k, int64_t taps, bool winograd) {
  Check(m >= 0 && n > 0 && k > 0 && taps > 0, "layer: dimensions must be positive");
  return {m, n, taps, k, winograd};
}

}  // namespace

void BindSparse(py::module_& m) {
  m.def(
      "pack_sparse",
      [](const py::array& w, const std::string& format) {
        const SparseFormat f = ParseSparseFormat(format);
        const std::byte* data = SparseData(f, w);
        return PackSparse(ShapeOf(f, w), data);
      },
      py::arg("w"), py::arg("format"),
      "Packs w[outputs, taps, channels] (float32 for *_f32, int8 for *_s8) as csr, block1x4 or block16x4; "
      "blocks of zeros only are dropped.");
  m.def("unpack_sparse", &Unpacked, py::arg("memory"), "The inverse of pack_sparse; validates every index.");
  m.def(
      "sparse_size",
      [](const std::string& format, int64_t outputs, int64_t taps, int64_t channels, int64_t blocks) {
        return SparseBytes({ParseSparseFormat(format), outputs, taps, channels}, blocks);
      },
      py::arg("format"), py::arg("outputs"), py::arg("taps"), py::arg("channels"), py::arg("blocks"),
      "The packed size in bytes.");
  m.def(
      "count_blocks",
      [](const py::array& w, const std::string& format) {
        const SparseFormat f = ParseSparseFormat(format);
        const std::byte* data = SparseData(f, w);
        return CountBlocks(ShapeOf(f, w), data);
      },
      py::arg("w"), py::arg("format"), "The number of blocks with a nonzero that pack_sparse would keep.");
  m.def("pack_codebook", &PackTables, py::arg("indices"), py::arg("tables"), py::arg("bits"),
        py::arg("table_outputs") = 0, py::arg("table_columns") = 0,
        "Packs indices uint8[outputs, taps, channels] into tables float32 or int8 [output groups, column "
        "groups, 2^bits]. A group covers "
        "table_outputs outputs and table_columns columns (0: all; fewer columns than taps * channels only "
        "where taps is 1).");
  m.def("pack_affine", &PackAffine, py::arg("indices"), py::arg("scales"), py::arg("zeros"), py::arg("bits"),
        py::arg("block") = 0,
        "Packs w = (indices - zero) * scale: indices uint8[outputs, taps, channels], scales float32[outputs, "
        "blocks], zeros None (2^(bits-1)) "
        "or uint8[outputs, blocks]; a block has `block` columns (0: all).");
  m.def("unpack_codebook", &UnpackCodebook, py::arg("memory"),
        "The inverse of pack_codebook and pack_affine: (indices, tables or scales, zeros or None).");
  m.def(
      "codebook_size",
      [](const std::string& kind, int bits, int64_t outputs, int64_t taps, int64_t channels,
         int64_t table_outputs, int64_t table_columns, bool zeros) {
        return CodebookBytes(
            {ParseKind(kind), bits, outputs, taps, channels, table_outputs > 0 ? table_outputs : outputs,
             table_columns > 0 ? table_columns : taps * channels},
            zeros);
      },
      py::arg("kind"), py::arg("bits"), py::arg("outputs"), py::arg("taps"), py::arg("channels"),
      py::arg("table_outputs") = 0, py::arg("table_columns") = 0, py::arg("zeros") = false,
      "The packed size in bytes.");
  m.def(
      "sparse_pays",
      [](const std::string& format, int64_t M, int64_t N, int64_t K, int64_t taps, double density,
         bool winograd) {
        return Verdict(PredictSparse(ParseSparseFormat(format), Layer(M, N, K, taps, winograd), density));
      },
      py::arg("format"), py::arg("M"), py::arg("N"), py::arg("K"), py::arg("taps"), py::arg("density"),
      py::arg("winograd") = false,
      "(whether it pays, predicted speed-up) of sparse weights over dense ones, on the instruction sets "
      "usable now. M pixels, N outputs, "
      "K channels a tap; density: the part of the format's blocks that is kept; winograd: whether dense "
      "weights "
      "would take that form. Deterministic.");
  m.def(
      "codebook_pays",
      [](const std::string& kind, int bits, int64_t M, int64_t N, int64_t K, int64_t taps, bool shared,
         bool winograd) {
        return Verdict(PredictCodebook(ParseKind(kind), bits, Layer(M, N, K, taps, winograd), shared));
      },
      py::arg("kind"), py::arg("bits"), py::arg("M"), py::arg("N"), py::arg("K"), py::arg("taps") = 1,
      py::arg("shared") = true, py::arg("winograd") = false,
      "As sparse_pays, for codebook (f32, s8) and affine weights against dense weights of the activations' "
      "type. shared: whether groups of "
      "16 outputs share their tables (affine: always).");
}

}  // namespace planish
