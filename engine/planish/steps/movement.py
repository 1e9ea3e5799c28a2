"""Kinds that move elements: concatenation, padding, tiling, filling, resizing."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from planish.errors import ModelError
from planish.lowering.lowered import ABSENT
from planish.runtime.view import View
from planish.steps.kind import Array, Fact, Facts, Kind, normal_axis, register
from planish.steps.pooling import resolve_pads

if TYPE_CHECKING:
    from planish.lowering.lowered import Step
    from planish.runtime.emitter import Emitter


@register
class Concat(Kind):
    """ONNX Concat along attribute axis. Pieces that their producers wrote in place need no copy."""

    name = "concat"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        first = facts[0]
        axis = normal_axis(step, step.attrs["axis"], len(first.shape))
        total = 0
        for i in range(len(facts)):
            shape = facts[i].shape
            if len(shape) != len(first.shape) or any(
                n != m for k, (n, m) in enumerate(zip(shape, first.shape, strict=True)) if k != axis
            ):
                raise ModelError(
                    f"{step.where()}: {list(shape)} and {list(first.shape)} differ outside axis {axis}; "
                    "check the shapes"
                )
            total += shape[axis]
        return [Fact(first.dtype, (*first.shape[:axis], total, *first.shape[axis + 1 :]))]

    def evaluate(self, step: Step, values: list[Array | None]) -> list[Array] | None:
        return [np.concatenate([v for v in values if v is not None], step.attrs["axis"])]

    def emit(self, step: Step, e: Emitter) -> None:
        axis = normal_axis(step, step.attrs["axis"], len(e.fact(step.outputs[0]).shape))
        whole = e.views.get(step.outputs[0])
        if whole is None:
            pieces = [e.view(t) for t in step.inputs]
            whole = e.output(0, max(pieces, key=lambda v: int(np.prod(v.shape))).order())
        start = 0
        for tensor in step.inputs:
            piece = e.view(tensor)
            part = whole.part(axis, start, piece.shape[axis])
            start += piece.shape[axis]
            in_place = (piece.buffer, piece.offset, piece.strides) == (part.buffer, part.offset, part.strides)
            if not in_place and 0 not in piece.shape:
                e.add("copy", [piece], [part])


@register
class Pad(Kind):
    """ONNX Pad: pads is input 1, the value input 2 (known or not), axes input 3; attribute mode.

    With attribute window (kernel, strides, dilations, auto_pad) instead of input 1: automatic padding.
    """

    name = "pad"
    host_inputs = (1, 3)

    @staticmethod
    def borders(step: Step, facts: Facts) -> list[tuple[int, int]]:
        rank = len(facts[0].shape)
        window = step.attrs.get("window")
        if window is not None:
            ones = [1] * (rank - 2)
            strides, dilations = window.get("strides") or ones, window.get("dilations") or ones
            spatial = resolve_pads(window["auto_pad"], facts[0].shape[2:], window["kernel"], strides, dilations, [])
            return [(0, 0), (0, 0), *zip(spatial[: rank - 2], spatial[rank - 2 :], strict=True)]
        pads = facts.ints(1)
        axes = [normal_axis(step, a, rank) for a in facts.ints(3)] if facts.get(3) is not None else list(range(rank))
        if len(pads) != 2 * len(axes):
            raise ModelError(f"{step.where()}: {len(pads)} pads for {len(axes)} axes; repair the model")
        borders = [(0, 0)] * rank
        for i, a in enumerate(axes):
            borders[a] = (pads[i], pads[i + len(axes)])
        return borders

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        x = facts[0]
        shape = tuple(n + a + b for n, (a, b) in zip(x.shape, self.borders(step, facts), strict=True))
        if min(shape, default=0) < 0:
            raise ModelError(f"{step.where()}: negative pads remove more than there is; check the shapes")
        return [Fact(x.dtype, shape)]

    def evaluate(self, step: Step, values: list[Array | None]) -> list[Array] | None:
        x = values[0]
        borders = self.borders(step, Facts(step, [None if v is None else Fact.of(v) for v in values]))
        if x is None or step.attrs.get("mode", "constant") != "constant" or min(min(b) for b in borders) < 0:
            return None
        fill = values[2] if len(values) > 2 else None
        return [np.pad(x, borders, constant_values=0 if fill is None or not fill.size else fill.ravel()[0])]

    def emit(self, step: Step, e: Emitter) -> None:
        facts = Facts(step, [None if t < 0 else e.fact(t) for t in step.inputs])
        x = e.input(0)
        borders = self.borders(step, facts)
        mode = step.attrs.get("mode", "constant")
        y = e.output(0, x.order())
        for axis, (before, after) in enumerate(borders):  # negative pads crop
            if before < 0 or after < 0:
                x = x.part(axis, max(0, -before), x.shape[axis] + min(0, before) + min(0, after))
        borders = [(max(0, a), max(0, b)) for a, b in borders]
        if mode != "constant":
            e.add("pad", [x], [y], {"mode": mode, "pads": [a for a, _ in borders] + [b for _, b in borders]})
            return
        inner = y
        for axis, (before, after) in enumerate(borders):
            if before:
                self._fill(step, e, inner.part(axis, 0, before))
            if after:
                self._fill(step, e, inner.part(axis, inner.shape[axis] - after, after))
            inner = inner.part(axis, before, inner.shape[axis] - before - after)
        e.add("copy", [x], [inner])

    @staticmethod
    def _fill(step: Step, e: Emitter, border: View) -> None:
        tensor = step.inputs[2] if len(step.inputs) > 2 else ABSENT
        known = e.fact(tensor).value if tensor != ABSENT else np.zeros(1)
        if known is None:
            e.add("copy", [e.reshaped(e.input(2), ()).broadcast(border.shape)], [border])
        else:
            e.add("fill", [], [border], {"value": float(known.ravel()[0]) if known.size else 0.0})


@register
class Tile(Kind):
    """ONNX Tile: repeats from input 1, as a broadcast copy."""

    name = "tile"
    host_inputs = (1,)

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        x, repeats = facts[0], facts.ints(1)
        if len(repeats) != len(x.shape) or min(repeats, default=0) < 0:
            raise ModelError(f"{step.where()}: repeats {repeats} do not fit {list(x.shape)}; repair the model")
        return [Fact(x.dtype, tuple(n * r for n, r in zip(x.shape, repeats, strict=True)))]

    def evaluate(self, step: Step, values: list[Array | None]) -> list[Array] | None:
        x, repeats = values
        assert x is not None and repeats is not None
        return [np.tile(x, tuple(int(r) for r in repeats))]

    def emit(self, step: Step, e: Emitter) -> None:
        x, y = e.input(0), e.output(0)
        if 0 in y.shape:
            return
        repeated = [a for a in range(len(x.shape)) if x.shape[a] != y.shape[a]]
        for a in repeated[:-1]:
            wider = e.temporary(x.dtype, (*x.shape[:a], y.shape[a], *x.shape[a + 1 :]))
            _repeat(e, x, wider, a)
            x = wider
        _repeat(e, x, y, repeated[-1] if repeated else 0)


def _repeat(e: Emitter, x: View, y: View, axis: int) -> None:
    """Copies x into y as often as it fits along `axis`: by one axis more, along which the source does not move."""
    if x.shape == y.shape:
        e.add("copy", [x], [y])
        return
    outer, size, inner = prod(x.shape[:axis]), x.shape[axis], prod(x.shape[axis + 1 :])
    rows, whole = e.reshaped(x, (outer, size, inner)), (outer, y.shape[axis] // size, size, inner)
    source = View(rows.buffer, rows.offset, rows.dtype, whole, (rows.strides[0], 0, *rows.strides[1:]))
    target = y.reshape(whole)
    if target is not None:
        e.add("copy", [source], [target])
        return
    e.add("copy", [e.reshaped(e.dense(source), y.shape)], [y])


@register
class ConstantOfShape(Kind):
    """ONNX ConstantOfShape: attributes value (a number) and dtype; the shape is input 0."""

    name = "constant_of_shape"
    host_inputs = (0,)

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        shape = tuple(facts.ints(0))
        if min(shape, default=0) < 0:
            raise ModelError(f"{step.where()}: negative shape {list(shape)}; check the shapes fed")
        return [Fact(step.attrs["dtype"], shape)]

    def evaluate(self, step: Step, values: list[Array | None]) -> list[Array] | None:
        assert values[0] is not None
        return [np.full(tuple(int(n) for n in values[0]), step.attrs["value"], step.attrs["dtype"])]

    def emit(self, step: Step, e: Emitter) -> None:
        e.add("fill", [], [e.output(0)], {"value": step.attrs["value"]})


@register
class Range(Kind):
    """ONNX Range of known start, limit and delta."""

    name = "range"
    host_inputs = (0, 1, 2)

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        start, limit, delta = (facts.value(i).ravel()[0] for i in range(3))
        if delta == 0:
            raise ModelError(f"{step.where()}: delta is zero; repair the model")
        count = max(0, int(np.ceil((float(limit) - float(start)) / float(delta))))
        if count > 1 << 26:
            raise ModelError(f"{step.where()}: {count} elements exceed what is sensible; check the inputs")
        value = (start + np.arange(count) * delta).astype(facts[0].dtype)
        return [Fact.of(value)]

    def emit(self, step: Step, e: Emitter) -> None:
        raise AssertionError("a range is always a known value")


@register
class Resize(Kind):
    """ONNX Resize of up to three axes: roi input 1 is ignored, scales are input 2, sizes input 3; attribute aspect is
    ONNX's keep_aspect_ratio_policy."""

    name = "resize"
    host_inputs = (1, 2, 3)

    @staticmethod
    def plan(step: Step, facts: Facts) -> tuple[tuple[int, ...], list[float]]:
        """Output shape and the scale per axis."""
        shape = facts[0].shape
        axes = [normal_axis(step, a, len(shape)) for a in step.attrs.get("axes") or range(len(shape))]
        scales = [1.0] * len(shape)
        sizes = list(shape)
        scale_fact, size_fact = facts.get(2), facts.get(3)
        if scale_fact is not None and facts.value(2).size:
            for a, s in zip(axes, facts.value(2).ravel(), strict=True):
                scales[a] = float(s)
                sizes[a] = int(np.floor(np.float32(shape[a]) * np.float32(s)))
        elif size_fact is not None:
            for a, n in zip(axes, facts.ints(3), strict=True):
                sizes[a] = n
                scales[a] = n / shape[a] if shape[a] else 1.0
            policy = step.attrs.get("aspect", "stretch")
            if policy != "stretch" and axes:
                common = (min if policy == "not_larger" else max)(scales[a] for a in axes)
                for a in axes:
                    scales[a], sizes[a] = common, int(common * shape[a] + 0.5)
        if min(sizes, default=0) < 0:
            raise ModelError(f"{step.where()}: negative size {sizes}; check the inputs")
        return tuple(sizes), scales

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        shape, _ = self.plan(step, facts)
        return [Fact(facts[0].dtype, shape)]

    def emit(self, step: Step, e: Emitter) -> None:
        _, scales = self.plan(step, Facts(step, [None if t < 0 else e.fact(t) for t in step.inputs]))
        x = e.input(0)
        y = e.output(0, x.order())
        changed = [i for i, s in enumerate(scales) if s != 1.0 or x.shape[i] != y.shape[i]]
        if not changed:
            e.add("copy", [x], [y])
            return
        while (
            len(x.shape) - len(changed) < 2 or len(x.shape) < 3
        ):  # the kernel wants a batch, spatial axes and channels
            x, y, scales = x.unsqueezed(), y.unsqueezed(), [1.0, *scales]
            changed = [a + 1 for a in changed]
        order = _spatial_order(len(x.shape), changed)
        attrs = {k: v for k, v in step.attrs.items() if k not in ("axes", "aspect")}
        attrs["scales"] = [scales[a] for a in order[1:-1]]
        e.add("resize", [x.permute(order)], [y.permute(order)], attrs)


def _spatial_order(rank: int, changed: list[int]) -> tuple[int, ...]:
    """Batch, spatial axes (all that change), channels: channels are axis 1 if it keeps its size, else the last that
    does."""
    kept = [a for a in range(rank) if a not in changed]
    channels = 1 if kept[0] != 1 and 1 in kept else kept[-1]
    return (kept[0], *(a for a in range(rank) if a not in (kept[0], channels)), channels)
