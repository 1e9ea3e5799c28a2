// What this machine can do at most on one thread: the roofline that benchmarks compare kernels with.
#pragma once

#include <cstdint>

namespace planish {

// Runs `iterations` rounds of independent multiply-accumulates in registers; returns the operations done (a multiply and an
// add count as two). One function an ISA and arithmetic.
using PeakLoop = double (*)(int64_t iterations);

struct Peak {
  const char* arithmetic;  // "f32", "u8s8", or "u8s8_pairs": on weights whose pairs cannot saturate 16 bits
  const char* isa;
  double operations_per_second;
};

// Measures the arithmetic peaks of every usable ISA into `peaks` (room for `capacity`); returns how many.
int MeasurePeaks(Peak* peaks, int capacity);

// Bytes per second of summing a block of `bytes` bytes, best of several passes.
double MeasureReadBandwidth(int64_t bytes);

double PeakF32Avx2(int64_t iterations);
double PeakF32Avx512(int64_t iterations);
double PeakU8S8Avx2(int64_t iterations);
double PeakU8S8PairsAvx2(int64_t iterations);
double PeakU8S8Avx512Vnni(int64_t iterations);
uint64_t SumAvx2(const uint64_t* data, int64_t words);

}  // namespace planish
