// Every gemm, conv, winograd, dwconv and batch_matmul kernel of the registry that this processor can run, against
// "reference", between guard pages, at sizes around the edges of the vectors: integers bit for bit, floats on
// whole numbers, which are exact too. Plain C++, so that it also runs under an emulator and under sanitizers,
// without Python.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "base/check.h"
#include "compressed_test.h"
#include "formats/dense.h"
#include "formats/winograd.h"
#include "runtime/program.h"

namespace planish {
namespace {

std::mt19937 g_random(1);

int64_t Random(int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(g_random);
}

template <class T>
std::vector<T> RandomVector(int64_t n, int64_t low, int64_t high) {
  std::vector<T> v(static_cast<size_t>(n));
  for (T& x : v) x = static_cast<T>(Random(low, high));
  return v;
}

struct Case {
  std::string family;
  bool u8;
  DType output;
  std::vector<int64_t> x_shape, y_shape;
  int64_t taps = 1, groups = 1;
  bool weight_zero = false;
  std::map<std::string, std::vector<int64_t>> attrs;
  int weight_limit = 128;  // the largest |weight| of u8 × s8
  bool bf16 = false;       // float32 × bfloat16
};

// Kernels on pairs take only weights that cannot saturate 16 bits.
int WeightLimit(const std::string& kernel) {
  return kernel.size() > 6 && kernel.compare(kernel.size() - 6, 6, "_pairs") == 0 ? 64 : 128;
}

std::string Name(const Case& c) {
  std::string s = c.family +
                  (c.u8     ? " uint8 → "
                   : c.bf16 ? " float32 × bfloat16 → "
                            : " float32 → ") +
                  DTypeName(c.output) + " x";
  const auto append = [&](const std::vector<int64_t>& values) {
    for (const int64_t v : values) s.append(1, ' ').append(std::to_string(v));
  };
  append(c.x_shape);
  s += " y";
  append(c.y_shape);
  for (const auto& [name, values] : c.attrs) {
    s.append(1, ' ').append(name);
    append(values);
  }
  return s;
}

View Contiguous(int buffer, DType dtype, const std::vector<int64_t>& shape) {
  View v;
  v.buffer = buffer;
  v.dtype = dtype;
  v.rank = static_cast<int32_t>(shape.size());
  int64_t stride = ItemSize(dtype);
  for (int i = v.rank - 1; i >= 0; --i) {
    v.shape[static_cast<size_t>(i)] = shape[static_cast<size_t>(i)];
    v.stride[static_cast<size_t>(i)] = stride;
    stride *= shape[static_cast<size_t>(i)];
  }
  return v;
}

int64_t Count(const std::vector<int64_t>& shape) {
  int64_t n = 1;
  for (const int64_t d : shape) n *= d;
  return n;
}

// The operands of a case, between guard pages.
class Operands {
 public:
  explicit Operands(const Case& c) {
    const int64_t n = c.y_shape.back(), depth = c.x_shape.back() / c.groups;
    AddArray(c.u8 ? Bytes(RandomVector<uint8_t>(Count(c.x_shape), 0, 255))
                  : Bytes(RandomVector<float>(Count(c.x_shape), -8, 8)),
             c.u8 ? DType::kU8 : DType::kF32, c.x_shape, true);
    if (c.family == "batch_matmul") {
      std::vector<int64_t> shape = c.x_shape;
      shape[shape.size() - 2] = c.x_shape.back();
      shape.back() = n;
      AddArray(c.u8 ? Bytes(RandomVector<uint8_t>(Count(shape), 0, 255))
                    : Bytes(RandomVector<float>(Count(shape), -8, 8)),
               c.u8 ? DType::kU8 : DType::kF32, shape, true);
      return;
    }
    AddWeights(c, n, depth);
    AddArray(c.u8 ? Bytes(RandomVector<int32_t>(n, -9999, 9999)) : Bytes(RandomVector<float>(n, -9, 9)),
             c.u8 ? DType::kS32 : DType::kF32, {n}, true);
    if (!c.u8) return;
    std::vector<float> scale;
    for (int64_t i = 0; i < n; ++i) scale.push_back(static_cast<float>(Random(1, 4000)) * 1e-6f);
    if (c.output == DType::kS32) {
      memories_.emplace_back();
      views_.emplace_back();
    } else {
      AddArray(Bytes(scale), DType::kF32, {n}, true);
    }
    if (c.weight_zero) AddArray(Bytes(RandomVector<int32_t>(n, -128, 127)), DType::kS32, {n}, true);
  }

  std::vector<View> Declare(Program& program) const {
    std::vector<View> views = views_;
    for (size_t i = 0; i < views.size(); ++i) {
      if (memories_[i].data) views[i].buffer = program.AddConstant(memories_[i]);
    }
    return views;
  }

 private:
  using Block = std::vector<std::byte>;

  template <class T>
  static Block Bytes(const std::vector<T>& v) {
    Block b(v.size() * sizeof(T));
    if (!b.empty()) std::memcpy(b.data(), v.data(), b.size());
    return b;
  }

  // What may be read past its end ends in front of an unreadable page; items are aligned as in any tensor.
  void AddArray(const Block& bytes, DType dtype, const std::vector<int64_t>& shape, bool tail,
                int64_t alignment = 1) {
    const int64_t slack = tail ? kTail - ItemSize(dtype) : 0;
    Memory m = Memory::AllocateGuarded(static_cast<int64_t>(bytes.size()), slack, alignment);
    if (!bytes.empty()) std::memcpy(m.data, bytes.data(), bytes.size());
    memories_.push_back(m);
    views_.push_back(Contiguous(0, dtype, shape));
  }

  void AddWeights(const Case& c, int64_t n, int64_t depth) {
    const DenseShape shape =
        c.family == "winograd" ? DenseShape{16 * n, 1, depth, 16} : DenseShape{n, c.taps, depth, c.groups};
    Memory packed;
    if (c.family == "dwconv" && c.u8) {
      packed = PackDepthwiseS16(RandomVector<int16_t>(n * c.taps, -128, 127).data(), n, c.taps);
    } else if (c.family == "dwconv") {
      packed = PackDepthwiseF32(RandomVector<float>(n * c.taps, -8, 8).data(), n, c.taps);
    } else if (c.family == "winograd" && c.u8) {
      const int64_t bytes = BytesWinogradS16(n, depth);
      const std::vector<int16_t> w = RandomVector<int16_t>(bytes / 2, -1152, 1152);
      packed = Memory::Allocate(bytes);
      std::memcpy(packed.data, w.data(), static_cast<size_t>(bytes));
    } else if (c.u8) {
      packed = PackDenseS8(
          RandomVector<int8_t>(n * c.taps * depth, -c.weight_limit, c.weight_limit - 1).data(), shape);
    } else {
      const std::vector<float> w = RandomVector<float>(shape.outputs * shape.taps * depth, -8, 8);
      packed = c.bf16 ? PackDenseBf16(w.data(), shape) : PackDenseF32(w.data(), shape);
    }
    AddArray(Bytes(std::vector<std::byte>(packed.data, packed.data + packed.size)), DType::kU8, {packed.size},
             0, kAlignment);
  }

  std::vector<Memory> memories_;
  std::vector<View> views_;
};

std::vector<std::byte> Run(const Case& c, const Operands& operands, const std::string& kernel, int threads) {
  ProgramOptions options;
  options.threads = threads;
  options.guard = true;
  Program program(options);
  Attrs attrs;
  for (const auto& [name, values] : c.attrs) attrs.Set(name, values);
  attrs.Set("force", kernel);
  if (c.u8) {
    attrs.Set(c.family == "batch_matmul" ? "lhs_zero" : "x_zero", std::vector<int64_t>{113});
    if (c.family == "batch_matmul" && c.output != DType::kS32) attrs.Set("scale", std::vector<double>{0.001});
    if (c.output == DType::kU8) attrs.Set("y_zero", std::vector<int64_t>{100});
    if (c.output == DType::kU8) attrs.Set("lo", std::vector<int64_t>{3});
  } else {
    attrs.Set("lo", std::vector<double>{-100});
    if (c.bf16) attrs.Set("bf16", std::vector<int64_t>{1});
  }
  if (c.groups > 1) attrs.Set("groups", std::vector<int64_t>{c.groups});
  const std::vector<View> inputs = operands.Declare(program);
  const int64_t bytes = Count(c.y_shape) * ItemSize(c.output);
  const View y = Contiguous(program.AddOutput(0, bytes), c.output, c.y_shape);
  program.Add(c.family, c.family, inputs, {y}, attrs);
  program.Finalize();
  const Memory out = Memory::AllocateGuarded(bytes, 0, 1);
  std::byte* pointers[1] = {out.data};
  program.Run(nullptr, pointers);
  return {out.data, out.data + bytes};
}

std::vector<Case> MatrixCases() {
  std::vector<Case> cases;
  for (const int64_t m : {1, 2, 3, 5, 8, 14, 15, 16, 17, 31, 32, 33, 49}) {
    for (const int64_t n : {1, 15, 16, 17, 31, 33, 50, 129}) {
      const int64_t k = std::vector<int64_t>{1, 3, 4, 16, 63, 64, 65, 129}[static_cast<size_t>(Random(0, 7))];
      cases.push_back({"gemm", false, DType::kF32, {m, k}, {m, n}, 1, 1, false, {}});
      for (const DType output : {DType::kU8, DType::kF32, DType::kS32}) {
        cases.push_back({"gemm", true, output, {m, k}, {m, n}, 1, 1, Random(0, 1) == 1, {}});
      }
      cases.push_back({"batch_matmul", false, DType::kF32, {2, m, k}, {2, m, n}, 1, 1, false, {}});
      cases.push_back(
          {"batch_matmul", true, DType::kU8, {2, m, k}, {2, m, n}, 1, 1, false, {{"rhs_zero", {9}}}});
    }
  }
  return cases;
}

std::vector<Case> ConvolutionCases() {
  std::vector<Case> cases;
  for (const int64_t c : {1, 3, 4, 8, 15, 16, 17, 33, 63, 64, 65, 130}) {
    for (const bool u8 : {false, true}) {
      const DType y = u8 ? DType::kU8 : DType::kF32;
      const std::map<std::string, std::vector<int64_t>> same{{"kernel", {3, 3}}, {"pads", {1, 1, 1, 1}}};
      const std::map<std::string, std::vector<int64_t>> halved{
          {"kernel", {3, 3}}, {"pads", {1, 1, 1, 1}}, {"strides", {2, 2}}};
      cases.push_back({"conv", u8, y, {1, 7, 9, c}, {1, 7, 9, 33}, 9, 1, u8, same});
      cases.push_back({"conv", u8, y, {2, 7, 9, c}, {2, 4, 5, 20}, 9, 1, u8, halved});
      cases.push_back({"conv", u8, y, {1, 40, 2 * c}, {1, 38, 34}, 3, 2, u8, {{"kernel", {3}}}});
      cases.push_back({"conv",
                       u8,
                       y,
                       {1, 4, 4, c},
                       {1, 8, 8, 18},
                       4,
                       1,
                       u8,
                       {{"kernel", {2, 2}}, {"strides", {2, 2}}, {"transposed", {1}}}});
      cases.push_back({"dwconv", u8, y, {1, 7, 9, c}, {1, 7, 9, c}, 9, 1, false, same});
      cases.push_back({"dwconv", u8, y, {1, 7, 37, c}, {1, 4, 19, c}, 9, 1, false, halved});
      cases.push_back({"dwconv", u8, y, {1, 9, 9, c}, {1, 5, 5, c}, 25, 1, false, {{"kernel", {5, 5}}}});
    }
    for (const DType y : {DType::kF32, DType::kU8, DType::kS32}) {
      const std::map<std::string, std::vector<int64_t>> same{{"pads", {1, 1, 1, 1}}};
      for (const bool u8 : {false, true}) {
        if (!u8 && y != DType::kF32) continue;
        cases.push_back({"winograd", u8, y, {1, 7, 9, c}, {1, 7, 9, 33}, 1, 1, false, same});
        cases.push_back({"winograd", u8, y, {2, 12, 8, c}, {2, 10, 6, 20}, 1, 1, false, {}});
        cases.push_back({"winograd", u8, y, {1, 3, 4, 33}, {1, 1, 2, c}, 1, 1, false, {}});
      }
    }
  }
  return cases;
}

// Runs the case on every kernel that takes its weights; returns the number of failures.
int CheckCase(const Case& c, std::map<std::string, int>& checked) {
  const Operands operands(c);
  const std::vector<std::byte> expected = Run(c, operands, "reference", 1);
  int failures = 0;
  for (const KernelInfo& k : AllKernels()) {
    const std::string name = k.name;
    const char* types = c.u8 ? "u8" : c.bf16 ? "bf16" : "f32";
    if (c.family != k.family || !Usable(k.isa) || name.rfind(types, 0) != 0 ||
        WeightLimit(name) != c.weight_limit)
      continue;
    for (const int threads : {1, 2}) {
      if (Run(c, operands, name, threads) != expected) {
        std::printf("FAILED %s on %d threads: %s\n", name.c_str(), threads, Name(c).c_str());
        ++failures;
      }
    }
    ++checked[c.family + " " + name];
  }
  return failures;
}

int RunAll() {
  std::vector<Case> cases = MatrixCases();
  for (const Case& c : ConvolutionCases()) cases.push_back(c);
  std::map<std::string, int> checked;
  int failures = 0;
  for (Case c : cases) {
    for (c.weight_limit = 128; c.weight_limit >= 64; c.weight_limit /= 2) failures += CheckCase(c, checked);
    c.weight_limit = 128;
    c.bf16 = !c.u8 && (c.family == "gemm" || c.family == "conv");
    if (c.bf16) failures += CheckCase(c, checked);
  }
  for (const KernelInfo& k : AllKernels()) {
    const std::string name = std::string(k.family) + " " + k.name;
    const bool tested =
        std::any_of(cases.begin(), cases.end(), [&](const Case& c) { return c.family == k.family; });
    if (!tested || std::strcmp(k.name, "reference") == 0) continue;
    if (checked.count(name)) {
      std::printf("%-32s %d cases\n", name.c_str(), checked[name]);
    } else if (!Usable(k.isa)) {
      std::printf("%-32s skipped: this processor lacks %s\n", name.c_str(), IsaName(k.isa));
    }
  }
  if (checked.empty()) {
    std::printf("FAILED: no kernel was checked\n");
    return 1;
  }
  std::printf(failures ? "%d failures\n" : "all equal\n", failures);
  return failures ? 1 : 0;
}

}  // namespace
}  // namespace planish

int main() {
  try {
    const int dense = planish::RunAll();
    return planish::CheckCompressedKernels() > 0 ? 1 : dense;
  } catch (const planish::Error& e) {
    std::printf("FAILED: %s\n", e.what());
    return 1;
  }
}
