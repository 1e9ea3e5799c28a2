"""The emitter: what step kinds use to turn themselves into instructions of a Program.

It keeps, for every tensor of the segment, the view where it lies. Layout is a property of views: convolutions write
channels-last, element-wise kernels keep their input's order of axes, transposes and slices are views, the pieces of a
concatenation are written where the whole will be. A conversion is an ordinary `copy` instruction, seen in profiles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from planish import _core
from planish.lowering.lowered import ABSENT, Step
from planish.runtime.constants import Constants, memory_of
from planish.runtime.view import View, elements, ordered, row_major
from planish.steps.kind import Fact

#: Families that may read up to 63 bytes behind a view, and so never read a user's array.
INEXACT = frozenset(name for name, exact in _core.families() if not exact)


class Placement:
    """Where a tensor will lie inside a concatenation: `whole` is the concatenation's tensor."""

    __slots__ = ("axis", "start", "whole")

    def __init__(self, whole: int, axis: int, start: int) -> None:
        self.whole = whole
        self.axis = axis
        self.start = start


class Emitter:
    """Adds instructions for one segment to one Program."""

    def __init__(
        self,
        program: _core.Program,
        facts: Mapping[int, Fact],
        constants: Constants,
        forced: Mapping[str, str],
    ) -> None:
        self.program = program
        self.facts = facts
        self.constants = constants
        self.forced = forced
        self.views: dict[int, View] = {}
        self.user_buffers: set[int] = set()
        self.targets: dict[int, int] = {}  # tensor -> output buffer it may be written to directly
        self.placements: dict[int, Placement] = {}
        self.step: Step | None = None

    # -- operands ------------------------------------------------------------------------------------------------------

    def fact(self, tensor: int) -> Fact:
        return self.facts[tensor]

    def input(self, position: int) -> View:
        """The view of the current step's input."""
        assert self.step is not None
        return self.view(self.step.inputs[position])

    def optional(self, position: int) -> View | None:
        """As input, or None where the optional input is absent."""
        assert self.step is not None
        inputs = self.step.inputs
        return self.view(inputs[position]) if position < len(inputs) and inputs[position] != ABSENT else None

    def view(self, tensor: int) -> View:
        """Where a tensor lies; constants are registered on first use."""
        view = self.views.get(tensor)
        if view is None:
            view = self.views[tensor] = self._constant(tensor)
        return view

    def _constant(self, tensor: int) -> View:
        fact = self.constants.facts.get(tensor)
        if fact is None:
            value = self.facts[tensor].value
            assert value is not None, f"tensor {tensor} has no memory; this is a bug in planish"
            return self.literal(value)
        view = View(0, 0, fact.dtype, fact.shape, ())
        view.buffer = self.program.constant(self.constants.memory(tensor))
        view.strides = row_major(fact.shape, view.itemsize)
        return view

    def literal(self, value: npt.NDArray[Any]) -> View:
        """A constant made while emitting."""
        buffer = self.program.constant(memory_of(value))
        return View(buffer, 0, value.dtype.name, value.shape, row_major(value.shape, value.itemsize))

    # -- results -------------------------------------------------------------------------------------------------------

    def output(self, position: int = 0, order: Sequence[int] | None = None) -> View:
        """Memory for an output of the current step, axes in memory in `order` (default: row-major, or where the user's
        array or a concatenation wants it)."""
        assert self.step is not None
        tensor = self.step.outputs[position]
        fact = self.facts[tensor]
        view = self._placed(tensor, fact, order)
        if view is None:
            buffer = self.targets.get(tensor)
            if buffer is not None and (order is None or ordered(fact.shape, order, 1) == row_major(fact.shape, 1)):
                view = self._dense(buffer, fact, None)
            else:
                view = self.temporary(fact.dtype, fact.shape, order)
        self.views[tensor] = view
        return view

    def alias(self, view: View, position: int = 0) -> None:
        """The current step's output is a view of existing memory."""
        assert self.step is not None
        self.views[self.step.outputs[position]] = view

    def temporary(self, dtype: str, shape: tuple[int, ...], order: Sequence[int] | None = None) -> View:
        """Arena memory, dense in the given order of axes."""
        view = self._dense(0, Fact(dtype, shape), order)
        view.buffer = self.program.arena(elements(shape) * view.itemsize)
        return view

    @staticmethod
    def _dense(buffer: int, fact: Fact, order: Sequence[int] | None) -> View:
        view = View(buffer, 0, fact.dtype, fact.shape, ())
        size = view.itemsize
        view.strides = row_major(fact.shape, size) if order is None else ordered(fact.shape, order, size)
        return view

    def _placed(self, tensor: int, fact: Fact, order: Sequence[int] | None) -> View | None:
        placement = self.placements.get(tensor)
        if placement is None:
            return None
        whole = self.views.get(placement.whole)
        if whole is None:
            target = self.facts[placement.whole]
            buffer = self.targets.get(placement.whole)
            if buffer is not None and order is None:
                whole = self._dense(buffer, target, None)
            else:
                whole = self.temporary(target.dtype, target.shape, order)
            self.views[placement.whole] = whole
        part = whole.part(placement.axis, placement.start, fact.shape[placement.axis])
        wanted = tuple(order) if order is not None else tuple(range(len(fact.shape)))
        return part if _same_order(whole, wanted) else None

    # -- instructions --------------------------------------------------------------------------------------------------

    def add(
        self,
        family: str,
        inputs: Sequence[View | None],
        outputs: Sequence[View | None],
        attrs: Mapping[str, Any] | None = None,
    ) -> None:
        """One instruction. Users' arrays are first copied for families that read in whole vectors."""
        assert self.step is not None
        if family in INEXACT:
            inputs = [self.dense(v) if v is not None and v.buffer in self.user_buffers else v for v in inputs]
        attributes = {k: v for k, v in (attrs or {}).items() if k != "kernels"}
        kernel = self.forced.get(family) or self._tuned(family)
        if kernel is not None:
            attributes["force"] = kernel
        self.program.add(
            self.step.name,
            family,
            [None if v is None else v.pack() for v in inputs],
            [None if v is None else v.pack() for v in outputs],
            attributes,
        )

    def _tuned(self, family: str) -> str | None:
        """The kernel that tuning fixed for the current step's instructions of this family."""
        kernels = self.step.attrs.get("kernels") if self.step is not None else None
        kernel = kernels.get(family) if isinstance(kernels, dict) else None
        return kernel if isinstance(kernel, str) else None

    def dense(self, view: View, order: Sequence[int] | None = None) -> View:
        """A copy, dense in the given order of axes."""
        copy = self.temporary(view.dtype, view.shape, order)
        self.add("copy", [view], [copy])
        return copy

    def innermost(self, view: View, axis: int, order: Sequence[int]) -> View:
        """The view itself if its elements are adjacent along `axis`, else a copy dense in `order`."""
        if view.shape[axis] == 1:
            strides = list(view.strides)
            strides[axis] = view.itemsize
            view = View(view.buffer, view.offset, view.dtype, view.shape, tuple(strides))
        return view if view.strides[axis] == view.itemsize else self.dense(view, order)

    def reshaped(self, view: View, shape: tuple[int, ...]) -> View:
        """A reshape: free where the memory allows, else after a copy to row-major."""
        result = view.reshape(shape)
        if result is None:
            result = self.dense(view).reshape(shape)
            assert result is not None
        return result


def _same_order(whole: View, order: tuple[int, ...]) -> bool:
    """Whether a dense view's axes lie in memory in `order`, axes of size one aside."""
    return all(
        n == 1 or a == b
        for n, a, b in zip(whole.shape, whole.strides, ordered(whole.shape, order, whole.itemsize), strict=True)
    )
