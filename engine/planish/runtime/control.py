"""Loop, Scan and SequenceMap: the body is a graph with an executor of its own, so an iteration runs what is cached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from planish.errors import ModelError, PlanishError
from planish.lowering.lowered import Port, Step
from planish.runtime.sequences import ARRAY_BYTES, check_bytes

Array = npt.NDArray[Any]
#: What a tensor number may stand for: an array, a sequence of arrays, or nothing (an empty optional).
Value = Any
#: Runs the body once: values by tensor number → its outputs in order.
Body = Callable[[Mapping[int, Value]], list[Value]]


def run_loop(step: Step, values: Sequence[Value], body: Body, byte_budget: int) -> list[Value]:
    """ONNX Loop: the last states, then the scan outputs. values: those of the step's inputs, None for absent ones.

    Raises ModelError, naming node and iteration, for what the body raises and for pieces that do not stack.
    """
    (graph,) = step.attrs["branches"]
    count = len(graph.inputs) - 2
    limit, condition = (None if v is None else v.ravel()[0] for v in values[:2])
    states, captured = list(values[2 : 2 + count]), _captured(step, values, 2 + count)
    number_port, condition_port, *state_ports = graph.inputs
    going, iteration = True if condition is None else bool(condition), 0
    number_shape = _shape_of(number_port)
    flag = np.full(_shape_of(condition_port), going)
    stacks = [Stack(step, p, byte_budget) for p in graph.outputs[1 + count :]]
    while going and (limit is None or iteration < limit):
        number = np.full(number_shape, iteration, np.int64)
        feeds = {number_port.tensor: number, condition_port.tensor: flag, **captured}
        feeds.update((p.tensor, s) for p, s in zip(state_ports, states, strict=True))
        flag, *results = _iterate(step, iteration, body, feeds)
        going, states = bool(flag.ravel()[0]), results[:count]
        for stack, piece in zip(stacks, results[count:], strict=True):
            stack.append(piece)
        iteration += 1
    return [*states, *(stack.joined() for stack in stacks)]


def run_scan(step: Step, values: Sequence[Value], body: Body, byte_budget: int) -> list[Value]:
    """ONNX Scan, as run_loop."""
    (graph,) = step.attrs["branches"]
    scans = step.attrs["scans"]
    count, own = len(graph.inputs) - scans, len(graph.inputs)
    states, captured = list(values[:count]), _captured(step, values, own)
    sources = [_along(step, "input", i, v) for i, v in enumerate(values[count:own])]
    lengths = {len(s) for s in sources}
    if len(lengths) != 1:
        raise ModelError(f"{step.where()}: scan inputs of lengths {sorted(lengths)}; feed equally long ones")
    stacks = [Stack(step, p, byte_budget) for p in graph.outputs[count:]]
    ports = [p.tensor for p in graph.inputs]
    for iteration in range(lengths.pop()):
        pieces = [np.asarray(source[iteration]) for source in sources]
        feeds = {**dict(zip(ports, [*states, *pieces], strict=True)), **captured}
        results = _iterate(step, iteration, body, feeds)
        states = results[:count]
        for stack, piece in zip(stacks, results[count:], strict=True):
            stack.append(piece)
    return [*states, *(_along(step, "output", i, stack.joined()) for i, stack in enumerate(stacks))]


def run_sequence_map(step: Step, values: Sequence[Value], body: Body, byte_budget: int) -> list[Value]:
    """ONNX SequenceMap, as run_loop: lists of the body's outputs for each element; tensors among the inputs stay."""
    (graph,) = step.attrs["branches"]
    own = len(graph.inputs)
    given, captured = values[:own], _captured(step, values, own)
    lengths = {len(v) for v in given if isinstance(v, list)}
    if len(lengths) != 1:
        raise ModelError(f"{step.where()}: sequences of lengths {sorted(lengths)}; feed equally long ones")
    results: list[list[Value]] = [[] for _ in graph.outputs]
    bytes_left = byte_budget
    for iteration in range(lengths.pop()):
        elements = (v[iteration] if isinstance(v, list) else v for v in given)
        feeds = {**dict(zip((p.tensor for p in graph.inputs), elements, strict=True)), **captured}
        for result, value in zip(results, _iterate(step, iteration, body, feeds), strict=True):
            result.append(value)
            bytes_left -= value.nbytes + ARRAY_BYTES
        if bytes_left < 0:
            check_bytes(step, [[v for result in results for v in result]], byte_budget)
    return results


ITERATIONS = {"loop": run_loop, "scan": run_scan, "sequence_map": run_sequence_map}


def fits_body(step: Step) -> bool:
    """Whether the numbers of inputs and outputs of a loop, scan or map fit its body's."""
    (graph,) = step.attrs["branches"]
    if step.kind == "sequence_map":
        return len(step.inputs) >= len(graph.inputs) >= 1 and len(step.outputs) == len(graph.outputs)
    scans, flags = (2, 1) if step.kind == "loop" else (step.attrs["scans"], 0)
    states = len(graph.inputs) - scans
    enough = isinstance(scans, int) and scans >= 1 and states >= 0 and len(step.inputs) >= len(graph.inputs)
    return enough and len(graph.outputs) - flags == len(step.outputs) >= states


#: Multiply-adds that cost as much as an iteration does besides its steps, and as making a Program for new shapes.
ITERATION_WORK, SPECIALISE_WORK = 1 << 20, 1 << 26


class Meter:
    """What the loops of one run may still cost, in multiply-adds."""

    def __init__(self, budget: int) -> None:
        self.budget, self.left = budget, float(budget)

    def spend(self, work: float) -> None:
        """Raises ModelError once more than the budget is spent."""
        self.left -= work
        if self.left < 0:
            raise ModelError(
                f"the loops of a run exceed the budget of {self.budget:.2g} operations; raise "
                "SessionOptions.loop_budget if this is intended"
            )


class Stack:
    """The pieces of a scan output, one an iteration, joined along a new first axis."""

    def __init__(self, step: Step, port: Port, byte_budget: int) -> None:
        self.step, self.port, self.byte_budget = step, port, byte_budget
        self.pieces: list[Array] = []
        self.bytes = 0

    def append(self, piece: Array) -> None:
        if self.pieces and (piece.shape, piece.dtype) != (self.pieces[0].shape, self.pieces[0].dtype):
            first = self.pieces[0]
            raise self._failed(
                f"iterations give {first.dtype}{list(first.shape)} and {piece.dtype}{list(piece.shape)}", "equal shapes"
            )
        self.bytes += piece.nbytes + ARRAY_BYTES
        if self.bytes > self.byte_budget:
            raise self._failed(f"its pieces exceed {self.byte_budget} bytes", "a smaller input or a larger byte_budget")
        self.pieces.append(piece)

    def joined(self) -> Array:
        """Of shape [iterations, …]; without iterations as declared, with unknown dimensions of size zero."""
        if self.pieces:
            return np.stack(self.pieces)
        shape = [d if isinstance(d, int) else 0 for d in self.port.shape or ()]
        dtype = np.dtype(object) if self.port.dtype == "str" else np.dtype(self.port.dtype)
        return np.empty((0, *shape), dtype)

    def _failed(self, what: str, remedy: str) -> ModelError:
        return ModelError(f"{self.step.where()}: scan output '{self.port.name}': {what}; use {remedy}")


def _iterate(step: Step, iteration: int, body: Body, feeds: Mapping[int, Value]) -> list[Value]:
    try:
        return body(feeds)
    except PlanishError as error:
        raise ModelError(f"{step.where()}, iteration {iteration}: {error}") from None


def _captured(step: Step, values: Sequence[Value], own: int) -> dict[int, Value]:
    return dict(zip(step.inputs[own:], values[own:], strict=True))


def _shape_of(port: Port) -> tuple[int, ...]:
    """Of the iteration number and the condition: scalars, which some exporters declare as vectors of one."""
    return (1,) * len(port.shape or ())


def _along(step: Step, side: str, index: int, array: Array) -> Array:
    """A scan input with the axis of iterations first and in the order of iterations; or a scan output back from it."""
    axes, directions = step.attrs[f"{side}_axes"], step.attrs[f"{side}_directions"]
    axis = axes[index] if axes else 0
    if not -array.ndim <= axis < array.ndim:
        raise ModelError(f"{step.where()}: {side} axis {axis} is outside {list(array.shape)}; repair the model")
    if directions and directions[index] == 1:
        array = array[::-1] if side == "output" else np.flip(array, axis)
    return np.moveaxis(array, axis, 0) if side == "input" else np.moveaxis(array, 0, axis)
