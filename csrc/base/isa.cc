#include "base/isa.h"

#include <cstdlib>

#include "base/check.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace planish {
namespace {

constexpr const char* kNames[kIsaCount] = {"scalar",     "avx2", "avxvnni", "avx512", "avx512vnni",
                                           "avx512vbmi", "amx",  "neondot", "neoni8mm"};

constexpr IsaSet kIncludes[kIsaCount] = {
    /*scalar*/ Bit(Isa::kScalar),
    /*avx2*/ Bit(Isa::kScalar) | Bit(Isa::kAvx2),
    /*avxvnni*/ Bit(Isa::kScalar) | Bit(Isa::kAvx2) | Bit(Isa::kAvxVnni),
    /*avx512*/ Bit(Isa::kScalar) | Bit(Isa::kAvx2) | Bit(Isa::kAvx512),
    /*avx512vnni*/ Bit(Isa::kScalar) | Bit(Isa::kAvx2) | Bit(Isa::kAvx512) | Bit(Isa::kAvx512Vnni),
    /*avx512vbmi*/ Bit(Isa::kScalar) | Bit(Isa::kAvx2) | Bit(Isa::kAvx512) | Bit(Isa::kAvx512Vnni) |
        Bit(Isa::kAvx512Vbmi),
    /*amx*/ Bit(Isa::kScalar) | Bit(Isa::kAvx2) | Bit(Isa::kAvx512) | Bit(Isa::kAvx512Vnni) |
        Bit(Isa::kAvx512Vbmi) | Bit(Isa::kAmx),
    /*neondot*/ Bit(Isa::kScalar) | Bit(Isa::kNeonDot),
    /*neoni8mm*/ Bit(Isa::kScalar) | Bit(Isa::kNeonDot) | Bit(Isa::kNeonI8mm),
};

#if defined(__x86_64__)

// Asks Linux for the AMX tile data state; without the grant the first tile instruction raises SIGILL.
bool AmxGranted() {
  constexpr int kArchReqXcompPerm = 0x1023;
  constexpr int kXfeatureXtileData = 18;
  return syscall(SYS_arch_prctl, kArchReqXcompPerm, kXfeatureXtileData) == 0;
}

uint64_t ReadXcr0() {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

IsaSet DetectCpu() {
  IsaSet set = Bit(Isa::kScalar);
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return set;
  const auto has = [](uint32_t reg, int bit) { return (reg >> bit) & 1; };
  const bool osxsave = has(c, 27), fma = has(c, 12), f16c = has(c, 29), avx = has(c, 28);
  if (!osxsave) return set;
  const uint64_t xcr0 = ReadXcr0();
  if ((xcr0 & 0x6) != 0x6) return set;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return set;
  const uint32_t b7 = b, c7 = c, d7 = d;
  if (!(avx && fma && f16c && has(b7, 5) && has(b7, 3) && has(b7, 8))) return set;
  set |= Bit(Isa::kAvx2);
  uint32_t a71 = 0, b71, c71, d71;
  if (__get_cpuid_count(7, 1, &a71, &b71, &c71, &d71) && has(a71, 4)) set |= Bit(Isa::kAvxVnni);
  const bool avx512 = has(b7, 16) && has(b7, 17) && has(b7, 28) && has(b7, 30) && has(b7, 31);
  if (!avx512 || (xcr0 & 0xE6) != 0xE6) return set;
  set |= Bit(Isa::kAvx512);
  if (!has(c7, 11)) return set;
  set |= Bit(Isa::kAvx512Vnni);
  if (!(has(c7, 1) && has(c7, 6))) return set;
  set |= Bit(Isa::kAvx512Vbmi);
  const bool amx = has(d7, 22) && has(d7, 24) && has(d7, 25);
  if (amx && (xcr0 & 0x60000) == 0x60000 && AmxGranted()) set |= Bit(Isa::kAmx);
  return set;
}

#elif defined(__aarch64__)

IsaSet DetectCpu() {
  IsaSet set = Bit(Isa::kScalar);
  if (!(getauxval(AT_HWCAP) & HWCAP_ASIMDDP)) return set;
  set |= Bit(Isa::kNeonDot);
#ifdef HWCAP2_I8MM
  if (getauxval(AT_HWCAP2) & HWCAP2_I8MM) set |= Bit(Isa::kNeonI8mm);
#endif
  return set;
}

#else

IsaSet DetectCpu() { return Bit(Isa::kScalar); }

#endif

IsaSet CapOf(std::string_view name) {
  if (name.empty()) return ~IsaSet{0};
  const Isa isa = ParseIsa(name);
  if (!(CpuIsas() & BuiltIsas() & Bit(isa))) {
    Fail("PLANISH_ISA: '" + std::string(name) + "' is not available on this machine; choose one of the ISAs that `planish doctor` lists");
  }
  return Includes(isa);
}

IsaSet& Cap() {
  static IsaSet cap = [] {
    const char* name = std::getenv("PLANISH_ISA");
    return CapOf(name ? name : "");
  }();
  return cap;
}

}  // namespace

const char* IsaName(Isa isa) { return kNames[static_cast<int>(isa)]; }

Isa ParseIsa(std::string_view name) {
  std::string known;
  for (int i = 0; i < kIsaCount; ++i) {
    if (name == kNames[i]) return static_cast<Isa>(i);
    known += std::string(i ? ", " : "") + kNames[i];
  }
  Fail("PLANISH_ISA: unknown instruction set '" + std::string(name) + "'; use one of " + known);
}

IsaSet Includes(Isa isa) { return kIncludes[static_cast<int>(isa)]; }

IsaSet BuiltIsas() {
#if defined(__x86_64__)
  return Includes(Isa::kAmx) | Bit(Isa::kAvxVnni);
#elif defined(__aarch64__)
  return Includes(Isa::kNeonI8mm);
#else
  return Bit(Isa::kScalar);
#endif
}

IsaSet CpuIsas() {
  static const IsaSet set = DetectCpu();
  return set;
}

IsaSet UsableIsas() { return BuiltIsas() & CpuIsas() & Cap(); }

void SetIsaCap(std::string_view name) { Cap() = CapOf(name); }

std::vector<Isa> Members(IsaSet set) {
  std::vector<Isa> members;
  for (int i = 0; i < kIsaCount; ++i) {
    if (set & (1u << i)) members.push_back(static_cast<Isa>(i));
  }
  return members;
}

Isa Best(IsaSet set) { return Members(set | Bit(Isa::kScalar)).back(); }

}  // namespace planish
