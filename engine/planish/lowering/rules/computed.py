"""Integer layers of which the weights, scales or zero points are known only in the run.

With raw sums of the micro-kernels, Σ(x - zx)(w - zw) + b is composed from ordinary steps: zx goes into a bias computed
per run, and quantized results are float sums times a vector of scales, quantized with scale one, which rounds as the
epilogue of constant layers does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from planish.lowering.builder import Builder, Unsupported
from planish.lowering.lowered import ABSENT
from planish.lowering.rules import linear
from planish.lowering.rules.dynamic import pad_with


def computed_conv_integer(
    b: Builder, node: ir.Node, operands: Sequence[ir.Value | None], bias: int = ABSENT, scale: int = ABSENT
) -> int:
    """Σ(x - zx)(w - zw) + bias of the operands x, zx, w, zw: int32, or float32 where it is multiplied by `scale`.

    bias: a tensor of int32 [N]; scale: of float32, one element or [N].
    """
    x, x_zero, w, w_zero = operands
    assert x is not None and w is not None
    window = linear.conv_attrs(node)
    bytes_, zero = b.bytes(x), _byte_zero(b, x, x_zero)
    signed, w_shift = _signed(b, node, w, w_zero)
    rank = _rank(w)
    wide = _cast(b, node, signed, "int32")
    if w_shift != ABSENT:
        wide = _binary(b, node, "sub", wide, _reshape(b, node, w_shift, [-1, *[1] * (rank - 1)]))
    attrs = {"op": "sum", "keepdims": 0, "noop": 0, "axes": list(range(1, rank))}
    (sums,) = b.add("reduce", node, [wide], attrs)
    offset = _binary(b, node, "mul", sums, _cast(b, node, zero, "int32"))
    full = _binary(b, node, "sub", _zero(b) if bias == ABSENT else bias, offset)
    vectors = [v if v == ABSENT else _per_output(b, node, v, signed) for v in (scale, w_shift)]
    window["kernel"] = node.attributes.get_ints("kernel_shape", None) or _kernel(w)
    padded = pad_with(b, node, window, bytes_, zero)
    del window["kernel"]
    step = {**window, "dtype": "int32" if scale == ABSENT else "float32", "x_zero": 0}
    (made,) = b.add("computed_conv", node, [padded, signed, full, *vectors], step)
    return made


def computed_product_integer(b: Builder, node: ir.Node, operands: Sequence[ir.Value | None]) -> int:
    """Σ(x - zx)(w - zw) of the operands x, zx, w, zw of a MatMul, as int32; zero points may be per row of x and per
    column of w."""
    x, x_zero, w, w_zero = operands
    assert x is not None and w is not None
    rows = _column(b, node, _wide_zero(b, node, x, x_zero), x_zero)
    columns = _wide_zero(b, node, w, w_zero)
    left, right = b.bytes(x), b.bytes(w)
    (product,) = b.add("matmul", node, [left, right], {"dtype": "int32", "lhs_zero": 0, "rhs_zero": 0})
    shifted = _binary(b, node, "sub", _cast(b, node, left, "int32"), rows)
    for wide, axis, zero in ((shifted, -1, columns), (_cast(b, node, right, "int32"), -2, rows)):
        attrs = {"op": "sum", "keepdims": 1, "noop": 0, "axes": [axis]}
        (sums,) = b.add("reduce", node, [wide], attrs)
        product = _binary(b, node, "sub", product, _binary(b, node, "mul", sums, zero))
    return product


def product_of_scales(b: Builder, node: ir.Node, left: int, right: int, result: int) -> int:
    """(left · right) / result in float32, in this order."""
    return _binary(b, node, "div", _binary(b, node, "mul", left, right), result)


def scale_of(b: Builder, node: ir.Node, value: ir.Value | None) -> int:
    """A scale as float32."""
    tensor = b.tensor(value)
    return tensor if value is None or value.dtype == ir.DataType.FLOAT else _cast(b, node, tensor, "float32")


def row_scale_of(b: Builder, node: ir.Node, value: ir.Value | None) -> int:
    """A scale per row of a matrix, as a column."""
    return _column(b, node, scale_of(b, node, value), value)


def scaled(b: Builder, node: ir.Node, sums: int, scale: int) -> int:
    """int32 sums times a scale, as float32."""
    return _binary(b, node, "mul", _cast(b, node, sums, "float32"), scale)


def define_rounded(b: Builder, node: ir.Node, real: int, zero: ir.Value | None) -> None:
    """The node's result is `real`, in units of its scale, rounded and shifted by its zero point."""
    y = node.outputs[0]
    one = b.lowered.constant("one", np.array(1, np.float32))
    shift = _byte_zero(b, y, zero)
    (made,) = b.add("quantize", node, [real, one, shift], {"dtype": "uint8", "channels_last": 1})
    b.define_bytes(y, made)


# -- parts -------------------------------------------------------------------------------------------------------------


def _byte_zero(b: Builder, x: ir.Value, zero: ir.Value | None) -> int:
    """The zero point of x in the u8 representation."""
    if zero is not None:
        return b.bytes(zero)
    return b.lowered.constant("zero", np.array(128 if x.dtype == ir.DataType.INT8 else 0, np.uint8))


def _wide_zero(b: Builder, node: ir.Node, x: ir.Value, zero: ir.Value | None) -> int:
    return _cast(b, node, _byte_zero(b, x, zero), "int32")


def _signed(b: Builder, node: ir.Node, w: ir.Value, zero: ir.Value | None) -> tuple[int, int]:
    """Weights as s8, and their zero point as int32 (ABSENT: zero); u8 ones have 128 subtracted from both."""
    if w.dtype == ir.DataType.INT8:
        return b.tensor(w), ABSENT if zero is None else _cast(b, node, b.tensor(zero), "int32")
    stored = b.flip(w.name or "weights", b.tensor(w), "int8")
    if zero is None:
        return stored, b.lowered.constant("zero", np.array([-128], np.int32))
    return stored, _cast(b, node, b.flip(zero.name or "zero", b.tensor(zero), "int8"), "int32")


def _rank(w: ir.Value) -> int:
    if w.shape is None:
        raise Unsupported("weights of unknown rank")
    return len(w.shape)


def _kernel(w: ir.Value) -> list[int] | None:
    """The window of weights [N, C, k…], or None where it is not known before the run."""
    sizes = [d for d in (w.shape or ())[2:] if isinstance(d, int)]
    return sizes if w.shape is not None and len(sizes) == len(w.shape) - 2 else None


def _per_output(b: Builder, node: ir.Node, vector: int, w: int) -> int:
    """One element or a vector [N], as a vector of the first dimension of w."""
    flat = _reshape(b, node, vector, [-1])
    (shape,) = b.add("shape", node, [w])
    first = b.lowered.constant("first", np.array([0], np.int64))
    (n,) = b.add("gather", node, [shape, first], {"axis": 0})
    (made,) = b.add("expand", node, [flat, n])
    return made


def _column(b: Builder, node: ir.Node, tensor: int, value: ir.Value | None) -> int:
    """A vector per row as a column that broadcasts against a matrix; scalars stay."""
    if value is None or value.shape is None or len(value.shape) != 1 or value.shape[0] == 1:
        return tensor
    return _reshape(b, node, tensor, [-1, 1])


def _zero(b: Builder) -> int:
    return b.lowered.constant("zero", np.array([0], np.int32))


def _reshape(b: Builder, node: ir.Node, tensor: int, shape: list[int]) -> int:
    (made,) = b.add("reshape", node, [tensor, b.lowered.constant("shape", np.array(shape, np.int64))])
    return made


def _cast(b: Builder, node: ir.Node, tensor: int, to: str) -> int:
    (made,) = b.add("cast", node, [tensor], {"to": to})
    return made


def _binary(b: Builder, node: ir.Node, op: str, left: int, right: int) -> int:
    (made,) = b.add("binary", node, [left, right], {"op": op})
    return made
