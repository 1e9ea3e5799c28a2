// planish._core: packed weight formats (formats/*.h). Arrays go in C-contiguous; packed bytes come out as Memory.
#include "base/check.h"
#include "bind/bind.h"
#include "bind/gil_release.h"
#include "formats/dense.h"
#include "formats/winograd.h"

namespace py = pybind11;

namespace planish {
namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style>;

template <class T>
DenseShape ShapeOf(const Array<T>& w, int64_t groups) {
  Check(w.ndim() == 3, "packed weights: expected an array [outputs, taps, depth]; reshape it");
  const DenseShape shape{w.shape(0), w.shape(1), w.shape(2), groups};
  CheckShape(shape);
  return shape;
}

template <class T, Memory (*kPack)(const T*, const DenseShape&)>
Memory PackDense(const Array<T>& w, int64_t groups) {
  const DenseShape shape = ShapeOf(w, groups);
  const T* data = w.data();
  const GilRelease release;
  return kPack(data, shape);
}

template <class T, void (*kUnpack)(const Memory&, const DenseShape&, T*)>
Array<T> UnpackDense(const Memory& packed, int64_t outputs, int64_t taps, int64_t depth, int64_t groups) {
  const DenseShape shape{outputs, taps, depth, groups};
  CheckShape(shape);
  Check(packed.size > 0 || depth == 0, "packed weights: empty; pack them again");
  Check(outputs * taps * depth <= packed.size,
        "packed weights: their size does not belong to this shape; pack them again");
  Array<T> w({outputs, taps, depth});
  kUnpack(packed, shape, w.mutable_data());
  return w;
}

template <class T, Memory (*kPack)(const T*, int64_t, int64_t)>
Memory PackDepthwise(const Array<T>& w) {
  Check(w.ndim() == 2, "packed weights: expected an array [channels, taps]; reshape it");
  return kPack(w.data(), w.shape(0), w.shape(1));
}

template <class T, void (*kUnpack)(const Memory&, int64_t, int64_t, T*)>
Array<T> UnpackDepthwise(const Memory& packed, int64_t channels, int64_t taps) {
  Check(packed.size == BytesDepthwise(channels, taps, sizeof(T)),
        "packed weights: their size does not belong to this shape; pack them again");
  Array<T> w({channels, taps});
  kUnpack(packed, channels, taps, w.mutable_data());
  return w;
}

template <class T, Memory (*kPack)(const T*, int64_t, int64_t)>
Memory PackWindows(const Array<T>& w) {
  Check(w.ndim() == 3 && w.shape(1) == 9,
        "packed weights: expected an array [outputs, 9, channels]; reshape it");
  const T* data = w.data();
  const int64_t outputs = w.shape(0), channels = w.shape(2);
  const GilRelease release;
  return kPack(data, outputs, channels);
}

}  // namespace

void BindFormats(py::module_& m) {
  m.def("pack_dense_f32", &PackDense<float, PackDenseF32>, py::arg("w").noconvert(), py::arg("groups") = 1,
        "float32[outputs, taps, depth] as dense_f32.");
  m.def("pack_dense_bf16", &PackDense<float, PackDenseBf16>, py::arg("w").noconvert(), py::arg("groups") = 1,
        "float32[outputs, taps, depth] as dense_bf16, rounded to bfloat16.");
  m.def("unpack_dense_bf16", &UnpackDense<float, UnpackDenseBf16>, py::arg("packed"), py::arg("outputs"),
        py::arg("taps"), py::arg("depth"), py::arg("groups") = 1, "The inverse of pack_dense_bf16.");
  m.def("pack_dense_s8", &PackDense<int8_t, PackDenseS8>, py::arg("w").noconvert(), py::arg("groups") = 1,
        "int8[outputs, taps, depth] as dense_s8.");
  m.def("unpack_dense_f32", &UnpackDense<float, UnpackDenseF32>, py::arg("packed"), py::arg("outputs"),
        py::arg("taps"), py::arg("depth"), py::arg("groups") = 1, "The inverse of pack_dense_f32.");
  m.def("unpack_dense_s8", &UnpackDense<int8_t, UnpackDenseS8>, py::arg("packed"), py::arg("outputs"),
        py::arg("taps"), py::arg("depth"), py::arg("groups") = 1, "The inverse of pack_dense_s8.");
  m.attr("WINOGRAD_MOST_INTEGER_CHANNELS") = kMostIntegerChannels;
  m.def("pack_winograd_f32", &PackWindows<float, PackWinogradF32>, py::arg("w").noconvert(),
        "float32[outputs, 9, channels] as winograd_f32.");
  m.def("pack_winograd_s16", &PackWindows<int8_t, PackWinogradS16>, py::arg("w").noconvert(),
        "int8[outputs, 9, channels] as winograd_s16.");
  m.def("pack_depthwise_f32", &PackDepthwise<float, PackDepthwiseF32>, py::arg("w").noconvert(),
        "float32[channels, taps] as depthwise float32.");
  m.def("pack_depthwise_s16", &PackDepthwise<int16_t, PackDepthwiseS16>, py::arg("w").noconvert(),
        "int16[channels, taps] as depthwise int16.");
  m.def("unpack_depthwise_f32", &UnpackDepthwise<float, UnpackDepthwiseF32>, py::arg("packed"),
        py::arg("channels"), py::arg("taps"), "The inverse of pack_depthwise_f32.");
  m.def("unpack_depthwise_s16", &UnpackDepthwise<int16_t, UnpackDepthwiseS16>, py::arg("packed"),
        py::arg("channels"), py::arg("taps"), "The inverse of pack_depthwise_s16.");
}

}  // namespace planish
