"""Nodes in element types without a kernel of their own: computed in a wider type that has one, between casts.

16-bit floats compute in float32 and are rounded once, when the result is cast back. Small integers compute in a type
that holds them: ONNX's operators are exact there, or equal modulo the small type's range, to which the cast back
reduces. Tensors keep their storage, and operators that only move elements never come here.
"""

from __future__ import annotations

import onnx_ir as ir

from planish.lowering.builder import RULES, Builder, dtype_name
from planish.lowering.weights import remember

_FLOATS = {ir.DataType.FLOAT16: ir.DataType.FLOAT, ir.DataType.BFLOAT16: ir.DataType.FLOAT}
_INTEGERS = {
    ir.DataType.INT8: ir.DataType.INT32, ir.DataType.UINT8: ir.DataType.INT32, ir.DataType.INT16: ir.DataType.INT32,
    ir.DataType.UINT16: ir.DataType.INT32, ir.DataType.UINT32: ir.DataType.INT64,
}  # fmt: skip
Widening = dict[ir.DataType, ir.DataType]


def lower_widened(b: Builder, node: ir.Node) -> bool:
    """Lowers a copy of the node whose 16-bit floats are float32, or, where it has none, whose integers of the first
    input's type are wider, with casts around it. False where nothing can be widened; raises Unsupported as rules do."""
    widening = _widening(node)
    if not widening or any(a.type == ir.AttributeType.GRAPH for a in node.attributes.values()):
        return False
    first = node.inputs[0].dtype if node.inputs and node.inputs[0] is not None else None
    if first is None:
        return False
    for value in node.outputs:  # unknown behind operators of other domains
        value.dtype = value.dtype or first
    outputs = [_fresh(v, widening.get(v.dtype)) for v in node.outputs if v.dtype is not None]
    inputs = [_operand(b, v, widening) for v in node.inputs]
    wide = ir.Node(node.domain, node.op_type, inputs, node.attributes.values(), outputs=outputs, name=node.name)
    wide.meta.update(node.meta)
    casts = [_cast_back(v, w) if b.used(v) else None for v, w in zip(node.outputs, outputs, strict=True)]
    try:
        RULES[node.domain, node.op_type](b, wide)
    finally:  # the graph's values must not count the copy as a reader
        for i in range(len(inputs)):
            wide.replace_input_with(i, None)
    for value, cast in zip(node.outputs, casts, strict=True):
        if cast is not None:
            RULES["", "Cast"](b, cast)
            b.define(value, b.tensor(cast.outputs[0]))
    return True


def _widening(node: ir.Node) -> Widening:
    """What becomes what: all 16-bit floats, else the integer type of the first input."""
    types = {v.dtype for v in (*node.inputs, *node.outputs) if v is not None and v.dtype is not None}
    if types & _FLOATS.keys():
        return _FLOATS
    first = node.inputs[0].dtype if node.inputs and node.inputs[0] is not None else None
    return {first: _INTEGERS[first]} if first in _INTEGERS else {}


def _fresh(value: ir.Value, dtype: ir.DataType | None) -> ir.Value:
    """A value like the given one that belongs to no graph; of another element type, if one is given."""
    return ir.Value(name=value.name, shape=value.shape, type=ir.TensorType(dtype) if dtype else value.type)


def _cast_back(value: ir.Value, wide: ir.Value) -> ir.Node:
    """Wide result → the node's own type. It also tells rules that the result is used."""
    assert value.dtype is not None
    return ir.node("Cast", [wide], {"to": value.dtype}, name=value.name)


def _operand(b: Builder, value: ir.Value | None, widening: Widening) -> ir.Value | None:
    """What the copy reads instead of an input: the input itself, its constant widened, or the result of a cast."""
    wider = widening.get(value.dtype) if value is not None and value.dtype is not None else None
    if value is None or wider is None:
        return value
    operand = _fresh(value, wider)
    weights = b.weights(value)
    if weights is not None:
        remember(operand, weights.astype(wider.numpy()))
        return operand
    known = b.widened.get(value)
    if known is None:
        (made,) = b.add(
            "cast", ir.node("Cast", [operand], name=value.name), [b.tensor(value)], {"to": dtype_name(wider)}
        )
        b.define(operand, made)
        known = b.widened[value] = operand
    return known
