"""Activations, fused products and normalisations of com.microsoft, in standard operators.

The meaning of each is in ONNX Runtime's ContribOperators.md. A rule returns False where it declines a form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir

from planish.passes.chain import Chain
from planish.passes.patterns import dims_of, input_at, output_at, rank_of

Rule = Callable[[onnx_ir.Node], bool]
Value = onnx_ir.Value

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
    """alpha · A B, either side transposed in its last two axes first."""
    get = node.attributes
    if get.get_int("transBatchA", 0) or get.get_int("transBatchB", 0):
        return False
    sides = list(zip(node.inputs, ("transA", "transB"), strict=True))
    if any(get.get_int(attribute, 0) and rank_of(value) is None for value, attribute in sides):
        return False
    c = Chain(node)
    operands = [_transposed(c, value) if get.get_int(attribute, 0) else value for value, attribute in sides]
    alpha = get.get_float("alpha", 1.0)
    product = c.op("MatMul", *operands)
    return c.finish(product if alpha == 1.0 else c.op("Mul", product, c.like(alpha, product)))


def _transposed(c: Chain, value: Value | None) -> Value | None:
    rank = rank_of(value)
    assert rank is not None
    return value if rank < 2 else c.op("Transpose", value, perm=[*range(rank - 2), rank - 1, rank - 2])


def _skip_layer_norm(node: onnx_ir.Node) -> bool:
    """Layer normalisation of input + skip + bias, over the last axis."""
    if any(output_at(node, i) is not None for i in (1, 2)):
        return False
    x, skip, gamma, *rest = node.inputs
    beta, bias = (*rest, None, None)[:2]
    c = Chain(node)
    total = c.op("Add", x, skip)
    if bias is not None:
        total = c.op("Add", total, bias)
    made = _normalised(c, total, gamma, beta)
    return c.finish(made, None, None, total if output_at(node, 3) is not None else None)


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
