#include "kernels/tiled/cost.h"

#include <algorithm>
#include <string_view>

#include "base/isa.h"
#include "kernels/kernel.h"

namespace planish {
namespace {

// Times in nanoseconds.
struct DenseCost {
  double mac, output;
};

struct TiledCost {
  double mac;      // a multiplication with a kept weight
  double input;    // gathering one channel of one pixel into the tile
  double output;   // transposing and writing one output of one pixel
  int64_t pixels;  // a tile's pixels are worked on in multiples of this
};

// The time to read weights once: they come from the second-level cache, the third, or memory.
double ReadTime(double bytes) { return bytes * (bytes > 16e6 ? 0.033 : bytes > 0.5e6 ? 0.012 : 0.005); }

bool DenseAmx() {
  for (const KernelInfo& k : AllKernels()) {
    if (std::string_view(k.family) == "gemm" && k.isa == Isa::kAmx && Usable(k.isa)) return true;
  }
  return false;
}

DenseCost DenseOf(bool integer) {
  if (!integer) return Usable(Isa::kAvx2) ? DenseCost{0.018, 0.1} : DenseCost{0.070, 0.1};
  if (DenseAmx()) return {0.0007, 0.1};
  if (Usable(Isa::kAvx512Vnni)) return {0.0045, 0.1};
  if (Usable(Isa::kAvxVnni)) return {0.007, 0.1};
  return Usable(Isa::kAvx2) ? DenseCost{0.015, 0.1} : DenseCost{0.050, 0.1};
}

TiledCost SparseOf(SparseFormat format) {
  const bool wide = Usable(IsFloat(format) ? Isa::kAvx512 : Isa::kAvx512Vnni), any = Usable(Isa::kAvx2);
  switch (format) {
    case SparseFormat::kCsrF32:
    case SparseFormat::kBlock1x4F32:
      return wide  ? TiledCost{0.045, 0.2, 0.35, 16}
             : any ? TiledCost{0.047, 0.2, 0.35, 16}
                   : TiledCost{0.08, 0.8, 0.8, 16};
    case SparseFormat::kBlock16x4F32:
      return wide  ? TiledCost{0.020, 0.15, 0.25, 1}
             : any ? TiledCost{0.028, 0.15, 0.25, 1}
                   : TiledCost{0.15, 0.8, 0.8, 1};
    case SparseFormat::kCsrS8:
      return wide  ? TiledCost{0.013, 0.09, 0.3, 64}
             : any ? TiledCost{0.050, 0.13, 0.3, 16}
                   : TiledCost{0.22, 0.4, 3.2, 16};
    case SparseFormat::kBlock1x4S8:
      return wide  ? TiledCost{0.010, 0.08, 0.3, 16}
             : any ? TiledCost{0.023, 0.13, 0.3, 16}
                   : TiledCost{0.21, 0.4, 3.2, 16};
    case SparseFormat::kBlock16x4S8:
      if (Usable(Isa::kAmx)) return {0.0012, 0.1, 0.2, 16};
      return wide  ? TiledCost{0.0048, 0.08, 0.2, 1}
             : any ? TiledCost{0.019, 0.13, 0.2, 1}
                   : TiledCost{0.20, 0.4, 3.2, 1};
  }
  return {1, 1, 1, 1};
}

// Kernels vectorised over outputs cannot hide latencies with fewer pixels than this.
constexpr double kLeastPixels = 4;

double Macs(const LayerShape& l, double pixels) {
  return pixels * static_cast<double>(l.outputs) * static_cast<double>(l.taps) *
         static_cast<double>(l.channels);
}

// How many times faster family winograd is than the plain sum, as measured on AVX2: the transforms of inputs are shared by all
// outputs, those of outputs by all channels.
double WinogradGain(const LayerShape& l) {
  return 2.25 / (1 + 7 / static_cast<double>(l.outputs) + 11 / static_cast<double>(l.channels));
}

double DenseTime(const LayerShape& l, bool integer) {
  const DenseCost c = DenseOf(integer);
  const double pixels = static_cast<double>(l.pixels), gain = l.winograd ? WinogradGain(l) : 1;
  const double compute = Macs(l, pixels) * c.mac / gain + pixels * static_cast<double>(l.outputs) * c.output;
  return std::max(compute, ReadTime(Macs(l, 1) * (integer ? 1 : 4)));
}

double TiledTime(const LayerShape& l, const TiledCost& c, double density, double weight_bytes) {
  const double used = static_cast<double>((l.pixels + c.pixels - 1) / c.pixels * c.pixels);
  const double inputs = used * static_cast<double>(l.taps) * static_cast<double>(l.channels);
  const double macs = Macs(l, c.pixels == 1 ? std::max(used, kLeastPixels) : used) * density;
  const double compute = macs * c.mac + inputs * c.input + used * static_cast<double>(l.outputs) * c.output;
  return std::max(compute, ReadTime(weight_bytes));
}

// Per weight and pixel, and per weight: decoding is shared by up to 16 pixels.
struct LookupCost {
  double mac, decode;
};

LookupCost LookupOf(CodebookKind kind, int bits, bool shared, bool one_pixel) {
  constexpr double kOneByOne = 0.9;  // decoding without vectors
  const bool integer = kind == CodebookKind::kS8;
  const bool wide = Usable(integer ? Isa::kAvx512Vnni : Isa::kAvx512);
  if (!Usable(Isa::kAvx2)) return integer ? LookupCost{0.25, 1.4} : LookupCost{0.15, kOneByOne};
  LookupCost c{};
  if (integer) {
    c = wide ? LookupCost{0.0046, bits == 3 ? 0.018 : 0.011} : LookupCost{0.0135, 0.045};
    if (!wide && one_pixel) c.decode = bits == 3 ? 0.027 : 0.0155;  // products of what is in registers
  } else if (bits == 8 && kind == CodebookKind::kF32) {
    c = {0.018, 0.5};
  } else if (kind == CodebookKind::kAffine) {
    c = wide ? LookupCost{0.0185, 0.050} : LookupCost{0.022, 0.125};
  } else {
    c = wide ? LookupCost{0.0178, bits == 3 ? 0.052 : 0.030} : LookupCost{0.022, 0.125};
  }
  if (!shared) c.decode = kOneByOne;
  return c;
}

}  // namespace

double PredictSparse(SparseFormat format, const LayerShape& layer, double density) {
  const double elements = Macs(layer, 1) * std::clamp(density, 0.0, 1.0);
  const double index_bytes = 2.0 / static_cast<double>(BlockRows(format) * BlockWidth(format));
  const double bytes = elements * ((IsFloat(format) ? 4 : 1) + index_bytes);
  return DenseTime(layer, !IsFloat(format)) /
         TiledTime(layer, SparseOf(format), std::clamp(density, 0.0, 1.0), bytes);
}

double PredictCodebook(CodebookKind kind, int bits, const LayerShape& layer, bool shared) {
  const bool integer = kind == CodebookKind::kS8;
  const LookupCost c = LookupOf(kind, bits, shared, layer.pixels == 1);
  const double pixels = static_cast<double>(layer.pixels),
               groups_of_pixels = static_cast<double>((layer.pixels + 15) / 16);
  const double inputs = pixels * static_cast<double>(layer.taps) * static_cast<double>(layer.channels);
  const double compute = Macs(layer, 1) * (pixels * c.mac + groups_of_pixels * c.decode) +
                         inputs * (integer ? 0.1 : 0.25) + pixels * static_cast<double>(layer.outputs) * 0.2;
  const double time = std::max(compute, ReadTime(Macs(layer, 1) * bits / 8));
  return DenseTime(layer, integer) / time;
}

}  // namespace planish
