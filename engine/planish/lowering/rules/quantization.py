"""QuantizeLinear, DequantizeLinear, the QOperator forms and their com.microsoft relatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from planish.lowering.builder import Builder, Quantized, Target, Unsupported, check_scale, dtype_name, require, rule
from planish.lowering.rules import computed, linear
from planish.lowering.rules.dynamic import defer_dynamic
from planish.lowering.rules.elementwise import emit_qbinary, emit_table
from planish.lowering.rules.movement import requantize
from planish.lowering.rules.pooling import quantized_attrs
from planish.lowering.rules.quantization_parts import dequantize_by_parts, quantize_by_parts
from planish.lowering.weights import Weights

Array = npt.NDArray[Any]


@rule("QuantizeLinear")
def lower_quantize(b: Builder, node: ir.Node) -> None:
    for value in node.inputs[:2]:
        require(value, "float32")
    params = b.quantization(node)
    x, y = node.inputs[0], node.outputs[0]
    if params is None:
        _quantize_generally(b, node)
        return
    scale, zero = params
    source = b.quantized(x)
    if source is not None:
        b.define_bytes(y, requantize(b, node, source, scale, zero))
        return
    operands = [
        b.tensor(x),
        b.lowered.constant("scale", np.array(scale, np.float32)),
        b.lowered.constant("zero", np.array(zero, np.uint8)),
    ]
    (made,) = b.add("quantize", node, operands, {"dtype": "uint8", "channels_last": int(_feeds_windows(y))})
    b.define_bytes(y, made)


#: Operators that read their input channels-last.
_WINDOWS = frozenset({
    "AveragePool", "Conv", "ConvInteger", "ConvTranspose", "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "Resize",
})  # fmt: skip
#: Operators behind which the order of axes is another, or of no account.
_OTHER_ORDERS = frozenset({
    "Flatten", "Gather", "Gemm", "LayerNormalization", "MatMul", "MatMulInteger", "Reshape", "Transpose", "Unsqueeze",
})  # fmt: skip
_FAR = 64


def _feeds_windows(value: ir.Value) -> bool:
    """Whether an operator on windows reads the value, perhaps behind others that keep the order of axes."""
    queue, seen = [value], set[ir.Node]()
    while queue and len(seen) < _FAR:
        for user in queue.pop().consumers():
            if user.op_type in _WINDOWS:
                return True
            if user not in seen and user.op_type not in _OTHER_ORDERS:
                seen.add(user)
                queue.extend(user.outputs)
    return bool(queue)


def _quantize_generally(b: Builder, node: ir.Node) -> None:
    """Per axis or in blocks, computed scales, or other types than bytes."""
    y = node.outputs[0]
    dtype = dtype_name(y.dtype) if y.dtype is not None else "uint8"
    scale = b.constant(node.inputs[1])
    if scale is not None:
        check_scale(node.inputs[1], scale)
    if dtype not in ("uint8", "int8", "uint16", "int16") or node.attributes.get_int("block_size", 0) != 0:
        quantize_by_parts(b, node)
        return
    axis = node.attributes.get_int("axis", 1) if scale is None or scale.ndim == 1 else -1
    b.lower_to("quantize", node, node.inputs, {"dtype": dtype, "axis": _positive(node, axis)})


def _positive(node: ir.Node, axis: int) -> int:
    if axis >= 0 or node.inputs[0] is None or node.inputs[0].shape is None:
        return axis
    return axis + len(node.inputs[0].shape)


@rule("DequantizeLinear")
def lower_dequantize(b: Builder, node: ir.Node) -> None:
    x, y = node.inputs[0], node.outputs[0]
    if b.weights(y) is not None:
        return  # a weight form: read where it is used
    require(node.inputs[1], "float32")
    require(y, "float32")
    params = b.quantization(node)
    if params is not None and x is not None:
        b.deferred[y] = Quantized(b.bytes(x), *params)
        return
    if defer_dynamic(b, node):
        return
    by_kernel = x is None or x.dtype is None or dtype_name(x.dtype) in ("uint8", "int8", "int32", "uint16", "int16")
    if not by_kernel or node.attributes.get_int("block_size", 0) != 0:
        dequantize_by_parts(b, node)
        return
    scale = b.constant(node.inputs[1])
    axis = -1 if scale is not None and scale.size == 1 else node.attributes.get_int("axis", 1)
    b.lower_to("dequantize", node, node.inputs, {"axis": _positive(node, axis)})


# -- QOperator ---------------------------------------------------------------------------------------------------------


def _operand(b: Builder, node: ir.Node, at: int) -> Quantized:
    """The operand (bytes, scale, zero) that starts at input `at`."""
    value = node.inputs[at]
    signed = value is not None and value.dtype == ir.DataType.INT8
    zero = node.inputs[at + 2] if len(node.inputs) > at + 2 else None
    params = b.scale_and_zero(node.inputs[at + 1], zero, signed)
    if params is None or value is None:
        raise Unsupported("quantization parameters that are computed or per channel")
    return Quantized(b.bytes(value), *params)


def _result(b: Builder, node: ir.Node, at: int) -> Target:
    """The result's quantization, from inputs at, at + 1."""
    zero = node.inputs[at + 1] if len(node.inputs) > at + 1 else None
    y = node.outputs[0]
    params = b.scale_and_zero(node.inputs[at], zero, y.dtype == ir.DataType.INT8)
    if params is None:
        raise Unsupported("quantization parameters of the result that are computed")
    return Target(params[0], params[1], 0, 255, (y,), ())


def _stored(b: Builder, node: ir.Node, at: int) -> tuple[Array, Array | None]:
    """Constant scale and zero point of weights."""
    scale, zero = b.constant(node.inputs[at]), b.constant(node.inputs[at + 1])
    if scale is None or (node.inputs[at + 1] is not None and zero is None):
        raise Unsupported("quantization parameters of the weights that are computed")
    check_scale(node.inputs[at], scale)
    return scale, zero


def _integer_anchor(
    b: Builder, anchor: linear.Anchor, x: Quantized, scale: Array, zero: Array | None, bias: Array | None, y: Target
) -> None:
    n = anchor.attrs["N"]
    scales = np.broadcast_to(scale.astype(np.float32).ravel(), (n,))
    zeros = None if zero is None else np.broadcast_to(zero.ravel(), (n,))
    multiplier = np.float32(x.scale) * scales / np.float32(y.scale)
    ints = np.zeros(n, np.int64) if bias is None else bias.astype(np.int64).ravel()
    b.define_quantized(y, linear.emit_integer(b, anchor, x.tensor, x.zero, zeros, ints, multiplier, y))


@rule("QLinearConv")
def lower_qlinear_conv(b: Builder, node: ir.Node) -> None:
    bias = node.inputs[8] if len(node.inputs) > 8 else None
    known = [b.constant(node.inputs[i]) for i in (1, 2, 3, 4, 5, 6, 7)]
    if any(v is None for v in known) or (bias is not None and b.constant(bias) is None):
        _lower_computed_conv(b, node, bias)
        return
    x, y = _operand(b, node, 0), _result(b, node, 6)
    scale, zero = _stored(b, node, 4)
    _integer_anchor(b, linear.conv_anchor(b, node, node.inputs[3]), x, scale, zero, b.constant(bias), y)


def _lower_computed_conv(b: Builder, node: ir.Node, bias: ir.Value | None) -> None:
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = node.inputs[:8]
    scales = (computed.scale_of(b, node, v) for v in (x_scale, w_scale, y_scale))
    scale = computed.product_of_scales(b, node, *scales)
    real = computed.computed_conv_integer(b, node, (x, x_zero, w, w_zero), b.tensor(bias), scale)
    computed.define_rounded(b, node, real, y_zero)


@rule("QLinearMatMul")
def lower_qlinear_matmul(b: Builder, node: ir.Node) -> None:
    stored = b.constant(node.inputs[3])
    parameters = [b.constant(node.inputs[i]) for i in (1, 2, 6, 7, 4, 5)]
    scalar = [p is not None and p.size == 1 for p in parameters]
    if stored is not None and stored.ndim == 2 and all(scalar[:4]) and all(p is not None for p in parameters[4:]):
        x, y = _operand(b, node, 0), _result(b, node, 6)
        scales, zero = _stored(b, node, 4)
        _integer_anchor(b, linear.gemm_anchor(b, node, node.inputs[3], False), x, scales, zero, None, y)
    elif all(scalar):
        x, other, y = _operand(b, node, 0), _operand(b, node, 3), _result(b, node, 6)
        scale = float(np.float32(x.scale) * np.float32(other.scale) / np.float32(y.scale))
        attrs = {"dtype": "uint8", "lhs_zero": x.zero, "rhs_zero": other.zero, "scale": scale, "y_zero": y.zero}
        (made,) = b.add("matmul", node, [x.tensor, other.tensor], attrs)
        b.define_quantized(y, made)
    else:
        _lower_computed_matmul(b, node)


def _lower_computed_matmul(b: Builder, node: ir.Node) -> None:
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = node.inputs[:8]
    sums = computed.computed_product_integer(b, node, (x, x_zero, w, w_zero))
    rows = computed.row_scale_of(b, node, x_scale)
    columns, result = (computed.scale_of(b, node, v) for v in (w_scale, y_scale))
    scale = computed.product_of_scales(b, node, rows, columns, result)
    computed.define_rounded(b, node, computed.scaled(b, node, sums, scale), y_zero)


@rule("QGemm", domain="com.microsoft")
def lower_qgemm(b: Builder, node: ir.Node) -> None:
    if node.attributes.get_int("transA", 0) or node.attributes.get_float("alpha", 1.0) != 1.0 or len(node.inputs) < 9:
        raise Unsupported("QGemm with transA, alpha, or a float result")
    x, y = _operand(b, node, 0), _result(b, node, 7)
    scale, zero = _stored(b, node, 4)
    anchor = linear.gemm_anchor(b, node, node.inputs[3], bool(node.attributes.get_int("transB", 0)))
    _integer_anchor(b, anchor, x, scale, zero, b.constant(node.inputs[6]), y)


@rule("QLinearAdd", "QLinearMul", domain="com.microsoft")
def lower_qlinear_binary(b: Builder, node: ir.Node) -> None:
    op = "add" if node.op_type == "QLinearAdd" else "mul"
    emit_qbinary(b, node, op, _operand(b, node, 0), _operand(b, node, 3), _result(b, node, 6))


@rule("QLinearSigmoid", "QLinearLeakyRelu", domain="com.microsoft")
def lower_qlinear_unary(b: Builder, node: ir.Node) -> None:
    from planish import _core

    x, y = _operand(b, node, 0), _result(b, node, 3)
    op = {"QLinearSigmoid": "sigmoid", "QLinearLeakyRelu": "leaky_relu"}[node.op_type]
    values = (np.arange(256, dtype=np.float32) - np.float32(x.zero)) * np.float32(x.scale)
    result = np.empty(256, np.float32)
    _core.run_op("unary", [values], [result], {"op": op, "alpha": float(node.attributes.get_float("alpha", 0.01))})
    emit_table(b, node, x, y, result)


@rule("QLinearGlobalAveragePool", "QLinearAveragePool", domain="com.microsoft")
def lower_qlinear_pool(b: Builder, node: ir.Node) -> None:
    if node.attributes.get_int("channels_last", 0):
        raise Unsupported("channels_last")
    x, y = _operand(b, node, 0), _result(b, node, 3)
    attrs: dict[str, Any] = {"op": "average", **quantized_attrs(x, y)}
    if node.op_type == "QLinearAveragePool":
        attrs["kernel"] = list(node.attributes["kernel_shape"].as_ints())
        for key in ("strides", "pads"):
            if node.attributes.get_ints(key, None) is not None:
                attrs[key] = list(node.attributes[key].as_ints())
        attrs["auto_pad"] = node.attributes.get_string("auto_pad", "NOTSET")
        attrs["ceil_mode"] = node.attributes.get_int("ceil_mode", 0)
        attrs["count_include_pad"] = node.attributes.get_int("count_include_pad", 0)
    (made,) = b.add("pool", node, [x.tensor], attrs)
    b.define_quantized(y, made)


@rule("QLinearSoftmax", domain="com.microsoft")
def lower_qlinear_softmax(b: Builder, node: ir.Node) -> None:
    """Softmax in float, between its bytes. Attribute opset says what `axis` means: before 13 all from it on are one."""
    axis = node.attributes.get_int("axis", -1)
    flat = node.attributes.get_int("opset", 13) < 13
    x, y = _operand(b, node, 0), _result(b, node, 3)
    (rows,) = b.add("flatten", node, [x.tensor], {"axis": axis}) if flat else (x.tensor,)
    (real,) = b.add("dequantize", node, [rows, *_parameters(b, x.scale, x.zero)])
    (shares,) = b.add("softmax", node, [real], {"axis": -1 if flat else axis})
    (made,) = b.add("quantize", node, [shares, *_parameters(b, y.scale, y.zero)], {"dtype": "uint8"})
    if flat:
        (shape,) = b.add("shape", node, [x.tensor])
        (made,) = b.add("reshape", node, [made, shape], {"allowzero": 1})
    b.define_quantized(y, made)


def _parameters(b: Builder, scale: float, zero: int) -> list[int]:
    """Scale and zero point as tensors."""
    return [
        b.lowered.constant("scale", np.array(scale, np.float32)),
        b.lowered.constant("zero", np.array(zero, np.uint8)),
    ]


@rule("QLinearWhere", domain="com.microsoft")
def lower_qlinear_where(b: Builder, node: ir.Node) -> None:
    y = _result(b, node, 7)
    chosen = [requantize(b, node, _operand(b, node, at), y.scale, y.zero) for at in (1, 4)]
    (made,) = b.add("where", node, [b.tensor(node.inputs[0]), *chosen])
    b.define_quantized(y, made)


@rule("QLinearConcat", domain="com.microsoft")
def lower_qlinear_concat(b: Builder, node: ir.Node) -> None:
    y = _result(b, node, 0)
    pieces = [_operand(b, node, i) for i in range(2, len(node.inputs), 3)]
    joined = [requantize(b, node, p, y.scale, y.zero) for p in pieces]
    (made,) = b.add("concat", node, joined, {"axis": node.attributes["axis"].as_int()})
    b.define_quantized(y, made)


# -- low-bit weights ---------------------------------------------------------------------------------------------------


@rule("MatMulNBits", domain="com.microsoft")
def lower_matmul_nbits(b: Builder, node: ir.Node) -> None:
    """Weights B[N, blocks, block_size·bits/8] of 2, 4 or 8 bits with a scale and a zero point (default the middle) a
    block."""
    get = node.attributes
    n, k, block = (get[name].as_int() for name in ("N", "K", "block_size"))
    bits = get.get_int("bits", 4)
    inputs = [*node.inputs, *[None] * (6 - len(node.inputs))]
    stored, scales, zeros, bias = (b.constant(v) for v in (inputs[1], inputs[2], inputs[3], inputs[5]))
    computed = any(v is not None and c is None for v, c in ((inputs[3], zeros), (inputs[5], bias)))
    if stored is None or scales is None or computed or inputs[4] is not None or bits not in (2, 4, 8):
        raise Unsupported("MatMulNBits with computed weights, reordered groups, or an odd number of bits")
    blocks = -(-k // block)
    if stored.size != n * blocks * (block * bits // 8) or scales.size != n * blocks:
        raise ValueError(
            f"weights of {stored.size} bytes and {scales.size} scales for N {n}, K {k} in blocks of {block}"
        )
    values = _unpacked(stored.reshape(n, -1), bits)[:, :k]
    zero = _block_zeros(zeros, n, blocks, bits)
    weights = Weights(np.ascontiguousarray(values), scales.reshape(n, blocks).astype(np.float32), zero, 1, block, bits)
    anchor = linear.Anchor(node, "gemm", weights, {"family": "gemm", "N": n, "K": k}, trans_b=True)
    b.define(
        node.outputs[0],
        linear.emit_float(
            b, anchor, b.tensor(node.inputs[0]), None if bias is None else bias.ravel().astype(np.float32)
        ),
    )


def _unpacked(packed: Array, bits: int) -> Array:
    """[rows, bytes] → [rows, bytes·8/bits], low bits first."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    split = (packed.view(np.uint8)[:, :, None] >> shifts) & np.uint8((1 << bits) - 1)
    return np.asarray(split.reshape(len(packed), -1), np.uint8)


def _block_zeros(zeros: Array | None, n: int, blocks: int, bits: int) -> Array:
    """Zero points [N, blocks]: packed as the weights are, rows padded to whole bytes."""
    if zeros is None:
        return np.full((n, blocks), 1 << (bits - 1), np.uint8)
    if zeros.dtype != np.uint8:
        raise Unsupported("MatMulNBits with zero points that are not packed")
    return np.ascontiguousarray(_unpacked(zeros.reshape(n, -1), bits)[:, :blocks])
