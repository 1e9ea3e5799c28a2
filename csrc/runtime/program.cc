#include "runtime/program.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#include "base/check.h"
#include "base/thread_pool.h"

namespace planish {
namespace {

constexpr int kMaxOperands = 16;
constexpr int64_t kRunBudgets = 8;  // arena and outputs together, in byte budgets

// Under AddressSanitizer the buffers of an arena share no memory, and between them lies what must not be touched.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kWatched = true;
void Forbid(const std::byte* from, int64_t bytes) { ASAN_POISON_MEMORY_REGION(from, static_cast<size_t>(bytes)); }
void Permit(const std::byte* from, int64_t bytes) { ASAN_UNPOISON_MEMORY_REGION(from, static_cast<size_t>(bytes)); }
#else
constexpr bool kWatched = false;
void Forbid(const std::byte*, int64_t) {}
void Permit(const std::byte*, int64_t) {}
#endif

// What a buffer takes of the arena.
int64_t Room(int64_t size) { return AlignUp(size) + (kWatched ? kTail + kAlignment : 0); }

// The half-open range of bytes, relative to the buffer's start, that a view touches.
std::pair<int64_t, int64_t> Extent(const View& v) {
  int64_t low = v.offset, high = v.offset;
  for (int i = 0; i < v.rank; ++i) Check(v.shape[i] >= 0, "view: a negative dimension; this is a bug in planish");
  for (int i = 0; i < v.rank; ++i) {
    if (v.shape[i] == 0) return {v.offset, v.offset};
    const int64_t span = CheckedMul(v.shape[i] - 1, v.stride[i]);
    (span < 0 ? low : high) = CheckedAdd(span < 0 ? low : high, span);
  }
  return {low, CheckedAdd(high, ItemSize(v.dtype))};
}

// Whatever sizes and strides a Build combines, in whatever order, of a tensor without elements too: nothing overflows.
void CheckSizes(const View& v) {
  int64_t bytes = ItemSize(v.dtype), reach = v.offset;
  for (int i = 0; i < v.rank; ++i) {
    const int64_t size = std::max<int64_t>(1, v.shape[i]), span = CheckedMul(size, v.stride[i]);
    bytes = CheckedMul(bytes, size);
    reach = CheckedAdd(reach, span < 0 ? CheckedMul(span, -1) : span);
  }
}

int64_t Now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

int Program::AddBuffer(Buffer buffer) {
  Check(!finalized_, "program: already finalized; this is a bug in planish");
  if (buffer.size < 0 || buffer.size > options_.byte_budget) {
    Fail("tensor of " + std::to_string(buffer.size) + " bytes: exceeds the budget of " +
         std::to_string(options_.byte_budget) + " bytes a tensor; raise SessionOptions.byte_budget if this is intended");
  }
  buffers_.push_back(std::move(buffer));
  return static_cast<int>(buffers_.size()) - 1;
}

int Program::AddArena(int64_t bytes) { return AddBuffer({Space::kArena, bytes, 0, {}}); }

int Program::AddConstant(Memory memory) {
  const int64_t size = memory.size;
  return AddBuffer({Space::kConstant, size, 0, std::move(memory)});
}

int Program::AddInput(int index, int64_t bytes) {
  Check(index == input_count(), "program: inputs must be declared in order; this is a bug in planish");
  input_bytes_.push_back(bytes);
  return AddBuffer({Space::kInput, bytes, index, {}});
}

int Program::AddOutput(int index, int64_t bytes) {
  Check(index == output_count(), "program: outputs must be declared in order; this is a bug in planish");
  output_bytes_.push_back(bytes);
  return AddBuffer({Space::kOutput, bytes, index, {}});
}

void Program::CheckWork(double work) const {
  if (work <= static_cast<double>(options_.step_budget)) return;
  char text[160];
  std::snprintf(text, sizeof text,
                "%.2g operations exceed the budget of %.2g a step; raise SessionOptions.step_budget if this is intended",
                work, static_cast<double>(options_.step_budget));
  Fail(text);
}

void Program::CheckView(const View& view, const Family& family, bool output) const {
  if (view.buffer == -1) return;
  Check(view.buffer >= 0 && view.buffer < static_cast<int>(buffers_.size()) && view.rank >= 0 && view.rank <= kMaxRank,
        "view: no such buffer; this is a bug in planish or a damaged plan");
  const Buffer& buffer = buffers_[static_cast<size_t>(view.buffer)];
  CheckSizes(view);
  const auto [low, high] = Extent(view);
  CheckWork(static_cast<double>(view.elements()));
  Check(low >= 0 && high <= buffer.size, "view: reaches outside its buffer; this is a bug in planish or a damaged plan");
  if (output) {
    Check(buffer.space == Space::kArena || buffer.space == Space::kOutput,
          "view: an output in read-only memory; this is a bug in planish or a damaged plan");
  } else {
    Check(buffer.space != Space::kInput || family.exact_reads,
          "view: this family may not read a user's array; this is a bug in planish or a damaged plan");
  }
}

std::vector<const std::byte*> Program::ConstantData(const std::vector<View>& views) const {
  std::vector<const std::byte*> data;
  for (const View& v : views) {
    const Buffer* buffer = v.buffer < 0 ? nullptr : &buffers_[static_cast<size_t>(v.buffer)];
    data.push_back(buffer && buffer->space == Space::kConstant ? buffer->memory.data + v.offset : nullptr);
  }
  return data;
}

const Built& Program::Add(std::string label, std::string_view family_name, std::vector<View> inputs,
                          std::vector<View> outputs, const Attrs& attrs) {
  const Family* family = FindFamily(family_name);
  if (!family) Fail("step '" + label + "': unknown kernel family '" + std::string(family_name) + "'; the plan is damaged or of another version");
  Check(inputs.size() + outputs.size() <= kMaxOperands, "program: too many operands of one step; this is a bug in planish");
  Built built;
  try {
    for (const View& v : inputs) CheckView(v, *family, false);
    for (const View& v : outputs) CheckView(v, *family, true);
    const std::vector<const std::byte*> data = ConstantData(inputs);
    built = family->build(OpDesc{family_name, inputs, outputs, attrs, options_.threads, data});
    CheckWork(built.work);
    for (const View& v : inputs) built.work = std::max(built.work, static_cast<double>(v.elements()));
    for (const View& v : outputs) built.work = std::max(built.work, static_cast<double>(v.elements()));
    work_ += built.work;
  } catch (const Error& e) {
    Fail("step '" + label + "' (" + std::string(family_name) + "): " + e.what());
  }
  const int step = static_cast<int>(steps_.size());
  const int scratch = built.scratch > 0 ? AddArena(built.scratch) : -1;
  const auto touch = [&](int b) {
    if (b < 0) return;
    Buffer& buffer = buffers_[static_cast<size_t>(b)];
    if (buffer.first_use < 0) buffer.first_use = step;
    buffer.last_use = step;
  };
  touch(scratch);
  for (const View& v : inputs) touch(v.buffer);
  for (const View& v : outputs) touch(v.buffer);
  inputs.insert(inputs.end(), outputs.begin(), outputs.end());
  operands_.push_back(std::move(inputs));
  scratch_buffers_.push_back(scratch);
  steps_.push_back({std::move(label), std::string(family_name), std::move(built)});
  return steps_.back().built;
}

// Greedy by size: the largest buffer first, at the lowest offset where it overlaps no buffer alive at the same time.
void Program::PlanArena() {
  std::vector<Buffer*> order;
  for (Buffer& b : buffers_) {
    if (b.space == Space::kArena && b.first_use >= 0) order.push_back(&b);
  }
  std::stable_sort(order.begin(), order.end(), [](const Buffer* a, const Buffer* b) { return a->size > b->size; });
  std::vector<Buffer*> placed;  // ascending offset
  for (Buffer* b : order) {
    int64_t offset = 0;
    for (const Buffer* p : placed) {
      const bool together = kWatched || (p->first_use <= b->last_use && b->first_use <= p->last_use);
      if (!together) continue;
      if (offset + Room(b->size) <= p->offset) break;
      offset = std::max(offset, p->offset + Room(p->size));
    }
    b->offset = offset;
    arena_bytes_ = std::max(arena_bytes_, CheckedAdd(offset, Room(b->size)));
    total_bytes_ = CheckedAdd(total_bytes_, Room(b->size));
    placed.insert(std::upper_bound(placed.begin(), placed.end(), b,
                                   [](const Buffer* x, const Buffer* y) { return x->offset < y->offset; }),
                  b);
  }
}

// Slots of the table of bases that Run fills: 0 the arena, then the inputs, the outputs, the constants.
void Program::ResolveAddresses() {
  const int inputs_at = 1, outputs_at = inputs_at + input_count(), constants_at = outputs_at + output_count();
  std::vector<Address> of_buffer;
  for (const Buffer& b : buffers_) {
    switch (b.space) {
      case Space::kArena: of_buffer.push_back({0, b.offset}); break;
      case Space::kInput: of_buffer.push_back({inputs_at + static_cast<int>(b.offset), 0}); break;
      case Space::kOutput: of_buffer.push_back({outputs_at + static_cast<int>(b.offset), 0}); break;
      case Space::kConstant:
        of_buffer.push_back({constants_at + static_cast<int>(constant_bases_.size()), 0});
        constant_bases_.push_back(b.memory.data);
        break;
    }
  }
  for (size_t i = 0; i < steps_.size(); ++i) {
    const Built& built = steps_[i].built;
    instructions_.push_back({built.run, built.params.get(), static_cast<int32_t>(addresses_.size()), -1});
    for (const View& v : operands_[i]) {
      Address a{-1, 0};
      if (v.buffer >= 0) {
        a = of_buffer[static_cast<size_t>(v.buffer)];
        a.offset += v.offset;
      }
      addresses_.push_back(a);
    }
    if (scratch_buffers_[i] >= 0) {
      instructions_.back().scratch_buffer = static_cast<int32_t>(addresses_.size());
      addresses_.push_back(of_buffer[static_cast<size_t>(scratch_buffers_[i])]);
    }
  }
}

void Program::Finalize() {
  Check(!finalized_, "program: already finalized; this is a bug in planish");
  PlanArena();
  int64_t bytes = arena_bytes_;
  for (const int64_t size : output_bytes_) bytes = CheckedAdd(bytes, size);
  if (bytes / kRunBudgets > options_.byte_budget) {
    Fail("a run of " + std::to_string(bytes) + " bytes: exceeds " + std::to_string(kRunBudgets) + " times the budget of " +
         std::to_string(options_.byte_budget) + " bytes a tensor; raise SessionOptions.byte_budget if this is intended");
  }
  ResolveAddresses();
  finalized_ = true;
}

Program::~Program() {
  for (std::atomic<Memory*>& slot : spare_arenas_) delete slot.load(std::memory_order_acquire);
}

std::unique_ptr<Memory> Program::AcquireArena() const {
  for (std::atomic<Memory*>& slot : spare_arenas_) {
    if (Memory* spare = slot.exchange(nullptr, std::memory_order_acquire)) return std::unique_ptr<Memory>(spare);
  }
  if (options_.guard) return std::make_unique<Memory>(Memory::AllocateGuarded(arena_bytes_, 0, kAlignment));
  auto arena = std::make_unique<Memory>(Memory::Allocate(arena_bytes_));
  if (kWatched) {
    Forbid(arena->data, arena_bytes_);
    for (const Buffer& b : buffers_) {
      if (b.space == Space::kArena && b.first_use >= 0) Permit(arena->data + b.offset, b.size + kTail);
    }
  }
  return arena;
}

void Program::ReleaseArena(std::unique_ptr<Memory> arena) const {
  for (std::atomic<Memory*>& slot : spare_arenas_) {
    Memory* empty = nullptr;
    if (slot.compare_exchange_strong(empty, arena.get(), std::memory_order_acq_rel)) {
      arena.release();
      return;
    }
  }
}

void Program::Run(std::byte* const* inputs, std::byte* const* outputs, int64_t* nanoseconds) const {
  Check(finalized_, "program: not finalized; this is a bug in planish");
  const FloatEnvironment environment;
  std::unique_ptr<Memory> arena = AcquireArena();
  const size_t n_in = input_bytes_.size(), n_out = output_bytes_.size();
  constexpr size_t kInlineBases = 64;
  std::byte* inline_bases[kInlineBases];
  std::vector<std::byte*> heap_bases;
  const size_t slots = 1 + n_in + n_out + constant_bases_.size();
  std::byte** bases = inline_bases;
  if (slots > kInlineBases) {
    heap_bases.resize(slots);
    bases = heap_bases.data();
  }
  bases[0] = arena->data;
  std::copy_n(inputs, n_in, bases + 1);
  std::copy_n(outputs, n_out, bases + 1 + n_in);
  std::copy(constant_bases_.begin(), constant_bases_.end(), bases + 1 + n_in + n_out);

  std::atomic<bool> bad_index{false};
  const size_t count = instructions_.size();
  for (size_t i = 0; i < count; ++i) {
    const Instruction& instruction = instructions_[i];
    std::byte* pointers[kMaxOperands];
    const Address* address = addresses_.data() + instruction.first_address;
    const size_t operand_count = operands_[i].size();
    for (size_t k = 0; k < operand_count; ++k) {
      pointers[k] = address[k].slot < 0 ? nullptr : bases[address[k].slot] + address[k].offset;
    }
    RunContext context{nullptr, options_.threads, &bad_index};
    if (instruction.scratch_buffer >= 0) {
      const Address& a = addresses_[static_cast<size_t>(instruction.scratch_buffer)];
      context.scratch = bases[a.slot] + a.offset;
    }
    const int64_t start = nanoseconds ? Now() : 0;
    instruction.run(instruction.params, pointers, context);
    if (nanoseconds) nanoseconds[i] += Now() - start;
    if (bad_index.load(std::memory_order_relaxed)) {
      ReleaseArena(std::move(arena));
      Fail("step '" + steps_[i].label + "' (" + steps_[i].family +
           "): an index lies outside the axis that it selects from; check the inputs that indices come from");
    }
  }
  ReleaseArena(std::move(arena));
}

}  // namespace planish
