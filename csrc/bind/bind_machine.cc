// What this machine offers: instruction sets, threads, the registry of kernels.
#include "base/isa.h"
#include "base/processors.h"
#include "base/thread_pool.h"
#include "bind/bind.h"
#include "bind/gil_release.h"
#include "kernels/kernel.h"
#include "machine/limits.h"

namespace py = pybind11;

namespace planish {
namespace {

std::vector<std::string> Names(IsaSet set) {
  std::vector<std::string> names;
  for (const Isa isa : Members(set)) names.emplace_back(IsaName(isa));
  return names;
}

}  // namespace

void BindMachine(py::module_& m) {
  m.def("measure_peaks", [] {
    Peak peaks[16];
    int count = 0;
    {
      const GilRelease release;
      count = MeasurePeaks(peaks, 16);
    }
    std::vector<std::tuple<std::string, std::string, double>> all;
    for (int i = 0; i < count; ++i) all.emplace_back(peaks[i].arithmetic, peaks[i].isa, peaks[i].operations_per_second);
    return all;
  }, "Arithmetic limits of one thread, measured now: (arithmetic, instruction set, operations per second).");
  m.def("measure_read_bandwidth", [](int64_t bytes) {
    const GilRelease release;
    return MeasureReadBandwidth(bytes);
  }, py::arg("nbytes"), "Bytes per second that one thread reads from a block of this size, measured now.");
  m.def("built_isas", [] { return Names(BuiltIsas()); }, "Instruction sets compiled into this library.");
  m.def("cpu_isas", [] { return Names(CpuIsas()); }, "Instruction sets this CPU and operating system offer.");
  m.def("usable_isas", [] { return Names(UsableIsas()); }, "Built, offered, and allowed by PLANISH_ISA or set_isa.");
  m.def("best_isa", [] { return IsaName(Best(UsableIsas())); }, "The highest usable instruction set.");
  m.def("set_isa", [](const std::string& name) { SetIsaCap(name); }, py::arg("name"),
        "Caps the instruction sets that programs built from now on may use; '' lifts the cap.");
  m.def("default_threads", &DefaultThreads,
        "PLANISH_NUM_THREADS, else the CPUs of the affinity mask, cut by the cgroup's quota.");
  m.def("kernels", [] {
    std::vector<std::tuple<std::string, std::string, std::string>> all;
    for (const KernelInfo& k : AllKernels()) all.emplace_back(k.family, k.name, IsaName(k.isa));
    return all;
  }, "Every kernel: (family, name, instruction set).");
  m.def("families", [] {
    std::vector<std::tuple<std::string, bool>> all;
    for (const Family& f : Families()) all.emplace_back(f.name, f.exact_reads);
    return all;
  }, "Every kernel family: (name, whether it reads no byte outside its views).");
}

}  // namespace planish
