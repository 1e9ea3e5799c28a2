#include "kernels/rnn/rnn.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/thread_pool.h"
#include "kernels/common/operands.h"

namespace planish {

void Multiply(const TileKernel& kernel, const Product& product, const char* const* rows, char* const* out,
              int64_t count, int threads) {
  // Blocks of panels are shared among the threads once a product is worth waking them.
  constexpr int64_t kWorthSharing = 1 << 18;  // multiplications
  const int64_t panels = (product.columns + kPanel - 1) / kPanel;
  const bool share = threads > 1 && count * product.columns * product.matrix.depth >= kWorthSharing;
  const int64_t block = share ? std::max<int64_t>(4, (panels + threads - 1) / threads) : panels;
  ParallelFor((panels + block - 1) / block, share ? threads : 1, [&](int64_t task, int) {
    const int64_t first = task * block, column = first * kPanel;
    TileArgs args{};
    args.segments = 1;
    args.depth = product.matrix.depth;
    args.panel_bytes = product.matrix.panel_bytes();
    args.weights =
        reinterpret_cast<const char*>(product.weights) + (product.first_panel + first) * args.panel_bytes;
    args.outputs = std::min(product.columns - column, block * kPanel);
    args.out_offset = args.residual_offset = column * 4;
    args.bias = product.bias ? product.bias + column : nullptr;
    args.low = -std::numeric_limits<float>::infinity();
    args.high = std::numeric_limits<float>::infinity();
    args.output = kTileF32;
    for (int64_t r = 0; r < count; r += kernel.max_rows) {
      args.rows = rows + r;
      args.out = out + r;
      args.residual = product.add ? out + r : nullptr;
      kernel.run(args, static_cast<int>(std::min<int64_t>(kernel.max_rows, count - r)));
    }
  });
}

namespace {

enum Cell { kLstm, kGru, kRnn };

constexpr int64_t kGates[] = {4, 3, 1};

enum Operand { kX, kW, kR, kBias, kH0, kC0, kPeephole, kLengths, kInputs, kY = kInputs, kLastH, kLastC };

struct Pitches {
  int64_t time, batch;
};

struct Params {
  Cell cell;
  int64_t steps, batch, units;
  PackedMatrix w, r;
  Pitches x, y, h0, c0, last_h, last_c;  // bytes
  int64_t length_pitch;
  float clip;
  bool reverse, reset_after, relu;
  const TileKernel* kernel;
  const RnnRows* rows;
};

// The scratch of a run: floats unless said otherwise.
struct Workspace {
  float *gates, *state, *h, *c, *temporary, *update, *reset;
  const char** rows;
  char** out;
  int64_t* length;
  int64_t bytes;
};

Workspace Divide(const Params& p, std::byte* base) {
  Workspace w{};
  int64_t at = 0;
  const auto take = [&](auto*& pointer, int64_t count) {
    pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(base + at);
    at = AlignUp(CheckedAdd(at, CheckedMul(count, static_cast<int64_t>(sizeof(*pointer)))));
  };
  const int64_t sequence = CheckedMul(p.steps, p.batch), cells = CheckedMul(p.batch, p.units);
  take(w.gates, CheckedMul(sequence, p.w.outputs));
  take(w.state, CheckedMul(p.batch, p.w.outputs));
  take(w.h, cells);
  take(w.c, cells);
  // The last gate's product may start inside a panel: room for the panel's beginning.
  take(w.temporary, CheckedMul(p.batch, p.units + kPanel));
  take(w.update, cells);
  take(w.reset, cells);
  take(w.rows, std::max(sequence, p.batch));
  take(w.out, std::max(sequence, p.batch));
  take(w.length, p.batch);
  w.bytes = at;
  return w;
}

// One run of a layer.
class Layer {
 public:
  Layer(const Params& p, std::byte* const* operands, const RunContext& context)
      : p_(p), operands_(operands), threads_(context.threads), w_(Divide(p, context.scratch)) {}

  void Run() {
    LoadState(w_.h, kH0, p_.h0);
    LoadState(w_.c, kC0, p_.c0);
    LoadLengths();
    MultiplyInputs();
    for (int64_t step = 0; step < p_.steps; ++step) Step(step);
    SaveState(w_.h, kLastH, p_.last_h);
    if (p_.cell == kLstm) SaveState(w_.c, kLastC, p_.last_c);
  }

 private:
  const float* Floats(int i) const { return reinterpret_cast<const float*>(operands_[i]); }
  size_t StateBytes() const { return static_cast<size_t>(p_.units) * 4; }

  void LoadState(float* state, int operand, Pitches pitch) const {
    const std::byte* from = operands_[operand];
    for (int64_t b = 0; b < p_.batch; ++b) {
      float* to = state + b * p_.units;
      if (from) {
        std::memcpy(to, from + b * pitch.batch, StateBytes());
      } else {
        std::fill_n(to, p_.units, 0.0f);
      }
    }
  }

  void SaveState(const float* state, int operand, Pitches pitch) const {
    std::byte* to = operands_[operand];
    if (!to) return;
    for (int64_t b = 0; b < p_.batch; ++b)
      std::memcpy(to + b * pitch.batch, state + b * p_.units, StateBytes());
  }

  void LoadLengths() const {
    const std::byte* lengths = operands_[kLengths];
    for (int64_t b = 0; b < p_.batch; ++b) {
      int32_t length = 0;
      if (lengths) std::memcpy(&length, lengths + b * p_.length_pitch, 4);
      w_.length[b] = lengths ? std::clamp<int64_t>(length, 0, p_.steps) : p_.steps;
    }
  }

  float* Gates(int64_t time, int64_t b) const { return w_.gates + (time * p_.batch + b) * p_.w.outputs; }

  void MultiplyInputs() const {
    int64_t count = 0;
    for (int64_t t = 0; t < p_.steps; ++t) {
      for (int64_t b = 0; b < p_.batch; ++b, ++count) {
        w_.rows[count] = reinterpret_cast<const char*>(operands_[kX] + t * p_.x.time + b * p_.x.batch);
        w_.out[count] = reinterpret_cast<char*>(Gates(t, b));
      }
    }
    const Product product{p_.w, operands_[kW], Floats(kBias), 0, p_.w.outputs, false};
    Multiply(*p_.kernel, product, w_.rows, w_.out, count, threads_);
  }

  // f(batch row, time) for the sequences that have not ended.
  template <class F>
  void ForEachActive(int64_t step, const F& f) const {
    for (int64_t b = 0; b < p_.batch; ++b) {
      const int64_t length = w_.length[b];
      if (step < length) f(b, p_.reverse ? length - 1 - step : step);
    }
  }

  // to(b) = from(b) · R from panel `first` on; with `add`, onto what is there.
  template <class From, class To>
  void MultiplyState(int64_t step, int64_t first, int64_t columns, bool add, const From& from,
                     const To& to) const {
    int64_t count = 0;
    ForEachActive(step, [&](int64_t b, int64_t time) {
      w_.rows[count] = reinterpret_cast<const char*>(from(b));
      w_.out[count++] = reinterpret_cast<char*>(to(b, time));
    });
    // The recurrent bias of gru; that of the others was added to the input's.
    const float* bias = p_.cell == kGru && operands_[kBias] ? Floats(kBias) + p_.w.outputs : nullptr;
    const Product product{p_.r, operands_[kR], bias ? bias + first * kPanel : nullptr, first, columns, add};
    if (count > 0) Multiply(*p_.kernel, product, w_.rows, w_.out, count, threads_);
  }

  void Step(int64_t step) const {
    switch (p_.cell) {
      case kLstm:
        StepSimple(step);
        break;
      case kRnn:
        StepSimple(step);
        break;
      case kGru:
        p_.reset_after ? StepResetAfter(step) : StepResetBefore(step);
        break;
    }
    SaveStep(step);
  }

  float* State(int64_t b) const { return w_.h + b * p_.units; }

  void StepSimple(int64_t step) const {
    MultiplyState(
        step, 0, p_.r.outputs, true, [&](int64_t b) { return State(b); },
        [&](int64_t b, int64_t time) { return Gates(time, b); });
    ForEachActive(step, [&](int64_t b, int64_t time) {
      float *gates = Gates(time, b), *h = State(b);
      if (p_.cell == kLstm) {
        p_.rows->lstm(gates, Floats(kPeephole), p_.clip, h, w_.c + b * p_.units, p_.units);
      } else {
        (p_.relu ? p_.rows->rnn_relu : p_.rows->rnn_tanh)(gates, p_.clip, h, p_.units);
      }
    });
  }

  float* StateProduct(int64_t b) const { return w_.state + b * p_.w.outputs; }

  void StepResetAfter(int64_t step) const {
    MultiplyState(
        step, 0, p_.r.outputs, false, [&](int64_t b) { return State(b); },
        [&](int64_t b, int64_t) { return StateProduct(b); });
    ForEachActive(step, [&](int64_t b, int64_t time) {
      p_.rows->gru_after(Gates(time, b), StateProduct(b), p_.clip, State(b), p_.units);
    });
  }

  void StepResetBefore(int64_t step) const {
    const int64_t n = p_.units, first = 2 * n / kPanel, skipped = 2 * n - first * kPanel, pitch = n + kPanel;
    MultiplyState(
        step, 0, 2 * n, false, [&](int64_t b) { return State(b); },
        [&](int64_t b, int64_t) { return StateProduct(b); });
    ForEachActive(step, [&](int64_t b, int64_t time) {
      p_.rows->gru_gates(Gates(time, b), StateProduct(b), p_.clip, State(b), w_.update + b * n,
                         w_.reset + b * n, n);
    });
    MultiplyState(
        step, first, n + skipped, false, [&](int64_t b) { return w_.reset + b * n; },
        [&](int64_t b, int64_t) { return w_.temporary + b * pitch; });
    ForEachActive(step, [&](int64_t b, int64_t time) {
      p_.rows->gru_state(Gates(time, b) + 2 * n, w_.temporary + b * pitch + skipped, p_.clip,
                         w_.update + b * n, State(b), n);
    });
  }

  // Y at the times of this step; zeros behind the sequences that have ended.
  void SaveStep(int64_t step) const {
    std::byte* y = operands_[kY];
    if (!y) return;
    for (int64_t b = 0; b < p_.batch; ++b) {
      const int64_t length = w_.length[b];
      const bool active = step < length;
      std::byte* to = y + (active && p_.reverse ? length - 1 - step : step) * p_.y.time + b * p_.y.batch;
      if (active) {
        std::memcpy(to, State(b), StateBytes());
      } else {
        std::memset(to, 0, StateBytes());
      }
    }
  }

  const Params& p_;
  std::byte* const* operands_;
  int threads_;
  Workspace w_;
};

void Run(const void* params, std::byte* const* operands, const RunContext& context) {
  Layer(*static_cast<const Params*>(params), operands, context).Run();
}

// ---- Build
// ------------------------------------------------------------------------------------------------------------

[[noreturn]] void FailShape(const OpDesc& op, const char* what) {
  Fail(std::string(op.family) + ": wrong " + what + "; the plan is damaged or of another version");
}

// Checks a float tensor of this shape whose last axis is contiguous; returns the pitches of its last two
// outer axes.
Pitches PitchesOf(const OpDesc& op, const View& v, std::initializer_list<int64_t> shape, const char* what) {
  CheckType(op, v, DType::kF32);
  if (v.rank != static_cast<int>(shape.size()) || !std::equal(shape.begin(), shape.end(), v.shape.begin()))
    FailShape(op, what);
  const int last = v.rank - 1;
  if (v.stride[last] != 4 && v.shape[last] > 1 && v.elements() > 0) FailShape(op, what);
  return {v.rank == 3 ? v.stride[0] : 0, v.rank >= 2 ? v.stride[last - 1] : 0};
}

void CheckPacked(const OpDesc& op, const View& v, const PackedMatrix& m, const char* what) {
  const DenseShape shape{m.outputs, 1, m.depth, 1};
  CheckShape(shape);
  if (v.dtype != DType::kU8 || v.rank != 1 || v.stride[0] != 1 || v.shape[0] != BytesDense(DenseFormat::kF32, shape))
    FailShape(op, what);
}

// The shape [B, H] or [T, B, H] comes from whichever output is present.
int64_t UnitsOf(const OpDesc& op) {
  for (const View& v : op.outputs) {
    if (v.buffer >= 0 && v.rank >= 2) return v.shape[v.rank - 1];
  }
  FailShape(op, "outputs");
}

void CheckOptional(const OpDesc& op, Params& p) {
  const auto with = [&](size_t i, const auto& check) {
    if (Present(op, i)) check(op.inputs[i]);
  };
  const int64_t biases = p.cell == kGru ? 2 : 1;
  with(kBias, [&](const View& v) { PitchesOf(op, v, {biases * p.w.outputs}, "bias"); });
  with(kH0, [&](const View& v) { p.h0 = PitchesOf(op, v, {p.batch, p.units}, "initial state"); });
  with(kC0, [&](const View& v) { p.c0 = PitchesOf(op, v, {p.batch, p.units}, "initial state"); });
  with(kPeephole, [&](const View& v) { PitchesOf(op, v, {3 * p.units}, "peephole weights"); });
  with(kLengths, [&](const View& v) {
    CheckType(op, v, DType::kS32);
    if (v.rank != 1 || v.shape[0] != p.batch) FailShape(op, "sequence lengths");
    p.length_pitch = v.stride[0];
  });
  const auto output = [&](size_t i, std::initializer_list<int64_t> shape) {
    return i < op.outputs.size() && op.outputs[i].buffer >= 0 ? PitchesOf(op, op.outputs[i], shape, "output")
                                                              : Pitches{};
  };
  p.y = output(0, {p.steps, p.batch, p.units});
  p.last_h = output(1, {p.batch, p.units});
  p.last_c = output(2, {p.batch, p.units});
}

Built Build(const OpDesc& op, Cell cell, std::span<const KernelInfo> kernels) {
  CheckOperands(op, kInputs, cell == kLstm ? 3 : 2, kBias, 0);
  const View& x = op.inputs[0];
  if (x.rank != 3) FailShape(op, "input");
  Params p{};
  p.cell = cell;
  p.steps = x.shape[0];
  p.batch = x.shape[1];
  p.units = UnitsOf(op);
  p.w = {CheckedMul(kGates[cell], p.units), x.shape[2]};
  p.r = {p.w.outputs, p.units};
  p.x = PitchesOf(op, x, {p.steps, p.batch, x.shape[2]}, "input");
  CheckPacked(op, op.inputs[1], p.w, "input weights");
  CheckPacked(op, op.inputs[2], p.r, "recurrent weights");
  CheckOptional(op, p);
  const double clip = op.attrs.Float("clip", 0);
  p.clip = clip > 0 ? static_cast<float>(clip) : std::numeric_limits<float>::infinity();
  p.reverse = op.attrs.Int("reverse", 0) != 0;
  p.reset_after = op.attrs.Int("linear_before_reset", 0) != 0;
  const std::string act = op.attrs.String("act", "tanh");
  p.relu = cell == kRnn && act == "relu";
  if (!p.relu && act != "tanh") FailShape(op, "activation");
  const KernelInfo& kernel = ChooseBest(kernels, op.attrs);
  p.kernel = &ChooseTile(DenseFormat::kF32, {p.batch, 1, 1}, std::string("f32_") + kernel.name);
  p.rows = &RnnRowsFor(kernel.isa);
  Built built = MakeBuilt(&Run, p, kernel.name, Divide(p, nullptr).bytes);
  built.work = static_cast<double>(p.steps) * static_cast<double>(p.batch) * static_cast<double>(p.w.outputs) *
               static_cast<double>(CheckedAdd(p.w.depth, p.units));
  return built;
}

}  // namespace

PLANISH_KERNEL_LIST(lstm, Lstm, kRnnLines)
PLANISH_KERNEL_LIST(gru, Gru, kRnnLines)
PLANISH_KERNEL_LIST(rnn, Rnn, kRnnLines)

Built BuildLstm(const OpDesc& op) { return Build(op, kLstm, LstmKernels()); }
Built BuildGru(const OpDesc& op) { return Build(op, kGru, GruKernels()); }
Built BuildRnn(const OpDesc& op) { return Build(op, kRnn, RnnKernels()); }

}  // namespace planish
