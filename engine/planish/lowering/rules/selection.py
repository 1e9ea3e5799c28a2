"""Operators of which the result's size depends on data: each makes as much as there can be, then a slice of it."""

from __future__ import annotations

import onnx_ir as ir

from planish.lowering.builder import Builder, Unsupported, require, rule
from planish.lowering.rules.composed import Composer, rank_of


def first(c: Composer, x: int, count: int, axis: int) -> int:
    """The first `count` (a tensor) elements along an axis."""
    return c.step("slice", [x, c.ints(0), c.step("reshape", [count, c.ints(1)]), c.ints(axis)])


@rule("NonZero")
def lower_nonzero(b: Builder, node: ir.Node) -> None:
    if rank_of(node.inputs[0], "an input") == 0:
        raise Unsupported("NonZero of a scalar")
    c = Composer(b, node)
    positions, count = b.add("nonzero", node, [b.tensor(node.inputs[0])], outputs=2)
    b.define(node.outputs[0], first(c, positions, count, 1))


@rule("Compress")
def lower_compress(b: Builder, node: ir.Node) -> None:
    """Gather of the positions where the condition holds."""
    c = Composer(b, node)
    x, condition = (b.tensor(v) for v in node.inputs)
    axis = 0
    if "axis" in node.attributes:
        axis = node.attributes["axis"].as_int()
    else:
        x = c.step("reshape", [x, c.ints(-1)])
    positions, count = b.add("nonzero", node, [condition], outputs=2)
    chosen = c.step("reshape", [first(c, positions, count, 1), c.ints(-1)])
    b.define(node.outputs[0], c.step("gather", [x, chosen], axis=axis))


@rule("Unique")
def lower_unique(b: Builder, node: ir.Node) -> None:
    """Rows of a matrix: its elements, or what lies behind each index of the axis."""
    require(node.inputs[0], "float32", "float64", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16",
            "uint8", "bool")  # fmt: skip
    c = Composer(b, node)
    x = b.tensor(node.inputs[0])
    if "axis" in node.attributes:
        rank = rank_of(node.inputs[0], "an input")
        axis = node.attributes["axis"].as_int()
        axis = axis + rank if axis < 0 else axis
        if not 0 <= axis < rank:
            raise Unsupported(f"axis {axis} of {rank}")
        rows = c.step("transpose", [x], perm=[axis, *(a for a in range(rank) if a != axis)])
        rows = c.step("flatten", [rows], axis=1)
    else:
        axis, x = 0, c.step("reshape", [x, c.ints(-1)])
        rows = c.step("reshape", [x, c.ints(-1, 1)])
    attrs = {"sorted": node.attributes.get_int("sorted", 1)}
    firsts, inverse, counts, count = b.add("unique", node, [rows], attrs, outputs=4)
    firsts, counts = (first(c, made, count, 0) for made in (firsts, counts))
    results = [c.step("gather", [x, firsts], axis=axis), firsts, inverse, counts]
    for value, made in zip(node.outputs, results, strict=False):
        b.define(value, made)


@rule("ReverseSequence")
def lower_reverse_sequence(b: Builder, node: ir.Node) -> None:
    attrs = {
        "time_axis": node.attributes.get_int("time_axis", 0),
        "batch_axis": node.attributes.get_int("batch_axis", 1),
    }
    b.lower_to("reverse_sequence", node, node.inputs, attrs)
