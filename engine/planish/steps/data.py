"""Kinds that move elements by index: gather, scatter, one-hot, top-k, cumulative sum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from planish.errors import ModelError
from planish.runtime.view import View
from planish.steps.kind import Array, Fact, Facts, Kind, normal_axis, register

if TYPE_CHECKING:
    from planish.lowering.lowered import Step
    from planish.runtime.emitter import Emitter


@register
class Gather(Kind):
    """ONNX Gather along attribute axis; known single indices are views."""

    name = "gather"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        x, indices = facts[0], facts[1]
        axis = normal_axis(step, step.attrs.get("axis", 0), len(x.shape))
        if indices.value is not None and indices.value.size:
            low, high = int(indices.value.min()), int(indices.value.max())
            if low < -x.shape[axis] or high >= x.shape[axis]:
                raise ModelError(
                    f"{step.where()}: index {low if low < -x.shape[axis] else high} is outside axis "
                    f"{axis} of size "
                    f"{x.shape[axis]}; repair the model or the input"
                )
        return [Fact(x.dtype, (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))]

    def evaluate(self, step: Step, values: list[Array | None]) -> list[Array] | None:
        x, indices = values
        assert x is not None and indices is not None
        return [np.asarray(np.take(x, indices.astype(np.int64), step.attrs.get("axis", 0)))]

    def emit(self, step: Step, e: Emitter) -> None:
        x = e.input(0)
        axis = normal_axis(step, step.attrs.get("axis", 0), len(x.shape))
        known = e.fact(step.inputs[1]).value
        if known is not None and known.size == 1:
            part = x.part(axis, int(known.ravel()[0]) % x.shape[axis], 1)
            strides = (*part.strides[:axis], *[part.itemsize] * known.ndim, *part.strides[axis + 1 :])
            shape = e.fact(step.outputs[0]).shape
            e.alias(type(part)(part.buffer, part.offset, part.dtype, shape, strides))
            return
        e.add("gather", [x, e.input(1)], [e.output(0)], {"axis": axis})


@register
class GatherElements(Kind):
    """ONNX GatherElements along attribute axis."""

    name = "gather_elements"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        normal_axis(step, step.attrs.get("axis", 0), len(facts[0].shape))
        return [Fact(facts[0].dtype, facts[1].shape)]

    def emit(self, step: Step, e: Emitter) -> None:
        x = e.input(0)
        e.add("gather_elements", [x, e.input(1)], [e.output(0)], {"axis": step.attrs.get("axis", 0) % len(x.shape)})


@register
class GatherND(Kind):
    """ONNX GatherND with attribute batch_dims."""

    name = "gather_nd"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        x, indices = facts[0], facts[1]
        b = step.attrs.get("batch_dims", 0)
        depth = indices.shape[-1] if indices.shape else 0
        if depth < 1 or b + depth > len(x.shape):
            raise ModelError(
                f"{step.where()}: indices {list(indices.shape)} do not fit {list(x.shape)}; check the shapes"
            )
        return [Fact(x.dtype, (*indices.shape[:-1], *x.shape[b + depth :]))]

    def emit(self, step: Step, e: Emitter) -> None:
        e.add("gather_nd", [e.input(0), e.input(1)], [e.output(0)], {"batch_dims": step.attrs.get("batch_dims", 0)})


@register
class ScatterND(Kind):
    """ONNX ScatterND with attribute reduction."""

    name = "scatter_nd"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        return [Fact(facts[0].dtype, facts[0].shape)]

    def emit(self, step: Step, e: Emitter) -> None:
        attrs = {"reduction": step.attrs.get("reduction", "none")}
        e.add("scatter_nd", [e.input(0), e.input(1), e.input(2)], [e.output(0)], attrs)


@register
class AssignSlice(Kind):
    """x with updates in a strided slice of it. Attributes indexed: the updates' first sizes, before those of x that are
    taken whole; grid, for each of x's first axes: start, step, and the axis of the updates along it, or -1."""

    name = "assign_slice"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        x, updates = facts[0], facts[1]
        grid, indexed = step.attrs["grid"], tuple(step.attrs["indexed"])
        rest = x.shape[len(grid) :]
        if len(grid) > len(x.shape) or updates.shape != (*indexed, *rest):
            raise ModelError(
                f"{step.where()}: updates {list(updates.shape)} do not fit {list(x.shape)}; check the shapes"
            )
        for size, (start, stride, axis) in zip(x.shape, grid, strict=False):
            count = indexed[axis] if axis >= 0 else 1
            if start < 0 or stride < 1 or start + stride * (count - 1) >= size:
                raise ModelError(
                    f"{step.where()}: an index is out of range of {list(x.shape)}; check the model's indices"
                )
        return [Fact(x.dtype, x.shape)]

    def emit(self, step: Step, e: Emitter) -> None:
        x, updates = e.input(0), e.input(1)
        y = e.output(0, x.order())
        e.add("copy", [x], [y])
        if 0 in updates.shape:
            return
        grid, indexed = step.attrs["grid"], step.attrs["indexed"]
        offset, strides = y.offset, [0] * len(indexed)
        for pitch, (start, stride, axis) in zip(y.strides, grid, strict=False):
            offset += start * pitch
            if axis >= 0:
                strides[axis] = stride * pitch
        target = View(y.buffer, offset, y.dtype, updates.shape, (*strides, *y.strides[len(grid) :]))
        e.add("copy", [updates], [target])


@register
class ScatterElements(Kind):
    """ONNX ScatterElements with attributes axis and reduction."""

    name = "scatter_elements"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        normal_axis(step, step.attrs.get("axis", 0), len(facts[0].shape))
        return [Fact(facts[0].dtype, facts[0].shape)]

    def emit(self, step: Step, e: Emitter) -> None:
        x = e.input(0)
        attrs = {"axis": step.attrs.get("axis", 0) % len(x.shape), "reduction": step.attrs.get("reduction", "none")}
        e.add("scatter_elements", [x, e.input(1), e.input(2)], [e.output(0)], attrs)


@register
class OneHot(Kind):
    """ONNX OneHot: indices, depth, values [off, on]; attribute axis."""

    name = "one_hot"
    host_inputs = (1,)

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        indices, depth = facts[0], int(facts.value(1).ravel()[0])
        axis = normal_axis(step, step.attrs.get("axis", -1), len(indices.shape) + 1)
        return [Fact(facts[2].dtype, (*indices.shape[:axis], depth, *indices.shape[axis:]))]

    def emit(self, step: Step, e: Emitter) -> None:
        y = e.output(0)
        axis = normal_axis(step, step.attrs.get("axis", -1), len(y.shape))
        e.add("one_hot", [e.input(0), e.input(2)], [y], {"axis": axis})


@register
class CumSum(Kind):
    """ONNX CumSum and CumProd: the axis is input 1; attributes op (sum or prod), exclusive, reverse."""

    name = "cumsum"
    host_inputs = (1,)

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        normal_axis(step, facts.ints(1)[0], len(facts[0].shape))
        return [Fact(facts[0].dtype, facts[0].shape)]

    def emit(self, step: Step, e: Emitter) -> None:
        x = e.input(0)
        value = e.fact(step.inputs[1]).value
        assert value is not None
        attrs = {k: int(step.attrs.get(k, 0)) for k in ("exclusive", "reverse")}
        attrs["axis"] = int(value.ravel()[0]) % len(x.shape)
        e.add("cumsum", [x], [e.output(0)], {**attrs, "op": step.attrs.get("op", "sum")})


@register
class TopK(Kind):
    """ONNX TopK: k is input 1; attributes axis, largest; always sorted."""

    name = "topk"
    host_inputs = (1,)

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        shape = list(facts[0].shape)
        axis = normal_axis(step, step.attrs.get("axis", -1), len(shape))
        k = facts.ints(1)[0]
        if not 0 <= k <= shape[axis]:
            raise ModelError(f"{step.where()}: k = {k} of {shape[axis]} elements; feed a larger input")
        shape[axis] = k
        return [Fact(facts[0].dtype, tuple(shape)), Fact("int64", tuple(shape))]

    def emit(self, step: Step, e: Emitter) -> None:
        x = e.input(0)
        values = e.output(0) if step.outputs[0] >= 0 else None
        indices = e.output(1) if len(step.outputs) > 1 and step.outputs[1] >= 0 else None
        fact_shape = (values or indices).shape  # type: ignore[union-attr]
        values = values or e.temporary(x.dtype, fact_shape)
        indices = indices or e.temporary("int64", fact_shape)
        axis = normal_axis(step, step.attrs.get("axis", -1), len(x.shape))
        e.add("topk", [x], [values, indices], {"axis": axis, "largest": int(step.attrs.get("largest", 1))})
