// One process-wide pool of threads. A caller that finds it busy runs its work serially itself.
#pragma once

#include <cstdint>
#include <type_traits>

namespace planish {

// A non-owning reference to a callable void(int64_t task, int worker).
class TaskRef {
 public:
  template <class F>
  TaskRef(const F& f)  // NOLINT: implicit on purpose
      : object_(&f), call_([](const void* o, int64_t task, int worker) {
          (*static_cast<const F*>(o))(task, worker);
        }) {}
  void operator()(int64_t task, int worker) const { call_(object_, task, worker); }

 private:
  const void* object_;
  void (*call_)(const void*, int64_t, int);
};

// Runs f(task, worker) for every task in [0, tasks), on at most `threads` threads, the caller (worker 0) included, and
// returns when all have finished. 0 <= worker < threads: an index into per-thread scratch. Tasks are handed out in
// ascending order; f must not throw. Results must not depend on which worker ran a task.
void ParallelFor(int64_t tasks, int threads, TaskRef f);

// Puts the calling thread's floating-point unit into round-to-nearest without flush-to-zero, and restores it.
class FloatEnvironment {
 public:
  FloatEnvironment();
  ~FloatEnvironment();
  FloatEnvironment(const FloatEnvironment&) = delete;
  FloatEnvironment& operator=(const FloatEnvironment&) = delete;

 private:
  uint64_t saved_;
};

}  // namespace planish
