#include "base/thread_pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <system_error>
#include <thread>
#include <vector>

#include "base/processors.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace planish {
namespace {

void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// One parallel region. Workers join by taking a ticket; the region lives until the last of them has left.
struct Region {
  TaskRef task;
  int64_t tasks;
  std::atomic<int64_t> next{0};
  std::atomic<int> seats;      // workers that may still join
  std::atomic<int> worker{1};  // the next worker's number
};

void Work(Region& region, int worker) {
  for (;;) {
    const int64_t task = region.next.fetch_add(1, std::memory_order_relaxed);
    if (task >= region.tasks) return;
    region.task(task, worker);
  }
}

// Threads spin for a moment after a region, then sleep on a futex: fork-join costs a microsecond within a run, and an
// idle process costs nothing.
class Pool {
 public:
  // Where the system grants fewer threads than asked for, the pool makes do with those.
  explicit Pool(int workers) {
    threads_.reserve(static_cast<size_t>(workers));
    try {
      for (int i = 0; i < workers; ++i) {
        threads_.emplace_back([this] { Loop(); });
      }
    } catch (const std::system_error&) {
    }
  }

  // Leaves the threads to the process's end: joining at exit could deadlock with a run in flight.
  ~Pool() = delete;

  int workers() const { return static_cast<int>(threads_.size()); }
  bool TryLock() { return !busy_.test_and_set(std::memory_order_acquire); }
  void Unlock() { busy_.clear(std::memory_order_release); }

  void Run(Region& region) {
    // Releases the region's contents: a worker that is late from the last region may read the pointer before the epoch.
    region_.store(&region, std::memory_order_seq_cst);
    epoch_.fetch_add(1, std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) > 0) Wake();
    Work(region, 0);
    region_.store(nullptr, std::memory_order_seq_cst);
    while (inside_.load(std::memory_order_seq_cst) > 0) Pause();
  }

 private:
  static constexpr int kSpins = 4000;

  void Wake() { syscall(SYS_futex, reinterpret_cast<uint32_t*>(&epoch_), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0); }

  void Sleep(uint32_t seen) {
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    syscall(SYS_futex, reinterpret_cast<uint32_t*>(&epoch_), FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
    sleepers_.fetch_sub(1, std::memory_order_seq_cst);
  }

  void Loop() {
    const FloatEnvironment environment;
    uint32_t seen = 0;
    for (;;) {
      for (int spin = 0; epoch_.load(std::memory_order_seq_cst) == seen && spin < kSpins; ++spin) Pause();
      while (epoch_.load(std::memory_order_seq_cst) == seen) Sleep(seen);
      seen = epoch_.load(std::memory_order_seq_cst);
      // The count of those inside is raised before the region is read, so Run cannot return while we hold it.
      inside_.fetch_add(1, std::memory_order_seq_cst);
      if (Region* region = region_.load(std::memory_order_seq_cst)) {
        if (region->seats.fetch_sub(1, std::memory_order_relaxed) > 0) {
          Work(*region, region->worker.fetch_add(1, std::memory_order_relaxed));
        }
      }
      inside_.fetch_sub(1, std::memory_order_seq_cst);
    }
  }

  std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
  std::atomic<uint32_t> epoch_{0};
  std::atomic<int> sleepers_{0};
  std::atomic<int> inside_{0};
  std::atomic<Region*> region_{nullptr};
  std::vector<std::thread> threads_;
};

std::atomic<Pool*> g_pool{nullptr};
std::atomic_flag g_creating = ATOMIC_FLAG_INIT;

// After a fork only the calling thread exists in the child: the old pool is abandoned and a new one made when needed.
void ForgetPool() {
  g_pool.store(nullptr, std::memory_order_relaxed);
  g_creating.clear(std::memory_order_relaxed);
}

// The pool, made on first use; null while another thread is making it.
Pool* ThePool() {
  Pool* pool = g_pool.load(std::memory_order_acquire);
  if (pool) return pool;
  const int workers = std::max(AffinityCount(), DefaultThreads()) - 1;  // throws, so before the flag is raised
  if (g_creating.test_and_set(std::memory_order_acquire)) return g_pool.load(std::memory_order_acquire);
  static const int registered = pthread_atfork(nullptr, nullptr, ForgetPool);
  static_cast<void>(registered);
  pool = new Pool(workers);
  g_pool.store(pool, std::memory_order_release);
  return pool;
}

}  // namespace

void ParallelFor(int64_t tasks, int threads, TaskRef f) {
  const int wanted = static_cast<int>(std::min<int64_t>(tasks, threads));
  Pool* pool = wanted > 1 ? ThePool() : nullptr;
  if (!pool || pool->workers() == 0 || !pool->TryLock()) {
    for (int64_t i = 0; i < tasks; ++i) f(i, 0);
    return;
  }
  Region region{f, tasks, {0}, {std::min(wanted - 1, pool->workers())}, {1}};
  pool->Run(region);
  pool->Unlock();
}

#if defined(__x86_64__)
FloatEnvironment::FloatEnvironment() : saved_(_mm_getcsr()) {
  constexpr uint32_t kAllMasked = 0x1F80;
  if (saved_ != kAllMasked) _mm_setcsr(kAllMasked);
}
FloatEnvironment::~FloatEnvironment() {
  if (_mm_getcsr() != static_cast<uint32_t>(saved_)) _mm_setcsr(static_cast<uint32_t>(saved_));
}
#elif defined(__aarch64__)
FloatEnvironment::FloatEnvironment() {
  __asm__ volatile("mrs %0, fpcr" : "=r"(saved_));
  const uint64_t plain = 0;
  __asm__ volatile("msr fpcr, %0" ::"r"(plain));
}
FloatEnvironment::~FloatEnvironment() { __asm__ volatile("msr fpcr, %0" ::"r"(saved_)); }
#else
FloatEnvironment::FloatEnvironment() : saved_(0) {}
FloatEnvironment::~FloatEnvironment() = default;
#endif

}  // namespace planish
