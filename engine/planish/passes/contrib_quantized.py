"""Quantized operators of com.microsoft, in standard operators.

Those of which the lowering takes the common form as it is are written out only in their other forms: with parameters
computed in the run, transposed or scaled operands, channels last. A rule returns False where it declines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir

from planish.passes.chain import Chain
from planish.passes.patterns import input_at, is_constant, rank_of

Rule = Callable[[onnx_ir.Node], bool]
Value = onnx_ir.Value
_FLOAT, _INT32 = onnx_ir.DataType.FLOAT, onnx_ir.DataType.INT32


def _dynamic_quantize_matmul(node: onnx_ir.Node) -> bool:
    """A quantized in the run, times integers B, scaled back."""
    a, b, b_scale, b_zero, bias = (*node.inputs, None, None)[:5]
    c = Chain(node)
    quantized = onnx_ir.Node("", "DynamicQuantizeLinear", [a], num_outputs=3)
    node.graph.insert_before(node, quantized)  # type: ignore[union-attr]
    bytes_, scale, zero = quantized.outputs
    for value, dtype in ((bytes_, onnx_ir.DataType.UINT8), (scale, _FLOAT), (zero, onnx_ir.DataType.UINT8)):
        value.type = onnx_ir.TensorType(dtype)
    return c.finish(_scaled_product(c, (bytes_, b), (zero, b_zero), (scale, b_scale), bias))


def _matmul_integer_to_float(node: onnx_ir.Node) -> bool:
    a, b, a_scale, b_scale, a_zero, b_zero, bias = (*node.inputs, None, None, None)[:7]
    if (rank_of(a_scale) or 0) > 0 and not is_constant(a_scale):
        return False
    c = Chain(node)
    return c.finish(_scaled_product(c, (a, b), (a_zero, b_zero), (a_scale, b_scale), bias))


def _scaled_product(
    c: Chain,
    operands: Sequence[Value | None],
    zeros: Sequence[Value | None],
    scales: Sequence[Value | None],
    bias: Value | None,
) -> Value:
    """float(MatMulInteger) · (sa · sb) + bias"""
    sums = c.op("MatMulInteger", *operands, *zeros, dtype=_INT32)
    factor = c.op("Mul", *scales)
    real = c.op("Mul", c.op("Cast", sums, to=int(_FLOAT), dtype=_FLOAT), factor)
    return real if bias is None else c.op("Add", real, bias)


def _qgemm(node: onnx_ir.Node) -> bool:
    """alpha · A B + C, with C in units of alpha · sa · sb; a float where there is no scale of the result."""
    inputs = [*node.inputs, *[None] * (9 - len(node.inputs))]
    a, a_scale, a_zero, b, b_scale, b_zero, bias, y_scale, y_zero = inputs[:9]
    get = node.attributes
    alpha, transposed = get.get_float("alpha", 1.0), bool(get.get_int("transA", 0))
    parameters = (a_scale, a_zero, b_scale, b_zero, y_scale, y_zero)
    if (
        alpha == 1.0
        and not transposed
        and all(map(is_constant, (*parameters, b)))
        and (bias is None or is_constant(bias))
    ):
        return False
    c = Chain(node)
    left = c.op("Transpose", a, perm=[1, 0]) if transposed else a
    right = c.op("Transpose", b, perm=[1, 0]) if get.get_int("transB", 0) else b
    sums = c.op("MatMulInteger", left, right, a_zero, b_zero, dtype=_INT32)
    if bias is not None:
        sums = c.op("Add", sums, bias)
    factor = c.op("Mul", a_scale, b_scale)
    if alpha != 1.0:
        factor = c.op("Mul", c.constant(np.array(alpha, np.float32), "alpha"), factor)
    real = c.op("Mul", c.op("Cast", sums, to=int(_FLOAT), dtype=_FLOAT), factor)
    if y_scale is None:
        return c.finish(real)
    return c.finish(_quantized(c, real, y_scale, y_zero))


def _quantized(c: Chain, x: Value, scale: Value | None, zero: Value | None) -> Value:
    operands = [x, scale] if zero is None else [x, scale, zero]
    return c.op("QuantizeLinear", *operands, dtype=zero.dtype if zero is not None else onnx_ir.DataType.UINT8)


def _real(c: Chain, at: int) -> Value:
    """The operand (bytes, scale, zero) that starts at input `at`, dequantized."""
    x, scale, zero = (input_at(c.node, at + i) for i in range(3))
    operands = [x, scale] if zero is None else [x, scale, zero]
    return c.op("DequantizeLinear", *operands, dtype=_FLOAT)


def _all_constant(node: onnx_ir.Node, *positions: int) -> bool:
    return all(input_at(node, i) is None or is_constant(input_at(node, i)) for i in positions)


def _qlinear_binary(node: onnx_ir.Node) -> bool:
    if _all_constant(node, 1, 2, 4, 5, 6, 7):
        return False
    c = Chain(node)
    made = c.op(node.op_type.removeprefix("QLinear"), _real(c, 0), _real(c, 3))
    return c.finish(_quantized(c, made, node.inputs[6], input_at(node, 7)))


def _qlinear_unary(node: onnx_ir.Node) -> bool:
    if _all_constant(node, 1, 2, 3, 4):
        return False
    c = Chain(node)
    attributes = {name: a.value for name, a in node.attributes.items()}
    made = c.op(node.op_type.removeprefix("QLinear"), _real(c, 0), **attributes)
    return c.finish(_quantized(c, made, node.inputs[3], input_at(node, 4)))


def _qlinear_pool(node: onnx_ir.Node) -> bool:
    """Channels last are moved to where ONNX has them, around the pool."""
    rank = rank_of(node.inputs[0])
    last = bool(node.attributes.get_int("channels_last", 0))
    if (_all_constant(node, 1, 2, 3, 4) and not last) or (last and rank is None):
        return False
    c = Chain(node)
    attributes = {name: a.value for name, a in node.attributes.items() if name != "channels_last"}
    x = _real(c, 0)
    if last and rank is not None:
        x = c.op("Transpose", x, perm=[0, rank - 1, *range(1, rank - 1)])
    y = c.op(node.op_type.removeprefix("QLinear"), x, **attributes)
    if last and rank is not None:
        y = c.op("Transpose", y, perm=[0, *range(2, rank), 1])
    return c.finish(_quantized(c, y, node.inputs[3], input_at(node, 4)))


def _qlinear_concat(node: onnx_ir.Node) -> bool:
    starts = range(2, len(node.inputs), 3)
    if _all_constant(node, 0, 1, *(i + k for i in starts for k in (1, 2))):
        return False
    c = Chain(node)
    made = c.op("Concat", *(_real(c, i) for i in starts), axis=node.attributes["axis"].as_int())
    return c.finish(_quantized(c, made, node.inputs[0], node.inputs[1]))


RULES: dict[str, Rule] = {
    "DynamicQuantizeMatMul": _dynamic_quantize_matmul,
    "MatMulIntegerToFloat": _matmul_integer_to_float,
    "QGemm": _qgemm,
    "QLinearAdd": _qlinear_binary,
    "QLinearAveragePool": _qlinear_pool,
    "QLinearConcat": _qlinear_concat,
    "QLinearGlobalAveragePool": _qlinear_pool,
    "QLinearLeakyRelu": _qlinear_unary,
    "QLinearMul": _qlinear_binary,
    "QLinearSigmoid": _qlinear_unary,
}
