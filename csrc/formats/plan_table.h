// The table of a plan: which tensors the steps of a model's graphs read and make, and where its constants lie.
#pragma once

#include <cstdint>
#include <span>

#include "base/memory.h"

namespace planish {

// The numbers of a table, in this order: how many graphs, steps and constants there are, one row each of them, the tensors
// of all graphs, the operands of all steps. The model is the first graph; the graphs of a step with nested ones, and their
// steps, follow it before the next step.
struct PlanTable {
  struct Graph {
    int32_t inputs, outputs, steps;
  };
  struct Step {
    int32_t operation, graphs, inputs, outputs;
  };
  struct Constant {
    int32_t tensor, type, start;  // start: in units of kAlignment bytes
  };
  std::span<const Graph> graphs;
  std::span<const Step> steps;
  std::span<const Constant> constants;
  std::span<const int32_t> ports;     // a graph's inputs before its outputs
  std::span<const int32_t> operands;  // a step's inputs before its outputs
};

inline constexpr int32_t kAbsentTensor = -1;
inline constexpr int32_t kMostTensors = 1 << 24;

// The table in a block of memory, which must outlive it. Throws Error unless its numbers are those of a sound model of
// `tensors` tensors: every graph and step has its place, each step reads only constants and what was made before it in
// its graph or those around it, and makes tensors that are new there. Operands may be absent, ports may not. Operations
// and types are not negative; they and the starts of constants are for the caller to look up.
PlanTable ReadPlanTable(const Memory& memory, int64_t tensors);

}  // namespace planish
