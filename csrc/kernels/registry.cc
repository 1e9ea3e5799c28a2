// The list of kernel families, from families.inc.
#include "kernels/kernel.h"

namespace planish {

#define PLANISH_FAMILY(name, Name, exact_reads) \
  Built Build##Name(const OpDesc&);             \
  std::span<const KernelInfo> Name##Kernels();
#include "kernels/families.inc"
#undef PLANISH_FAMILY

std::span<const Family> Families() {
  static const Family families[] = {
#define PLANISH_FAMILY(name, Name, exact_reads) {#name, &Build##Name, exact_reads},
#include "kernels/families.inc"
#undef PLANISH_FAMILY
  };
  return families;
}

const Family* FindFamily(std::string_view name) {
  for (const Family& f : Families()) {
    if (name == f.name) return &f;
  }
  return nullptr;
}

std::vector<KernelInfo> AllKernels() {
  std::vector<KernelInfo> all;
#define PLANISH_FAMILY(name, Name, exact_reads) \
  for (const KernelInfo& k : Name##Kernels()) all.push_back(k);
#include "kernels/families.inc"
#undef PLANISH_FAMILY
  return all;
}

}  // namespace planish
