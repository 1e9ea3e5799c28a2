// Reading plans: the numbers of their table, checked natively, and the Python objects that they stand for.
#include <cstring>
#include <span>
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

// A number of the manifest, which may be anything; throws Python's TypeError or OverflowError.
int64_t ToInt64(const py::handle& number) {
  const int64_t value = PyLong_AsLongLong(number.ptr());
  if (value == -1 && PyErr_Occurred()) throw py::error_already_set();
  return value;
}

ConstantType ToConstantType(const py::handle& entry) {
  const auto fields = entry.cast<py::tuple>();
  ConstantType type;
  if (fields.size() == 4) {
    type.bytes = ToInt64(fields[1]);
    type.format = fields[0];
    type.logical = py::int_(ToInt64(fields[2]));
    type.copied = fields[3].cast<bool>();
    return type;
  }
  type.dtype = fields[0].cast<py::dtype>();
  type.bytes = type.dtype.itemsize();
  for (const py::handle& number : fields[1].cast<py::list>()) {
    const int64_t size = ToInt64(number);
    Check(size >= 0, "a constant's shape: a negative size; the plan is damaged, export it again");
    type.bytes = CheckedMul(type.bytes, size);
    type.shape.push_back(size);
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

py::dict MakeConstants(std::span<const PlanTable::Constant> rows, const py::object& block, const py::list& types,
                       const py::object& packed) {
  const auto& memory = block.cast<const Memory&>();
  std::vector<ConstantType> known;
  for (const py::handle& entry : types) known.push_back(ToConstantType(entry));
  py::dict constants;
  for (const PlanTable::Constant& row : rows) {
    Check(static_cast<size_t>(row.type) < known.size(), "the table: a constant's type is out of range; the plan is damaged, export it again");
    const ConstantType& type = known[static_cast<size_t>(row.type)];
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

// Rows as columns, operands as tuples.
py::tuple ReadPlan(const Memory& numbers, int64_t tensors, const py::object& block, const py::list& types,
                   const py::object& packed) {
  const PlanTable table = ReadPlanTable(numbers, tensors);
  py::list graphs, operations, nested, inputs, outputs;
  for (const PlanTable::Graph& graph : table.graphs) graphs.append(py::make_tuple(graph.inputs, graph.outputs, graph.steps));
  size_t place = 0;
  for (const PlanTable::Step& step : table.steps) {
    const auto in = static_cast<size_t>(step.inputs), out = static_cast<size_t>(step.outputs);
    operations.append(py::int_(step.operation));
    nested.append(py::int_(step.graphs));
    inputs.append(ToTuple(table.operands.subspan(place, in)));
    outputs.append(ToTuple(table.operands.subspan(place + in, out)));
    place += in + out;
  }
  return py::make_tuple(graphs, operations, nested, inputs, outputs, ToTuple(table.ports),
                        MakeConstants(table.constants, block, types, packed));
}

}  // namespace

void BindPlan(py::module_& m) {
  m.def("read_plan", &ReadPlan, py::arg("table"), py::arg("tensors"), py::arg("constants"), py::arg("types"),
        py::arg("packed"),
        "A plan's table, checked: (graphs as (inputs, outputs, steps), then of all steps their operations, numbers of "
        "nested graphs, inputs and outputs, the tensors of the graphs' ports, and the constants by tensor). types: "
        "(dtype, shape) of arrays, (format, bytes, logical, whether to copy) of what `packed` is called for with "
        "(memory, format, logical).");
}

}  // namespace planish
