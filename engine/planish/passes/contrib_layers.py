"""Activations, fused products and normalisations of com.microsoft, in standard operators.

The meaning of each is in ONNX Runtime's ContribOperators.md. A rule returns False where it declines a form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir

from planish.passes.chain import Chain
from planish.passes.patterns import dims_of, input_at, output_at, rank_of
from planish.passes.rewrite import insert_before, make_node

Rule = Callable[[onnx_ir.Node], bool]
Value = onnx_ir.Value
_FLOAT = onnx_ir.DataType.FLOAT

#: Activation → its parameters, in the order of `activation_params`, and their defaults.
_ACTIVATIONS: dict[str, tuple[tuple[str, float], ...]] = {
    "Relu": (), "Tanh": (), "Sigmoid": (), "Softplus": (), "Softsign": (), "LeakyRelu": (("alpha", 0.01),),
    "HardSigmoid": (("alpha", 0.2), ("beta", 0.5)), "Elu": (("alpha", 1.0),), "ThresholdedRelu": (("alpha", 1.0),),
}  # fmt: skip
_FUSION = ("activation", "activation_params", "activation_alpha", "activation_beta", "activation_gamma")


def _gelu(node: onnx_ir.Node) -> bool:
    c, x = Chain(node), node.inputs[0]
    bias = input_at(node, 1)
    assert x is not None
    shifted = x if bias is None else c.op("Add", x, bias)
    return c.finish(c.op("Gelu", shifted, approximate="tanh" if node.op_type == "FastGelu" else "none"))


def _quick_gelu(node: onnx_ir.Node) -> bool:
    """x · sigmoid(alpha · x)"""
    c, x = Chain(node), node.inputs[0]
    assert x is not None
    scaled = c.op("Mul", x, c.like(node.attributes.get_float("alpha", 1.702), x))
    return c.finish(c.op("Mul", x, c.op("Sigmoid", scaled)))


def _activated(c: Chain, value: Value) -> Value | None:
    """The value behind the node's attribute `activation`; None for one without a rule."""
    get = c.node.attributes
    name = get.get_string("activation", "")
    if not name:
        return value
    given = list(get.get_floats("activation_params", ()))
    if not given:
        named = (get.get_float(f"activation_{p}", None) for p in ("alpha", "beta"))
        given = [p for p in named if p is not None]
    if name == "Clip":
        low, high = (*given, *(-np.inf, np.inf)[len(given) :])[:2]
        return c.op("Clip", value, c.like(low, value), c.like(high, value))
    if name not in _ACTIVATIONS:
        return None
    parameters: dict[str, Any] = dict(_ACTIVATIONS[name])
    parameters.update(zip(parameters, given, strict=False))
    return c.op(name, value, **parameters)


def _without_fusion(node: onnx_ir.Node) -> dict[str, Any]:
    return {name: a.value for name, a in node.attributes.items() if name not in _FUSION}


def _fused_conv(node: onnx_ir.Node) -> bool:
    """Conv, then the addition of input 3, then the activation."""
    name = node.attributes.get_string("activation", "")
    if name and name != "Clip" and name not in _ACTIVATIONS:
        return False
    c, z = Chain(node), input_at(node, 3)
    y = c.op("Conv", *(v for v in node.inputs[:3] if v is not None), **_without_fusion(node))
    return c.finish(_activated(c, y if z is None else c.op("Add", y, z)))


def _fused_gemm(node: onnx_ir.Node) -> bool:
    name = node.attributes.get_string("activation", "")
    if name and name != "Clip" and name not in _ACTIVATIONS:
        return False
    c = Chain(node)
    return c.finish(_activated(c, c.op("Gemm", *node.inputs, **_without_fusion(node))))


def _fused_matmul(node: onnx_ir.Node) -> bool:
    """alpha · A B; before that, either side's first axis moves behind its batch, and its last two change places."""
    c, operands = Chain(node), []
    for value, side in zip(node.inputs, "AB", strict=True):
        batch, last = (bool(node.attributes.get_int(f"trans{what}{side}", 0)) for what in ("Batch", ""))
        rank = rank_of(value)
        if (batch or last) and rank is None:
            return False
        operands.append(value if rank is None else _transposed(c, value, rank, batch, last))
    alpha = node.attributes.get_float("alpha", 1.0)
    product = c.op("MatMul", *operands)
    return c.finish(product if alpha == 1.0 else c.op("Mul", product, c.like(alpha, product)))


def _transposed(c: Chain, value: Value | None, rank: int, batch: bool, last: bool) -> Value | None:
    order = list(range(rank))
    if batch and rank > 2:
        order = [*order[1:-1], 0, order[-1]]
    if last and rank > 1:
        order[-2:] = order[:-3:-1]
    return value if order == list(range(rank)) else c.op("Transpose", value, perm=order)


def _skip_layer_norm(node: onnx_ir.Node) -> bool:
    """Layer normalisation of input + skip + bias, over the last axis."""
    x, skip, gamma, *rest = node.inputs
    beta, bias = (*rest, None, None)[:2]
    c = Chain(node)
    total = c.op("Add", x, skip)
    if bias is not None:
        total = c.op("Add", total, bias)
    made: Sequence[Value | None] = (_normalised(c, total, gamma, beta), None, None)
    if any(output_at(node, i) is not None for i in (1, 2)):
        made = _with_statistics(c, total, gamma, beta)
    return c.finish(*made, total if output_at(node, 3) is not None else None)


def _with_statistics(c: Chain, x: Value, gamma: Value | None, beta: Value | None) -> Sequence[Value | None]:
    """`_normalised`, the mean and the inverse of the deviation."""
    attributes = {"axis": -1, "epsilon": c.node.attributes.get_float("epsilon", 1e-12)}
    made = make_node("LayerNormalization", [x, gamma, beta], attributes, outputs=3)
    insert_before(c.node, made)
    for value, dtype in zip(made.outputs, (x.dtype, _FLOAT, _FLOAT), strict=True):
        value.type = onnx_ir.TensorType(dtype or _FLOAT)
    return made.outputs


def _normalised(c: Chain, x: Value, gamma: Value | None, beta: Value | None) -> Value:
    """x normalised over its last axis, times gamma plus beta."""
    operands = [x, gamma] if beta is None else [x, gamma, beta]
    epsilon = c.node.attributes.get_float("epsilon", 1e-12)
    return c.op("LayerNormalization", *operands, axis=-1, epsilon=epsilon)


def _embed_layer_norm(node: onnx_ir.Node) -> bool:
    """The sum of word, position and segment embeddings, normalised; and how many tokens of each text the mask keeps."""
    ids, segments, words, positions, segment_rows, gamma, beta, *rest = node.inputs
    mask, position_ids = (*rest, None, None)[:2]
    c = Chain(node)
    int64 = onnx_ir.DataType.INT64
    if position_ids is None:
        length = c.op("Squeeze", c.op("Shape", ids, start=1, end=2, dtype=int64))
        zero, one = (c.constant(np.array(n, np.int64), "number") for n in (0, 1))
        position_ids = c.op("Range", zero, length, one)
    total = c.op("Add", c.op("Gather", words, ids, axis=0), c.op("Gather", positions, position_ids, axis=0))
    if segments is not None and segment_rows is not None:
        total = c.op("Add", total, c.op("Gather", segment_rows, segments, axis=0))
    made = _normalised(c, total, gamma, beta)
    count = None
    if output_at(node, 1) is not None:
        if mask is None:
            zeros = onnx_ir.Tensor(np.zeros(1, np.int32))
            batch = c.op("Shape", ids, start=0, end=1, dtype=int64)
            count = c.op("ConstantOfShape", batch, value=zeros, dtype=onnx_ir.DataType.INT32)
        else:
            count = c.op("ReduceSum", mask, c.ints(1), keepdims=0)
    return c.finish(made, count, total if output_at(node, 2) is not None else None)


def _bias_split_gelu(node: onnx_ir.Node) -> bool:
    """Halves a, g of x + bias along the last axis: a · gelu(g)."""
    x, bias = node.inputs
    dims = dims_of(bias)
    if dims is None or dims[-1] is None or dims[-1] % 2:
        return False
    c = Chain(node)
    left, gate = c.split(c.op("Add", x, bias), [dims[-1] // 2] * 2, -1)
    return c.finish(c.op("Mul", left, c.op("Gelu", gate)))


RULES: dict[str, Rule] = {
    "BiasGelu": _gelu,
    "BiasSplitGelu": _bias_split_gelu,
    "EmbedLayerNormalization": _embed_layer_norm,
    "FastGelu": _gelu,
    "FusedConv": _fused_conv,
    "FusedGemm": _fused_gemm,
    "FusedMatMul": _fused_matmul,
    "Gelu": _gelu,
    "QuickGelu": _quick_gelu,
    "SkipLayerNormalization": _skip_layer_norm,
    "TransposeMatMul": _fused_matmul,
}
