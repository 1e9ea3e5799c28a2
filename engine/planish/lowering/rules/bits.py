"""Operators on the bits of numbers."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from planish import _core
from planish.lowering.builder import Builder, Unsupported, dtype_name, require, rule

_INTEGERS = tuple(name for name in _core.DTYPES if "int" in name)
#: Bits may be of any type that has no invalid ones.
_CAST_TO = tuple(name for name in _core.DTYPES if name != "bool")
_BITWISE = {"BitwiseAnd": "bit_and", "BitwiseOr": "bit_or", "BitwiseXor": "bit_xor"}


@rule(*_BITWISE)
def lower_bitwise(b: Builder, node: ir.Node) -> None:
    require(node.inputs[0], *_INTEGERS)
    b.lower_to("binary", node, node.inputs, {"op": _BITWISE[node.op_type]})


@rule("BitwiseNot")
def lower_bitwise_not(b: Builder, node: ir.Node) -> None:
    value = node.inputs[0]
    if value is None or value.dtype is None:
        raise Unsupported("an unknown type")
    require(value, *_INTEGERS)
    dtype = value.dtype.numpy()
    ones = b.lowered.constant("ones", np.array(-1 if dtype.kind == "i" else np.iinfo(dtype).max, dtype))
    (made,) = b.add("binary", node, [b.tensor(value), ones], {"op": "bit_xor"})
    b.define(node.outputs[0], made)


@rule("BitShift")
def lower_bit_shift(b: Builder, node: ir.Node) -> None:
    require(node.inputs[0], *_INTEGERS)
    direction = node.attributes["direction"].as_string().lower()
    if direction not in ("left", "right"):
        raise Unsupported(f"direction '{direction}'")
    b.lower_to("binary", node, node.inputs, {"op": f"shift_{direction}"})


@rule("BitCast")
def lower_bit_cast(b: Builder, node: ir.Node) -> None:
    value = node.inputs[0]
    to = ir.DataType(node.attributes["to"].as_int())
    if value is None or value.dtype is None or value.dtype.bitwidth != to.bitwidth or dtype_name(to) not in _CAST_TO:
        raise Unsupported(f"the bits of {'an unknown type' if value is None else value.dtype} as {to}")
    b.lower_to("bit_cast", node, node.inputs, {"to": dtype_name(to)})
