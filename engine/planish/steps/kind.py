"""What a step kind is: a shape rule, instructions, and where it matters an evaluation on small known values.

Each module of this package registers the kinds of one subject. `docs/add_an_op.md` shows how to add one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from planish.errors import ModelError

if TYPE_CHECKING:
    from planish.lowering.lowered import Step
    from planish.runtime.emitter import Emitter

Array = npt.NDArray[Any]


class NeedsValue(Exception):
    """A shape rule needs the contents of tensor `tensor`, which are not known before the model runs."""

    def __init__(self, tensor: int) -> None:
        super().__init__(tensor)
        self.tensor = tensor


class Fact:
    """What is known of a tensor before the model runs: dtype and shape, and its contents where they follow from
    shapes."""

    __slots__ = ("dtype", "shape", "value")

    def __init__(self, dtype: str, shape: tuple[int, ...], value: Array | None = None) -> None:
        self.dtype = dtype
        self.shape = shape
        self.value = value

    @classmethod
    def of(cls, value: Array) -> Fact:
        return cls(value.dtype.name, value.shape, value)


class Facts:
    """The facts of one step's inputs, by position; absent optional inputs are None."""

    __slots__ = ("facts", "step")

    def __init__(self, step: Step, facts: Sequence[Fact | None]) -> None:
        self.step = step
        self.facts = facts

    def __len__(self) -> int:
        return len(self.facts)

    def __getitem__(self, i: int) -> Fact:
        fact = self.facts[i]
        if fact is None:
            raise ModelError(f"{self.step.where()}: input {i} is missing; repair the model")
        return fact

    def get(self, i: int) -> Fact | None:
        return self.facts[i] if i < len(self.facts) else None

    def value(self, i: int) -> Array:
        """The contents of input i; raises NeedsValue where only a run can tell."""
        fact = self[i]
        if fact.value is None:
            raise NeedsValue(self.step.inputs[i])
        return fact.value

    def ints(self, i: int) -> list[int]:
        """The contents of integer input i."""
        return [int(v) for v in self.value(i).ravel()]


class Kind:
    """Base of all step kinds; stateless, one instance each."""

    name: ClassVar[str]
    #: Inputs that are needed as values only; no memory is given to them.
    host_inputs: ClassVar[tuple[int, ...]] = ()

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        """dtype and shape of every output; raises NeedsValue or ModelError."""
        raise NotImplementedError

    def evaluate(self, step: Step, values: list[Array | None]) -> list[Array] | None:
        """The outputs for known inputs, or None if this kind is never part of shape arithmetic."""
        return None

    def emit(self, step: Step, e: Emitter) -> None:
        """Adds the step's instructions, or makes its outputs views of its inputs."""
        raise NotImplementedError


KINDS: dict[str, Kind] = {}


def register(kind: type[Kind]) -> type[Kind]:
    """Class decorator: enters an instance into KINDS."""
    KINDS[kind.name] = kind()
    return kind


def broadcast_shapes(step: Step, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """NumPy's rule, with the node in the error."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        text = " and ".join(str(list(s)) for s in shapes)
        raise ModelError(f"{step.where()}: shapes {text} do not broadcast; check the inputs' shapes") from None


def normal_axis(step: Step, axis: int, rank: int) -> int:
    """A non-negative axis, checked."""
    if not -rank <= axis < rank:
        raise ModelError(f"{step.where()}: axis {axis} is outside a tensor of rank {rank}; repair the model")
    return axis + rank if axis < 0 else axis
