// The front end of the micro-kernels: cuts a problem into tiles, finds the rows they read, and runs them in parallel.
//
//   for a block of panels that fits in L2      (a task: one block × one chunk of tiles)
//     for a tile of pixels                     rows and outputs are located once,
//       for the groups in the block            and serve all panels of the block
//         micro-kernel
#include <algorithm>

#include "base/check.h"
#include "base/thread_pool.h"
#include "kernels/gemm/gemm.h"

namespace planish {
namespace {

constexpr int64_t kBlockBytes = 640 << 10;  // weights of a block: about half of an L2
constexpr int64_t kTasksPerThread = 4;

int64_t PanelBytes(const Problem& p) { return PanelBytes(p.format, p.shape); }

// The depth of one tap in a gathered row: as in the packed weights.
int64_t GatherDepth(const Problem& p) { return PackedDepth(p.format, p.shape); }

// Tasks that are worth handing out: at least 20 µs each, a few per thread.
int64_t WantedTasks(const Problem& p, int threads) {
  if (threads == 1) return 1;
  const double macs = static_cast<double>(p.map.pixels) * static_cast<double>(p.panels * kPanel) *
                      static_cast<double>(p.shape.taps * p.shape.depth);
  const double per_task = p.lhs == DType::kF32 ? 1e6 : 3e6;
  const double useful = std::max(1.0, macs / per_task);
  return static_cast<int64_t>(std::min(useful, static_cast<double>(kTasksPerThread * threads)));
}

// Rows that lie a multiple of 4 KiB apart compete for the same few lines of L1: they are copied together.
bool RowsCollide(const Problem& p, const TileKernel& kernel) {
  constexpr int64_t kL1Stride = 4096;
  constexpr int kL1Ways = 8;
  constexpr int64_t kWorthPanels = 8;
  return kernel.max_rows > kL1Ways && p.map.pixels > kL1Ways && p.shape.taps == 1 && p.map.axes > 0 &&
         p.map.axis[p.map.axes - 1].x_pitch % kL1Stride == 0 && p.shape.group_panels() >= kWorthPanels;
}

GatherLayout LayoutOf(const Problem& p) {
  const int64_t item = ItemSize(p.lhs), tap = GatherDepth(p) * item;
  const int64_t row = AlignUp(CheckedMul(p.shape.taps, tap));
  return {p.shape.depth * item, tap, row + (row % 1024 ? 0 : kAlignment)};
}

using Segments = Problem::Segments;

// Runs save pointers where taps are short; copying costs more, and is for the shortest, and for rows that collide.
Segments ChooseSegments(const Problem& p, const TileKernel& kernel) {
  constexpr int64_t kShortTap = 32;  // bytes
  const int64_t depth_bytes = p.shape.depth * ItemSize(p.lhs);
  const bool contiguous = p.map.run_taps > 1 && p.map.axis[p.map.axes - 1].x_pitch == depth_bytes &&
                          GatherDepth(p) == p.shape.depth && !p.map.transposed;
  if (contiguous && depth_bytes <= kShortTap) return Segments::kRuns;
  if (p.shape.taps > 1 && p.shape.depth <= kernel.gather_depth) return Segments::kCopied;
  return RowsCollide(p, kernel) ? Segments::kCopied : Segments::kTaps;
}

int64_t TapsPerSegment(const Problem& p) {
  return p.segments == Segments::kTaps ? 1 : p.segments == Segments::kRuns ? p.map.run_taps : p.shape.taps;
}
int64_t SegmentCount(const Problem& p) { return p.shape.taps / TapsPerSegment(p); }
int64_t SegmentDepth(const Problem& p) {
  return TapsPerSegment(p) == 1 ? p.shape.depth : TapsPerSegment(p) * GatherDepth(p);
}

// One task's view of the operands.
class TaskRun {
 public:
  TaskRun(const Problem& p, std::byte* const* operands, std::byte* scratch)
      : p_(p), operands_(operands), scratch_(scratch) {
    item_ = ItemSize(p.lhs);
    panel_bytes_ = PanelBytes(p);
    args_.segments = SegmentCount(p);
    args_.depth = SegmentDepth(p);
    args_.panel_bytes = panel_bytes_;
    args_.out = out_;
    args_.residual = p.residual ? residual_ : nullptr;
    args_.low = p.low;
    args_.high = p.high;
    args_.y_zero = p.y_zero;
    args_.output = p.output;
    args_.scratch = reinterpret_cast<char*>(scratch) + p.kernel_at;
  }

  void Run(int64_t block, int64_t chunk) {
    const int64_t first = chunk * p_.chunk_tiles, last = std::min(p_.tiles, first + p_.chunk_tiles);
    const int64_t panel0 = block * p_.block_panels, panel1 = std::min(p_.panels, panel0 + p_.block_panels);
    if (p_.kernel->region) p_.kernel->region(args_, true);
    for (int64_t tile = first; tile < last; ++tile) {
      const int64_t pixel = tile * p_.tile_rows;
      const int count = static_cast<int>(std::min(p_.tile_rows, p_.map.pixels - pixel));
      Locate(pixel, count);
      for (int64_t panel = panel0; panel < panel1;) panel = RunPanels(panel, panel1, pixel, count);
    }
    if (p_.kernel->region) p_.kernel->region(args_, false);
  }

 private:
  const char* Input(int i) const {
    return i < p_.y_operand ? reinterpret_cast<const char*>(operands_[i]) : nullptr;
  }

  char* Copies() const { return reinterpret_cast<char*>(scratch_) + p_.gather_at; }

  const char** Rows() const { return reinterpret_cast<const char**>(scratch_ + p_.rows_at); }

  void Locate(int64_t pixel, int count) {
    int64_t offsets[kMaxTileRows];
    const char* fill = reinterpret_cast<const char*>(p_.fill.data);
    if (p_.segments == Segments::kTaps) {
      LocateInputs(p_.map, pixel, count, Input(0), fill, Rows());
    } else if (p_.segments == Segments::kRuns) {
      LocateRuns(p_.map, p_.layout, pixel, count, Input(0), fill, Copies(), Rows());
    }
    LocateOutputs(p_.map, pixel, count, false, offsets);
    char* y = reinterpret_cast<char*>(operands_[p_.y_operand]);
    for (int i = 0; i < count; ++i) out_[i] = y + offsets[i];
    if (p_.residual) {
      LocateOutputs(p_.map, pixel, count, true, offsets);
      for (int i = 0; i < count; ++i) residual_[i] = Input(5) + offsets[i];
    }
  }

  // Sets args_.rows for one group.
  void SetRows(int64_t group, int64_t pixel, int count) {
    const int64_t row_offset = group * p_.shape.depth * item_;
    const bool copied = p_.segments == Segments::kCopied;
    args_.row_offset = copied ? 0 : row_offset;
    args_.rows = copied ? gathered_ : Rows();
    if (!copied) return;
    char* to = Copies();
    Gather(p_.map, p_.layout, pixel, count, Input(0) + row_offset,
           reinterpret_cast<const char*>(p_.fill.data) + row_offset, to);
    for (int i = 0; i < count; ++i) gathered_[i] = to + i * p_.layout.pitch;
  }

  // Runs the panels of one group that lie in [panel, end); returns the next panel.
  int64_t RunPanels(int64_t panel, int64_t end, int64_t pixel, int count) {
    const int64_t per_group = p_.shape.group_panels(), group = p_.shape.groups == 1 ? 0 : panel / per_group;
    const int64_t stop = std::min(end, (group + 1) * per_group);
    const int64_t column = (panel - group * per_group) * kPanel;  // within the group
    const int64_t n = group * p_.shape.group_outputs() + column;
    SetRows(group, pixel, count);
    args_.weights = Input(1) + panel * panel_bytes_;
    args_.outputs = std::min((stop - panel) * kPanel, p_.shape.group_outputs() - column);
    const int64_t out_item = p_.output == kTileU8 ? 1 : 4;
    args_.out_offset = args_.residual_offset = n * out_item;
    const auto at = [&](int i) { return Input(i) ? Input(i) + n * 4 : nullptr; };
    args_.bias = at(2);
    args_.scale = reinterpret_cast<const float*>(at(3));
    args_.weight_zero = reinterpret_cast<const int32_t*>(at(4));
    args_.row_pitch = count;
    p_.kernel->run(args_, count);
    return stop;
  }

  const Problem& p_;
  std::byte* const* operands_;
  std::byte* scratch_;
  int64_t item_, panel_bytes_;
  TileArgs args_{};
  char* out_[kMaxTileRows];
  const char* residual_[kMaxTileRows];
  const char* gathered_[kMaxTileRows];
};

}  // namespace

void Schedule(Problem& p, const TileKernel& kernel, int threads) {
  p.kernel = &kernel;
  p.segments = ChooseSegments(p, kernel);
  p.layout = LayoutOf(p);
  p.tiles = DivideUp(p.map.pixels, kernel.max_rows);
  p.tile_rows = DivideUp(p.map.pixels, p.tiles);
  p.tiles = DivideUp(p.map.pixels, p.tile_rows);

  p.panels = p.shape.groups * p.shape.group_panels();
  const int64_t wanted = WantedTasks(p, threads);
  // Copied rows are copied once a block, which must be worth it.
  const int64_t fewest = p.segments == Segments::kCopied ? 8 : 1;
  const int64_t fitting = std::max(fewest, kBlockBytes / std::max<int64_t>(1, PanelBytes(p)));
  int64_t blocks = p.tiles == 1 ? 1 : DivideUp(p.panels, fitting);
  p.chunks = std::min(p.tiles, DivideUp(wanted, blocks));
  blocks = std::max(blocks, std::min(DivideUp(p.panels, 2), DivideUp(wanted, p.chunks)));
  p.block_panels = DivideUp(p.panels, blocks);
  if (p.block_panels > 1) p.block_panels += p.block_panels % 2;
  p.blocks = DivideUp(p.panels, p.block_panels);
  p.chunk_tiles = DivideUp(p.tiles, p.chunks);
  p.chunks = DivideUp(p.tiles, p.chunk_tiles);

  p.rows_at = 0;
  p.gather_at = AlignUp(CheckedMul(p.shape.taps, kMaxTileRows * static_cast<int64_t>(sizeof(char*))));
  p.kernel_at =
      p.gather_at + (p.segments == Segments::kTaps ? 0 : CheckedMul(p.tile_rows, p.layout.pitch) + kTail);
  p.worker_scratch =
      CheckedAdd(p.kernel_at, AlignUp(kernel.scratch(SegmentCount(p), SegmentDepth(p), p.tile_rows)));
}

void RunTiles(const void* params, std::byte* const* operands, const RunContext& context) {
  const Problem& p = *static_cast<const Problem*>(params);
  ParallelFor(p.blocks * p.chunks, context.threads, [&](int64_t task, int worker) {
    TaskRun(p, operands, context.scratch + worker * p.worker_scratch).Run(task / p.chunks, task % p.chunks);
  });
}

}  // namespace planish
