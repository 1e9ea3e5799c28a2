"""Quantized kinds. Activations are u8 in memory: lowering represents s8 tensors as u8 with 128 added to values and zero
points."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planish.steps.arithmetic import widest
from planish.steps.kind import Fact, Facts, Kind, broadcast_shapes, register

if TYPE_CHECKING:
    from planish.lowering.lowered import Step
    from planish.runtime.emitter import Emitter


@register
class Quantize(Kind):
    """ONNX QuantizeLinear: x, scale, zero → attribute dtype; attribute axis for scales per axis (-1: per tensor)."""

    name = "quantize"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        return [Fact(step.attrs["dtype"], facts[0].shape)]

    def emit(self, step: Step, e: Emitter) -> None:
        x = e.input(0)
        rank = len(x.shape)
        order = (0, *range(2, rank), 1) if step.attrs.get("channels_last") and rank > 2 else x.order()
        e.add("quantize", [x, e.input(1), e.optional(2)], [e.output(0, order)], {"axis": step.attrs.get("axis", -1)})


@register
class Dequantize(Kind):
    """ONNX DequantizeLinear: x, scale, zero → float32; attribute axis as for quantize."""

    name = "dequantize"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        return [Fact("float32", facts[0].shape)]

    def emit(self, step: Step, e: Emitter) -> None:
        x = e.input(0)
        e.add(
            "dequantize", [x, e.input(1), e.optional(2)], [e.output(0, x.order())], {"axis": step.attrs.get("axis", -1)}
        )


@register
class DynamicQuantize(Kind):
    """ONNX DynamicQuantizeLinear: x → u8, scale, zero point."""

    name = "dynamic_quantize"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        return [Fact("uint8", facts[0].shape), Fact("float32", ()), Fact("uint8", ())]

    def emit(self, step: Step, e: Emitter) -> None:
        x = e.input(0)
        e.add("dynamic_quantize", [x], [e.output(0, x.order()), e.output(1), e.output(2)])


@register
class Table(Kind):
    """y = table[x] on bytes; input 1 is the 256-entry table. Attribute dtype: the output's (u8 or s8)."""

    name = "table"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        return [Fact(step.attrs["dtype"], facts[0].shape)]

    def emit(self, step: Step, e: Emitter) -> None:
        x = e.input(0)
        y = e.output(0, x.order())
        e.add("table", [x.cast_bytes("uint8"), e.input(1)], [y.cast_bytes("uint8")])


@register
class QBinary(Kind):
    """Add or mul (attribute op) of two quantized tensors, evaluated as its QDQ expression; see csrc/kernels/eltwise."""

    name = "qbinary"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        return [Fact("uint8", broadcast_shapes(step, facts[0].shape, facts[1].shape))]

    def emit(self, step: Step, e: Emitter) -> None:
        a, b = e.input(0), e.input(1)
        shape = e.fact(step.outputs[0]).shape
        y = e.output(0, widest([a, b], shape))
        e.add("qbinary", [a.broadcast(shape), b.broadcast(shape)], [y], step.attrs)
