// Runs native code without Python's global lock.
#pragma once

#include <pybind11/pybind11.h>
#include <unistd.h>

#include <cxxabi.h>

namespace planish {

// Releases the lock for its lifetime. As pybind11's own, except at the interpreter's exit: there a daemon thread that
// wants the lock back is ended by pthread_exit, whose unwinding may not pass a destructor and would end the process with
// an error. Such a thread waits instead until the process is gone, as Python 3.14 does itself.
class GilRelease {
 public:
  GilRelease() : state_(PyEval_SaveThread()) {}
  ~GilRelease() {
    try {
      PyEval_RestoreThread(state_);
    } catch (abi::__forced_unwind&) {
      for (;;) pause();
    }
  }
  GilRelease(const GilRelease&) = delete;
  GilRelease& operator=(const GilRelease&) = delete;

 private:
  PyThreadState* state_;
};

}  // namespace planish
