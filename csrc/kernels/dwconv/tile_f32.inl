// The float depthwise micro-kernel, for the vectors of kernels/gemm/vec_f32_*.inl. Included inside an anonymous namespace.
#include "kernels/dwconv/columns.inl"

class FloatKernel {
 public:
  explicit FloatKernel(const DepthwiseArgs& args) : a_(args), low_(Splat(args.low)), high_(Splat(args.high)) {}

  template <int kRows, int kTaps, int kStep>
  __attribute__((noinline)) void Window(const char* const* rows, char* const* out) const {
    FloatKernel(*this).Lines<kRows, kTaps, kStep>(rows, out);  // a copy that no store can change
  }

  void AnyWindow(const char* const* rows, char* const* out) const {
    for (int64_t c = 0; c < a_.outputs; c += kLanes) {
      Vec sum = Bias(c);
      const char* weights = a_.weights + c * kItem;
      for (int64_t l = 0; l < a_.columns.lines; ++l) {
        for (int64_t k = 0; k < a_.columns.line_taps; ++k, weights += a_.panel_bytes)
          sum = MulAdd(At(rows[l * a_.columns.pitch + k] + c * kItem), At(weights), sum);
      }
      Write(*out, c, a_.outputs - c, sum);
    }
  }

 private:
  static constexpr int64_t kItem = sizeof(float);

  // The taps of a line and all sums stay in registers while the columns pass by.
  template <int kRows, int kTaps, int kStep>
  inline __attribute__((always_inline)) void Lines(const char* const* rows, char* const* out) const {
    const int64_t outputs = a_.outputs, lines = a_.columns.lines, pitch = a_.columns.pitch;
    const int64_t weights_pitch = a_.panel_bytes;
    for (int64_t c = 0; c < outputs; c += kLanes) {
      Vec sum[kRows];
      const Vec bias = Bias(c);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) sum[r] = bias;
      const char* weights = a_.weights + c * kItem;
      const char* const* column = rows;
      for (int64_t l = 0; l < lines; ++l, column += pitch) {
        Vec w[kTaps];
#pragma GCC unroll 16
        for (int k = 0; k < kTaps; ++k, weights += weights_pitch) w[k] = At(weights);
#pragma GCC unroll 32
        for (int j = 0; j < (kRows - 1) * kStep + kTaps; ++j) {
          const Vec x = At(column[j] + c * kItem);
#pragma GCC unroll 16
          for (int r = 0; r < kRows; ++r) {
            const int k = j - r * kStep;
            if (k >= 0 && k < kTaps) sum[r] = MulAdd(x, w[k], sum[r]);
          }
        }
      }
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) Write(out[r], c, outputs - c, sum[r]);
    }
  }

  static Vec At(const char* p) { return Load(reinterpret_cast<const float*>(p)); }
  Vec Bias(int64_t c) const {
    const float* bias = static_cast<const float*>(a_.bias);
    const int64_t left = a_.outputs - c;
    return !bias ? Zero() : left >= kLanes ? Load(bias + c) : LoadFirst(bias + c, left);
  }
  inline __attribute__((always_inline)) void Write(char* out, int64_t c, int64_t left, Vec sum) const {
    const Vec y = ClampVec(sum, low_, high_);
    float* to = reinterpret_cast<float*>(out) + c;
    left >= kLanes ? Store(to, y) : StoreFirst(to, y, left);
  }

  DepthwiseArgs a_;
  Vec low_, high_;
};
