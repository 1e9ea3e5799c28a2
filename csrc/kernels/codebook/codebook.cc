#include "kernels/codebook/codebook.h"

#include <string>
#include <vector>

#include "base/check.h"
#include "formats/codebook.h"
#include "kernels/tiled/tiled.h"

namespace planish {
namespace {

int64_t DecodeWork(const void*) { return kDecodeBytes; }

struct Candidate {
  CodebookKind kind;
  TiledKernel kernel;
};

constexpr Candidate kCandidates[] = {
#define PLANISH_CODEBOOK_KERNEL(kind, name, isa, least, most, copies, Build, Panel, FinishSums) \
  {CodebookKind::kind, {name, Isa::isa, least, most, copies, &Build, &Panel, &FinishSums, &DecodeWork}},
#include "kernels/codebook/kernels.inc"
#undef PLANISH_CODEBOOK_KERNEL
};

struct CodebookParams {
  TiledStep step;
  TiledKernel kernel;
  CodebookPanels weights;
};

void RunCodebook(const void* params, std::byte* const* operands, const RunContext& context) {
  const CodebookParams& p = *static_cast<const CodebookParams*>(params);
  RunTiled(p.step, p.kernel, &p.weights, operands, context);
}

Built BuildLookup(const OpDesc& op, bool conv, bool affine) {
  const CodebookWeights packed = ParseCodebook(PackedWeights(op));
  const CodebookShape& s = packed.shape;
  Check((s.kind == CodebookKind::kAffine) == affine,
        "codebook weights: codebooks belong to codebook_*, scales to nbit_*");
  std::vector<TiledKernel> candidates;
  for (const Candidate& c : kCandidates) {
    if (c.kind == s.kind) candidates.push_back(c.kernel);
  }
  const bool integer = s.kind == CodebookKind::kS8;
  CodebookParams p{};
  p.weights = {s.bits,        affine,       integer,         s.outputs,       s.columns(),       s.granule(),
               s.words(),     s.granules(), s.table_outputs, s.table_columns, s.tables_across(), s.entries(),
               packed.tables, packed.zeros, packed.indices};
  const int64_t words = s.padded_channels() / (integer ? 4 : 1);
  p.step = DescribeStep(op, conv, s.outputs, s.taps, s.channels, words, integer);
  p.kernel = ChooseTiled(candidates, op.attrs, p.step.map.pixels);
  const double macs = static_cast<double>(s.outputs) * static_cast<double>(s.columns());
  ScheduleStep(p.kernel, &p.weights, macs, op.threads, &p.step);
  Built built = MakeBuilt(&RunCodebook, p, p.kernel.name, p.step.scratch() * op.threads);
  built.work = p.step.work;
  built.reason = std::to_string(s.bits) + " bits a weight";
  return built;
}

std::vector<KernelInfo> Infos(const char* family, bool affine) {
  std::vector<KernelInfo> infos;
  for (const Candidate& c : kCandidates) {
    const bool repeated = std::string_view(c.kernel.name) == "reference" && !infos.empty();
    if ((c.kind == CodebookKind::kAffine) == affine && !repeated)
      infos.push_back({family, c.kernel.name, c.kernel.isa});
  }
  return infos;
}

}  // namespace

Built BuildCodebookGemm(const OpDesc& op) { return BuildLookup(op, false, false); }
Built BuildCodebookConv(const OpDesc& op) { return BuildLookup(op, true, false); }
Built BuildNbitGemm(const OpDesc& op) { return BuildLookup(op, false, true); }
Built BuildNbitConv(const OpDesc& op) { return BuildLookup(op, true, true); }

#define PLANISH_LOOKUP_KERNELS(Name, family, affine)                    \
  std::span<const KernelInfo> Name() {                                  \
    static const std::vector<KernelInfo> infos = Infos(family, affine); \
    return infos;                                                       \
  }
PLANISH_LOOKUP_KERNELS(CodebookGemmKernels, "codebook_gemm", false)
PLANISH_LOOKUP_KERNELS(CodebookConvKernels, "codebook_conv", false)
PLANISH_LOOKUP_KERNELS(NbitGemmKernels, "nbit_gemm", true)
PLANISH_LOOKUP_KERNELS(NbitConvKernels, "nbit_conv", true)
#undef PLANISH_LOOKUP_KERNELS

}  // namespace planish
