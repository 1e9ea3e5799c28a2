"""Specialisation: lowered steps + the shapes of one signature → a segment, that is a Program and what comes after it.

Facts (dtype, shape, and contents where they follow from shapes) are inferred forward over the steps, so that shape
arithmetic disappears and branches with a known condition are inlined; then only the steps that the outputs need are
emitted. Where the next fact depends on data (a fallback operator, a loop, a condition computed by the model), the
segment ends; the executor runs it, learns the values, and specialises the rest with them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from planish import _core
from planish.errors import ModelError, PlanishError, first_line, split_step
from planish.lowering.lowered import ABSENT, Lowered, Step
from planish.runtime.constants import Constants
from planish.runtime.emitter import Emitter, Placement
from planish.runtime.view import ITEM_SIZES, View, row_major
from planish.steps import KINDS
from planish.steps.kind import Fact, Facts, NeedsValue

Array = npt.NDArray[Any]
#: Contents are followed through shape arithmetic only for tensors of at most this many elements.
VALUE_LIMIT = 1024
#: Kinds of steps that never enter a Program.
OUTSIDE = frozenset({"onnx", "loop", "scan", "sequence", "sequence_map"})
#: More elements than any memory has; beyond, sizes in bytes would not fit 64 bits.
_MOST_ELEMENTS = 1 << 56


@dataclass(frozen=True, slots=True)
class Settings:
    """What of the session's options a specialisation depends on."""

    threads: int = 1
    byte_budget: int = 2 << 30
    step_budget: int = 1 << 40
    loop_budget: int = 1 << 48
    forced: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Segment:
    """A Program and its place in the model: which tensors it reads and makes, and what to do next."""

    program: _core.Program
    inputs: list[int]
    outputs: list[int]
    output_facts: list[Fact]
    #: Step that must run outside the Program next (a fallback, a loop), or None.
    outside: Step | None
    #: Tensor whose contents must be known to go on, or None.
    wanted: int | None
    #: The steps after this segment, branches inlined.
    rest: list[Step]
    facts: dict[int, Fact]
    #: The segments that may come next, by what was learnt in between.
    followers: dict[Any, Segment] = field(default_factory=dict)
    #: The Program with the arrays it takes, for a model that is this one segment; see Executor.call.
    call: _core.Call | None = None

    @property
    def last(self) -> bool:
        return self.outside is None and self.wanted is None


def specialise(
    steps: Sequence[Step],
    known: Mapping[int, Fact],
    outputs: Sequence[int],
    settings: Settings,
    constants: Constants,
) -> Segment:
    """One segment of `steps`.

    known: the facts of every tensor that exists already (graph inputs, results of earlier segments); those without a
    value are inputs of the segment if used. outputs: the graph's output tensors. constants: its constants, which all
    specialisations share.
    """
    facts: dict[int, Fact] = {**known, **constants.facts}
    done, rest, wanted = _infer(steps, facts)
    if wanted is not None and wanted in constants.facts:
        raise ModelError(
            f"{_where(rest[0], facts)}: takes packed weights for numbers; the plan is damaged, export it again"
        )
    outside = rest.pop(0) if rest and wanted is None else None
    needed = _needed_later(rest, outside, wanted, outputs)
    live = _live_steps(done, facts, needed)
    produced = {t for s in live for t in s.outputs}
    given = [t for t in known if t not in constants.facts]
    emitted_inputs = _used(live, facts, given)
    results = [t for t in dict.fromkeys(needed) if t in produced]
    program = _core.Program(settings.threads, settings.byte_budget, settings.step_budget)
    emitter = Emitter(program, facts, constants, settings.forced)
    _declare_ports(emitter, emitted_inputs, results)
    _place_concatenations(emitter, live, set(results))
    for step in live:
        _emit(emitter, step)
    _deliver(emitter, results)
    program.finalize()
    return Segment(program, emitted_inputs, results, [facts[t] for t in results], outside, wanted, rest, facts)


# -- facts -------------------------------------------------------------------------------------------------------------


def _infer(steps: Sequence[Step], facts: dict[int, Fact]) -> tuple[list[Step], list[Step], int | None]:
    """Fills `facts` step by step. Returns the steps understood, those from the first that is not, and the tensor whose
    contents that one wants (None: it runs outside the Program, or there is none)."""
    done: list[Step] = []
    queue = list(reversed(steps))
    while queue:
        step = queue.pop()
        if _runs_outside(step, facts):
            return done, [step, *reversed(queue)], None
        kind = KINDS[step.kind]
        given = Facts(step, [None if t == ABSENT else facts[t] for t in step.inputs])
        try:
            if step.kind == "if":
                queue.extend(reversed(_branch(step, given)))
                continue
            inferred = kind.infer(step, given)
            _check_facts(inferred)
            _evaluate(step, given, inferred)
            facts.update((t, f) for t, f in zip(step.outputs, inferred, strict=True) if t != ABSENT)
        except NeedsValue as need:
            return done, [step, *reversed(queue)], need.tensor
        except MALFORMED as error:
            raise _malformed(step, facts, error) from error
        done.append(step)
    return done, [], None


def _runs_outside(step: Step, facts: Mapping[int, Fact]) -> bool:
    """Whether the executor runs the step: the fallback, loops, and what passes a sequence or a string on."""
    if step.kind == "identity":
        fact = facts.get(step.inputs[0]) if step.inputs else None
        return fact is not None and fact.dtype not in ITEM_SIZES
    return step.kind in OUTSIDE


def _check_facts(facts: Sequence[Fact]) -> None:
    """What attributes of a plan can spoil: the type's name, and the shape."""
    for fact in facts:
        if not isinstance(fact.dtype, str):
            raise ValueError(f"{fact.dtype!r} is no element type")
        sound = all((type(n) is int or isinstance(n, np.integer)) and n >= 0 for n in fact.shape)
        if not sound or prod(max(1, n) for n in fact.shape) > _MOST_ELEMENTS:  # strides of empty tensors count too
            raise ValueError(f"{list(fact.shape)} is no shape")


def _branch(step: Step, given: Facts) -> list[Step]:
    """The steps of the branch that the known condition selects."""
    condition = bool(given.value(0).ravel()[0])
    branch: Lowered = step.attrs["branches"][0 if condition else 1]
    copies = [
        Step("identity", step.name, (port.tensor,), (output,), {}, step.origin)
        for port, output in zip(branch.outputs, step.outputs, strict=True)
    ]
    return [*branch.steps, *copies]


def _evaluate(step: Step, given: Facts, inferred: list[Fact]) -> None:
    """Computes contents where all inputs are known and small."""
    if all(f.value is not None for f in inferred) or any(_count(f) > VALUE_LIMIT for f in inferred):
        return
    values: list[Array | None] = []
    for fact in given.facts:
        if fact is not None and (fact.value is None or _count(fact) > VALUE_LIMIT):
            return
        values.append(None if fact is None else fact.value)
    results = KINDS[step.kind].evaluate(step, values)
    for fact, value in zip(inferred, results or (), strict=False):
        fact.value = np.asarray(value)


def _count(fact: Fact) -> int:
    return prod(fact.shape)


# -- liveness ----------------------------------------------------------------------------------------------------------


def _needed_later(rest: list[Step], outside: Step | None, wanted: int | None, outputs: Sequence[int]) -> list[int]:
    """Tensors that later segments, the step in between or the user want from here."""
    needed = list(outputs)
    if wanted is not None:
        needed.append(wanted)
    for step in [*rest, *([outside] if outside else [])]:
        needed.extend(_reads(step))
    return [t for t in needed if t != ABSENT]


def _reads(step: Step) -> Iterable[int]:
    yield from step.inputs
    for branch in step.attrs.get("branches", ()):
        for inner in branch.steps:
            yield from _reads(inner)
        for port in branch.outputs:
            yield port.tensor


def _live_steps(done: list[Step], facts: Mapping[int, Fact], needed: Iterable[int]) -> list[Step]:
    """The steps whose results reach `needed` through memory."""
    wanted = set(needed)
    live = []
    for step in reversed(done):
        hit = [t for t in step.outputs if t in wanted and t != ABSENT]
        if not hit:
            continue
        live.append(step)
        if all(facts[t].value is not None for t in hit):
            continue  # becomes a constant; its inputs are not needed for it
        host = KINDS[step.kind].host_inputs
        wanted.update(t for i, t in enumerate(step.inputs) if i not in host)
    live.reverse()
    return live


def _used(live: list[Step], facts: Mapping[int, Fact], given: list[int]) -> list[int]:
    """Those of the existing tensors that the live steps read through memory, in a fixed order."""
    read: set[int] = set()
    for step in live:
        if all(t == ABSENT or facts[t].value is not None for t in step.outputs):
            continue
        host = KINDS[step.kind].host_inputs
        read.update(t for i, t in enumerate(step.inputs) if i not in host)
    return [t for t in given if t in read and facts[t].value is None]


# -- emission ----------------------------------------------------------------------------------------------------------


def _declare_ports(emitter: Emitter, inputs: list[int], results: list[int]) -> None:
    for tensor in (*inputs, *results):
        if emitter.facts[tensor].dtype not in ITEM_SIZES:
            raise ModelError(
                f"tensor {tensor}: no kernel takes elements of type {emitter.facts[tensor].dtype}; cast it in the model"
            )
    for index, tensor in enumerate(inputs):
        fact = emitter.facts[tensor]
        view = View(0, 0, fact.dtype, fact.shape, ())
        view.buffer = emitter.program.input(index, _count(fact) * view.itemsize)
        view.strides = row_major(fact.shape, view.itemsize)
        emitter.views[tensor] = view
        emitter.user_buffers.add(view.buffer)
    for index, tensor in enumerate(results):
        fact = emitter.facts[tensor]
        itemsize = View(0, 0, fact.dtype, (), ()).itemsize
        emitter.targets[tensor] = emitter.program.output(index, _count(fact) * itemsize)
    emitter.user_buffers.update(emitter.targets.values())


def _place_concatenations(emitter: Emitter, live: list[Step], results: set[int]) -> None:
    """Lets the producers of a concatenation's pieces write into the whole, where a piece belongs to just one."""
    made = {t for s in live for t in s.outputs}
    for step in live:
        if step.kind != "concat":
            continue
        axis, start = step.attrs["axis"], 0
        axis = axis + len(emitter.facts[step.outputs[0]].shape) if axis < 0 else axis
        for tensor in step.inputs:
            free = tensor in made and tensor not in results and tensor not in emitter.placements
            if free and emitter.facts[tensor].value is None:
                emitter.placements[tensor] = Placement(step.outputs[0], axis, start)
            start += emitter.facts[tensor].shape[axis]


def _emit(emitter: Emitter, step: Step) -> None:
    if all(t == ABSENT or emitter.facts[t].value is not None for t in step.outputs):
        return
    emitter.step = step
    with _named(step, emitter.facts):
        KINDS[step.kind].emit(step, emitter)


@contextlib.contextmanager
def _named(step: Step, facts: Mapping[int, Fact]) -> Iterator[None]:
    """Errors inside are ModelErrors that name the step."""
    try:
        yield
    except PlanishError as error:
        raise ModelError(f"{_where(step, facts)}: {split_step(str(error))[1]}") from None
    except MALFORMED as error:
        raise _malformed(step, facts, error) from error


#: What attributes, shapes or contents that no valid model has raise in shape rules, emission and loops.
MALFORMED = (
    KeyError,
    IndexError,
    TypeError,
    ValueError,
    AttributeError,
    AssertionError,
    OverflowError,
    ZeroDivisionError,
    RuntimeError,
)


def _malformed(step: Step, facts: Mapping[int, Fact], error: Exception) -> ModelError:
    return ModelError(
        f"{_where(step, facts)}: does not fit its inputs or attributes ({first_line(error)}); check the model with "
        "onnx.checker"
    )


def _where(step: Step, facts: Mapping[int, Fact]) -> str:
    operands = ", ".join(_describe(facts.get(t)) for t in step.inputs if t != ABSENT)
    return step.where(operands)


def _describe(fact: Fact | None) -> str:
    return "?" if fact is None else f"{fact.dtype}{list(fact.shape)}"


def _deliver(emitter: Emitter, results: list[int]) -> None:
    """Copies results that do not lie in their output buffer already."""
    for tensor in results:
        fact = emitter.facts[tensor]
        view = emitter.view(tensor)
        target = emitter.targets[tensor]
        if view.buffer == target:
            continue
        emitter.step = Step("copy", f"output {tensor}", (), ())
        row = View(target, 0, fact.dtype, fact.shape, row_major(fact.shape, view.itemsize))
        with _named(emitter.step, emitter.facts):
            emitter.add("copy", [view], [row])
