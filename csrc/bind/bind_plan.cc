// Reading plans: the numbers of their table, checked natively, and the Python objects that they stand for.
#include <cstring>
#include <iterator>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "bind/bind.h"
#include "formats/plan_table.h"

namespace py = pybind11;

namespace planish {
namespace {

using NumPy = py::detail::npy_api;

py::tuple ToTuple(std::span<const int32_t> numbers) {
  py::tuple made(numbers.size());
  for (size_t i = 0; i < numbers.size(); ++i) {
    PyTuple_SET_ITEM(made.ptr(), static_cast<py::ssize_t>(i), PyLong_FromLong(numbers[i]));
  }
  return made;
}

[[noreturn]] void Damaged(const char* what) {
  Fail(std::string("the manifest: ") + what + " is malformed; the plan is damaged, export it again");
}

// What a manifest has, which may be anything.
int64_t ToInt64(PyObject* number) {
  const int64_t value = PyLong_Check(number) ? PyLong_AsLongLong(number) : -1;
  if (value == -1 && PyErr_Occurred()) PyErr_Clear();
  if (value < 0) Damaged("a size");
  return value;
}

std::span<PyObject*> ToList(PyObject* list, const char* what) {
  if (!PyList_Check(list)) Damaged(what);
  return {PySequence_Fast_ITEMS(list), static_cast<size_t>(PyList_GET_SIZE(list))};
}

PyObject* ToText(PyObject* text, const char* what) {
  if (!PyUnicode_Check(text)) Damaged(what);
  return text;
}

// Borrowed; the manifest keeps it.
PyObject* Entry(const py::dict& manifest, const char* name) {
  PyObject* entry = PyDict_GetItemString(manifest.ptr(), name);
  if (!entry) Damaged(name);
  return entry;
}

PyObject* At(std::span<PyObject*> list, int64_t place, const char* what) {
  if (place < 0 || static_cast<uint64_t>(place) >= list.size()) Damaged(what);
  return list[static_cast<size_t>(place)];
}

// -- constants ----------------------------------------------------------------------------------------------------------------

// What a constant of one type is made of: an array, or packed weights.
struct ConstantType {
  int64_t bytes = 0;
  // Of arrays.
  py::dtype dtype;
  std::vector<py::ssize_t> shape;
  // Of packed weights; no format is that of arrays.
  py::object format, logical;
  bool copied = false;
};

// [format, bytes, logical] or [dtype, size of axis, …].
ConstantType ToConstantType(PyObject* entry, const py::dict& dtypes, const py::dict& formats) {
  const std::span<PyObject*> fields = ToList(entry, "a constant's type");
  PyObject* name = ToText(At(fields, 0, "a constant's type"), "a constant's type");
  ConstantType type;
  if (PyObject* copied = PyDict_GetItemWithError(formats.ptr(), name)) {
    type.bytes = ToInt64(At(fields, 1, "a constant's type"));
    type.logical = py::int_(ToInt64(At(fields, 2, "a constant's type")));
    type.format = py::reinterpret_borrow<py::object>(name);
    type.copied = copied == Py_True;
    return type;
  }
  PyObject* dtype = PyDict_GetItemWithError(dtypes.ptr(), name);
  if (!dtype) Damaged("a constant's type");
  type.dtype = py::reinterpret_borrow<py::dtype>(dtype);
  type.bytes = type.dtype.itemsize();
  for (PyObject* number : fields.subspan(1)) {
    type.shape.push_back(ToInt64(number));
    type.bytes = CheckedMul(type.bytes, type.shape.back());
  }
  return type;
}

// A read-only array of memory that `owner` keeps.
py::object ViewOf(const ConstantType& type, std::byte* data, const py::object& owner) {
  const NumPy& numpy = NumPy::get();
  auto* array_type = reinterpret_cast<PyTypeObject*>(numpy.PyArray_Type_);
  PyObject* made =
      numpy.PyArray_NewFromDescr_(array_type, type.dtype.inc_ref().ptr(), static_cast<int>(type.shape.size()),
                                  type.shape.data(), nullptr, data, NumPy::NPY_ARRAY_ALIGNED_, nullptr);
  if (!made) throw py::error_already_set();
  auto array = py::reinterpret_steal<py::object>(made);
  if (numpy.PyArray_SetBaseObject_(array.ptr(), owner.inc_ref().ptr()) != 0) throw py::error_already_set();
  return array;
}

py::dict MakeConstants(std::span<const PlanTable::Constant> rows, const py::object& block, const py::dict& manifest,
                       const py::dict& dtypes, const py::dict& formats, const py::object& packed) {
  const auto& memory = block.cast<const Memory&>();
  std::vector<ConstantType> types;
  for (PyObject* entry : ToList(Entry(manifest, "types"), "types")) types.push_back(ToConstantType(entry, dtypes, formats));
  py::dict constants;
  for (const PlanTable::Constant& row : rows) {
    if (static_cast<size_t>(row.type) >= types.size()) Damaged("the number of types");
    const ConstantType& type = types[static_cast<size_t>(row.type)];
    const Memory part = memory.Slice(row.start * kAlignment, type.bytes);
    const py::int_ tensor(row.tensor);
    if (!type.format) {
      constants[tensor] = ViewOf(type, part.data, block);
    } else if (!type.copied) {
      constants[tensor] = packed(part, type.format, type.logical);
    } else {
      Memory copy = Memory::Allocate(part.size);
      std::memcpy(copy.data, part.data, static_cast<size_t>(part.size));
      constants[tensor] = packed(std::move(copy), type.format, type.logical);
    }
  }
  return constants;
}

// -- steps --------------------------------------------------------------------------------------------------------------------

// A kind, borrowed, and the attributes that steps of this operation get a copy of.
struct Operation {
  PyObject* kind;
  py::dict attributes;
};

std::vector<Operation> ToOperations(const py::dict& manifest) {
  const std::span<PyObject*> pairs = ToList(Entry(manifest, "attributes"), "attributes");
  std::vector<Operation> operations;
  for (PyObject* entry : ToList(Entry(manifest, "operations"), "operations")) {
    const std::span<PyObject*> fields = ToList(entry, "an operation");
    Operation operation{ToText(At(fields, 0, "an operation"), "an operation's kind"), {}};
    for (PyObject* number : fields.subspan(1)) {
      const std::span<PyObject*> pair = ToList(At(pairs, ToInt64(number), "the number of an attribute"), "an attribute");
      if (pair.size() != 2) Damaged("an attribute");
      if (PyDict_SetItem(operation.attributes.ptr(), ToText(pair[0], "an attribute's name"), pair[1]) != 0)
        throw py::error_already_set();
    }
    operations.push_back(std::move(operation));
  }
  return operations;
}

// Of every step of the table, without its graphs.
py::list MakeSteps(const PlanTable& table, const py::dict& manifest, const py::object& step) {
  const std::vector<Operation> operations = ToOperations(manifest);
  const std::span<PyObject*> names = ToList(Entry(manifest, "names"), "names");
  const std::span<PyObject*> origins = ToList(Entry(manifest, "origins"), "origins");
  if (names.size() != table.steps.size() || origins.size() != names.size()) Damaged("the number of steps' names");
  py::list steps(names.size());
  size_t place = 0;
  for (size_t i = 0; i < names.size(); ++i) {
    const PlanTable::Step& row = table.steps[i];
    if (static_cast<size_t>(row.operation) >= operations.size()) Damaged("the number of operations");
    const Operation& operation = operations[static_cast<size_t>(row.operation)];
    const py::tuple inputs = ToTuple(table.operands.subspan(place, static_cast<size_t>(row.inputs)));
    place += inputs.size();
    const py::tuple outputs = ToTuple(table.operands.subspan(place, static_cast<size_t>(row.outputs)));
    place += outputs.size();
    const auto attributes = py::reinterpret_steal<py::object>(PyDict_Copy(operation.attributes.ptr()));
    PyObject* const fields[] = {operation.kind, ToText(names[i], "a step's name"), inputs.ptr(), outputs.ptr(),
                                attributes.ptr(), ToText(origins[i], "a step's origin")};
    PyObject* made = attributes ? PyObject_Vectorcall(step.ptr(), fields, std::size(fields), nullptr) : nullptr;
    if (!made) throw py::error_already_set();
    PyList_SET_ITEM(steps.ptr(), static_cast<py::ssize_t>(i), made);
  }
  return steps;
}

py::tuple ReadPlan(const Memory& numbers, const py::object& block, const py::dict& manifest, const py::dict& dtypes,
                   const py::dict& formats, const py::object& step, const py::object& packed) {
  const PlanTable table = ReadPlanTable(numbers, ToInt64(Entry(manifest, "tensors")));
  py::list graphs, nested;
  for (const PlanTable::Graph& graph : table.graphs) graphs.append(py::make_tuple(graph.inputs, graph.outputs, graph.steps));
  for (const PlanTable::Step& row : table.steps) nested.append(py::int_(row.graphs));
  return py::make_tuple(graphs, MakeSteps(table, manifest, step), nested, ToTuple(table.ports),
                        MakeConstants(table.constants, block, manifest, dtypes, formats, packed));
}

}  // namespace

void BindPlan(py::module_& m) {
  m.def("read_plan", &ReadPlan, py::arg("table"), py::arg("constants"), py::arg("manifest"), py::arg("dtypes"),
        py::arg("formats"), py::arg("step"), py::arg("packed"),
        "A plan's table and what of its manifest belongs to it, checked: (graphs as (inputs, outputs, steps), the steps of "
        "all graphs, how many graphs are nested in each, the tensors of the graphs' ports, the constants by tensor). "
        "dtypes: name → dtype of arrays; formats: name → whether such weights are to be copied; step is called with "
        "(kind, name, inputs, outputs, attributes, origin), packed with (memory, format, logical).");
}

}  // namespace planish
