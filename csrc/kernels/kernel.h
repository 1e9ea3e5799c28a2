// The contract between the runtime and every kernel family.
//
//   OpDesc  --Family::build-->  Built {run, params, scratch}  --Program-->  run(params, pointers, context)
//
// `build` validates the description completely (shapes, dtypes, strides, attributes; throws Error), enumerates the
// candidates of the family on the usable ISAs, chooses one, and freezes everything into a POD that `run` reads.
// `run` allocates nothing and never throws. Results of integer families are bit-identical for every candidate.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/isa.h"
#include "base/view.h"

namespace planish {

// Attributes by name. A scalar is a vector of one.
class Attrs {
 public:
  using Value = std::variant<std::vector<int64_t>, std::vector<double>, std::string>;

  void Set(std::string name, Value value) { values_[std::move(name)] = std::move(value); }
  bool Has(std::string_view name) const { return values_.find(name) != values_.end(); }
  int64_t Int(std::string_view name, int64_t fallback) const;
  double Float(std::string_view name, double fallback) const;         // accepts integers too
  std::vector<int64_t> Ints(std::string_view name) const;             // empty if absent
  std::vector<double> Floats(std::string_view name) const;            // empty if absent
  std::string String(std::string_view name, std::string_view fallback) const;

  // The candidate to force: attribute `force`, or `kernel` where that is a string (convolutions give their window
  // that name); empty if none.
  std::string ForcedKernel() const;

 private:
  std::map<std::string, Value, std::less<>> values_;
};

struct OpDesc {
  std::string_view family;
  std::span<const View> inputs;   // an absent optional input has buffer == -1
  std::span<const View> outputs;
  const Attrs& attrs;             // Attrs::ForcedKernel names a candidate to take, if it is legal here
  int threads = 1;                // the most threads a run may use
  // Per input, where element 0 of a constant lies, for families that validate packed weights; nullptr for tensors that
  // exist only while running, and for absent ones. What is validated here must not change afterwards: constants that
  // hold indices are never mapped from a file.
  std::span<const std::byte* const> data = {};
};

// What `run` finds beside its operands.
struct RunContext {
  std::byte* scratch;  // Built::scratch bytes, 64-byte aligned, contents undefined
  int threads;         // <= OpDesc::threads
  std::atomic<bool>* bad_index;

  // Says that an index found while running lies outside its axis. The kernel goes on without reading or writing there;
  // the run then ends with an error that names the step.
  void ReportIndex() const { bad_index->store(true, std::memory_order_relaxed); }
};

// operands: the inputs, then the outputs, in the order of OpDesc; nullptr where absent.
using RunFn = void (*)(const void* params, std::byte* const* operands, const RunContext& context);

struct Built {
  RunFn run = nullptr;
  std::shared_ptr<const void> params;  // a POD of the family; owned, never changed after build
  int64_t scratch = 0;                 // bytes
  std::string kernel;                  // the chosen candidate, for profiles and `inspect`
  std::string reason;                  // why, in a few words; may be empty
  double work = 0;                     // multiply-adds, where they are not few an element of the operands
};

template <class Params>
Built MakeBuilt(RunFn run, const Params& params, std::string kernel, int64_t scratch = 0) {
  return Built{run, std::make_shared<const Params>(params), scratch, std::move(kernel), {}, 0};
}

struct Family {
  const char* name;
  Built (*build)(const OpDesc&);
  // True if no kernel of the family reads a byte outside its views: only such families read a user's array directly.
  // The others may read up to 63 bytes past a view's end, which arena and constant buffers provide.
  bool exact_reads;
};

// One line a kernel of every family's kernels.inc: what tests, benchmarks and `planish doctor` enumerate.
struct KernelInfo {
  const char* family;
  const char* name;  // unique within the family
  Isa isa;
};

std::span<const Family> Families();           // kernels/registry.cc
const Family* FindFamily(std::string_view name);
std::vector<KernelInfo> AllKernels();

// Picks the forced kernel or the last usable one of `candidates` (ordered from slowest to fastest); throws Error if the
// forced one is unknown or not usable here. For families whose choice needs no cost model.
const KernelInfo& ChooseBest(std::span<const KernelInfo> candidates, const Attrs& attrs);

}  // namespace planish
