#include "machine/limits.h"

#include <algorithm>
#include <chrono>

#include "base/isa.h"
#include "base/memory.h"

namespace planish {
namespace {

constexpr int kRounds = 5;

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The best of several rounds of about five milliseconds.
double OperationsPerSecond(PeakLoop loop) {
  constexpr int64_t kIterations = 1 << 20;
  double best = 0;
  for (int i = 0; i < kRounds; ++i) {
    const double start = Seconds();
    const double operations = loop(kIterations);
    best = std::max(best, operations / (Seconds() - start));
  }
  return best;
}

#if !defined(__x86_64__)
uint64_t SumPortable(const uint64_t* data, int64_t words) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < words; ++i) sum += data[i];
  return sum;
}
#endif

}  // namespace

int MeasurePeaks(Peak* peaks, int capacity) {
  struct Candidate {
    const char* arithmetic;
    Isa isa;
    PeakLoop loop;
  };
  int count = 0;
#if defined(__x86_64__)
  const Candidate candidates[] = {
      {"f32", Isa::kAvx2, &PeakF32Avx2},
      {"f32", Isa::kAvx512, &PeakF32Avx512},
      {"u8s8", Isa::kAvx2, &PeakU8S8Avx2},
      {"u8s8_pairs", Isa::kAvx2, &PeakU8S8PairsAvx2},
      {"u8s8", Isa::kAvx512Vnni, &PeakU8S8Avx512Vnni},
      {"u8s8_pairs", Isa::kAvx512Vnni, &PeakU8S8Avx512Vnni},
  };
  for (const Candidate& c : candidates) {
    if (!Usable(c.isa) || count == capacity) continue;
    peaks[count++] = {c.arithmetic, IsaName(c.isa), OperationsPerSecond(c.loop)};
  }
#else
  static_cast<void>(peaks);
  static_cast<void>(capacity);
  static_cast<void>(&OperationsPerSecond);
#endif
  return count;
}

double MeasureReadBandwidth(int64_t bytes) {
  const Memory memory = Memory::Allocate(bytes);
  std::fill_n(memory.data, bytes, std::byte{1});  // untouched pages would all be the one page of zeros
  const auto* data = reinterpret_cast<const uint64_t*>(memory.data);
  const int64_t words = bytes / 8, passes = std::max<int64_t>(1, (int64_t{64} << 20) / std::max<int64_t>(1, bytes));
#if defined(__x86_64__)
  if (!Usable(Isa::kAvx2)) return 0;
  const auto sum = &SumAvx2;
#else
  const auto sum = &SumPortable;
#endif
  double best = 0;
  for (int i = 0; i < kRounds; ++i) {
    const double start = Seconds();
    uint64_t total = 0;
    for (int64_t p = 0; p < passes; ++p) {
      total += sum(data, words);
      __asm__ volatile("" : "+r"(total)::"memory");
    }
    best = std::max(best, static_cast<double>(passes * bytes) / (Seconds() - start));
  }
  return best;
}

}  // namespace planish
