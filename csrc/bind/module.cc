// planish._core: the native half of planish.
#include "base/check.h"
#include "bind/bind.h"

namespace py = pybind11;

PYBIND11_MODULE(_core, m) {
  m.doc() = "The native half of planish: kernels, packed formats and the Program that runs them.";
  // planish.errors is pure Python and imports nothing, so the native exception can be one of its classes.
  static py::object error = py::module_::import("planish.errors").attr("PlanishError");
  error.inc_ref();
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const planish::Error& e) {
      py::set_error(error, e.what());
    }
  });
  planish::BindMemory(m);
  planish::BindMachine(m);
  planish::BindProgram(m);
  planish::BindCall(m);
  planish::BindFormats(m);
  planish::BindSparse(m);
  planish::BindCompress(m);
  planish::BindPlan(m);
}
