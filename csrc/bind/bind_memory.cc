// planish._core.Memory: aligned blocks that Python can read and kernels can use.
#include <cstring>

#include "base/check.h"
#include "bind/bind.h"
#include "bind/gil_release.h"

namespace py = pybind11;

namespace planish {

DType DTypeOf(const py::array& array) {
  const std::string name = py::str(array.dtype().attr("name"));
  for (int i = 0; i < kDTypeCount; ++i) {
    if (name == DTypeName(static_cast<DType>(i))) return static_cast<DType>(i);
  }
  Fail("array of dtype " + name + ": not a numeric type that kernels take; cast it");
}

void BindMemory(py::module_& m) {
  py::class_<Memory>(m, "Memory", py::buffer_protocol(),
                     "An immutable block of bytes, 64-byte aligned, with 64 readable bytes behind it. Supports the "
                     "buffer protocol, read-only: numpy.frombuffer(memory, dtype) is a view.")
      .def_static(
          "copy_of",
          [](const py::buffer& source) {
            const py::buffer_info info = source.request();
            Check(PyBuffer_IsContiguous(info.view(), 'C'), "memory: the array is not C-contiguous; pass numpy.ascontiguousarray(a)");
            Memory memory = Memory::Allocate(info.size * info.itemsize);
            if (memory.size) std::memcpy(memory.data, info.ptr, static_cast<size_t>(memory.size));
            return memory;
          },
          py::arg("source"), "A copy of a C-contiguous array or bytes.")
      .def_static("map_file", &Memory::MapFile, py::arg("path"), "A file's contents: read, or mapped read-only above 128 KiB.")
      .def("slice", &Memory::Slice, py::arg("offset"), py::arg("size"),
           "A part of the block, sharing its memory; offset must be a multiple of 64.")
      .def("crc32c", [](const Memory& self) {
        const GilRelease release;
        return Crc32c(self.data, self.size);
      }, "CRC-32C (RFC 3720) of the block.")
      .def("__len__", [](const Memory& self) { return self.size; })
      .def_buffer([](Memory& self) {
        return py::buffer_info(self.data, 1, py::format_descriptor<uint8_t>::format(), 1, {self.size}, {int64_t{1}}, true);
      });
}

}  // namespace planish
