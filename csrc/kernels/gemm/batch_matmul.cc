// Family `batch_matmul`: y[b..., m, n] = epilogue(Σ_k lhs[b..., m, k] · rhs[b..., k, n]), both sides known only at run time.
//
//   float32 × float32 → float32:  y = alpha · Σ
//   uint8 × uint8:                acc = Σ (lhs − lhs_zero)(rhs − rhs_zero) modulo 2^32, and from acc, with the attribute scale,
//                                 y int32, float32 or uint8 as family gemm
//
// lhs, rhs and y have equal rank and equal batch dimensions (broadcast by zero strides); strides are free, but for y's last
// axis, which is dense. A task packs a block of rhs into panels in scratch, then runs the micro-kernels of family gemm:
// rhs − 128 is an s8 weight with zero point rhs_zero − 128.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/thread_pool.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/layer.h"
#include "kernels/gemm/plain_matmul.h"
#include "kernels/requantize.h"

namespace planish {
namespace {

constexpr int64_t kBlockBytes = 256 << 10;  // packed rhs of a task: a part of L2

struct MatmulParams {
  int batch_axes;
  Dims batch_shape, lhs_batch, rhs_batch, y_batch;  // pitches in bytes
  int64_t batches, M, N, K;
  int64_t lhs_m, lhs_k, rhs_k, rhs_n, y_m;  // pitches in bytes
  DType lhs;
  TileOutput output;
  float alpha, scale, low, high;
  int32_t lhs_zero, rhs_zero, y_zero;

  const TileKernel* kernel;
  int64_t tile_rows;
  int64_t panel_bytes, block_panels, blocks;
  int64_t chunk_rows, chunks;  // of M
  int64_t tasks,
      tasks_per_item;  // batches × blocks × chunks, and how many of them are one piece of parallel work
  int64_t rows_at, bias_at, scale_at, zero_at, kernel_at, worker_scratch;
};

int64_t PackedDepth(const MatmulParams& p) { return p.lhs == DType::kF32 ? p.K : AlignUp(p.K, kQuad); }

struct Batch {
  const char *lhs, *rhs;
  char* y;
};

Batch Locate(const MatmulParams& p, std::byte* const* operands, int64_t batch) {
  Batch at{reinterpret_cast<const char*>(operands[0]), reinterpret_cast<const char*>(operands[1]),
           reinterpret_cast<char*>(operands[2])};
  for (int d = p.batch_axes - 1; d >= 0; --d) {
    const int64_t i = batch % p.batch_shape[d];
    batch /= p.batch_shape[d];
    at.lhs += i * p.lhs_batch[d];
    at.rhs += i * p.rhs_batch[d];
    at.y += i * p.y_batch[d];
  }
  return at;
}

typedef float Quad __attribute__((vector_size(16)));

// to[k][0..3] = from[0..3][k] for four k: a transposition in registers.
void Transpose4(const char* from, int64_t n_pitch, float alpha, float* to) {
  typedef int32_t Index __attribute__((vector_size(16)));
  Quad row[4];
  for (int i = 0; i < 4; ++i) std::memcpy(&row[i], from + i * n_pitch, sizeof row[i]);
  const Quad a = __builtin_shuffle(row[0], row[1], Index{0, 4, 1, 5}),
             b = __builtin_shuffle(row[2], row[3], Index{0, 4, 1, 5});
  const Quad c = __builtin_shuffle(row[0], row[1], Index{2, 6, 3, 7}),
             d = __builtin_shuffle(row[2], row[3], Index{2, 6, 3, 7});
  const Quad out[4] = {__builtin_shuffle(a, b, Index{0, 1, 4, 5}), __builtin_shuffle(a, b, Index{2, 3, 6, 7}),
                       __builtin_shuffle(c, d, Index{0, 1, 4, 5}),
                       __builtin_shuffle(c, d, Index{2, 3, 6, 7})};
  for (int i = 0; i < 4; ++i) {
    const Quad scaled = out[i] * alpha;
    std::memcpy(to + i * kPanel, &scaled, sizeof scaled);
  }
}

// One panel [K][16] of alpha · rhs; columns beyond `columns` are zero.
void PackPanelF32(const MatmulParams& p, const char* rhs, int64_t columns, float* to) {
  const auto at = [&](int64_t k, int64_t n) {
    float v;
    std::memcpy(&v, rhs + k * p.rhs_k + n * p.rhs_n, sizeof v);
    return v * p.alpha;
  };
  int64_t k = 0;
  if (columns == kPanel && p.rhs_n == 4) {
    for (; k < p.K; ++k) {
      float row[kPanel];
      std::memcpy(row, rhs + k * p.rhs_k, sizeof row);
      for (int64_t n = 0; n < kPanel; ++n) to[k * kPanel + n] = row[n] * p.alpha;
    }
  } else if (columns == kPanel && p.rhs_k == 4) {
    for (; k + 4 <= p.K; k += 4) {
      for (int64_t n = 0; n < kPanel; n += 4)
        Transpose4(rhs + k * 4 + n * p.rhs_n, p.rhs_n, p.alpha, to + k * kPanel + n);
    }
  }
  for (; k < p.K; ++k) {
    for (int64_t n = 0; n < kPanel; ++n) to[k * kPanel + n] = n < columns ? at(k, n) : 0.0f;
  }
}

// One panel [K/4][16][4] of rhs − 128, and what Σ(x − lhs_zero)(w − zero) adds to Σ x·w − zero·Σx for each column.
void PackPanelU8(const MatmulParams& p, const char* rhs, int64_t columns, int8_t* to, int32_t* bias) {
  std::memset(to, 0, static_cast<size_t>(PackedDepth(p) * kPanel));
  const uint32_t zero = static_cast<uint32_t>(p.rhs_zero - 128), lhs_zero = static_cast<uint32_t>(p.lhs_zero);
  for (int64_t n = 0; n < kPanel; ++n) {
    uint32_t sum = 0;
    for (int64_t k = 0; n < columns && k < p.K; ++k) {
      const int8_t w =
          static_cast<int8_t>(static_cast<int>(static_cast<uint8_t>(rhs[k * p.rhs_k + n * p.rhs_n])) - 128);
      to[(k / kQuad * kPanel + n) * kQuad + k % kQuad] = w;
      sum += static_cast<uint32_t>(static_cast<int32_t>(w));
    }
    bias[n] = static_cast<int32_t>(static_cast<uint32_t>(p.K) * lhs_zero * zero - lhs_zero * sum);
  }
}

// Runs block `block` of one batch on the rows [m0, m1).
void RunBlock(const MatmulParams& p, const Batch& at, std::byte* scratch, int64_t block, int64_t m0,
              int64_t m1) {
  const int64_t column = block * p.block_panels * kPanel,
                columns = std::min(p.block_panels * kPanel, p.N - column);
  int32_t* bias = reinterpret_cast<int32_t*>(scratch + p.bias_at);
  for (int64_t n = 0; n < columns; n += kPanel) {
    std::byte* to = scratch + n / kPanel * p.panel_bytes;
    const char* from = at.rhs + (column + n) * p.rhs_n;
    const int64_t width = std::min(kPanel, columns - n);
    if (p.lhs == DType::kF32) {
      PackPanelF32(p, from, width, reinterpret_cast<float*>(to));
    } else {
      PackPanelU8(p, from, width, reinterpret_cast<int8_t*>(to), bias + n);
    }
  }
  const bool u8 = p.lhs == DType::kU8;
  float* scale = reinterpret_cast<float*>(scratch + p.scale_at);
  int32_t* zero = reinterpret_cast<int32_t*>(scratch + p.zero_at);
  std::fill_n(scale, columns, p.scale);
  std::fill_n(zero, columns, p.rhs_zero - 128);

  const int64_t item = ItemSize(p.lhs);
  const bool copy = p.lhs_k != item && p.K > 1;
  char* copied = reinterpret_cast<char*>(scratch + p.rows_at);
  const char* rows[kMaxTileRows];
  char* out[kMaxTileRows];
  TileArgs args{};
  args.rows = rows;
  args.segments = 1;
  args.depth = p.K;
  args.weights = reinterpret_cast<const char*>(scratch);
  args.panel_bytes = p.panel_bytes;
  args.outputs = columns;
  args.out = out;
  args.out_offset = column * (p.output == kTileU8 ? 1 : 4);
  args.bias = u8 ? bias : nullptr;
  args.scale = scale;
  args.weight_zero = u8 ? zero : nullptr;
  args.low = p.low;
  args.high = p.high;
  args.y_zero = p.y_zero;
  args.output = p.output;
  args.scratch = reinterpret_cast<char*>(scratch + p.kernel_at);
  if (p.kernel->region) p.kernel->region(args, true);
  for (int64_t m = m0; m < m1; m += p.tile_rows) {
    const int count = static_cast<int>(std::min(p.tile_rows, m1 - m));
    for (int r = 0; r < count; ++r) {
      const char* row = at.lhs + (m + r) * p.lhs_m;
      out[r] = at.y + (m + r) * p.y_m;
      rows[r] = row;
      if (!copy) continue;
      char* to = copied + r * p.K * item;
      for (int64_t k = 0; k < p.K; ++k)
        std::memcpy(to + k * item, row + k * p.lhs_k, static_cast<size_t>(item));
      rows[r] = to;
    }
    p.kernel->run(args, count);
  }
  if (p.kernel->region) p.kernel->region(args, false);
}

void RunMatmul(const void* params, std::byte* const* operands, const RunContext& context) {
  const MatmulParams& p = *static_cast<const MatmulParams*>(params);
  ParallelFor(DivideUp(p.tasks, p.tasks_per_item), context.threads, [&](int64_t item, int worker) {
    const int64_t last = std::min(p.tasks, (item + 1) * p.tasks_per_item);
    for (int64_t task = item * p.tasks_per_item; task < last; ++task) {
      const int64_t chunk = task % p.chunks, block = task / p.chunks % p.blocks,
                    batch = task / p.chunks / p.blocks;
      RunBlock(p, Locate(p, operands, batch), context.scratch + worker * p.worker_scratch, block,
               chunk * p.chunk_rows, std::min(p.M, (chunk + 1) * p.chunk_rows));
    }
  });
}

void RunMatmulReference(const void* params, std::byte* const* operands, const RunContext&) {
  const MatmulParams& p = *static_cast<const MatmulParams*>(params);
  for (int64_t batch = 0; batch < p.batches; ++batch) {
    const Batch at = Locate(p, operands, batch);
    for (int64_t m = 0; m < p.M; ++m) {
      for (int64_t n = 0; n < p.N; ++n) {
        float sum = 0;
        uint32_t acc = 0;
        for (int64_t k = 0; k < p.K; ++k) {
          const char* a = at.lhs + m * p.lhs_m + k * p.lhs_k;
          const char* b = at.rhs + k * p.rhs_k + n * p.rhs_n;
          if (p.lhs == DType::kF32) {
            sum += *reinterpret_cast<const float*>(a) * *reinterpret_cast<const float*>(b);
          } else {
            acc += static_cast<uint32_t>((static_cast<uint8_t>(*a) - p.lhs_zero) *
                                         (static_cast<uint8_t>(*b) - p.rhs_zero));
          }
        }
        char* y = at.y + m * p.y_m;
        const float v =
            p.lhs == DType::kF32 ? sum * p.alpha : static_cast<float>(static_cast<int32_t>(acc)) * p.scale;
        switch (p.output) {
          case kTileS32:
            reinterpret_cast<int32_t*>(y)[n] = static_cast<int32_t>(acc);
            break;
          case kTileF32:
            reinterpret_cast<float*>(y)[n] = ClampF32(v, p.low, p.high);
            break;
          case kTileU8:
            reinterpret_cast<uint8_t*>(y)[n] = RequantizeU8(v, p.low, p.high, p.y_zero);
            break;
        }
      }
    }
  }
}

void RunNothing(const void*, std::byte* const*, const RunContext&) {}

void ReadNumbers(MatmulParams& p, const Attrs& attrs) {
  const bool u8 = p.lhs == DType::kU8;
  const double alpha = attrs.Float("alpha", 1), scale = attrs.Float("scale", 1);
  Check(std::isfinite(alpha) && (!u8 || alpha == 1),
        "alpha must be finite, and 1 for integers; this is a bug in planish");
  Check(std::isfinite(scale) && (u8 || scale == 1),
        "scale must be finite, and 1 for float32; this is a bug in planish");
  Check(p.output != kTileU8 || attrs.Has("scale"), "uint8 output needs a scale; this is a bug in planish");
  p.alpha = static_cast<float>(alpha);
  p.scale = static_cast<float>(scale);
  const int64_t lhs_zero = attrs.Int("lhs_zero", 0), rhs_zero = attrs.Int("rhs_zero", 0);
  Check(lhs_zero >= 0 && lhs_zero <= 255 && rhs_zero >= 0 && rhs_zero <= 255 &&
            (u8 || (lhs_zero == 0 && rhs_zero == 0)),
        "zero points must be from 0 to 255, and 0 for float32; check the model's quantization parameters");
  p.lhs_zero = static_cast<int32_t>(lhs_zero);
  p.rhs_zero = static_cast<int32_t>(rhs_zero);
  const Bounds bounds = ReadBounds(attrs, p.output);
  p.low = bounds.low;
  p.high = bounds.high;
  p.y_zero = bounds.y_zero;
}

MatmulParams Describe(const OpDesc& op) {
  Check(op.inputs.size() == 2 && op.outputs.size() == 1,
        "takes two inputs and one output; this is a bug in planish");
  const View &a = op.inputs[0], &b = op.inputs[1], &y = op.outputs[0];
  Check(
      a.buffer >= 0 && b.buffer >= 0 && y.buffer >= 0 && a.rank >= 2 && a.rank == b.rank && a.rank == y.rank,
      "operands must have equal ranks of at least 2; this is a bug in planish");
  Check((a.dtype == DType::kF32 || a.dtype == DType::kU8) && a.dtype == b.dtype,
        "operands must both be float32 or uint8; this is a bug in planish");
  MatmulParams p{};
  p.lhs = a.dtype;
  p.output = OutputOf(p.lhs, y.dtype);
  p.M = a.size(-2);
  p.K = a.size(-1);
  p.N = b.size(-1);
  bool shapes = b.size(-2) == p.K && y.size(-2) == p.M && y.size(-1) == p.N;
  p.batches = 1;
  for (int d = 0; d + 2 < a.rank; ++d) {
    shapes &= a.shape[d] == y.shape[d] && b.shape[d] == y.shape[d];
    Check(y.stride[d] != 0 || y.shape[d] <= 1, "an output overlaps itself; this is a bug in planish");
    p.batches = CheckedMul(p.batches, y.shape[d]);
    p.batch_shape[p.batch_axes] = y.shape[d];
    p.lhs_batch[p.batch_axes] = a.stride[d];
    p.rhs_batch[p.batch_axes] = b.stride[d];
    p.y_batch[p.batch_axes++] = y.stride[d];
  }
  Check(shapes, "the operands' shapes do not fit together; this is a bug in planish");
  Check(y.pitch(-1) == ItemSize(y.dtype) || p.N <= 1 || y.elements() == 0,
        "y's columns must lie side by side; this is a bug in planish");
  Check(y.pitch(-2) != 0 || p.M <= 1 || y.elements() == 0,
        "an output overlaps itself; this is a bug in planish");
  p.lhs_m = a.pitch(-2);
  p.lhs_k = a.pitch(-1);
  p.rhs_k = b.pitch(-2);
  p.rhs_n = b.pitch(-1);
  p.y_m = y.pitch(-2);
  ReadNumbers(p, op.attrs);
  return p;
}

double Macs(const MatmulParams& p) {
  return static_cast<double>(p.batches) * static_cast<double>(p.M) * static_cast<double>(p.N) *
         static_cast<double>(p.K);
}

void ScheduleMatmul(MatmulParams& p, const TileKernel& kernel, int threads) {
  p.kernel = &kernel;
  const int64_t item = ItemSize(p.lhs), panels = DivideUp(p.N, kPanel);
  p.panel_bytes = CheckedMul(CheckedMul(PackedDepth(p), kPanel), item);
  p.block_panels = std::clamp<int64_t>(kBlockBytes / std::max<int64_t>(1, p.panel_bytes), 1, panels);
  const double macs = Macs(p);
  const int64_t wanted = threads == 1 ? 1 : static_cast<int64_t>(std::clamp(macs / 1e6, 1.0, 4.0 * threads));
  p.block_panels = std::min(p.block_panels, std::max<int64_t>(2, DivideUp(panels * p.batches, wanted)));
  p.blocks = DivideUp(panels, p.block_panels);
  const int64_t tiles = DivideUp(p.M, kernel.max_rows);
  p.chunks = std::clamp<int64_t>(wanted / std::max<int64_t>(1, 2 * p.batches * p.blocks), 1, tiles);
  p.chunk_rows = DivideUp(tiles, p.chunks) * kernel.max_rows;
  p.chunks = DivideUp(p.M, p.chunk_rows);
  p.tile_rows = DivideUp(std::min(p.M, p.chunk_rows), DivideUp(std::min(p.M, p.chunk_rows), kernel.max_rows));
  p.tasks = CheckedMul(p.batches, p.blocks * p.chunks);
  p.tasks_per_item = DivideUp(p.tasks, wanted);

  p.rows_at = AlignUp(CheckedMul(p.panel_bytes, p.block_panels));
  p.bias_at = CheckedAdd(p.rows_at, AlignUp(CheckedMul(p.tile_rows * item, p.K)) + kTail);
  const int64_t vector = AlignUp(p.block_panels * kPanel * 4);
  p.scale_at = p.bias_at + vector;
  p.zero_at = p.scale_at + vector;
  p.kernel_at = p.zero_at + vector;
  p.worker_scratch = CheckedAdd(p.kernel_at, AlignUp(kernel.scratch(1, p.K, p.tile_rows)));
}

}  // namespace

Built BuildBatchMatmul(const OpDesc& op) {
  if (!op.inputs.empty() && IsPlainMatmul(op.inputs[0].dtype)) return BuildPlainMatmul(op);
  MatmulParams p = Describe(op);
  if (op.outputs[0].elements() == 0) return MakeBuilt(&RunNothing, 0, "empty");
  const std::string forced = op.attrs.ForcedKernel();
  Built built;
  if (forced == "reference") {
    built = MakeBuilt(&RunMatmulReference, p, forced);
  } else {
    const TileKernel& kernel =
        ChooseTile(p.lhs == DType::kF32 ? DenseFormat::kF32 : DenseFormat::kS8, {p.M, p.N, p.K}, forced);
    ScheduleMatmul(p, kernel, op.threads);
    built = MakeBuilt(&RunMatmul, p, kernel.name, CheckedMul(p.worker_scratch, op.threads));
  }
  built.work = Macs(p);
  return built;
}

}  // namespace planish
