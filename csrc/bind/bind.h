// The parts of the module planish._core. Only csrc/bind includes Python.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "base/memory.h"
#include "base/view.h"

namespace planish {

void BindMemory(pybind11::module_& m);
void BindMachine(pybind11::module_& m);
void BindProgram(pybind11::module_& m);
void BindCall(pybind11::module_& m);
void BindFormats(pybind11::module_& m);
void BindSparse(pybind11::module_& m);
void BindCompress(pybind11::module_& m);
void BindPlan(pybind11::module_& m);

// The DType whose name is NumPy's name of an array's dtype; throws Error for other dtypes.
DType DTypeOf(const pybind11::array& array);

}  // namespace planish
