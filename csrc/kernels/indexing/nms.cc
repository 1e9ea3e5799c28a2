// Family `nms` (ONNX NonMaxSuppression): boxes [N, B, 4], scores [N, C, B] (float32, any strides) -> selected int64
// [n, 3] with n = N * C * min(B, most), rows of (batch, class, box), and count, a scalar; rows behind the count are zero.
// Per batch and class boxes are taken by falling score (of equal ones the first), up to attribute `most`, unless their
// intersection over union with one that was taken exceeds iou_threshold. Attributes: score_threshold (only scores above
// it are looked at; absent: all but NaN), center = 1 for boxes (x centre, y centre, width, height), else two
// corners (y1, x1, y2, x2) in any order. A box that is not a number intersects nothing.
#include <limits>

#include "kernels/common/order_key.h"
#include "kernels/indexing/index.h"

namespace planish {
namespace {

struct Params {
  int64_t batches, classes, boxes, most, rows;
  int64_t box_batch, box_pitch, box_item, score_batch, score_class, score_pitch, to_row, to_item;
  float iou, score;
  bool any_score, center;
};

struct Box {
  float low[2], high[2], area;
};

float At(const std::byte* p) {
  float value;
  std::memcpy(&value, p, 4);
  return value;
}

Box BoxAt(const Params& p, const std::byte* at) {
  float v[4];
  for (int k = 0; k < 4; ++k) v[k] = At(at + k * p.box_item);
  Box b;
  for (int k = 0; k < 2; ++k) {
    const float first = p.center ? v[k] - v[k + 2] / 2 : v[k], second = p.center ? v[k] + v[k + 2] / 2 : v[k + 2];
    b.low[k] = first < second ? first : second;
    b.high[k] = first < second ? second : first;
  }
  b.area = (b.high[0] - b.low[0]) * (b.high[1] - b.low[1]);
  return b;
}

bool Overlap(const Box& a, const Box& b, float threshold) {
  float side[2];
  for (int k = 0; k < 2; ++k) {
    side[k] = (a.high[k] < b.high[k] ? a.high[k] : b.high[k]) - (a.low[k] > b.low[k] ? a.low[k] : b.low[k]);
    if (!(side[k] > 0)) return false;
  }
  const float common = side[0] * side[1], all = a.area + b.area - common;
  return a.area > 0 && b.area > 0 && all > 0 && common / all > threshold;
}

void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  auto* order = reinterpret_cast<int64_t*>(context.scratch);
  auto* taken = reinterpret_cast<Box*>(context.scratch + p.boxes * 8);
  int64_t count = 0;
  const auto put = [&](int64_t row, int64_t item, int64_t value) {
    std::memcpy(operands[2] + row * p.to_row + item * p.to_item, &value, 8);
  };
  const int64_t tasks = p.rows > 0 ? p.batches * p.classes : 0;  // without boxes there may be any number of them
  for (int64_t task = 0; task < tasks; ++task) {
    const int64_t n = task / p.classes, c = task % p.classes;
    const std::byte* boxes = operands[0] + n * p.box_batch;
    const std::byte* scores = operands[1] + n * p.score_batch + c * p.score_class;
    const auto score = [&](int64_t i) { return At(scores + i * p.score_pitch); };
    int64_t candidates = 0;
    for (int64_t i = 0; i < p.boxes; ++i) {
      if (p.any_score ? score(i) == score(i) : score(i) > p.score) order[candidates++] = i;
    }
    std::sort(order, order + candidates, [&](int64_t a, int64_t b) {
      const float x = score(a), y = score(b);
      return x != y ? x > y : a < b;
    });
    int64_t kept = 0;
    for (int64_t i = 0; i < candidates && kept < p.most; ++i) {
      const Box box = BoxAt(p, boxes + order[i] * p.box_pitch);
      if (std::any_of(taken, taken + kept, [&](const Box& other) { return Overlap(box, other, p.iou); })) continue;
      taken[kept++] = box;
      put(count, 0, n);
      put(count, 1, c);
      put(count++, 2, order[i]);
    }
  }
  for (int64_t row = count; row < p.rows; ++row) {
    for (int item = 0; item < 3; ++item) put(row, item, 0);
  }
  std::memcpy(operands[3], &count, 8);
}

}  // namespace

PLANISH_KERNEL_LIST(nms, Nms, kIndexingLines)

Built BuildNms(const OpDesc& op) {
  CheckOperands(op, 2, 2);
  const View &boxes = op.inputs[0], &scores = op.inputs[1], &y = op.outputs[0], &count = op.outputs[1];
  CheckType(op, boxes, DType::kF32);
  CheckType(op, scores, DType::kF32);
  CheckType(op, y, DType::kS64);
  CheckType(op, count, DType::kS64);
  const KernelInfo& kernel = ChooseBest(NmsKernels(), op.attrs);
  Check(boxes.rank == 3 && scores.rank == 3 && boxes.shape[2] == 4 && boxes.shape[0] == scores.shape[0] &&
            boxes.shape[1] == scores.shape[2],
        "nms: boxes and scores do not fit together; check the shapes");
  const int64_t most = std::clamp<int64_t>(op.attrs.Int("most", 0), 0, boxes.shape[1]);
  const int64_t rows = CheckedMul(CheckedMul(scores.shape[0], scores.shape[1]), most);
  Check(y.rank == 2 && y.shape[0] == rows && y.shape[1] == 3 && count.elements() == 1,
        "nms: shapes do not fit together; the plan is damaged or of another version");
  const Params p{boxes.shape[0],   scores.shape[1],  boxes.shape[1],   most,
                 rows,             boxes.stride[0],  boxes.stride[1],  boxes.stride[2],
                 scores.stride[0], scores.stride[1], scores.stride[2], y.stride[0],
                 y.stride[1],      static_cast<float>(op.attrs.Float("iou_threshold", 0)),
                 static_cast<float>(op.attrs.Float("score_threshold", 0)), !op.attrs.Has("score_threshold"),
                 op.attrs.Int("center", 0) != 0};
  const int64_t scratch = CheckedMul(boxes.shape[1], 8 + static_cast<int64_t>(sizeof(Box)));
  Built built = MakeBuilt(&Run, p, kernel.name, scratch);
  built.work = static_cast<double>(scores.elements()) * static_cast<double>(boxes.shape[1]);  // all pairs, at worst
  return built;
}

}  // namespace planish
