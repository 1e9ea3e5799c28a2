"""Kinds that select elements by their values: nonzero positions, distinct rows, triangles, reversed sequences.

Where the size of a result depends on data, the kind gives as many elements as there can be, and their count; a slice
with that count as its end follows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from planish.errors import ModelError
from planish.steps.kind import Array, Fact, Facts, Kind, normal_axis, register

if TYPE_CHECKING:
    from planish.lowering.lowered import Step
    from planish.runtime.emitter import Emitter


@register
class NonZero(Kind):
    """Positions of elements that are not zero: int64 [rank, elements], and how many columns of it count."""

    name = "nonzero"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        x = facts[0]
        return [Fact("int64", (len(x.shape), int(np.prod(x.shape, dtype=np.int64)))), Fact("int64", ())]

    def evaluate(self, step: Step, values: list[Array | None]) -> list[Array] | None:
        x = values[0]
        assert x is not None
        found = np.array(np.nonzero(x), np.int64).reshape(x.ndim, -1)
        return [np.pad(found, ((0, 0), (0, x.size - found.shape[1]))), np.array(found.shape[1], np.int64)]

    def emit(self, step: Step, e: Emitter) -> None:
        e.add("nonzero", [e.input(0)], [e.output(0), e.output(1)])


@register
class Unique(Kind):
    """The kinds of a matrix's rows: indices of first rows, the kind of each row, sizes of the kinds, their number.

    Attribute sorted: kinds in lexicographic order, else in that of their first rows.
    """

    name = "unique"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        (rows, _) = facts[0].shape
        return [*(Fact("int64", (rows,)) for _ in range(3)), Fact("int64", ())]

    def emit(self, step: Step, e: Emitter) -> None:
        e.add("unique", [e.input(0)], [e.output(i) for i in range(4)], {"sorted": step.attrs["sorted"]})


@register
class ReverseSequence(Kind):
    """ONNX ReverseSequence: lengths are input 1, int64; attributes time_axis, batch_axis."""

    name = "reverse_sequence"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        x = facts[0]
        for axis in ("time_axis", "batch_axis"):
            normal_axis(step, step.attrs[axis], len(x.shape))
        return [Fact(x.dtype, x.shape)]

    def emit(self, step: Step, e: Emitter) -> None:
        e.add("reverse_sequence", [e.input(0), e.input(1)], [e.output(0)], step.attrs)


@register
class Trilu(Kind):
    """ONNX Trilu: the diagonal is input 1; attribute upper."""

    name = "trilu"
    host_inputs = (1,)

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        x = facts[0]
        if len(x.shape) < 2 or len(facts.ints(1)) != 1:
            raise ModelError(
                f"node '{step.name}' (trilu): takes matrices and one diagonal, not {list(x.shape)}; repair the model"
            )
        return [Fact(x.dtype, x.shape)]

    def emit(self, step: Step, e: Emitter) -> None:
        value = e.fact(step.inputs[1]).value
        assert value is not None
        e.add("trilu", [e.input(0)], [e.output(0)], {"k": int(value.ravel()[0]), "upper": step.attrs["upper"]})
