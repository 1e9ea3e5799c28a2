// Checks that the Build functions of many families share. Each throws Error naming the family.
#pragma once

#include <algorithm>
#include <string>

#include "base/check.h"
#include "kernels/kernel.h"

namespace planish {

// The operand counts fit, the operands are present (inputs from `optional_from` on may be absent), every
// element is aligned to its size, numbers of elements do not overflow, and an output has no more elements
// than memory.
inline void CheckOperands(const OpDesc& op, size_t inputs, size_t outputs, size_t optional_from = 16,
                          size_t outputs_optional_from = 16) {
  const std::string where(op.family);
  if (op.inputs.size() != inputs || op.outputs.size() != outputs) {
    Fail(where + ": wrong number of operands; the plan is damaged or of another version");
  }
  const auto check = [&](const View& v, bool required, bool output) {
    if (v.buffer < 0) {
      if (required) Fail(where + ": a required operand is absent; the plan is damaged or of another version");
      return;
    }
    const int64_t item = ItemSize(v.dtype);
    bool aligned = v.offset % item == 0;
    for (int i = 0; i < v.rank; ++i) aligned = aligned && v.stride[i] % item == 0;
    if (!aligned) Fail(where + ": a misaligned operand; the plan is damaged or of another version");
    int64_t elements = 1, span = item;
    for (int i = 0; i < v.rank; ++i) {
      elements = CheckedMul(elements, v.shape[i]);
      const int64_t reach = v.shape[i] > 0 ? CheckedMul(v.shape[i] - 1, v.stride[i]) : 0;
      span = CheckedAdd(span, reach < 0 ? CheckedMul(reach, -1) : reach);
    }
    if (output && CheckedMul(elements, item) > span) {
      Fail(where + ": elements of an output overlap; the plan is damaged or of another version");
    }
  };
  for (size_t i = 0; i < op.inputs.size(); ++i) check(op.inputs[i], i < optional_from, false);
  for (size_t i = 0; i < op.outputs.size(); ++i) check(op.outputs[i], i < outputs_optional_from, true);
}

// Whether input number `i` is given.
inline bool Present(const OpDesc& op, size_t i) { return i < op.inputs.size() && op.inputs[i].buffer >= 0; }

[[noreturn]] inline void FailType(const OpDesc& op, DType t) {
  Fail(std::string(op.family) + ": no kernel for " + DTypeName(t) + "; cast the operand");
}

inline void CheckType(const OpDesc& op, const View& v, DType t) {
  if (v.dtype != t) {
    Fail(std::string(op.family) + ": expected " + DTypeName(t) + ", got " + DTypeName(v.dtype) +
         "; cast the operand");
  }
}

inline void CheckSameShape(const OpDesc& op, const View& a, const View& b) {
  bool same = a.rank == b.rank;
  for (int i = 0; same && i < a.rank; ++i) same = a.shape[i] == b.shape[i];
  if (!same)
    Fail(std::string(op.family) + ": operands differ in shape; the plan is damaged or of another version");
}

// The attribute `name` as an axis of a tensor of this rank; negative values count from the end.
inline int AxisOf(const OpDesc& op, std::string_view name, int64_t fallback, int rank) {
  int64_t axis = op.attrs.Int(name, fallback);
  if (axis < 0) axis += rank;
  if (axis < 0 || axis >= rank) {
    Fail(std::string(op.family) + ": axis " + std::to_string(axis) + " of a tensor of rank " +
         std::to_string(rank) + "; use an axis in range");
  }
  return static_cast<int>(axis);
}

inline void RunNothing(const void*, std::byte* const*, const RunContext&) {}

// What an operation on a tensor without elements becomes.
inline Built BuildNothing(const char* kernel) { return MakeBuilt(&RunNothing, 0, kernel); }

// Position of `name` among `names`; throws Error naming the attribute.
inline int ChoiceOf(const OpDesc& op, std::string_view attribute, std::string_view name,
                    std::span<const char* const> names) {
  for (size_t i = 0; i < names.size(); ++i) {
    if (name == names[i]) return static_cast<int>(i);
  }
  Fail(std::string(op.family) + ": unknown " + std::string(attribute) + " '" + std::string(name) +
       "'; the plan is damaged or of another version");
}

}  // namespace planish
