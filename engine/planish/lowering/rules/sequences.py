"""Sequences and optionals: lists of tensors, which the executor handles between Programs."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from planish.lowering.builder import Builder, Unsupported, dtype_name, rule, type_name


@rule("SequenceConstruct", "SequenceAt", "SequenceInsert", "SequenceErase", "SequenceLength")
@rule("OptionalHasElement", "OptionalGetElement")
def lower_sequence(b: Builder, node: ir.Node) -> None:
    _lower(b, node, {})


@rule("SequenceEmpty")
def lower_empty(b: Builder, node: ir.Node) -> None:
    _lower(b, node, {"dtype": dtype_name(ir.DataType(node.attributes.get_int("dtype", ir.DataType.FLOAT)))})


@rule("SplitToSequence")
def lower_split(b: Builder, node: ir.Node) -> None:
    _lower(b, node, {"axis": node.attributes.get_int("axis", 0), "keepdims": node.attributes.get_int("keepdims", 1)})


@rule("ConcatFromSequence")
def lower_concat(b: Builder, node: ir.Node) -> None:
    get = node.attributes
    _lower(b, node, {"axis": get["axis"].as_int(), "new_axis": get.get_int("new_axis", 0)})


@rule("Optional")
def lower_optional(b: Builder, node: ir.Node) -> None:
    """An optional is what it holds; an empty one is nothing."""
    if node.inputs and node.inputs[0] is not None:
        b.lower_to("identity", node, node.inputs[:1])
    else:
        _lower(b, node, {})


def _lower(b: Builder, node: ir.Node, attrs: dict[str, Any]) -> None:
    elements = {
        type_name(v).rpartition("(")[2].rstrip(")") for v in node.inputs if v is not None and v.dtype is not None
    }
    if elements & _NO_ARRAYS:
        raise Unsupported(f"elements of type {min(elements)}")
    b.lower_to("sequence", node, node.inputs, {**attrs, "op": node.op_type})


_NO_ARRAYS = {"complex64", "complex128"}
