// Instruction sets: what was built, what this CPU and operating system offer, and what PLANISH_ISA allows.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace planish {

// An Isa is an exact set of CPU features, equal to the compiler flags of its files (cmake/isa.cmake).
enum class Isa : uint8_t {
  kScalar,      // what every CPU of the architecture has
  kAvx2,        // AVX2, FMA, F16C, BMI1/2
  kAvxVnni,     // kAvx2 + AVX-VNNI
  kAvx512,      // kAvx2 + AVX-512 F, CD, BW, DQ, VL
  kAvx512Vnni,  // kAvx512 + VNNI
  kAvx512Vbmi,  // kAvx512Vnni + VBMI, VBMI2
  kAmx,         // kAvx512Vbmi + AMX-TILE, AMX-INT8, AMX-BF16, granted by the operating system
  kNeonDot,     // ARMv8.2-A + DotProd
  kNeonI8mm,    // kNeonDot + I8MM
};
inline constexpr int kIsaCount = 9;

using IsaSet = uint32_t;  // bit i: static_cast<Isa>(i)
constexpr IsaSet Bit(Isa isa) { return 1u << static_cast<int>(isa); }

const char* IsaName(Isa isa);             // the spelling of PLANISH_ISA
Isa ParseIsa(std::string_view name);      // throws Error on an unknown name
IsaSet Includes(Isa isa);                 // every Isa whose features are a subset of isa's, itself included
IsaSet BuiltIsas();                       // compiled into this library
IsaSet CpuIsas();                         // offered by this CPU and granted by the operating system
IsaSet UsableIsas();                      // built, offered, and allowed by PLANISH_ISA or SetIsaCap
void SetIsaCap(std::string_view name);    // "" lifts the cap; throws Error if unknown or not offered here
std::vector<Isa> Members(IsaSet set);     // ascending
Isa Best(IsaSet set);                     // the highest member

inline bool Usable(Isa isa) { return (UsableIsas() & Bit(isa)) != 0; }

}  // namespace planish
