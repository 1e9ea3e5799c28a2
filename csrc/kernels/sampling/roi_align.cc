// Family `roi_align` (ONNX RoiAlign): x [N, C, H, W], rois [R, 4] (x1, y1, x2, y2), batch indices [R] (int64) ->
// y [R, C, h, w]; float32, any strides. A region is cut into h x w bins, a bin into samples, interpolated bilinearly:
// y is their average or, with attribute mode = max, the largest of their weighted pixels.
// Attributes: mode avg or max; spatial_scale; sampling_ratio, the samples of a bin along each axis (0: as many as the
// bin has pixels); half_pixel. Regions are data: one of another batch, or that is not finite, gives zeros; a bin has
// at most kLargestGrid samples along an axis. Samples more than a pixel outside count as zero.
#include "kernels/common/nest.h"
#include "kernels/common/operands.h"
#include "kernels/sampling/bilinear.h"
#include "kernels/sampling/lines.h"

namespace planish {
namespace {

constexpr const char* kModes[] = {"avg", "max"};
constexpr int64_t kLargestGrid = 256;

struct Params {
  Plane plane;
  int64_t batch, channels, regions, rows, columns;
  int64_t from_batch, from_channel, roi_pitch, roi_item, index_pitch;
  int64_t to_region, to_channel, to_row, to_column;
  int64_t sampling_ratio;
  float scale, offset;
  bool max, half_pixel;
};

// One axis of a region: where its first bin starts, the size of a bin, and its samples.
struct Bins {
  float start, size;
  int64_t samples;
};

Bins BinsOf(const Params& p, float low, float high, int64_t count) {
  const float start = low * p.scale - p.offset;
  float length = high * p.scale - p.offset - start;
  if (!p.half_pixel) length = std::max(length, 1.0f);
  const float size = length / static_cast<float>(count);
  const float most = static_cast<float>(kLargestGrid);
  const int64_t own = size > 0 ? static_cast<int64_t>(std::ceil(std::min(size, most))) : 0;
  return {start, size, p.sampling_ratio > 0 ? p.sampling_ratio : own};
}

float SampleAt(const Bins& b, int64_t bin, int64_t i) {
  return Bounded(b.start + static_cast<float>(bin) * b.size +
                 (static_cast<float>(i) + 0.5f) * b.size / static_cast<float>(b.samples));
}

// The two pixels around a position and the weight of the second.
void Neighbours(float at, int64_t size, int64_t (&pixel)[2], float& weight) {
  at = std::max(at, 0.0f);
  pixel[0] = static_cast<int64_t>(at);
  if (pixel[0] >= size - 1) {
    pixel[0] = pixel[1] = size - 1;
    weight = 0;
  } else {
    pixel[1] = pixel[0] + 1;
    weight = at - static_cast<float>(pixel[0]);
  }
}

// The samples of a bin that lie inside, at most a pixel beyond the edge: positions are monotone, so they are a range.
struct Range {
  int64_t begin, end;
  int64_t count() const { return end - begin; }
};

Range InsideOf(const Bins& b, int64_t bin, int64_t size) {
  const auto outside = [&](int64_t i) {
    const float at = SampleAt(b, bin, i);
    return at < -1 || at > static_cast<float>(size);
  };
  Range r{0, b.samples};
  while (r.begin < r.end && outside(r.begin)) ++r.begin;
  while (r.begin < r.end && outside(r.end - 1)) --r.end;
  return r;
}

// Of a sample inside.
Corners CornersAt(const Plane& plane, float y, float x) {
  Corners c;
  int64_t rows[2], columns[2];
  float low, right;
  Neighbours(y, plane.height, rows, low);
  Neighbours(x, plane.width, columns, right);
  for (int k = 0; k < 4; ++k) {
    c.offset[k] = rows[k / 2] * plane.row + columns[k % 2] * plane.column;
    c.weight[k] = (k / 2 ? low : 1 - low) * (k % 2 ? right : 1 - right);
  }
  return c;
}

float Bin(const Params& p, const Bins& vertical, const Bins& horizontal, int64_t i, int64_t j, const std::byte* x) {
  const Range rows = InsideOf(vertical, i, p.plane.height), columns = InsideOf(horizontal, j, p.plane.width);
  const int64_t samples = vertical.samples * horizontal.samples;
  float sum = 0, largest = 0;
  bool any = rows.begin > 0 || columns.begin > 0;  // the first sample is outside: zero
  for (int64_t v = rows.begin; v < rows.end; ++v) {
    for (int64_t h = columns.begin; h < columns.end; ++h) {
      const Corners c = CornersAt(p.plane, SampleAt(vertical, i, v), SampleAt(horizontal, j, h));
      if (!p.max) {
        sum += Interpolate(c, x);
        continue;
      }
      float best = c.weight[0] * At(x + c.offset[0]);
      for (int k = 1; k < 4; ++k) best = std::max(best, c.weight[k] * At(x + c.offset[k]));
      largest = any ? std::max(largest, best) : best;
      any = true;
    }
  }
  if (!p.max) return sum / static_cast<float>(std::max<int64_t>(1, samples));
  return rows.count() * columns.count() < samples ? std::max(largest, 0.0f) : largest;
}

// One region and channel.
void RunPlane(const Params& p, std::byte* const* operands, int64_t region, int64_t channel) {
  const std::byte* roi = operands[1] + region * p.roi_pitch;
  float corner[4];
  bool valid = true;
  for (int k = 0; k < 4; ++k) {
    corner[k] = At(roi + k * p.roi_item);
    valid = valid && std::isfinite(corner[k] * p.scale);
  }
  int64_t image;
  std::memcpy(&image, operands[2] + region * p.index_pitch, 8);
  valid = valid && image >= 0 && image < p.batch;
  const Bins horizontal = BinsOf(p, valid ? corner[0] : 0, valid ? corner[2] : 0, p.columns);
  const Bins vertical = BinsOf(p, valid ? corner[1] : 0, valid ? corner[3] : 0, p.rows);
  const std::byte* x = operands[0] + (valid ? image * p.from_batch : 0) + channel * p.from_channel;
  std::byte* y = operands[3] + region * p.to_region + channel * p.to_channel;
  for (int64_t i = 0; i < p.rows; ++i) {
    for (int64_t j = 0; j < p.columns; ++j) {
      const float value = valid ? Bin(p, vertical, horizontal, i, j, x) : 0.0f;
      std::memcpy(y + i * p.to_row + j * p.to_column, &value, 4);
    }
  }
}

void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  const int threads = ThreadsFor(p.regions * p.channels * p.rows * p.columns * 128, context.threads);
  ParallelFor(p.regions * p.channels, threads,
              [&](int64_t task, int) { RunPlane(p, operands, task / p.channels, task % p.channels); });
}

// At most so many samples of a region lie inside. As many as a bin has pixels are more than half a pixel apart, unless
// there is one a bin; that those outside are skipped costs half a sample each along one axis.
double SamplesInside(const Params& p) {
  const double bins = static_cast<double>(p.rows) * static_cast<double>(p.columns);
  const double ratio = static_cast<double>(p.sampling_ratio), most = static_cast<double>(kLargestGrid);
  if (ratio > 0) return bins * ratio * ratio;
  const double rows = 2 * static_cast<double>(p.plane.height + 1) + static_cast<double>(p.rows);
  const double columns = 2 * static_cast<double>(p.plane.width + 1) + static_cast<double>(p.columns);
  return std::min(rows * columns, bins * most * most) + bins * most / 2;
}

}  // namespace

PLANISH_KERNEL_LIST(roi_align, RoiAlign, kSamplingLines)

Built BuildRoiAlign(const OpDesc& op) {
  CheckOperands(op, 3, 1);
  const View &x = op.inputs[0], &rois = op.inputs[1], &indices = op.inputs[2], &y = op.outputs[0];
  for (const View* v : {&x, &rois, &y}) CheckType(op, *v, DType::kF32);
  CheckType(op, indices, DType::kS64);
  const KernelInfo& kernel = ChooseBest(RoiAlignKernels(), op.attrs);
  Check(x.rank == 4 && y.rank == 4 && rois.rank == 2 && rois.shape[1] == 4 && indices.rank == 1 &&
            indices.shape[0] == rois.shape[0] && y.shape[0] == rois.shape[0] && y.shape[1] == x.shape[1],
        "roi_align: shapes do not fit together; check the model");
  if (y.elements() == 0) return BuildNothing(kernel.name);
  Check(x.elements() > 0 && x.shape[2] < (1 << 24) && x.shape[3] < (1 << 24),
        "roi_align: the image is empty or too large; feed another one");
  const int64_t ratio = op.attrs.Int("sampling_ratio", 0);
  Check(ratio >= 0 && ratio <= kLargestGrid, "roi_align: sampling_ratio is outside 0..256; use fewer samples");
  const bool half = op.attrs.Int("half_pixel", 1) != 0;
  const Params p{{x.shape[2], x.shape[3], x.stride[2], x.stride[3]},
                 x.shape[0],
                 x.shape[1],
                 y.shape[0],
                 y.shape[2],
                 y.shape[3],
                 x.stride[0],
                 x.stride[1],
                 rois.stride[0],
                 rois.stride[1],
                 indices.stride[0],
                 y.stride[0],
                 y.stride[1],
                 y.stride[2],
                 y.stride[3],
                 ratio,
                 static_cast<float>(op.attrs.Float("spatial_scale", 1)),
                 half ? 0.5f : 0.0f,
                 ChoiceOf(op, "mode", op.attrs.String("mode", "avg"), kModes) == 1,
                 half};
  Built built = MakeBuilt(&Run, p, kernel.name);
  built.work = 4 * static_cast<double>(p.regions) * static_cast<double>(p.channels) * SamplesInside(p);
  return built;
}

}  // namespace planish
