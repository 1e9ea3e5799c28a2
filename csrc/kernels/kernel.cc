#include "kernels/kernel.h"

#include "base/check.h"

namespace planish {

const char* DTypeName(DType t) {
  constexpr const char* names[kDTypeCount] = {
      "float32", "float64", "float16", "bfloat16", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64",
      "int64", "bool", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu",
      "float4_e2m1fn", "int4", "uint4", "int2", "uint2"};
  return names[static_cast<int>(t)];
}

namespace {

[[noreturn]] void WrongType(std::string_view name) {
  Fail("attribute '" + std::string(name) + "' has the wrong type; the plan is damaged or of another version");
}

}  // namespace

int64_t Attrs::Int(std::string_view name, int64_t fallback) const {
  const auto it = values_.find(name);
  if (it == values_.end()) return fallback;
  const auto* v = std::get_if<std::vector<int64_t>>(&it->second);
  if (!v || v->size() != 1) WrongType(name);
  return v->front();
}

double Attrs::Float(std::string_view name, double fallback) const {
  const auto it = values_.find(name);
  if (it == values_.end()) return fallback;
  if (const auto* v = std::get_if<std::vector<double>>(&it->second); v && v->size() == 1) return v->front();
  return static_cast<double>(Int(name, 0));
}

std::vector<int64_t> Attrs::Ints(std::string_view name) const {
  const auto it = values_.find(name);
  if (it == values_.end()) return {};
  const auto* v = std::get_if<std::vector<int64_t>>(&it->second);
  if (!v) WrongType(name);
  return *v;
}

std::vector<double> Attrs::Floats(std::string_view name) const {
  const auto it = values_.find(name);
  if (it == values_.end()) return {};
  const auto* v = std::get_if<std::vector<double>>(&it->second);
  if (!v) WrongType(name);
  return *v;
}

std::string Attrs::String(std::string_view name, std::string_view fallback) const {
  const auto it = values_.find(name);
  if (it == values_.end()) return std::string(fallback);
  const auto* v = std::get_if<std::string>(&it->second);
  if (!v) WrongType(name);
  return *v;
}

std::string Attrs::ForcedKernel() const {
  if (Has("force")) return String("force", "");
  const auto it = values_.find("kernel");
  if (it == values_.end() || !std::holds_alternative<std::string>(it->second)) return {};
  return std::get<std::string>(it->second);
}

const KernelInfo& ChooseBest(std::span<const KernelInfo> candidates, const Attrs& attrs) {
  const std::string forced = attrs.ForcedKernel();
  const KernelInfo* best = nullptr;
  for (const KernelInfo& k : candidates) {
    if (!Usable(k.isa)) continue;
    if (forced == k.name) return k;
    best = &k;
  }
  if (!forced.empty()) Fail("kernel '" + forced + "' is not available here; force one that `planish doctor` lists");
  Check(best != nullptr, "no kernel for these types; this is a bug in planish");
  return *best;
}

}  // namespace planish
