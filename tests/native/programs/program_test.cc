// Programs of several steps, run from many threads at once while others are built and dropped: right results, errors of
// one run that no other sees, and, under the thread sanitizer, no race in the runtime, the pool or the kernels.
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "formats/dense.h"
#include "runtime/program.h"

namespace planish {
namespace {

constexpr int kCallers = 8, kRuns = 12;  // of one Program
constexpr int kBuilders = 3, kBuilds = 6;
constexpr int kThreads = 3;  // of a run
constexpr unsigned kSeconds = 500;  // a run that hangs is killed by SIGALRM

constexpr int64_t kSide = 64, kDepth = 4, kChannels = 32, kClasses = 10;
constexpr int64_t kPixels = kSide * kSide;  // enough that element-wise steps are shared among threads

View Contiguous(int buffer, DType dtype, const std::vector<int64_t>& shape) {
  View v;
  v.buffer = buffer;
  v.dtype = dtype;
  v.rank = static_cast<int32_t>(shape.size());
  int64_t stride = ItemSize(dtype);
  for (size_t i = shape.size(); i-- > 0; stride *= shape[i]) {
    v.shape[i] = shape[i];
    v.stride[i] = stride;
  }
  return v;
}

float Number(int64_t i) { return static_cast<float>(i * 37 % 101 - 50) / 32; }

std::vector<float> Numbers(int64_t count, int64_t first) {
  std::vector<float> v;
  for (int64_t i = 0; i < count; ++i) v.push_back(Number(first + i));
  return v;
}

// What Programs share, as the sessions of a process share nothing but one session's runs share its weights.
struct Weights {
  Memory window = PackDenseF32(Numbers(kChannels * 9 * kDepth, 1).data(), {kChannels, 9, kDepth, 1});
  Memory classes = PackDenseF32(Numbers(kClasses * kChannels, 2).data(), {kClasses, 1, kChannels, 1});
};

Attrs Named(const char* name, Attrs::Value value) {
  Attrs attrs;
  attrs.Set(name, std::move(value));
  return attrs;
}

// x [1, side, side, depth], rows [1] (int64) -> probabilities [1, classes]:
// softmax(mean(maxpool(sigmoid(c) + c))[rows] . classes), c = relu(conv(x))
std::unique_ptr<Program> Build(const Weights& weights) {
  ProgramOptions options;
  options.threads = kThreads;
  auto program = std::make_unique<Program>(options);
  const auto tensor = [&](const std::vector<int64_t>& shape) {
    View v = Contiguous(0, DType::kF32, shape);
    v.buffer = program->AddArena(v.elements() * 4);
    return v;
  };
  const auto constant = [&](const Memory& m) { return Contiguous(program->AddConstant(m), DType::kU8, {m.size}); };
  const View given = Contiguous(program->AddInput(0, kPixels * kDepth * 4), DType::kF32, {1, kSide, kSide, kDepth});
  const View row = Contiguous(program->AddInput(1, 8), DType::kS64, {1});
  const View result = Contiguous(program->AddOutput(0, kClasses * 4), DType::kF32, {1, kClasses});
  const View x = tensor({1, kSide, kSide, kDepth}), c = tensor({1, kSide, kSide, kChannels});
  const View s = tensor({1, kSide, kSide, kChannels}), sum = tensor({1, kSide, kSide, kChannels});
  const View pooled = tensor({1, kSide / 2, kSide / 2, kChannels}), mean = tensor({1, 1, 1, kChannels});
  const View chosen = tensor({1, 1, 1, kChannels}), scores = tensor({1, kClasses});
  program->Add("copy", "copy", {given}, {x}, {});
  Attrs window = Named("kernel", std::vector<int64_t>{3, 3});
  window.Set("pads", std::vector<int64_t>{1, 1, 1, 1});
  window.Set("lo", std::vector<double>{0});
  program->Add("conv", "conv", {x, constant(weights.window)}, {c}, window);
  program->Add("sigmoid", "unary", {c}, {s}, Named("op", "sigmoid"));
  program->Add("add", "binary", {s, c}, {sum}, Named("op", "add"));
  Attrs pool = Named("op", "max");
  pool.Set("kernel", std::vector<int64_t>{2, 2});
  pool.Set("strides", std::vector<int64_t>{2, 2});
  program->Add("pool", "pool", {sum}, {pooled}, pool);
  Attrs reduce = Named("op", "mean");
  reduce.Set("axes", std::vector<int64_t>{1, 2});
  program->Add("mean", "reduce", {pooled}, {mean}, reduce);
  program->Add("gather", "gather", {mean, row}, {chosen}, Named("axis", std::vector<int64_t>{0}));
  const View rows = Contiguous(chosen.buffer, DType::kF32, {1, kChannels});
  program->Add("classes", "gemm", {rows, constant(weights.classes)}, {scores}, {});
  program->Add("softmax", "softmax", {scores}, {result}, Named("axis", std::vector<int64_t>{1}));
  program->Finalize();
  return program;
}

struct Input {
  std::vector<float> x;
  int64_t row;  // 0 exists, others are an error
};

// The probabilities, or nothing where the run fails.
std::vector<float> RunOnce(const Program& program, Input input) {
  std::vector<float> result(kClasses);
  std::byte* inputs[] = {reinterpret_cast<std::byte*>(input.x.data()), reinterpret_cast<std::byte*>(&input.row)};
  std::byte* outputs[] = {reinterpret_cast<std::byte*>(result.data())};
  try {
    program.Run(inputs, outputs);
  } catch (const Error&) {
    return {};
  }
  return result;
}

int RunAll() {
  alarm(kSeconds);
  setenv("PLANISH_NUM_THREADS", "4", 1);  // workers even on one processor
  const Weights weights;
  const std::unique_ptr<Program> shared = Build(weights);
  std::vector<Input> inputs;
  for (int64_t i = 0; i < 3; ++i) inputs.push_back({Numbers(kPixels * kDepth, i), i == 2 ? 7 : 0});
  std::vector<std::vector<float>> expected;
  for (const Input& input : inputs) expected.push_back(RunOnce(*shared, input));
  if (expected[0].empty() || expected[1].empty() || !expected[2].empty() || expected[0] == expected[1]) {
    std::printf("FAILED: the first runs\n");
    return 1;
  }
  std::atomic<int> wrong{0};
  const auto check = [&](const Program& program, size_t at) {
    if (RunOnce(program, inputs[at]) != expected[at]) ++wrong;
  };
  std::vector<std::thread> threads;
  for (int caller = 0; caller < kCallers; ++caller) {
    threads.emplace_back([&, caller] {
      for (int run = 0; run < kRuns; ++run) check(*shared, static_cast<size_t>(caller + run) % inputs.size());
    });
  }
  for (int builder = 0; builder < kBuilders; ++builder) {
    threads.emplace_back([&, builder] {
      for (int build = 0; build < kBuilds; ++build) {
        const std::unique_ptr<Program> own = Build(weights);
        check(*own, static_cast<size_t>(builder + build) % inputs.size());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::printf(wrong ? "programs: %d wrong results\n" : "programs: all well\n", wrong.load());
  return wrong ? 1 : 0;
}

}  // namespace
}  // namespace planish

int main() {
  try {
    return planish::RunAll();
  } catch (const planish::Error& e) {
    std::printf("FAILED: %s\n", e.what());
    return 1;
  }
}
