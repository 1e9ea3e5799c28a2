// A Program: flat instructions over one arena, for one signature of input shapes.
//
// Built once: buffers are declared, instructions added (each description is validated and its kernel chosen), then
// Finalize plans the arena from the buffers' lifetimes. Run may be called from many threads at once; every call in
// flight has an arena of its own.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/memory.h"
#include "kernels/kernel.h"

namespace planish {

enum class Space : uint8_t { kArena, kConstant, kInput, kOutput };

struct ProgramOptions {
  int threads = 1;
  int64_t byte_budget = int64_t{2} << 30;  // the largest single buffer; a run's memory is at most kRunBudgets of these
  int64_t step_budget = int64_t{1} << 40;  // the most multiply-adds, or elements touched, of one instruction
  bool guard = false;                      // the arena ends at an unreadable page (for tests)
};

class Program {
 public:
  explicit Program(ProgramOptions options) : options_(options) {}
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // Each returns the number by which views name the buffer. `index`: position among the arrays given to Run.
  int AddArena(int64_t bytes);
  int AddConstant(Memory memory);
  int AddInput(int index, int64_t bytes);
  int AddOutput(int index, int64_t bytes);

  // Validates the views against their buffers, builds the instruction and appends it. `label` names the step in
  // profiles and errors.
  const Built& Add(std::string label, std::string_view family, std::vector<View> inputs, std::vector<View> outputs,
                   const Attrs& attrs);

  void Finalize();

  // inputs/outputs: pointers in index order, of at least the declared sizes. `nanoseconds`, if not null, has one entry
  // an instruction, to which the run adds its time. Throws Error where an index found in the data is out of range.
  void Run(std::byte* const* inputs, std::byte* const* outputs, int64_t* nanoseconds = nullptr) const;

  double work() const { return work_; }                       // of all instructions; see Built::work
  int64_t arena_bytes() const { return arena_bytes_; }        // peak, after Finalize
  int64_t total_bytes() const { return total_bytes_; }        // the sum of all arena buffers: what no reuse would take
  int64_t input_bytes(int index) const { return input_bytes_.at(static_cast<size_t>(index)); }
  int64_t output_bytes(int index) const { return output_bytes_.at(static_cast<size_t>(index)); }
  int input_count() const { return static_cast<int>(input_bytes_.size()); }
  int output_count() const { return static_cast<int>(output_bytes_.size()); }

  struct Step {
    std::string label;
    std::string family;
    Built built;
  };
  const std::vector<Step>& steps() const { return steps_; }

 private:
  struct Buffer {
    Space space;
    int64_t size;
    int64_t offset = 0;  // arena: planned; input, output: the index; constant: unused
    Memory memory;       // constant
    int first_use = -1, last_use = -1;
  };
  // Where an operand's address comes from: bases[slot] + offset.
  struct Address {
    int32_t slot;  // -1: absent
    int64_t offset;
  };
  struct Instruction {
    RunFn run;
    const void* params;
    int32_t first_address;
    int32_t scratch_buffer;  // -1: none
  };

  int AddBuffer(Buffer buffer);
  void CheckWork(double work) const;
  void CheckView(const View& view, const Family& family, bool output) const;
  std::vector<const std::byte*> ConstantData(const std::vector<View>& views) const;  // for OpDesc::data
  void PlanArena();
  void ResolveAddresses();
  std::unique_ptr<Memory> AcquireArena() const;
  void ReleaseArena(std::unique_ptr<Memory> arena) const;

  ProgramOptions options_;
  std::vector<Buffer> buffers_;
  std::vector<Step> steps_;
  std::vector<std::vector<View>> operands_;  // per step, until Finalize
  std::vector<int> scratch_buffers_;         // per step
  std::vector<Instruction> instructions_;
  std::vector<Address> addresses_;
  std::vector<std::byte*> constant_bases_;
  std::vector<int64_t> input_bytes_, output_bytes_;
  double work_ = 0;
  int64_t arena_bytes_ = 0, total_bytes_ = 0;
  bool finalized_ = false;

  // Arenas between runs. A run takes one out of its slot by an exchange: nothing a fork could find locked, and after a
  // burst of concurrent runs no more stay behind than there are slots.
  static constexpr int kSpareArenas = 4;
  mutable std::array<std::atomic<Memory*>, kSpareArenas> spare_arenas_{};
};

}  // namespace planish
