"""Kinds of signals and square matrices: discrete Fourier transforms, determinants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planish.errors import ModelError
from planish.runtime.view import View
from planish.steps.kind import Fact, Facts, Kind, normal_axis, register

if TYPE_CHECKING:
    from planish.lowering.lowered import Step
    from planish.runtime.emitter import Emitter


@register
class Dft(Kind):
    """ONNX DFT: signal, length, axis (both known, optional); attributes axis, inverse, onesided."""

    name = "dft"
    host_inputs = (1, 2)

    @staticmethod
    def plan(step: Step, facts: Facts) -> tuple[int, int, tuple[int, ...]]:
        """The axis, the length of the transform, and the result's shape."""
        shape = facts[0].shape
        given = facts.ints(2)[0] if facts.get(2) is not None else step.attrs["axis"]
        axis = normal_axis(step, given, len(shape))
        if axis == len(shape) - 1 or shape[-1] not in (1, 2):
            raise ModelError(
                f"node '{step.name}' (dft): axis {given} of {list(shape)}: the last axis holds the parts of a number; "
                "repair the model"
            )
        half = step.attrs["inverse"] and step.attrs["onesided"]
        length = facts.ints(1)[0] if facts.get(1) is not None else 2 * (shape[axis] - 1) if half else shape[axis]
        count = length // 2 + 1 if step.attrs["onesided"] and not half else length
        if length < 1:
            raise ModelError(f"node '{step.name}' (dft): a transform of length {length}; feed a longer signal")
        return axis, length, (*shape[:axis], count, *shape[axis + 1 : -1], 1 if half else 2)

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        return [Fact(facts[0].dtype, self.plan(step, facts)[2])]

    def emit(self, step: Step, e: Emitter) -> None:
        facts = Facts(step, [None if t < 0 else e.fact(t) for t in step.inputs])
        axis, length, _ = self.plan(step, facts)
        inverse = int(bool(step.attrs["inverse"]))
        attrs = {
            "axis": axis,
            "length": length,
            "inverse": inverse,
            "half": int(bool(inverse and step.attrs["onesided"])),
        }
        e.add("dft", [e.input(0)], [e.output(0)], attrs)


@register
class Frames(Kind):
    """Overlapping pieces of a signal [N, L, c]: a view [N, frames, length, c].

    Inputs: the signal, the step between frames, the window (optional, for its length), the length (optional).
    """

    name = "frames"
    host_inputs = (1, 2, 3)

    @staticmethod
    def plan(step: Step, facts: Facts) -> tuple[int, int, int]:
        """(frames, step, length)"""
        signal, hop = facts[0].shape, facts.ints(1)[0]
        window = facts.get(2)
        length = facts.ints(3)[0] if facts.get(3) is not None else 0 if window is None else window.shape[0]
        wrong = window is not None and window.shape != (length,)
        if len(signal) != 3 or hop < 1 or length < 1 or length > signal[1] or wrong:
            raise ModelError(
                f"node '{step.name}' (frames): frames of {length}, {hop} apart, of {list(signal)}; check the model"
            )
        return (signal[1] - length) // hop + 1, hop, length

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        frames, _, length = self.plan(step, facts)
        n, _, parts = facts[0].shape
        return [Fact(facts[0].dtype, (n, frames, length, parts))]

    def emit(self, step: Step, e: Emitter) -> None:
        _, hop, _ = self.plan(step, Facts(step, [None if t < 0 else e.fact(t) for t in step.inputs]))
        x, shape = e.input(0), e.fact(step.outputs[0]).shape
        strides = (x.strides[0], hop * x.strides[1], x.strides[1], x.strides[2])
        e.alias(View(x.buffer, x.offset, x.dtype, shape, strides))


@register
class Det(Kind):
    """ONNX Det: determinants of square matrices."""

    name = "det"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        shape = facts[0].shape
        if len(shape) < 2 or shape[-1] != shape[-2]:
            raise ModelError(f"node '{step.name}' (det): {list(shape)} is not square; check the shapes")
        return [Fact(facts[0].dtype, shape[:-2])]

    def emit(self, step: Step, e: Emitter) -> None:
        e.add("det", [e.input(0)], [e.output(0)])
