"""The lowered model: steps over numbered tensors, free of ONNX, and the form that a `.plan` stores.

A :class:`Lowered` graph is made once a model. Its steps carry fused operators and packed weights but no concrete
shapes: those come per signature of input shapes in :mod:`planish.runtime.specialise`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from planish import _core

Array = npt.NDArray[Any]
#: What a step's attributes may hold: JSON values, or (for control flow) nested graphs.
Attr = Any
ABSENT = -1


@dataclass(slots=True)
class Step:
    """One operation. `kind` names a class registered in :mod:`planish.steps`; inputs and outputs are tensor numbers.

    origin: the ONNX operator it was lowered from, and the node's position in the file, for messages.
    """

    kind: str
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    attrs: dict[str, Attr] = field(default_factory=dict)
    origin: str = ""

    def where(self, operands: str = "") -> str:
        """How a message names this step: the node, its operator and, if given, what it was applied to."""
        return f"node '{self.name}' ({self.origin or self.kind}{operands and f' on {operands}'})"


class Packed(NamedTuple):
    """Weights in a kernel's own format: `memory` as bytes, `format` its name, `logical` the dense array's byte size."""

    memory: _core.Memory
    format: str
    logical: int = 0


class Port(NamedTuple):
    """A graph input or output as the user sees it: dims are ints, names of symbolic dimensions, or None.

    labels: of an output that is given as one dictionary a row, the keys; the tensor holds their values.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None
    tensor: int
    labels: tuple[int, ...] | tuple[str, ...] = ()


@dataclass(slots=True)
class Lowered:
    """Steps in execution order. `constants` maps tensor numbers to arrays or packed weights."""

    inputs: list[Port] = field(default_factory=list)
    outputs: list[Port] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    constants: dict[int, Array | Packed] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)  # per tensor
    notes: list[str] = field(default_factory=list)  # decisions a user may ask for: layers kept in float, declined forms
    defaults: list[Port] = field(default_factory=list)  # inputs that were left at their default values: constants now

    def tensor(self, name: str) -> int:
        """A new tensor's number."""
        self.names.append(name)
        return len(self.names) - 1

    def constant(self, name: str, value: Array | Packed) -> int:
        """A new constant's tensor number."""
        number = self.tensor(name)
        self.constants[number] = value
        return number

    def walk(self) -> Iterator[Step]:
        """Every step, those of nested graphs included."""
        for step in self.steps:
            yield step
            for branch in step.attrs.get("branches", ()):
                yield from branch.walk()


def producers(steps: list[Step]) -> dict[int, Step]:
    """The step that makes each tensor."""
    return {t: s for s in steps for t in s.outputs}


def captured_by(graph: Lowered, constants: Iterable[int]) -> list[int]:
    """The tensors that a graph, nested ones included, reads but neither makes nor takes as inputs."""
    inside = {ABSENT, *constants, *(p.tensor for p in graph.inputs)}
    return list(dict.fromkeys(t for t in _reads(graph.steps, graph, inside) if t not in inside))


def _reads(steps: list[Step], graph: Lowered, made: set[int]) -> Iterable[int]:
    for step in steps:
        yield from step.inputs
        for inner in step.attrs.get("branches", ()):
            made.update(p.tensor for p in inner.inputs)
            yield from _reads(inner.steps, inner, made)
        made.update(step.outputs)
    yield from (p.tensor for p in graph.outputs)


def dtype_of(value: Array | Packed) -> np.dtype[Any]:
    """The dtype of a constant; packed weights are bytes."""
    return np.dtype(np.uint8) if isinstance(value, Packed) else value.dtype
