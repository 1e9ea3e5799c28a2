"""InferenceSession: load a model or a plan and run it. The habits of ONNX Runtime's class of the same name."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from planish import _core
from planish.errors import InputError, ModelError, PlanishError, UsageError
from planish.runtime.executor import Executor, Timing, unknown_operators
from planish.runtime.specialise import Settings

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

    from planish.lowering.lowered import Lowered, Port

Array = npt.NDArray[Any]


@dataclass(slots=True)
class SessionOptions:
    """How a session runs.

    intra_op_num_threads: threads a run may use; 0 takes PLANISH_NUM_THREADS, else the CPUs the process may use.
    enable_profiling: every run adds its time per step, which `end_profiling` returns.
    byte_budget: the largest tensor, in bytes, that a run may make; all that it holds at a time may take eight times as
        much.
    step_budget: the most multiply-adds (or, where there are none, elements) of one step: 2^40 are about 20 seconds of
        one core.
    loop_budget: the same of all iterations that the loops of a run make together; every one counts as 2^20 at least.
        For models from strangers, set the three budgets to what they may cost you.
    weight_format: auto lets the cost model choose the form of weights; csr, block1x4, block16x4, codebook (compressed
        ones) and winograd (of 3 × 3 convolutions) force one on the layers that allow it, dense on all.
    precision: exact computes float layers in float32; fast lets the weights of convolutions and matrix products, and on
        processors with AMX their inputs too, be rounded to bfloat16 (3 digits). A plan keeps what it was exported with.
    kernels: native family → name of the kernel to force, for tests and comparisons (see `planish doctor`).
    """

    intra_op_num_threads: int = 0
    enable_profiling: bool = False
    byte_budget: int = 2 << 30
    step_budget: int = 1 << 40
    loop_budget: int = 1 << 48
    kernels: dict[str, str] = field(default_factory=dict)
    weight_format: str = "auto"
    precision: str = "exact"
    optimized_model_filepath: str = ""
    #: Accepted for the sake of scripts written for ONNX Runtime; without effect.
    inter_op_num_threads: int = 0
    graph_optimization_level: object = None
    log_severity_level: int = 2


@dataclass(frozen=True, slots=True)
class NodeArg:
    """A graph input or output: name, shape (ints, names of symbolic dimensions, None), type such as tensor(float) or
    seq(tensor(float))."""

    name: str
    shape: list[int | str | None]
    type: str


#: Combinations of input shapes that a session remembers as checked.
_MOST_ACCEPTED = 1024
#: Sets of overridden defaults that have a session of their own, least recently used dropped first.
_MOST_OVERRIDDEN = 8
#: As of PLANISH_NUM_THREADS.
_MOST_THREADS = 1024
_ONNX_TYPES = {"float32": "float", "float64": "double", "str": "string"}


class InferenceSession:
    """Runs one model.

    path_or_bytes: an `.onnx` or `.plan` file, the bytes of either, an onnx.ModelProto or an onnx_ir.Model.
    providers and provider_options are accepted and ignored: planish runs on the CPU.
    Raises ModelError or PlanError where the model cannot be loaded.
    """

    def __init__(
        self,
        path_or_bytes: str | os.PathLike[str] | bytes | onnx.ModelProto | ir.Model,
        sess_options: SessionOptions | None = None,
        providers: Sequence[Any] | None = None,
        provider_options: Sequence[Any] | None = None,
    ) -> None:
        options = sess_options or SessionOptions()
        if not isinstance(options, SessionOptions):
            raise UsageError(f"sess_options: got {type(options).__name__}; give a planish.SessionOptions")
        self._options = options
        self._source = os.fspath(path_or_bytes) if isinstance(path_or_bytes, (str, os.PathLike)) else ""
        try:
            self._lowered = _load(path_or_bytes, options)
        except ModelError as error:
            raise self._named(error) from error.__cause__
        settings = _settings_of(options)
        self._refuse_unknown_operators()
        self._executor = Executor(self._lowered, settings)
        self._inputs = {p.name: p for p in self._lowered.inputs}
        self._outputs = {p.name: i for i, p in enumerate(self._lowered.outputs)}
        self._labels = {i: p.labels for i, p in enumerate(self._lowered.outputs) if p.labels}
        self._timings: list[list[Timing]] = []
        self._ports = [(p.name, p.tensor, _native_dtype(p.dtype)) for p in self._lowered.inputs]
        self._accepted: set[tuple[Any, ...]] = set()  # shapes that have been checked, of all inputs together
        self._call: _core.Call | None = None  # the latest run again, where that is one native call
        self._defaults = frozenset(p.name for p in self._lowered.defaults)
        self._original = path_or_bytes if self._defaults else None
        self._overridden: OrderedDict[frozenset[str], InferenceSession] = OrderedDict()

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any], run_options: object = None
    ) -> list[Any]:
        """Computes outputs (those named; all of them if none is). The arrays belong to the caller.

        input_feed: input name → array of the declared dtype and shape; sequences are lists of arrays, an empty optional
        is None. Raises InputError for anything else. An input that has a default value (an initializer of its name) may
        be left out; models are compiled with the defaults as constants, and once more for every set of them that is
        fed, of which the latest few are kept. A classifier's output that is a map in the model (ZipMap) is a list of
        dictionaries, label → score.
        May be called from many threads at once.
        """
        call = self._call
        if call is not None and not output_names:
            try:
                if (outputs := call(input_feed)) is not None:
                    return outputs
            except PlanishError:  # what follows fails in the same way, and knows the names
                pass
        if not isinstance(input_feed, Mapping):
            raise InputError(
                f"input_feed: expected a dictionary, got {type(input_feed).__name__}; feed input name → array"
            )
        if isinstance(output_names, str):
            raise InputError(f"output_names: '{output_names}' is not a list; give ['{output_names}'], or None for all")
        if self._defaults and not self._defaults.isdisjoint(input_feed):
            return self._overriding(self._defaults.intersection(input_feed)).run(output_names, input_feed)
        chosen = [self._output_index(name) for name in output_names or ()]
        results: list[Any] = self._run(input_feed)
        for i, labels in self._labels.items():
            results[i] = self._named_rows(i, labels, results[i])
        return [results[i] for i in chosen] if chosen else results

    def run_arrays(self, input_feed: Mapping[str, Any]) -> dict[str, Array]:
        """Output name → array, as `run`, but with maps left as the tensor of their scores, [N, labels]."""
        if self._defaults and not self._defaults.isdisjoint(input_feed):
            return self._overriding(self._defaults.intersection(input_feed)).run_arrays(input_feed)
        names = [p.name for p in self._lowered.outputs]  # an output may be listed twice
        return dict(zip(names, self._run(input_feed), strict=True))

    def _refuse_unknown_operators(self) -> None:
        """Raises ModelError that names the first node that nothing can evaluate, and counts the others."""
        problems = list(unknown_operators(self._lowered))
        if problems:
            more = f" (and {len(problems) - 1} more nodes)" if len(problems) > 1 else ""
            what, _, remedy = problems[0].partition("; ")
            raise self._named(ModelError(f"{what}{more}; {remedy}"))

    def _run(self, input_feed: Mapping[str, Any]) -> list[Array]:
        feeds = self._check(input_feed)
        try:
            if not self._options.enable_profiling:
                values = self._executor.run(feeds)
                if not self._labels:
                    self._call = self._executor.call(feeds, list(self._inputs))
                return values
            timings: list[Timing] = []
            results = self._executor.run(feeds, timings)
            self._timings.append(timings)
            return results
        except PlanishError as error:
            raise self._named(error) from error.__cause__

    def get_inputs(self) -> list[NodeArg]:
        return [_node_arg(p) for p in self._lowered.inputs]

    def get_overridable_initializers(self) -> list[NodeArg]:
        """The inputs that have default values, and may be left out."""
        return [_node_arg(p) for p in self._lowered.defaults]

    def get_outputs(self) -> list[NodeArg]:
        return [_node_arg(p) for p in self._lowered.outputs]

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]

    @property
    def lowered(self) -> Lowered:
        """The lowered model, for `inspect`, `export` and tests."""
        return self._lowered

    @property
    def executor(self) -> Executor:
        """What runs it, for `inspect` and tests."""
        return self._executor

    def profile(self) -> list[list[Timing]]:
        """The timings of every run so far, with `enable_profiling`."""
        return self._timings

    def end_profiling(self) -> str:
        """Writes the timings as a Chrome trace (chrome://tracing, Perfetto); returns the file's name."""
        from planish.files import write_atomic

        events, clock = [], 0.0
        for timings in self._timings:
            for t in timings:
                spent = t.nanoseconds / 1e3
                event = {"name": t.label, "cat": t.family, "ph": "X", "pid": 0, "tid": 0, "ts": clock, "dur": spent}
                events.append({**event, "args": {"kernel": t.kernel}})
                clock += spent
        path = time.strftime("planish_profile_%Y%m%d-%H%M%S.json")
        write_atomic(path, json.dumps({"traceEvents": events}).encode())
        return path

    def _named_rows(self, output: int, labels: Sequence[int | str], scores: Any) -> Any:
        """One dictionary a row, label → score: what a ZipMap gives."""
        name = self._lowered.outputs[output].name
        if not isinstance(scores, np.ndarray):
            raise ModelError(f"output '{name}': a map of a sequence; repair the model")
        if scores.ndim != 2 or scores.shape[1] != len(labels):
            raise ModelError(f"output '{name}': {list(scores.shape)} scores for {len(labels)} labels; repair the model")
        return [dict(zip(labels, row, strict=True)) for row in scores.tolist()]

    def _named(self, error: PlanishError) -> PlanishError:
        """The error, with the model's file in front where there is one."""
        text = str(error)
        return error if not self._source or text.startswith(self._source) else type(error)(f"{self._source}: {text}")

    def _overriding(self, names: frozenset[str]) -> InferenceSession:
        """A session of the same model in which inputs have no defaults.

        Each step on the dictionary is atomic, so it needs no lock that a fork could find taken.
        """
        session = self._overridden.get(names)
        if session is not None:
            with contextlib.suppress(KeyError):  # another thread has just dropped it
                self._overridden.move_to_end(names)
        else:
            from planish import plan

            if plan.is_plan(self._original) or hasattr(self._original, "opset_imports"):
                raise InputError(
                    f"input '{min(names)}': a default value, which is compiled in as a constant; load the .onnx file "
                    "to feed another"
                )
            from planish.importing import load_model
            from planish.passes.lift_constants import drop_defaults

            model = load_model(self._original)  # type: ignore[arg-type]
            drop_defaults(model, names)
            options = replace(self._options, optimized_model_filepath="")  # that file is of the model as it came
            session = InferenceSession(model, options)
            session._source, session._timings = self._source, self._timings
            session = self._overridden.setdefault(names, session)
            while len(self._overridden) > _MOST_OVERRIDDEN:
                self._overridden.popitem(last=False)
        return session

    def _output_index(self, name: str) -> int:
        if name not in self._outputs:
            raise InputError(f"output '{name}': the model has no such output; choose from {', '.join(self._outputs)}")
        return self._outputs[name]

    def _check(self, feed: Mapping[str, Any]) -> dict[int, Array]:
        """The feeds by tensor number; quick for shapes that were accepted before."""
        if len(feed) == len(self._ports):
            arrays: dict[int, Any] = {tensor: feed.get(name) for name, tensor, _ in self._ports}
            known = all(
                type(a) is np.ndarray and a.dtype is port[2] and a.flags.c_contiguous
                for a, port in zip(arrays.values(), self._ports, strict=True)
            )
            if known and tuple([a.shape for a in arrays.values()]) in self._accepted:
                return arrays
        return self._check_thoroughly(feed)

    def _check_thoroughly(self, feed: Mapping[str, Any]) -> dict[int, Array]:
        checked: dict[int, Any] = {}
        symbols: dict[str, tuple[int, str]] = {}
        for name, port in self._inputs.items():
            if name not in feed:
                others = ", ".join(f"'{n}'" for n in feed if n not in self._inputs)
                given = f" (given: {others})" if others else ""
                raise InputError(f"input '{name}': missing{given}; feed {_describe(port)}")
            if "(" in port.dtype:
                checked[port.tensor] = _as_value(port, port.dtype, feed[name])
                continue
            array = _as_array(port, feed[name])
            _check_array(port, array, symbols)
            checked[port.tensor] = array if array.flags.c_contiguous else np.ascontiguousarray(array)
        if len(feed) > len(self._inputs):
            unknown = next(n for n in feed if n not in self._inputs)
            raise InputError(f"input '{unknown}': the model has no such input; it takes {', '.join(self._inputs)}")
        if len(self._accepted) >= _MOST_ACCEPTED:
            self._accepted.clear()
        self._accepted.add(tuple(getattr(a, "shape", None) for a in checked.values()))
        return checked


def _native_dtype(name: str) -> Any:
    """The dtype object that arrays of this element type carry, or None where it is not one object (strings)."""
    return np.dtype(name) if name in np.sctypeDict else None


def _as_array(port: Port, given: Any) -> Array:
    try:
        return np.asarray(given)
    except ValueError:
        raise InputError(
            f"input '{port.name}': expected {_describe(port)}, got no array; feed numbers of one shape"
        ) from None


def _as_value(port: Port, wanted: str, given: Any) -> Any:
    """A sequence (a list of arrays) or an optional (None, or what it may hold) of the type `wanted`, checked."""
    outer, _, inner = wanted.partition("(")
    if not inner:
        array = _as_array(port, given)
        if array.dtype.name != wanted and not (wanted == "str" and array.dtype.kind in "OUS"):
            raise InputError(
                f"input '{port.name}': expected {port.dtype}, got {array.dtype.name}{list(array.shape)}; cast it with "
                f".astype('{wanted}')"
            )
        _check_byte_order(port, array)
        return np.ascontiguousarray(array).reshape(array.shape)
    inner = inner.removesuffix(")")
    if outer == "optional":
        return None if given is None else _as_value(port, inner, given)
    if not isinstance(given, (list, tuple)):
        raise InputError(
            f"input '{port.name}': expected {port.dtype}, got {type(given).__name__}; feed a list of arrays"
        )
    return [_as_value(port, inner, element) for element in given]


def _check_array(port: Port, array: Array, symbols: dict[str, tuple[int, str]]) -> None:
    got = f"{array.dtype.name}{list(array.shape)}"
    if array.dtype.name != port.dtype and not (port.dtype == "str" and array.dtype.kind in "OUS"):
        remedy = f"cast it with .astype('{port.dtype}')"
        if array.dtype.hasobject:
            remedy = f"feed an array of {'numbers' if port.dtype != 'str' else 'texts'}"
        raise InputError(f"input '{port.name}': expected {_describe(port)}, got {got}; {remedy}")
    _check_byte_order(port, array)
    if port.shape is None:
        return
    if len(array.shape) != len(port.shape):
        raise InputError(f"input '{port.name}': expected {_describe(port)}, got {got}; reshape it")
    for want, have in zip(port.shape, array.shape, strict=True):
        if isinstance(want, int) and want != have:
            hint = (
                "transpose to NCHW"
                if len(array.shape) == 4 and array.shape[-1] in (1, 3, port.shape[1])
                else "reshape it"
            )
            raise InputError(f"input '{port.name}': expected {_describe(port)}, got {got}; {hint}")
        if isinstance(want, str):
            seen, where = symbols.setdefault(want, (have, port.name))
            if seen != have and where != port.name:
                raise InputError(
                    f"input '{port.name}': dimension '{want}' is {have}, but {seen} in input '{where}'; "
                    "feed arrays that agree"
                )


def _check_byte_order(port: Port, array: Array) -> None:
    if not array.dtype.isnative:
        raise InputError(
            f"input '{port.name}': the array's byte order is foreign; convert it with "
            f".astype('{array.dtype.newbyteorder('=').name}')"
        )


def _describe(port: Port) -> str:
    if "(" in port.dtype:
        return port.dtype
    dims = "" if port.shape is None else ",".join("?" if d is None else str(d) for d in port.shape)
    return f"{port.dtype}[{dims}]"


def _node_arg(port: Port) -> NodeArg:
    *wrappers, element = port.dtype.replace(")", "").split("(")
    kind = f"tensor({_ONNX_TYPES.get(element, element)})"
    for wrapper in reversed(wrappers):
        kind = f"{wrapper}({kind})"
    return NodeArg(port.name, list(port.shape or ()), kind)


def _settings_of(options: SessionOptions) -> Settings:
    """What the executor needs of the options. Raises UsageError for numbers that are none of their kind."""
    threads = options.intra_op_num_threads or _core.default_threads()
    if not isinstance(threads, int) or not 1 <= threads <= _MOST_THREADS:
        raise UsageError(
            f"intra_op_num_threads: {threads} is not a number of threads; use 0 for all, or a positive number "
            f"up to {_MOST_THREADS}"
        )
    for name in ("byte_budget", "step_budget", "loop_budget"):
        budget = getattr(options, name)
        if not isinstance(budget, int) or not 0 <= budget < 1 << 63:
            raise UsageError(f"{name}: {budget!r} is not a budget; use a whole number below 2^63")
    return Settings(threads, options.byte_budget, options.step_budget, options.loop_budget, dict(options.kernels))


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage collection meanwhile: making a graph of thousands of objects sets off several, each of which goes
    through all objects of the process, and finds nothing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _load(source: Any, options: SessionOptions) -> Lowered:
    from planish import plan
    from planish.lowering.formats import check_precision, check_weight_format

    check_weight_format(options.weight_format)
    check_precision(options.precision)
    with _uncollected():
        return plan.load(source) if plan.is_plan(source) else _compile(source, options)


def _compile(source: Any, options: SessionOptions) -> Lowered:
    from planish.importing import load_model
    from planish.lowering.builder import port
    from planish.lowering.lower import lower
    from planish.passes import canonicalise
    from planish.passes.lift_constants import overridable_initializers

    model = load_model(source)
    defaults = overridable_initializers(model)
    model = canonicalise(model)
    if options.optimized_model_filepath:
        import onnx_ir as ir

        from planish.files import write_atomic

        write_atomic(options.optimized_model_filepath, ir.to_proto(model).SerializeToString())
    lowered = lower(model, options.weight_format, options.precision)
    lowered.defaults = [port(value, 0) for value in defaults]  # the tensor of such a port is not read
    return lowered
