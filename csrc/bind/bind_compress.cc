#include "bind/bind.h"
#include "bind/gil_release.h"
#include "compress/kmeans1d.h"

namespace py = pybind11;

namespace planish {

void BindCompress(py::module_& m) {
  m.def(
      "kmeans1d",
      [](const py::array_t<float, py::array::c_style | py::array::forcecast>& values, size_t k) {
        Clustering found;
        {
          const GilRelease release;
          found = Kmeans1d(values.data(), static_cast<size_t>(values.size()), k);
        }
        return py::make_tuple(py::array_t<double>(static_cast<py::ssize_t>(k), found.centroids.data()),
                              py::array_t<double>(static_cast<py::ssize_t>(k - 1), found.boundaries.data()));
      },
      py::arg("values"), py::arg("k"),
      "Global optimum of one-dimensional k-means.\n\n"
      "values: float32[n], finite. Returns (centroids float64[k] ascending, boundaries float64[k-1]); value "
      "v belongs\n"
      "to cluster searchsorted(boundaries, v, side='right').");
}

}  // namespace planish
