#include "formats/plan_table.h"

#include <vector>

#include "base/check.h"

namespace planish {
namespace {

// Nested graphs, whatever their number, need few levels; each is a call.
constexpr int kMostLevels = 64;

[[noreturn]] void Damaged(const char* what) {
  Fail(std::string("the table: ") + what + " is out of range; the plan is damaged, export it again");
}

void Require(bool sound, const char* what) {
  if (!sound) Damaged(what);
}

// Takes rows off the front of a table.
class Rows {
 public:
  explicit Rows(const Memory& memory)
      : rest_(reinterpret_cast<const int32_t*>(memory.data), static_cast<size_t>(memory.size / 4)) {
    Require(memory.size % 4 == 0, "its size");
  }

  template <class Row>
  std::span<const Row> Take(int64_t count) {
    constexpr size_t kWidth = sizeof(Row) / sizeof(int32_t);
    Require(count >= 0 && static_cast<uint64_t>(count) <= rest_.size() / kWidth, "the number of rows");
    const std::span<const Row> rows(reinterpret_cast<const Row*>(rest_.data()), static_cast<size_t>(count));
    rest_ = rest_.subspan(rows.size() * kWidth);
    return rows;
  }

  bool AllTaken() const { return rest_.empty(); }

 private:
  std::span<const int32_t> rest_;
};

template <class Row>
int64_t TensorCount(std::span<const Row> rows) {
  int64_t sum = 0;
  for (const Row& row : rows) {
    Require(row.inputs >= 0 && row.outputs >= 0, "the number of a row's tensors");
    sum += int64_t{row.inputs} + row.outputs;
  }
  return sum;
}

// Follows the model through all its steps, with the tensors that exist at each.
class Walk {
 public:
  Walk(const PlanTable& table, int64_t tensors) : table_(table), exists_(static_cast<size_t>(tensors)) {
    for (const PlanTable::Constant& constant : table.constants) {
      Require(constant.type >= 0 && constant.start >= 0, "a constant");
      Make(constant.tensor, "a constant's tensor");
    }
    EnterGraph(0);
    Require(graph_ == table.graphs.size() && step_ == table.steps.size(), "the number of graphs or steps");
  }

 private:
  void EnterGraph(int level) {
    Require(level < kMostLevels && graph_ < table_.graphs.size(), "the number of graphs");
    const PlanTable::Graph graph = table_.graphs[graph_++];
    const std::span<const int32_t> inputs = Next(table_.ports, port_, graph.inputs);
    const std::span<const int32_t> outputs = Next(table_.ports, port_, graph.outputs);
    for (const int32_t tensor : inputs) Make(tensor, "a graph's input");
    Require(graph.steps >= 0, "the number of steps");
    for (int32_t i = 0; i < graph.steps; ++i) Pass(level);
    for (const int32_t tensor : outputs) Require(Exists(tensor), "a graph's output");
  }

  // One step, and the graphs nested in it, whose tensors exist only there.
  void Pass(int level) {
    Require(step_ < table_.steps.size(), "the number of steps");
    const PlanTable::Step step = table_.steps[step_++];
    const std::span<const int32_t> inputs = Next(table_.operands, operand_, step.inputs);
    const std::span<const int32_t> outputs = Next(table_.operands, operand_, step.outputs);
    Require(step.operation >= 0 && step.graphs >= 0, "a step");
    for (const int32_t tensor : inputs) Require(tensor == kAbsentTensor || Exists(tensor), "a step's input");
    for (int32_t i = 0; i < step.graphs; ++i) {
      const size_t before = made_.size();
      EnterGraph(level + 1);
      for (; made_.size() > before; made_.pop_back()) exists_[static_cast<size_t>(made_.back())] = false;
    }
    for (const int32_t tensor : outputs) {
      if (tensor != kAbsentTensor) Make(tensor, "a step's output");
    }
  }

  static std::span<const int32_t> Next(std::span<const int32_t> tensors, size_t& place, int32_t count) {
    const std::span<const int32_t> next = tensors.subspan(place, static_cast<size_t>(count));
    place += next.size();
    return next;
  }

  bool Exists(int32_t tensor) const {
    return tensor >= 0 && static_cast<size_t>(tensor) < exists_.size() && exists_[static_cast<size_t>(tensor)];
  }

  void Make(int32_t tensor, const char* what) {
    Require(tensor >= 0 && static_cast<size_t>(tensor) < exists_.size() && !exists_[static_cast<size_t>(tensor)], what);
    exists_[static_cast<size_t>(tensor)] = true;
    made_.push_back(tensor);
  }

  const PlanTable& table_;
  std::vector<bool> exists_;
  std::vector<int32_t> made_;  // what exists, in the order in which it was made
  size_t graph_ = 0, step_ = 0, port_ = 0, operand_ = 0;  // those that come next
};

}  // namespace

PlanTable ReadPlanTable(const Memory& memory, int64_t tensors) {
  Require(tensors >= 0 && tensors <= kMostTensors, "the number of tensors");
  Rows rows(memory);
  const auto counts = rows.Take<int32_t>(3);
  PlanTable table;
  table.graphs = rows.Take<PlanTable::Graph>(counts[0]);
  table.steps = rows.Take<PlanTable::Step>(counts[1]);
  table.constants = rows.Take<PlanTable::Constant>(counts[2]);
  table.ports = rows.Take<int32_t>(TensorCount(table.graphs));
  table.operands = rows.Take<int32_t>(TensorCount(table.steps));
  Require(rows.AllTaken(), "its size");
  Walk(table, tensors);
  return table;
}

}  // namespace planish
