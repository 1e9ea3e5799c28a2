// Every sparse, codebook and low-bit kernel of the registry that this processor can run, against "reference",
// between guard pages: integers bit for bit, floats on whole numbers, which are exact too.
#include "compressed_test.h"

#include <cstdio>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "base/check.h"
#include "formats/codebook.h"
#include "formats/sparse.h"
#include "runtime/program.h"

namespace planish {
namespace {

std::mt19937 g_random(2);

int64_t Random(int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(g_random);
}

Memory Guarded(const void* data, size_t bytes, int64_t slack, int64_t alignment) {
  Memory m = Memory::AllocateGuarded(static_cast<int64_t>(bytes), slack, alignment);
  std::memcpy(m.data, data, bytes);
  return m;
}

template <class T>
Memory RandomArray(int64_t n, int64_t low, int64_t high) {
  std::vector<T> v(static_cast<size_t>(n));
  for (T& x : v) x = static_cast<T>(Random(low, high));
  return Guarded(v.data(), v.size() * sizeof(T), kTail - static_cast<int64_t>(sizeof(T)), 1);
}

View Matrix(int buffer, DType dtype, std::vector<int64_t> shape) {
  View v;
  v.buffer = buffer;
  v.dtype = dtype;
  v.rank = static_cast<int32_t>(shape.size());
  int64_t stride = ItemSize(dtype);
  for (size_t i = shape.size(); i-- > 0;) {
    v.shape[i] = shape[i];
    v.stride[i] = stride;
    stride *= shape[i];
  }
  return v;
}

struct Case {
  std::string family, prefix;  // the kernels are named prefix_...
  bool integer;
  int64_t rows, outputs, channels;
  Memory weights, x, bias, scale;
};

Case SparseCase(SparseFormat format, int64_t rows, int64_t outputs, int64_t channels) {
  const SparseShape shape{format, outputs, 1, channels};
  const int64_t n = outputs * channels, keep = Random(0, 3);
  Memory packed;
  if (IsFloat(format)) {
    std::vector<float> w(static_cast<size_t>(n));
    for (float& v : w) v = Random(0, 3) <= keep ? static_cast<float>(Random(-8, 8)) : 0;
    packed = PackSparse(shape, reinterpret_cast<const std::byte*>(w.data()));
  } else {
    std::vector<int8_t> w(static_cast<size_t>(n));
    for (int8_t& v : w) v = static_cast<int8_t>(Random(0, 3) <= keep ? Random(-128, 127) : 0);
    packed = PackSparse(shape, reinterpret_cast<const std::byte*>(w.data()));
  }
  return {
      "sparse_gemm", SparseFormatName(format), !IsFloat(format), rows, outputs, channels, packed, {}, {}, {}};
}

Case LookupCase(CodebookKind kind, int bits, int64_t rows, int64_t outputs, int64_t channels) {
  const bool affine = kind == CodebookKind::kAffine, grouped = Random(0, 1) == 1;
  const int64_t down = affine ? 1 : grouped ? 16 : outputs, across = grouped && channels > 32 ? 32 : channels;
  const CodebookShape shape{kind, bits, outputs, 1, channels, down, across};
  std::vector<uint8_t> indices(static_cast<size_t>(outputs * channels));
  for (uint8_t& i : indices) i = static_cast<uint8_t>(Random(0, (1 << bits) - 1));
  const int64_t entries = shape.tables_down() * shape.tables_across() * (affine ? 1 : shape.entries());
  const Memory tables = kind == CodebookKind::kS8 ? RandomArray<int8_t>(entries, -128, 127)
                                                  : RandomArray<float>(entries, -8, 8);
  const Memory packed = PackCodebook(shape, indices.data(), tables.data, nullptr);
  const std::string prefix = affine ? "nbit" : kind == CodebookKind::kS8 ? "codebook_s8" : "codebook_f32";
  return {affine ? "nbit_gemm" : "codebook_gemm",
          prefix,
          kind == CodebookKind::kS8,
          rows,
          outputs,
          channels,
          packed,
          {},
          {},
          {}};
}

void AddOperands(Case& c) {
  c.weights = Guarded(c.weights.data, static_cast<size_t>(c.weights.size), 0, kAlignment);
  const int64_t elements = c.rows * c.channels;
  c.x = c.integer ? RandomArray<uint8_t>(elements, 0, 255) : RandomArray<float>(elements, -8, 8);
  c.bias = c.integer ? RandomArray<int32_t>(c.outputs, -9999, 9999) : RandomArray<float>(c.outputs, -9, 9);
  std::vector<float> scale(static_cast<size_t>(c.outputs));
  for (float& s : scale) s = static_cast<float>(Random(1, 4000)) * 1e-6f;
  c.scale = Guarded(scale.data(), scale.size() * sizeof(float), kTail - static_cast<int64_t>(sizeof(float)), 1);
}

std::vector<std::byte> Run(const Case& c, const std::string& kernel, int threads) {
  ProgramOptions options;
  options.threads = threads;
  options.guard = true;
  Program program(options);
  Attrs attrs;
  attrs.Set("force", kernel);
  if (c.integer) attrs.Set("y_zero", std::vector<int64_t>{100});
  const View x = Matrix(program.AddConstant(c.x), c.integer ? DType::kU8 : DType::kF32, {c.rows, c.channels});
  const View w = Matrix(program.AddConstant(c.weights), DType::kU8, {c.weights.size});
  const View bias = Matrix(program.AddConstant(c.bias), c.integer ? DType::kS32 : DType::kF32, {c.outputs});
  std::vector<View> inputs{x, w, bias};
  if (c.integer) inputs.push_back(Matrix(program.AddConstant(c.scale), DType::kF32, {c.outputs}));
  const DType out = c.integer ? DType::kU8 : DType::kF32;
  const int64_t bytes = c.rows * c.outputs * ItemSize(out);
  program.Add(c.family, c.family, inputs, {Matrix(program.AddOutput(0, bytes), out, {c.rows, c.outputs})},
              attrs);
  program.Finalize();
  const Memory y = Memory::AllocateGuarded(bytes, 0, 1);
  std::byte* pointers[1] = {y.data};
  program.Run(nullptr, pointers);
  return {y.data, y.data + bytes};
}

std::vector<Case> AllCases() {
  std::vector<Case> cases;
  for (const int64_t rows : {1, 2, 7, 16, 33, 64, 65}) {
    for (const int64_t outputs : {1, 16, 33}) {
      const int64_t channels = std::vector<int64_t>{1, 4, 31, 64, 97, 160}[static_cast<size_t>(Random(0, 5))];
      for (int f = 0; f < kSparseFormatCount; ++f)
        cases.push_back(SparseCase(static_cast<SparseFormat>(f), rows, outputs, channels));
      for (const int bits : {2, 3, 4, 8}) {
        cases.push_back(LookupCase(CodebookKind::kF32, bits, rows, outputs, channels));
        if (bits != 8) cases.push_back(LookupCase(CodebookKind::kS8, bits, rows, outputs, channels));
        if (bits != 3) cases.push_back(LookupCase(CodebookKind::kAffine, bits, rows, outputs, channels));
      }
    }
  }
  for (Case& c : cases) AddOperands(c);
  return cases;
}

}  // namespace

int CheckCompressedKernels() {
  std::map<std::string, int> checked;
  int failures = 0;
  for (const Case& c : AllCases()) {
    const std::vector<std::byte> expected = Run(c, "reference", 1);
    for (const KernelInfo& k : AllKernels()) {
      const std::string name = k.name;
      if (c.family != k.family || name.rfind(c.prefix, 0) != 0 || !Usable(k.isa)) continue;
      for (const int threads : {1, 2}) {
        if (Run(c, name, threads) == expected) continue;
        std::printf("FAILED %s on %d threads: %dx%dx%d\n", name.c_str(), threads, static_cast<int>(c.rows),
                    static_cast<int>(c.outputs), static_cast<int>(c.channels));
        ++failures;
      }
      ++checked[c.family + " " + name];
    }
  }
  for (const auto& [name, count] : checked) std::printf("%-48s %d cases\n", name.c_str(), count);
  if (checked.empty()) {
    std::printf("FAILED: no compressed kernel was checked\n");
    return 1;
  }
  return failures;
}

}  // namespace planish
