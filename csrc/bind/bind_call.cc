// planish._core.Call: a Program together with the arrays that it takes and makes. A session's run is one such call once the
// shapes have been seen: nothing of it is left in Python.
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "bind/bind.h"
#include "bind/gil_release.h"
#include "runtime/program.h"

namespace py = pybind11;

namespace planish {
namespace {

using NumPy = py::detail::npy_api;

// An array's element type and shape, and how many bytes it takes.
struct ArrayType {
  py::dtype dtype;
  std::vector<py::ssize_t> shape;
  int64_t bytes;
};

ArrayType ToArrayType(const py::handle& dtype, const py::handle& shape) {
  ArrayType type{dtype.cast<py::dtype>(), shape.cast<std::vector<py::ssize_t>>(), 0};
  int64_t bytes = type.dtype.itemsize();
  for (const py::ssize_t size : type.shape) {
    Check(size >= 0, "call: negative size; this is a bug in planish");
    bytes = CheckedMul(bytes, size);
  }
  type.bytes = bytes;
  return type;
}

// Whether an object is a C-contiguous array of exactly this type; arrays of subclasses are not.
bool Fits(const py::handle& object, const ArrayType& type) {
  if (Py_TYPE(object.ptr()) != NumPy::get().PyArray_Type_) return false;
  const auto* array = py::detail::array_proxy(object.ptr());
  return array->descr == type.dtype.ptr() && (array->flags & NumPy::NPY_ARRAY_C_CONTIGUOUS_) &&
         array->nd == static_cast<int>(type.shape.size()) &&
         std::equal(type.shape.begin(), type.shape.end(), array->dimensions);
}

py::object NewArray(const ArrayType& type) {
  auto* array_type = reinterpret_cast<PyTypeObject*>(NumPy::get().PyArray_Type_);
  PyObject* array = NumPy::get().PyArray_NewFromDescr_(array_type, type.dtype.inc_ref().ptr(),
                                                       static_cast<int>(type.shape.size()), type.shape.data(),
                                                       nullptr, nullptr, 0, nullptr);
  if (!array) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(array);
}

std::byte* DataOf(const py::handle& array) {
  return reinterpret_cast<std::byte*>(py::detail::array_proxy(array.ptr())->data);
}

class Call {
 public:
  // feeds: (name, dtype, shape, position among the Program's inputs, -1 if it does not read it) of all that a feed must hold;
  // results: (dtype, shape) in the order of the Program's outputs.
  Call(py::object program, const py::sequence& feeds, const py::sequence& results)
      : owner_(std::move(program)), program_(owner_.cast<const Program&>()) {
    std::vector<bool> given(static_cast<size_t>(program_.input_count()));
    for (const py::handle& feed : feeds) {
      const auto f = py::reinterpret_borrow<py::sequence>(feed);
      Feed made{f[0].cast<py::str>(), ToArrayType(f[1], f[2]), f[3].cast<int>()};
      if (made.input >= 0) {
        Check(made.input < program_.input_count() && made.type.bytes >= program_.input_bytes(made.input),
              "call: a feed does not fit its input; this is a bug in planish");
        given[static_cast<size_t>(made.input)] = true;
      }
      feeds_.push_back(std::move(made));
    }
    for (const bool is_given : given)
      Check(is_given, "call: an input without a feed; this is a bug in planish");
    for (const py::handle& result : results) {
      const auto r = py::reinterpret_borrow<py::sequence>(result);
      results_.push_back(ToArrayType(r[0], r[1]));
    }
    Check(static_cast<int>(results_.size()) == program_.output_count(),
          "call: wrong number of results; this is a bug in planish");
    for (size_t i = 0; i < results_.size(); ++i) {
      Check(results_[i].bytes >= program_.output_bytes(static_cast<int>(i)),
            "call: a result does not fit its output; this is a bug in planish");
    }
  }

  // New arrays, one a result; nothing if the feed is not a dict of exactly these arrays.
  std::optional<py::list> Run(const py::handle& feed) const {
    constexpr size_t kInline = 16;
    std::byte* on_stack[kInline];
    std::vector<std::byte*> on_heap;
    std::byte** pointers = on_stack;
    const size_t inputs = static_cast<size_t>(program_.input_count());
    if (inputs + results_.size() > kInline) {
      on_heap.resize(inputs + results_.size());
      pointers = on_heap.data();
    }
    if (!PyDict_CheckExact(feed.ptr())) return std::nullopt;
    // A copy, so that the arrays live until the end whatever another thread does to the feed meanwhile.
    const py::object kept = py::reinterpret_steal<py::object>(PyDict_Copy(feed.ptr()));
    if (!kept) throw py::error_already_set();
    if (!Gather(kept, pointers)) return std::nullopt;
    py::list made(results_.size());
    for (size_t i = 0; i < results_.size(); ++i) {
      py::object array = NewArray(results_[i]);
      pointers[inputs + i] = DataOf(array);
      PyList_SET_ITEM(made.ptr(), static_cast<py::ssize_t>(i), array.release().ptr());
    }
    const GilRelease release;
    program_.Run(pointers, pointers + inputs);
    return made;
  }

 private:
  struct Feed {
    py::str name;
    ArrayType type;
    int input;
  };

  bool Gather(const py::handle& feed, std::byte** pointers) const {
    if (PyDict_Size(feed.ptr()) != static_cast<py::ssize_t>(feeds_.size())) return false;
    for (const Feed& f : feeds_) {
      PyObject* array = PyDict_GetItemWithError(feed.ptr(), f.name.ptr());
      if (!array) {
        if (PyErr_Occurred()) throw py::error_already_set();
        return false;
      }
      if (!Fits(array, f.type)) return false;
      if (f.input >= 0) pointers[f.input] = DataOf(array);
    }
    return true;
  }

  py::object owner_;  // of program_
  const Program& program_;
  std::vector<Feed> feeds_;
  std::vector<ArrayType> results_;
};

}  // namespace

void BindCall(py::module_& m) {
  py::class_<Call>(m, "Call", "A Program with the arrays it takes and makes, for runs of one signature.")
      .def(py::init<py::object, const py::sequence&, const py::sequence&>(), py::arg("program"),
           py::arg("feeds"), py::arg("results"),
           "feeds: (name, dtype, shape, the Program's input or -1), all that a feed must hold; results: "
           "(dtype, shape).")
      .def("__call__", &Call::Run, py::arg("feed"),
           "Runs on a dict of exactly such arrays, C-contiguous; returns new arrays. None where the feed is "
           "another.");
}

}  // namespace planish
