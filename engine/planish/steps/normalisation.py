"""Kinds that normalise along axes: softmax, layer normalisation, argmax and argmin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planish.steps.kind import Fact, Facts, Kind, normal_axis, register

if TYPE_CHECKING:
    from planish.lowering.lowered import Step
    from planish.runtime.emitter import Emitter


@register
class Softmax(Kind):
    """ONNX Softmax and LogSoftmax (attribute log), opset 13: along attribute axis."""

    name = "softmax"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        normal_axis(step, step.attrs.get("axis", -1), len(facts[0].shape))
        return [Fact(facts[0].dtype, facts[0].shape)]

    def emit(self, step: Step, e: Emitter) -> None:
        x = e.input(0)
        axis = normal_axis(step, step.attrs.get("axis", -1), len(x.shape))
        e.add("softmax", [x], [e.output(0, x.order())], {"axis": axis, "log": int(step.attrs.get("log", 0))})


@register
class LayerNorm(Kind):
    """ONNX LayerNormalization over the axes from attribute axis on: x, gamma, beta; attributes eps, op (layer or
    rms)."""

    name = "layer_norm"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        normal_axis(step, step.attrs.get("axis", -1), len(facts[0].shape))
        return [Fact(facts[0].dtype, facts[0].shape)]

    def emit(self, step: Step, e: Emitter) -> None:
        x, y = e.input(0), e.output(0)
        axis = normal_axis(step, step.attrs.get("axis", -1), len(x.shape))
        inner = 1
        for n in x.shape[axis:]:
            inner *= n
        flat = (*x.shape[:axis], inner)
        rows = e.reshaped(x, flat)
        if rows.strides[-1] != rows.itemsize:
            rows = e.dense(rows)
        beta = e.optional(2)
        target = y.reshape(flat)
        out = target if target is not None else e.temporary(y.dtype, flat)
        operands = [rows, e.reshaped(e.input(1), (inner,)), None if beta is None else e.reshaped(beta, (inner,))]
        e.add("layer_norm", operands, [out], {"eps": step.attrs["eps"], "op": step.attrs.get("op", "layer")})
        if target is None:
            e.add("copy", [e.reshaped(out, y.shape)], [y])


@register
class ArgMinMax(Kind):
    """ONNX ArgMax and ArgMin: attributes op (max or min), axis, keepdims, select_last."""

    name = "argminmax"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        shape = list(facts[0].shape)
        axis = normal_axis(step, step.attrs.get("axis", 0), len(shape))
        shape[axis : axis + 1] = [1] if step.attrs.get("keepdims", 1) else []
        return [Fact("int64", tuple(shape))]

    def emit(self, step: Step, e: Emitter) -> None:
        x, y = e.input(0), e.output(0)
        axis = normal_axis(step, step.attrs.get("axis", 0), len(x.shape))
        kept = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
        target = y.reshape(kept)
        out = target if target is not None else e.temporary("int64", kept)
        attrs = {"op": step.attrs["op"], "axis": axis, "select_last": int(step.attrs.get("select_last", 0))}
        e.add("argminmax", [x], [out], attrs)
        if target is None:
            e.add("copy", [e.reshaped(out, y.shape)], [y])
