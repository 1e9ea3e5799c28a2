#include "kernels/spmm/spmm.h"

#include <string>

#include "base/check.h"
#include "formats/sparse.h"
#include "kernels/tiled/tiled.h"

namespace planish {
namespace {

struct Candidate {
  SparseFormat format;
  TiledKernel kernel;
};

constexpr Candidate kCandidates[] = {
#define PLANISH_SPMM_KERNEL(format, name, isa, least, most, copies, Build, Panel, FinishSums) \
  {SparseFormat::format, {name, Isa::isa, least, most, copies, &Build, &Panel, &FinishSums, nullptr}},
#include "kernels/spmm/kernels.inc"
#undef PLANISH_SPMM_KERNEL
};

struct SpmmParams {
  TiledStep step;
  TiledKernel kernel;
  SparsePanels weights;
};

void RunSpmm(const void* params, std::byte* const* operands, const RunContext& context) {
  const SpmmParams& p = *static_cast<const SpmmParams*>(params);
  RunTiled(p.step, p.kernel, &p.weights, operands, context);
}

Built BuildSpmm(const OpDesc& op, bool conv) {
  const SparseWeights packed = ParseSparse(PackedWeights(op));
  const SparseShape& shape = packed.shape;
  std::vector<TiledKernel> candidates;
  for (const Candidate& c : kCandidates) {
    if (c.format == shape.format) candidates.push_back(c.kernel);
  }
  SpmmParams p{};
  p.weights = {packed.starts, packed.columns, packed.values, shape.outputs};
  const int64_t words = shape.padded_channels() / (IsFloat(shape.format) ? 1 : 4);
  p.step = DescribeStep(op, conv, shape.outputs, shape.taps, shape.channels, words, !IsFloat(shape.format));
  p.kernel = ChooseTiled(candidates, op.attrs, p.step.map.pixels);
  const double macs = static_cast<double>(packed.blocks) *
                      static_cast<double>(BlockRows(shape.format) * BlockWidth(shape.format));
  ScheduleStep(p.kernel, &p.weights, macs, op.threads, &p.step);
  const int64_t scratch = p.step.scratch() * op.threads;
  Built built = MakeBuilt(&RunSpmm, p, p.kernel.name, scratch);
  built.work = p.step.work;
  built.reason =
      std::to_string(packed.blocks) + " blocks of " + std::to_string(shape.groups() * shape.columns());
  return built;
}

std::vector<KernelInfo> Infos(const char* family) {
  std::vector<KernelInfo> infos;
  for (const Candidate& c : kCandidates) {
    const bool repeated = std::string_view(c.kernel.name) == "reference" && !infos.empty();
    if (!repeated) infos.push_back({family, c.kernel.name, c.kernel.isa});
  }
  return infos;
}

}  // namespace

Built BuildSparseGemm(const OpDesc& op) { return BuildSpmm(op, false); }
Built BuildSparseConv(const OpDesc& op) { return BuildSpmm(op, true); }

std::span<const KernelInfo> SparseGemmKernels() {
  static const std::vector<KernelInfo> infos = Infos("sparse_gemm");
  return infos;
}

std::span<const KernelInfo> SparseConvKernels() {
  static const std::vector<KernelInfo> infos = Infos("sparse_conv");
  return infos;
}

}  // namespace planish
