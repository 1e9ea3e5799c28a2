"""The executor: runs a lowered model. One Program a signature of input shapes, cached.

A model that is native throughout is one native call a run; otherwise segments, and between them what leaves the
Program: the fallback's calls, and loops, whose bodies have executors of their own.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from planish import _core
from planish.errors import ModelError, PlanishError, first_line, split_step
from planish.lowering.lowered import ABSENT, Lowered, Packed, Step
from planish.runtime import control, fallback, sequences
from planish.runtime.constants import Constants
from planish.runtime.control import ITERATION_WORK, SPECIALISE_WORK, Meter
from planish.runtime.specialise import MALFORMED, OUTSIDE, Segment, Settings, specialise
from planish.runtime.view import numpy_dtype
from planish.steps.kind import Fact

Array = npt.NDArray[Any]
#: An array; or, between steps outside of Programs, a sequence of arrays or None (an empty optional).
Value = Any
Key = tuple[Any, ...]
#: Signatures kept, least recently used dropped first.
CACHE_SIZE = 64
#: Of a loop's body, whose states may grow with every iteration, more are kept while their arenas are small.
BODY_CACHE_SIZE, BODY_ARENA_BYTES = 1024, 256 << 20
#: Graph inputs of at most this many elements may become part of the signature by value, if shapes depend on them.
VALUE_INPUT_LIMIT = 16


@dataclass(slots=True)
class Timing:
    """Where time went: one entry an instruction, or a step between Programs."""

    label: str
    family: str
    kernel: str
    nanoseconds: int


class Executor:
    """Thread-safe: concurrent runs share Programs and weights, and have an arena each."""

    def __init__(
        self,
        lowered: Lowered,
        settings: Settings,
        constants: Constants | None = None,
        cache_size: int = CACHE_SIZE,
        is_body: bool = False,
    ) -> None:
        """is_body: of a loop, which may feed other types from one iteration to the next and keeps what it gets."""
        self.lowered = lowered
        self.settings = settings
        self.output_tensors = [p.tensor for p in lowered.outputs]
        self.constants = constants or Constants(lowered.constants)
        self._bodies: dict[tuple[int, ...], Executor] = {}  # of loops, by the loop's outputs
        self.cache_size = cache_size
        self.is_body = is_body
        self._cache: OrderedDict[Key, Segment] = OrderedDict()
        self._arena_bytes = 0  # of the first segments that are cached
        self._lock = threading.Lock()
        self._latest: tuple[Key, Segment] | None = None
        self._value_inputs: set[int] = set()
        _executors.add(self)

    def run(
        self, feeds: Mapping[int, Value], timings: list[Timing] | None = None, meter: Meter | None = None
    ) -> list[Value]:
        """`feeds`: checked values by tensor number. Returns values the caller owns, in output order.

        meter: of the run whose loop this is an iteration of.
        """
        segment = self._first(feeds, meter)
        if segment.last and timings is None and segment.outputs == self.output_tensors:
            return self._run_program(segment, feeds, None, meter)
        return self._run_segments(segment, feeds, timings, [], meter)

    def _run_segments(
        self,
        segment: Segment,
        feeds: Mapping[int, Value],
        timings: list[Timing] | None,
        passed: list[Segment],
        meter: Meter | None = None,
    ) -> list[Value]:
        """Runs `segment` and all that follow it, which are added to `passed`."""
        arrays: dict[int, Value] = dict(feeds)
        loops = meter or Meter(self.settings.loop_budget)
        while True:
            passed.append(segment)
            results = self._run_program(segment, arrays, timings, meter)
            arrays.update(zip(segment.outputs, results, strict=True))
            if segment.last:
                break
            if segment.outside is not None:
                self._run_outside(segment, arrays, timings, loops)
            segment = self._next(segment, arrays, meter)
        return [self._result(t, segment, arrays) for t in self.output_tensors]

    def call(self, feeds: Mapping[int, Value], names: Sequence[str]) -> _core.Call | None:
        """All of a run with feeds like these, which have run before, as one native call on a dict of arrays; None where
        more than their shapes decides what runs, or more than one Program does. names: those of `feeds`, in order."""
        if self._value_inputs or any(not isinstance(a, np.ndarray) or a.dtype.hasobject for a in feeds.values()):
            return None
        segment = self._cached(self._key(feeds))
        if segment is None or not segment.last or segment.outputs != self.output_tensors:
            return None
        if segment.call is None:
            places = {tensor: place for place, tensor in enumerate(segment.inputs)}
            arrays = [(n, a.dtype, a.shape, places.get(t, -1)) for n, (t, a) in zip(names, feeds.items(), strict=True)]
            results = [(numpy_dtype(f.dtype), f.shape) for f in segment.output_facts]
            segment.call = _core.Call(segment.program, arrays, results)
        return segment.call

    def first_segment(self, feeds: Mapping[int, Array]) -> Segment:
        """The segment that a run with these feeds starts with, for inspection."""
        return self._first(feeds)

    def segments(self, feeds: Mapping[int, Array]) -> list[Segment]:
        """The segments that a run with these feeds passes through. Runs only where there are several."""
        first = self._first(feeds)
        if first.last:
            return [first]
        passed: list[Segment] = []
        self._run_segments(first, feeds, None, passed)
        return passed

    # -- segments ------------------------------------------------------------------------------------------------------

    def _key(self, feeds: Mapping[int, Array]) -> Key:
        shapes: Key = tuple([getattr(a, "shape", None) for a in feeds.values()])
        if self.is_body:  # a session has checked the types of what it feeds
            shapes += tuple([getattr(a, "dtype", None) for a in feeds.values()])
        if not self._value_inputs:
            return shapes
        return (*shapes, *((t, feeds[t].tobytes()) for t in sorted(self._value_inputs)))

    def _first(self, feeds: Mapping[int, Array], meter: Meter | None = None) -> Segment:
        key = self._key(feeds)
        segment = self._cached(key)
        if segment is not None:
            return segment
        if meter is not None:
            meter.spend(SPECIALISE_WORK)
        while True:
            known = {t: _fact_of(a, a if t in self._value_inputs else None) for t, a in feeds.items()}
            segment = specialise(self.lowered.steps, known, self.output_tensors, self.settings, self.constants)
            wanted = segment.wanted
            inputs = self._deciding_inputs(wanted, feeds) if wanted is not None else set()
            if not inputs - self._value_inputs:
                return self._store(self._key(feeds), segment)
            self._value_inputs |= inputs

    def _next(self, before: Segment, arrays: Mapping[int, Array], meter: Meter | None = None) -> Segment:
        """What follows a segment, kept with it: dropping a signature drops all that came after its first segment."""
        key = tuple(self._progress(before, arrays))
        with self._lock:
            segment = before.followers.get(key)
        if segment is not None:
            return segment
        if meter is not None:
            meter.spend(SPECIALISE_WORK)
        known = dict(before.facts)
        for tensor in self.lowered.constants:
            known.pop(tensor, None)
        for tensor, array in arrays.items():
            value = array if tensor == before.wanted else known[tensor].value if tensor in known else None
            known[tensor] = _fact_of(array, value)
        available = {t: f for t, f in known.items() if t in arrays or f.value is not None}
        segment = specialise(before.rest, available, self.output_tensors, self.settings, self.constants)
        with self._lock:
            before.followers[key] = segment
            while len(before.followers) > CACHE_SIZE:
                del before.followers[next(iter(before.followers))]
        return segment

    def _cached(self, key: Key) -> Segment | None:
        latest = self._latest  # one read: other threads may replace it meanwhile
        if latest is not None and latest[0] == key:
            return latest[1]
        with self._lock:
            segment = self._cache.get(key)
            if segment is not None:
                self._cache.move_to_end(key)
                self._latest = (key, segment)
        return segment

    def _store(self, key: Key, segment: Segment) -> Segment:
        with self._lock:
            replaced = self._cache.pop(key, None)
            self._cache[key] = segment
            self._latest = (key, segment)
            self._arena_bytes += segment.program.arena_bytes - (replaced.program.arena_bytes if replaced else 0)
            while len(self._cache) > (CACHE_SIZE if self._arena_bytes > BODY_ARENA_BYTES else self.cache_size):
                self._arena_bytes -= self._cache.popitem(last=False)[1].program.arena_bytes
        return segment

    def _deciding_inputs(self, tensor: int, feeds: Mapping[int, Array]) -> set[int]:
        """The graph inputs that alone decide `tensor`, if all of them are small; else none."""
        made = {t: s for s in self.lowered.walk() for t in s.outputs}
        inputs: set[int] = set()
        queue, seen = [tensor], set()
        while queue:
            t = queue.pop()
            if t in seen or t == ABSENT or t in self.lowered.constants:
                continue
            seen.add(t)
            if t in feeds:
                inputs.add(t)
            elif t in made and made[t].kind not in OUTSIDE and made[t].kind != "if":
                if made[t].kind != "shape":
                    queue.extend(made[t].inputs)
            else:
                return set()
        return (
            inputs
            if all(
                isinstance(feeds[t], np.ndarray) and feeds[t].size <= VALUE_INPUT_LIMIT and feeds[t].dtype.kind in "iub"
                for t in inputs
            )
            else set()
        )

    # -- running -------------------------------------------------------------------------------------------------------

    def _run_program(
        self, segment: Segment, arrays: Mapping[int, Array], timings: list[Timing] | None, meter: Meter | None = None
    ) -> list[Array]:
        if meter is not None:
            meter.spend(segment.program.work)
        inputs = [np.ascontiguousarray(arrays[t]) for t in segment.inputs]
        outputs = [np.empty(f.shape, numpy_dtype(f.dtype)) for f in segment.output_facts]
        try:
            if timings is None:
                segment.program.run(inputs, outputs)
                return outputs
            spent = segment.program.run_profiled(inputs, outputs)
        except PlanishError as error:
            raise self._located(error) from None
        for (label, family, kernel, _), nanoseconds in zip(segment.program.steps, spent, strict=True):
            timings.append(Timing(label, family, kernel, nanoseconds))
        return outputs

    def _located(self, error: PlanishError) -> ModelError:
        """An error of a native step, with the node in the step's place."""
        name, what = split_step(str(error))
        step = next((s for s in self.lowered.walk() if s.name == name), None)
        return ModelError(str(error) if step is None else f"{step.where()}: {what}")

    def _run_outside(
        self, segment: Segment, arrays: dict[int, Value], timings: list[Timing] | None, loops: Meter
    ) -> None:
        """The step between this segment and the next."""
        step = segment.outside
        assert step is not None
        start = time.perf_counter_ns()
        try:
            values = [None if t == ABSENT else self._value(t, segment, arrays) for t in step.inputs]
            results = self._evaluate(step, values, loops)
            sequences.check_bytes(step, results, self.settings.byte_budget)
            arrays.update((t, v) for t, v in zip(step.outputs, results, strict=True) if t != ABSENT)
        except PlanishError:
            raise
        except MALFORMED as error:
            raise ModelError(
                f"{step.where()}: does not fit its inputs or attributes ({first_line(error)}); check the model with "
                "onnx.checker"
            ) from error
        if timings is not None:  # of a loop as a whole: how often it iterates may differ from run to run
            what = step.attrs.get("op", "executor")
            timings.append(Timing(step.name, step.kind, what, time.perf_counter_ns() - start))

    def _evaluate(self, step: Step, values: list[Value], loops: Meter) -> Sequence[Value]:
        if step.kind == "identity":
            return values
        if step.kind == "onnx":
            return fallback.evaluate(step, values)
        if step.kind == "sequence":
            return sequences.evaluate(step, values)
        body = self._body(step)

        def run_body(feeds: Mapping[int, Value]) -> list[Value]:
            loops.spend(ITERATION_WORK)
            return body.run(feeds, meter=loops)

        return control.ITERATIONS[step.kind](step, values, run_body, self.settings.byte_budget)

    def _body(self, step: Step) -> Executor:
        """What runs the body of a loop or scan; it shares the constants."""
        body = self._bodies.get(step.outputs)
        if body is None:
            (graph,) = step.attrs["branches"]
            body = self._bodies.setdefault(
                step.outputs, Executor(graph, self.settings, self.constants, BODY_CACHE_SIZE, is_body=True)
            )
        return body

    def _value(self, tensor: int, segment: Segment, arrays: Mapping[int, Value]) -> Value:
        if tensor in arrays:
            return arrays[tensor]
        constant = self.lowered.constants.get(tensor)
        if constant is None:
            constant = segment.facts[tensor].value
        assert constant is not None and not isinstance(constant, Packed)
        return constant

    def _result(self, tensor: int, segment: Segment, arrays: Mapping[int, Value]) -> Value:
        """A copy, unless the last Program has just made it. Sequences that a loop passes on are copied at its end."""
        value = self._value(tensor, segment, arrays)
        fresh = tensor in segment.outputs and self.output_tensors.count(tensor) == 1
        return value if fresh or (self.is_body and isinstance(value, list)) else _copy_of(value)

    def _progress(self, segment: Segment, arrays: Mapping[int, Array]) -> Sequence[Any]:
        """What the next segment depends on: shapes of what is new, and the contents that were wanted."""
        news: list[tuple[Any, ...]] = [
            (t, arrays[t].shape, arrays[t].dtype.name)
            for t in (segment.outside.outputs if segment.outside else ())
            if isinstance(arrays.get(t), np.ndarray)
        ]
        if segment.wanted is not None:
            wanted = arrays[segment.wanted]
            if not isinstance(wanted, np.ndarray):
                where = segment.rest[0].where()
                raise ModelError(f"{where}: a sequence where a tensor decides; check the model with onnx.checker")
            news.append((segment.wanted, wanted.tobytes(), ""))
        return news


#: Those alive, whose locks the child of a fork renews: the thread that may have held one does not exist there.
_executors: weakref.WeakSet[Executor] = weakref.WeakSet()


def _renew_locks() -> None:
    for executor in _executors:
        executor._lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_locks)


def _fact_of(value: Value, known: Value = None) -> Fact:
    """The fact of a value: sequences and the like have no shape, and no kernel takes them."""
    return Fact(value.dtype.name, value.shape, known) if isinstance(value, np.ndarray) else Fact("sequence", ())


def _copy_of(value: Value) -> Value:
    if isinstance(value, list):
        return [_copy_of(element) for element in value]
    return np.array(value) if isinstance(value, np.ndarray) else value


def unknown_operators(lowered: Lowered) -> Iterator[str]:
    """One line for every node that neither planish nor the reference evaluator knows."""
    for step in fallback_steps(lowered):
        try:
            fallback.check(step)
        except ModelError as error:
            yield str(error)


def fallback_steps(lowered: Lowered) -> list[Step]:
    """The steps that need the reference evaluator, in all nested graphs."""
    return [s for s in lowered.walk() if s.kind == "onnx"]
