// Families `gemm` and `conv`: y = epilogue(Σ x·w), x and y channels-last, w packed (formats/dense.h).
//
//   gemm   x [..., K], y [..., N]
//   conv   x [B, s1..s3, C], y [B, o1..o3, N]; attributes kernel, strides, dilations, pads (begin..., end...), groups,
//          transposed (see rows.h)
//
//   inputs: x, w, bias[N], scale float32[N], weight_zero int32[N], residual (like y, float32 only); from bias on each
//   may be absent. The strides of K, C, N and of the vectors are one item; all others are free.
//
//   x float32:  w dense_f32, bias float32, y float32 = clamp(Σ x·w + bias + residual, lo, hi)
//               w dense_bf16 with attribute bf16 = 1: the same, and kernels may round x to bfloat16 too
//   x uint8:    w dense_s8, bias int32; acc = Σ x·w − weight_zero·Σx + bias modulo 2^32, padding being x_zero (which the
//               caller has folded into the bias);
//               y int32 = acc;  y float32 = clamp(float(acc)·scale, lo, hi);
//               y uint8 = rne(clamp(float(acc)·scale, lo − y_zero, hi − y_zero)) + y_zero, NaN → lo
//
//   attributes: lo, hi (default: no bound; for uint8 whole numbers, default 0 and 255), x_zero, y_zero (default 0),
//   N and K (optional, checked), force (a micro-kernel's name).
#pragma once

#include <memory>

#include "base/memory.h"
#include "formats/dense.h"
#include "kernels/gemm/rows.h"
#include "kernels/gemm/tile.h"
#include "kernels/kernel.h"

namespace planish {

// What a kernel is chosen for: pixels, outputs of a group, and products an output.
struct TileWork {
  int64_t pixels, outputs, depth;
};

struct TileKernel {
  const char* name;
  Isa isa;
  DenseFormat weights;
  int max_rows;
  bool (*pays)(const TileWork&);  // elsewhere an earlier kernel is faster
  int64_t gather_depth;           // the deepest taps (in elements) that are worth copying side by side
  bool safe_pairs;                // exact only for weights that PairsAreSafe accepts
  TileFn run;
  int64_t (*scratch)(int64_t segments, int64_t depth, int64_t rows);
  RegionFn region;  // may be null
  StripFn strip;    // in place of `run` where StripsPay says so; may be null
};

// The micro-kernels of kernels.inc, slowest first.
std::span<const TileKernel> TileKernels();
// The forced micro-kernel, or the last usable one that pays for this format of weights, work and the packed bytes (empty
// unless they are constant); throws Error if the forced one is not usable.
const TileKernel& ChooseTile(DenseFormat format, const TileWork& work, const std::string& forced,
                             std::span<const std::byte> weights = {});

// What `run` reads: the parameters of both families.
struct Problem {
  PixelMap map;
  DenseShape shape;
  DenseFormat format;
  DType lhs;
  TileOutput output;
  float low, high;
  int32_t y_zero;
  int y_operand;
  bool residual;
  Memory fill;  // one row of x_zero: what padding reads

  const TileKernel* kernel;  // null: the reference
  // How micro-kernels see the taps of a window: each as a segment of its own, those of a run that lies contiguously in x as
  // one segment, or all of them copied into one.
  enum class Segments : uint8_t { kTaps, kRuns, kCopied } segments;
  GatherLayout layout;
  // Work is cut into blocks of panels (of all groups, in order) × chunks of pixel tiles.
  int64_t panels, block_panels, blocks;
  int64_t tile_rows, tiles, chunk_tiles, chunks;
  int64_t rows_at, gather_at, kernel_at, worker_scratch;  // bytes
  // Strips: a line is all pixels along the last axis, cut into strips.
  int64_t line_pixels, strip_pixels, line_strips, strips, task_strips;
};

// Fills the fields below `kernel` for the chosen micro-kernel.
void Schedule(Problem& problem, const TileKernel& kernel, int threads);

// strips.cc: whether the layer's pixels lie at equal steps through x and do little enough each that copying them pays.
bool StripsPay(const Problem& problem);
void ScheduleStrips(Problem& problem, const TileKernel& kernel, int threads);
void RunStrips(const void* params, std::byte* const* operands, const RunContext& context);

void RunTiles(const void* params, std::byte* const* operands, const RunContext& context);      // schedule.cc
void RunReference(const void* params, std::byte* const* operands, const RunContext& context);  // reference.cc

}  // namespace planish
