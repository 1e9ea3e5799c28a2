"""The portable forms in which a compressed weight is written in ONNX, recognised.

A compressed weight is a small subgraph of standard operators over initializers that any runtime can fold into the dense
weight. planish must not: it runs these forms natively. The forms, which compose:

- dequantized:   DequantizeLinear(integers, scale, zero point), blocked or not
- codebook:      Gather(codebook, Cast(indices)), or GatherElements(codebook, Cast(indices), axis=1) per group
- block-sparse:  ScatterND(ConstantOfShape(shape), Cast(block ids), blocks); single elements are blocks of one

each optionally followed by Reshape, Transpose, Squeeze, Unsqueeze with constant parameters.
"""

from __future__ import annotations

import onnx_ir

from planish.passes.patterns import input_at, int_attribute, is_constant, producer_of

_INDEX_TYPES = frozenset(t for t in onnx_ir.DataType if t.name in ("UINT2", "UINT4", "UINT8", "UINT16"))
_MAX_DEPTH = 16


def is_compressed_weight(value: onnx_ir.Value | None) -> bool:
    """Whether `value` is computed from constants by one of the compressed forms of this module."""
    return bool(compressed_weight_nodes(value))


def compressed_weight_nodes(value: onnx_ir.Value | None) -> list[onnx_ir.Node]:
    """The nodes that decode `value`, from `value` backwards; empty where it is not a compressed weight."""
    return _decode(value, _MAX_DEPTH) or []


def _decode(value: onnx_ir.Value | None, depth: int) -> list[onnx_ir.Node] | None:
    """The decoding nodes, None where `value` is no compressed weight (a plain constant is none either)."""
    node = producer_of(value)
    if node is None or depth == 0:
        return None
    match node.op_type:
        case "DequantizeLinear":
            parts = [_part(v, depth) for v in node.inputs]
        case "Reshape" | "Transpose" | "Squeeze" | "Unsqueeze":
            if not all(is_constant(v) for v in node.inputs[1:]):
                return None
            parts = [_decode(node.inputs[0], depth - 1)]
        case "Gather" | "GatherElements":
            if int_attribute(node, "axis", 0) != (0 if node.op_type == "Gather" else 1):
                return None
            parts = [_part(node.inputs[0], depth), _indices(node.inputs[1])]
        case "ScatterND":
            if node.attributes.get_string("reduction", "none") != "none":
                return None
            parts = [_filled(node.inputs[0]), _indices(node.inputs[1]), _part(node.inputs[2], depth)]
        case _:
            return None
    if any(part is None for part in parts):
        return None
    return [node, *(inner for part in parts if part is not None for inner in part)]


def _part(value: onnx_ir.Value | None, depth: int) -> list[onnx_ir.Node] | None:
    """A constant (no nodes) or another compressed weight."""
    return [] if value is None or is_constant(value) else _decode(value, depth - 1)


def _indices(value: onnx_ir.Value | None) -> list[onnx_ir.Node] | None:
    """Cast of constant indices stored in a small unsigned type."""
    node = producer_of(value, "Cast")
    stored = None if node is None else node.inputs[0]
    if node is None or stored is None or not is_constant(stored) or stored.dtype not in _INDEX_TYPES:
        return None
    return [node]


def _filled(value: onnx_ir.Value | None) -> list[onnx_ir.Node] | None:
    """ConstantOfShape of a constant shape."""
    node = producer_of(value, "ConstantOfShape")
    return [node] if node is not None and is_constant(input_at(node, 0)) else None
