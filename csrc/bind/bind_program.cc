// planish._core.Program, and run_op, which runs one kernel on arrays between guard pages (for tests and benchmarks).
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "bind/bind.h"
#include "bind/gil_release.h"
#include "runtime/program.h"

namespace py = pybind11;

namespace planish {
namespace {

Dims ToDims(const py::handle& values, int rank) {
  Dims dims{};
  int i = 0;
  for (const py::handle& v : py::reinterpret_borrow<py::sequence>(values)) {
    Check(i < rank, "view: shape and strides differ in length; this is a bug in planish");
    dims[static_cast<size_t>(i++)] = v.cast<int64_t>();
  }
  Check(i == rank, "view: shape and strides differ in length; this is a bug in planish");
  return dims;
}

// None, or (buffer, offset, dtype code, shape, byte strides).
View ToView(const py::handle& object) {
  View v;
  if (object.is_none()) return v;
  const auto t = py::reinterpret_borrow<py::sequence>(object);
  Check(t.size() == 5, "view: needs (buffer, offset, dtype, shape, strides); this is a bug in planish");
  v.buffer = t[0].cast<int32_t>();
  v.offset = t[1].cast<int64_t>();
  const int dtype = t[2].cast<int>();
  Check(dtype >= 0 && dtype < kDTypeCount, "view: unknown dtype; the plan is damaged or of another version");
  v.dtype = static_cast<DType>(dtype);
  const size_t rank = py::len(t[3]);
  if (rank > kMaxRank) Fail("tensor of rank " + std::to_string(rank) + ": at most " + std::to_string(kMaxRank) + " dimensions are supported; reshape it");
  v.rank = static_cast<int32_t>(rank);
  v.shape = ToDims(t[3], v.rank);
  v.stride = ToDims(t[4], v.rank);
  return v;
}

std::vector<View> ToViews(const py::sequence& objects) {
  std::vector<View> views;
  for (const py::handle& o : objects) views.push_back(ToView(o));
  return views;
}

Attrs ToAttrs(const py::dict& dict) {
  Attrs attrs;
  for (const auto& [key, value] : dict) {
    std::string name = py::cast<std::string>(key);
    if (py::isinstance<py::str>(value)) {
      attrs.Set(std::move(name), value.cast<std::string>());
    } else if (py::isinstance<py::float_>(value)) {
      attrs.Set(std::move(name), std::vector<double>{value.cast<double>()});
    } else if (py::isinstance<py::int_>(value)) {
      attrs.Set(std::move(name), std::vector<int64_t>{value.cast<int64_t>()});
    } else {
      const auto sequence = py::reinterpret_borrow<py::sequence>(value);
      if (py::len(sequence) && py::isinstance<py::float_>(sequence[0])) {
        attrs.Set(std::move(name), sequence.cast<std::vector<double>>());
      } else {
        attrs.Set(std::move(name), sequence.cast<std::vector<int64_t>>());
      }
    }
  }
  return attrs;
}

// Fills `pointers` with the data of C-contiguous arrays of at least the declared sizes.
template <class BytesOf>
void Collect(const py::sequence& arrays, int count, bool writable, const BytesOf& bytes_of, std::byte** pointers) {
  Check(static_cast<int>(arrays.size()) == count, "program: wrong number of arrays; this is a bug in planish");
  for (int i = 0; i < count; ++i) {
    const auto a = py::reinterpret_borrow<py::array>(arrays[static_cast<size_t>(i)]);
    Check(py::isinstance<py::array>(a) && (a.flags() & py::array::c_style) && a.nbytes() >= bytes_of(i) && (!writable || a.writeable()),
          "program: an array of the wrong size or layout; this is a bug in planish");
    pointers[i] = const_cast<std::byte*>(static_cast<const std::byte*>(a.data()));
  }
}

void RunProgram(const Program& program, const py::sequence& inputs, const py::sequence& outputs, int64_t* times) {
  const int n_in = program.input_count(), n_out = program.output_count();
  std::vector<std::byte*> pointers(static_cast<size_t>(n_in + n_out));
  Collect(inputs, n_in, false, [&](int i) { return program.input_bytes(i); }, pointers.data());
  Collect(outputs, n_out, true, [&](int i) { return program.output_bytes(i); }, pointers.data() + n_in);
  const GilRelease release;
  program.Run(pointers.data(), pointers.data() + n_in, times);
}

View ContiguousView(int buffer, const py::array& a) {
  View v;
  v.buffer = buffer;
  v.dtype = DTypeOf(a);
  Check(a.ndim() <= kMaxRank, "run_op: too many dimensions");
  v.rank = static_cast<int32_t>(a.ndim());
  for (int i = 0; i < v.rank; ++i) {
    v.shape[static_cast<size_t>(i)] = a.shape(i);
    v.stride[static_cast<size_t>(i)] = a.strides(i);
  }
  return v;
}

// The bytes from an array's first element in memory to its last, placed so that reading further than the family may
// raises SIGSEGV, with the array's strides kept. Returns the block and the offset of element 0.
std::pair<Memory, int64_t> Guarded(const py::array& a, int64_t slack, int64_t alignment, bool copy) {
  int64_t low = 0, high = 0;
  for (py::ssize_t i = 0; i < a.ndim(); ++i) {
    const int64_t span = std::max<int64_t>(0, a.shape(i) - 1) * a.strides(i);
    (span < 0 ? low : high) += span;
  }
  const int64_t bytes = a.size() ? high - low + a.itemsize() : 0;
  Memory memory = Memory::AllocateGuarded(bytes, slack, alignment);
  if (copy && bytes) std::memcpy(memory.data, static_cast<const std::byte*>(a.data()) + low, static_cast<size_t>(bytes));
  return {std::move(memory), bytes ? -low : 0};
}

// Runs one kernel. `inputs` (None for absent) keep their NumPy strides; `packed` gives the indices of those that are packed
// weights (64-byte aligned constants). `outputs` are C-contiguous arrays, written in place. Returns (kernel, reason).
py::tuple RunOp(const std::string& family, const py::sequence& inputs, const py::sequence& outputs, const py::dict& attrs,
                const std::vector<int>& packed, int threads) {
  const Family* f = FindFamily(family);
  if (!f) Fail("run_op: unknown family '" + family + "'");
  ProgramOptions options;
  options.threads = threads;
  options.guard = true;
  Program program(options);
  std::vector<View> in, out;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].is_none()) {
      in.emplace_back();
      continue;
    }
    Check(py::isinstance<py::array>(inputs[i]), "run_op: inputs must be arrays");
    const auto a = py::reinterpret_borrow<py::array>(inputs[i]);
    const bool is_packed = std::find(packed.begin(), packed.end(), static_cast<int>(i)) != packed.end();
    const int64_t slack = f->exact_reads || is_packed ? 0 : kTail - 1;
    auto [memory, offset] = Guarded(a, slack, is_packed ? kAlignment : 1, true);
    in.push_back(ContiguousView(program.AddConstant(std::move(memory)), a));
    in.back().offset = offset;
  }
  std::vector<Memory> results;
  for (size_t i = 0; i < outputs.size(); ++i) {
    Check(py::isinstance<py::array>(outputs[i]), "run_op: outputs must be arrays");
    const auto a = py::reinterpret_borrow<py::array>(outputs[i]);
    Check((a.flags() & py::array::c_style) && a.writeable(), "run_op: outputs must be C-contiguous and writeable");
    results.push_back(Guarded(a, 0, 1, false).first);
    out.push_back(ContiguousView(program.AddOutput(static_cast<int>(i), a.nbytes()), a));
  }
  const Built& built = program.Add(family, family, in, out, ToAttrs(attrs));
  program.Finalize();
  std::vector<std::byte*> pointers;
  for (const Memory& r : results) pointers.push_back(r.data);
  {
    const GilRelease release;
    program.Run(nullptr, pointers.data());
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    auto a = py::reinterpret_borrow<py::array>(outputs[i]);
    std::memcpy(a.mutable_data(), results[i].data, static_cast<size_t>(results[i].size));
  }
  return py::make_tuple(built.kernel, built.reason);
}

}  // namespace

void BindProgram(py::module_& m) {
  py::list names;
  for (int i = 0; i < kDTypeCount; ++i) names.append(DTypeName(static_cast<DType>(i)));
  m.attr("DTYPES") = py::tuple(names);

  py::class_<Program>(m, "Program", "Flat instructions over one arena, for one signature of input shapes.")
      .def(py::init([](int threads, int64_t byte_budget, int64_t step_budget) {
             ProgramOptions options;
             options.threads = threads;
             options.byte_budget = byte_budget;
             options.step_budget = step_budget;
             return std::make_unique<Program>(options);
           }),
           py::arg("threads") = 1, py::arg("byte_budget") = int64_t{2} << 30, py::arg("step_budget") = int64_t{1} << 40)
      .def("arena", &Program::AddArena, py::arg("nbytes"), "Declares a temporary buffer; returns its number.")
      .def("constant", &Program::AddConstant, py::arg("memory"), "Declares a constant; returns its number.")
      .def("input", &Program::AddInput, py::arg("index"), py::arg("nbytes"))
      .def("output", &Program::AddOutput, py::arg("index"), py::arg("nbytes"))
      .def("add",
           [](Program& self, std::string label, const std::string& family, const py::sequence& inputs, const py::sequence& outputs, const py::dict& attrs) {
             const Built& built = self.Add(std::move(label), family, ToViews(inputs), ToViews(outputs), ToAttrs(attrs));
             return py::make_tuple(built.kernel, built.reason);
           },
           py::arg("label"), py::arg("family"), py::arg("inputs"), py::arg("outputs"), py::arg("attrs"),
           "Appends an instruction. Views are None or (buffer, offset, dtype index in DTYPES, shape, byte strides). "
           "Returns (kernel, reason of the choice).")
      .def("finalize", &Program::Finalize, "Plans the arena; the program can then run.")
      .def("run", [](const Program& self, const py::sequence& inputs, const py::sequence& outputs) { RunProgram(self, inputs, outputs, nullptr); },
           py::arg("inputs"), py::arg("outputs"), "Runs on C-contiguous arrays; outputs are written in place.")
      .def("run_profiled",
           [](const Program& self, const py::sequence& inputs, const py::sequence& outputs) {
             std::vector<int64_t> times(self.steps().size());
             RunProgram(self, inputs, outputs, times.data());
             return times;
           },
           py::arg("inputs"), py::arg("outputs"), "As run; returns nanoseconds per instruction.")
      .def_property_readonly("steps", [](const Program& self) {
        std::vector<std::tuple<std::string, std::string, std::string, std::string>> steps;
        for (const Program::Step& s : self.steps()) steps.emplace_back(s.label, s.family, s.built.kernel, s.built.reason);
        return steps;
      }, "(label, family, kernel, reason) per instruction.")
      .def_property_readonly("work", &Program::work, "Multiply-adds, or elements where there are more, of a run.")
      .def_property_readonly("arena_bytes", &Program::arena_bytes)
      .def_property_readonly("total_bytes", &Program::total_bytes);

  m.def("run_op", &RunOp, py::arg("family"), py::arg("inputs"), py::arg("outputs"), py::arg("attrs") = py::dict(),
        py::arg("packed") = std::vector<int>{}, py::arg("threads") = 1,
        "Runs one kernel on arrays placed between guard pages.");
}

}  // namespace planish
