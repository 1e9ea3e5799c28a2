// From the lines of a folder's kernels.inc to the lists of kernels of its families.
#pragma once

#include <string_view>
#include <vector>

#include "kernels/kernel.h"

namespace planish {

// The lines of `all` that belong to `family`, in their order.
inline std::vector<KernelInfo> KernelsOf(std::span<const KernelInfo> all, std::string_view family) {
  std::vector<KernelInfo> list;
  for (const KernelInfo& k : all) {
    if (family == k.family) list.push_back(k);
  }
  return list;
}

// Defines <Name>Kernels() for the family `name` from `lines`, an array of all lines of the folder.
#define PLANISH_KERNEL_LIST(name, Name, lines)                           \
  std::span<const KernelInfo> Name##Kernels() {                          \
    static const std::vector<KernelInfo> list = KernelsOf(lines, #name); \
    return list;                                                         \
  }

// The table of functions `prefix`{Scalar, Avx2, Avx512} for a kernel of that ISA.
#if defined(__x86_64__)
#define PLANISH_TABLE(prefix, isa) \
  ((isa) == Isa::kAvx512 ? prefix##Avx512 : (isa) == Isa::kAvx2 ? prefix##Avx2 : prefix##Scalar)
#else
#define PLANISH_TABLE(prefix, isa) (static_cast<void>(isa), prefix##Scalar)
#endif

}  // namespace planish
