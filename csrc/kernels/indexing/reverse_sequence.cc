// Family `reverse_sequence`: x and lengths (int64, one a batch) -> y of x's shape. Along attribute time_axis the first
// lengths[b] slices of batch b (attribute batch_axis) are in reverse order, the others where they were. Lengths are
// data: what exceeds the axis counts as all of it, what is negative as none. Any dtype, any strides.
#include "kernels/indexing/index.h"

namespace planish {
namespace {

struct Params {
  Nest<2> slice;  // x, y without time and batch
  int64_t times, batches, item;
  int64_t from_time, to_time, from_batch, to_batch, lengths_pitch;
};

void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  const Params& p = *static_cast<const Params*>(params);
  const int64_t bytes = p.slice.rows * p.slice.length() * p.item;
  const int threads = ThreadsFor(bytes * p.times * p.batches * 2, context.threads);
  ParallelFor(p.times * p.batches, threads, [&](int64_t task, int) {
    const int64_t b = task / p.times, t = task % p.times;
    int64_t length;
    std::memcpy(&length, operands[1] + b * p.lengths_pitch, 8);
    length = std::clamp<int64_t>(length, 0, p.times);
    const int64_t source = t < length ? length - 1 - t : t;
    CopySlice(p.slice, p.item, operands[0] + b * p.from_batch + source * p.from_time,
              operands[2] + b * p.to_batch + t * p.to_time);
  });
}

}  // namespace

PLANISH_KERNEL_LIST(reverse_sequence, ReverseSequence, kIndexingLines)

Built BuildReverseSequence(const OpDesc& op) {
  CheckOperands(op, 2, 1);
  const View &x = op.inputs[0], &lengths = op.inputs[1], &y = op.outputs[0];
  CheckSameShape(op, x, y);
  CheckType(op, x, y.dtype);
  CheckType(op, lengths, DType::kS64);
  const KernelInfo& kernel = ChooseBest(ReverseSequenceKernels(), op.attrs);
  const int time = AxisOf(op, "time_axis", 0, x.rank), batch = AxisOf(op, "batch_axis", 1, x.rank);
  Check(time != batch && lengths.rank == 1 && lengths.shape[0] == x.shape[batch],
        "reverse_sequence: takes one length a batch, and two different axes; correct the model");
  if (y.elements() == 0) return BuildNothing(kernel.name);
  View slice_x = x, slice_y = y;
  slice_x.shape[time] = slice_x.shape[batch] = slice_y.shape[time] = slice_y.shape[batch] = 1;
  const Params p{MakeNest<2>({&slice_x, &slice_y}),
                 x.shape[time],
                 x.shape[batch],
                 ItemSize(x.dtype),
                 x.stride[time],
                 y.stride[time],
                 x.stride[batch],
                 y.stride[batch],
                 lengths.stride[0]};
  return MakeBuilt(&Run, p, kernel.name);
}

}  // namespace planish
