"""QuantizeLinear and DequantizeLinear written out as casts and arithmetic: for blocks of tensors of the run, and for
element types that the kernels lack (float8, float4, int4, int2)."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from planish.lowering.builder import Builder, Unsupported, dtype_name
from planish.passes.patterns import rank_of


def dequantize_by_parts(b: Builder, node: ir.Node) -> None:
    """y = (float32(x) - zero) · scale; floats have no zero point."""
    x, scale, zero = (*node.inputs, None)[:3]
    (y,) = b.add("cast", node, [b.tensor(x)], {"to": "float32"})
    if zero is not None and x is not None and x.dtype is not None and x.dtype.is_integer():
        (offset,) = b.add("cast", node, [_aligned(b, node, zero)], {"to": "float32"})
        (y,) = b.add("binary", node, [y, offset], {"op": "sub"})
    (y,) = b.add("binary", node, [y, _aligned(b, node, scale)], {"op": "mul"})
    b.define(node.outputs[0], y)


def quantize_by_parts(b: Builder, node: ir.Node) -> None:
    """y = clamp(rne(x / scale) + zero) for integers; the quotient rounded to the type for floats."""
    x, scale, zero = (*node.inputs, None)[:3]
    dtype = node.outputs[0].dtype
    if dtype is None:
        raise Unsupported("QuantizeLinear to an unknown type")
    (y,) = b.add("binary", node, [b.tensor(x), _aligned(b, node, scale)], {"op": "div"})
    attrs: dict[str, Any] = {"to": dtype_name(dtype), "saturate": node.attributes.get_int("saturate", 1)}
    if dtype.is_integer():
        (y,) = b.add("unary", node, [y], {"op": "round"})
        if zero is not None:
            (offset,) = b.add("cast", node, [_aligned(b, node, zero)], {"to": "float32"})
            (y,) = b.add("binary", node, [y, offset], {"op": "add"})
        lowest = -(1 << (dtype.bitwidth - 1)) if dtype.is_signed() else 0
        limits = {"lo": float(lowest), "hi": float(lowest + (1 << dtype.bitwidth) - 1)}
        (y,) = b.add("unary", node, [y], {"op": "clip", **limits})
        attrs = {"to": dtype_name(dtype)}
    (y,) = b.add("cast", node, [y], attrs)
    b.define(node.outputs[0], y)


def _aligned(b: Builder, node: ir.Node, parameter: ir.Value | None) -> int:
    """A scale or zero point that broadcasts to x: one number, one per index of `axis`, or one per block of it."""
    rank, own_rank = rank_of(node.inputs[0]), rank_of(parameter)
    if rank is None or own_rank is None:
        raise Unsupported("quantization of a tensor of unknown rank")
    axis, block = node.attributes.get_int("axis", 1), node.attributes.get_int("block_size", 0)
    axis = axis + rank if axis < 0 else axis
    if own_rank and not 0 <= axis < rank:
        raise ValueError(f"axis {axis} of a tensor of rank {rank}")
    tensor = b.tensor(parameter)
    if own_rank == 0 or (own_rank == 1 and not block and axis == rank - 1):
        return tensor
    if own_rank == 1 and not block:
        column = b.lowered.constant("column", np.array([-1, *[1] * (rank - 1 - axis)], np.int64))
        return b.add("reshape", node, [tensor, column])[0]
    if own_rank != rank or block < 1:
        raise Unsupported("quantization parameters that do not fit the axis or its blocks")
    size = b.add("shape", node, [b.tensor(node.inputs[0])], {"start": axis, "end": axis + 1})
    zero, one, length = (b.lowered.constant("number", np.array(n, np.int64)) for n in (0, 1, block))
    positions = b.add("range", node, [zero, *size, one])
    blocks = b.add("binary", node, [*positions, length], {"op": "div"})
    return b.add("gather", node, [tensor, *blocks], {"axis": axis})[0]
