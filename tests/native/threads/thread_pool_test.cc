// The thread pool: every task once, callers at the same time, nested regions, children of a fork, the float environment;
// and how many threads it takes.
// Small enough to run under the thread sanitizer, which sees what no ordinary test does. With --without-forks the children
// are left out: the thread sanitizer and emulators cannot start threads in the child of a fork.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/processors.h"
#include "base/thread_pool.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace planish {
namespace {

constexpr int kThreads = 4;
constexpr unsigned kSeconds = 300;  // a pool that hangs is killed by SIGALRM

int g_failures = 0;

void Expect(bool ok, const char* what) {
  if (ok) return;
  std::printf("FAILED: %s\n", what);
  ++g_failures;
}

// Runs one region of `tasks` tasks; true if each ran exactly once, on a worker that exists.
bool RunsEachTaskOnce(int64_t tasks, int threads) {
  std::vector<int> runs(static_cast<size_t>(tasks));
  std::atomic<bool> numbered{true};
  ParallelFor(tasks, threads, [&](int64_t task, int worker) {
    ++runs[static_cast<size_t>(task)];
    if (worker < 0 || worker >= threads) numbered = false;
  });
  for (const int n : runs) {
    if (n != 1) return false;
  }
  return numbered;
}

void TestEveryTaskRunsOnce() {
  for (const int threads : {1, 2, 3, kThreads, 64}) {
    for (const int64_t tasks : {0, 1, 2, 3, 7, 1000}) {
      Expect(RunsEachTaskOnce(tasks, threads), "every task runs exactly once, on a worker below `threads`");
    }
  }
}

// A worker's number belongs to one thread at a time, so that scratch can be indexed by it without a lock.
void TestWorkersDoNotShareNumbers() {
  std::vector<int64_t> counts(kThreads);
  constexpr int64_t kTasks = 5000;
  ParallelFor(kTasks, kThreads, [&](int64_t, int worker) { ++counts[static_cast<size_t>(worker)]; });
  int64_t sum = 0;
  for (const int64_t n : counts) sum += n;
  Expect(sum == kTasks, "no two threads have the same worker number");
}

void TestCallersAtTheSameTime() {
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < kThreads; ++caller) {
    callers.emplace_back([&wrong, caller] {
      for (int round = 0; round < 300; ++round) {
        if (!RunsEachTaskOnce(1 + (round * 7 + caller) % 40, kThreads)) ++wrong;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  Expect(wrong == 0, "regions of several callers are independent");
}

void TestNestedRegions() {
  std::atomic<int64_t> sum{0};
  ParallelFor(8, kThreads, [&](int64_t outer, int) {
    ParallelFor(9, kThreads, [&](int64_t inner, int) { sum += outer * inner; });
  });
  Expect(sum == 28 * 36, "a region inside of a region completes");
}

bool ChildSucceeds() {
  const pid_t child = fork();
  if (child == 0) {
    alarm(kSeconds);
    const bool ok = RunsEachTaskOnce(100, kThreads) && RunsEachTaskOnce(100, kThreads);
    _exit(ok ? 0 : 1);
  }
  int status = 0;
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void TestChildrenOfAFork() {
  Expect(ChildSucceeds(), "the child of a fork has a pool of its own");
  std::atomic<bool> stop{false};
  std::thread busy([&stop] {
    while (!stop) RunsEachTaskOnce(50, kThreads);
  });
  for (int i = 0; i < 20; ++i) Expect(ChildSucceeds(), "the child of a fork amid a region has a pool of its own");
  stop = true;
  busy.join();
  Expect(RunsEachTaskOnce(100, kThreads), "the parent's pool survives forks");
}

#if defined(__x86_64__)
void TestFloatEnvironment() {
  constexpr uint32_t kPlain = 0x1F80, kFlushToZero = 0x8040 | kPlain;
  const uint32_t before = _mm_getcsr();
  _mm_setcsr(kFlushToZero);
  {
    const FloatEnvironment environment;
    std::atomic<bool> plain{true};
    ParallelFor(200, kThreads, [&](int64_t, int) {
      constexpr uint32_t kFlags = 0x3F;
      if ((_mm_getcsr() & ~kFlags) != kPlain) plain = false;
    });
    Expect(plain, "workers round to nearest and do not flush to zero");
  }
  Expect(_mm_getcsr() == kFlushToZero, "the caller's float environment is restored");
  _mm_setcsr(before);
}
#endif

void TestThreadCount() {
  Expect(DefaultThreads() == kThreads, "PLANISH_NUM_THREADS sets the number of threads");
  for (const char* wrong : {"0", "-1", "two", "4x", "99999"}) {
    setenv("PLANISH_NUM_THREADS", wrong, 1);
    bool refused = false;
    try {
      DefaultThreads();
    } catch (const Error&) {
      refused = true;
    }
    Expect(refused, "a wrong PLANISH_NUM_THREADS is refused");
  }
}

void Write(const std::filesystem::path& file, const char* text) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file) << text;
}

// Groups of both versions, below one another, with and without a quota.
void TestQuotas() {
  char name[] = "/tmp/planish_groups_XXXXXX";
  const std::filesystem::path root = mkdtemp(name);
  const std::string self = root / "self", mount = root / "mount";
  Write(self, "4:cpuacct,cpu:/outer\n3:memory:/cpu\n0::/a/b\n");
  const auto expect = [&](int cpus, const char* what) { Expect(QuotaCount(self, mount) == cpus, what); };
  expect(INT_MAX, "no files, no quota");
  Write(root / "mount/cpu.max", "max 100000\n");
  Write(root / "mount/a/b/cpu.max", "max 100000\n");
  expect(INT_MAX, "'max' is no quota");
  Write(root / "mount/a/cpu.max", "250000 100000\n");
  expect(3, "an outer group's quota counts, rounded up");
  Write(root / "mount/a/b/cpu.max", "100000 100000\n");
  expect(1, "the tightest quota counts");
  std::filesystem::remove_all(root / "mount");
  Write(root / "mount/cpu/outer/cpu.cfs_quota_us", "-1\n");
  Write(root / "mount/cpu/outer/cpu.cfs_period_us", "100000\n");
  expect(INT_MAX, "version 1: -1 is no quota");
  Write(root / "mount/cpu/outer/cpu.cfs_quota_us", "150000\n");
  expect(2, "version 1: a quota");
  Write(self, "nonsense\n:\n::\n");
  expect(INT_MAX, "a file that is not understood is no quota");
  std::filesystem::remove_all(root);
}

int RunAll(bool forks) {
  alarm(kSeconds);
  setenv("PLANISH_NUM_THREADS", std::to_string(kThreads).c_str(), 1);  // workers even on one processor
  TestEveryTaskRunsOnce();
  TestWorkersDoNotShareNumbers();
  TestCallersAtTheSameTime();
  TestNestedRegions();
  if (forks) {
    TestChildrenOfAFork();
  } else {
    std::printf("skipped: children of a fork\n");
  }
#if defined(__x86_64__)
  TestFloatEnvironment();
#endif
  TestThreadCount();
  TestQuotas();
  std::printf(g_failures ? "thread pool: %d failures\n" : "thread pool: all well\n", g_failures);
  return g_failures ? 1 : 0;
}

}  // namespace
}  // namespace planish

int main(int count, char** words) {
  return planish::RunAll(!(count > 1 && std::string_view(words[1]) == "--without-forks"));
}
