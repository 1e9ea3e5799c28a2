"""Softmax and the normalisations: layer, root mean square, batch, instance, group."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from planish.lowering.builder import Builder, Unsupported, require, rule


@rule("Softmax", "LogSoftmax")
def lower_softmax(b: Builder, node: ir.Node) -> None:
    x = node.inputs[0]
    require(x, "float32", "float64", "float16")
    assert x is not None
    default = -1 if b.opset >= 13 else 1
    axis = node.attributes.get_int("axis", default)
    log = int(node.op_type == "LogSoftmax")
    if b.opset < 13:
        rank = len(x.shape) if x.shape is not None else None
        if rank is None or axis % rank != rank - 1:
            raise Unsupported("Softmax before opset 13 over several axes")
    if x.dtype == ir.DataType.FLOAT:
        b.lower_to("softmax", node, node.inputs, {"axis": axis, "log": log})
    else:
        _lower_softmax_by_parts(b, node, axis, bool(log))


def _lower_softmax_by_parts(b: Builder, node: ir.Node, axis: int, log: bool) -> None:
    """exp(x - max) / Σ exp(x - max), or x - max - ln Σ exp(x - max), for types that the kernel lacks.

    float16 computes in float32 and rounds every part: Attention's default is softmax in the type of its operands, and
    the standard means its body's operators by that. A sum of more powers than float16 can count, or of a number that
    the model leaves open, is not rounded.
    """
    half = node.inputs[0] is not None and node.inputs[0].dtype == ir.DataType.FLOAT16

    def made(kind: str, operands: list[int], **attrs: Any) -> int:
        return b.add(kind, node, operands, attrs)[0]

    def rounded(tensor: int) -> int:
        return made("cast", [made("cast", [tensor], to="float16")], to="float32") if half else tensor

    along = {"keepdims": 1, "noop": 0, "axes": [axis]}
    x = b.tensor(node.inputs[0])
    x = made("cast", [x], to="float32") if half else x
    shifted = rounded(made("binary", [x, made("reduce", [x], op="max", **along)], op="sub"))
    powers = rounded(made("unary", [shifted], op="exp"))
    total = made("reduce", [powers], op="sum", **along)
    if half and _length(node.inputs[0], axis) <= float(np.finfo(np.float16).max):
        total = rounded(total)
    if log:
        result = made("binary", [shifted, rounded(made("unary", [total], op="log"))], op="sub")
    else:
        result = made("binary", [powers, total], op="div")
    b.define(node.outputs[0], made("cast", [result], to="float16") if half else result)


def _length(value: ir.Value | None, axis: int) -> float:
    """The length of an axis; infinite where the model does not say."""
    shape = value.shape if value is not None else None
    length = shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None
    return length if isinstance(length, int) else np.inf


@rule("LayerNormalization")
def lower_layer_norm(b: Builder, node: ir.Node) -> None:
    if len(node.outputs) > 1 and any(b.used(v) for v in node.outputs[1:]):
        raise Unsupported("the mean or deviation of LayerNormalization is used")
    require(node.inputs[0], "float32")
    attrs = {
        "axis": node.attributes.get_int("axis", -1),
        "eps": float(node.attributes.get_float("epsilon", 1e-5)),
        "op": "layer",
    }
    (made,) = b.add("layer_norm", node, [b.tensor(v) for v in node.inputs], attrs)
    b.define(node.outputs[0], made)


@rule("RMSNormalization")
def lower_rms_norm(b: Builder, node: ir.Node) -> None:
    require(node.inputs[0], "float32")
    attrs = {
        "axis": node.attributes.get_int("axis", -1),
        "eps": float(node.attributes.get_float("epsilon", 1e-5)),
        "op": "rms",
    }
    b.lower_to("layer_norm", node, node.inputs, attrs)


@rule("SimplifiedLayerNormalization")
@rule("SimplifiedLayerNormalization", domain="com.microsoft")
def lower_simplified_layer_norm(b: Builder, node: ir.Node) -> None:
    """ONNX Runtime's name for RMSNormalization; exporters write it in either domain."""
    if len(node.outputs) > 1 and any(b.used(v) for v in node.outputs[1:]):
        raise Unsupported("the inverse deviation of SimplifiedLayerNormalization is used")
    require(node.inputs[0], "float32")
    _root_mean_square(b, node, b.tensor(node.inputs[0]), node.inputs[1], node.attributes.get_int("axis", -1))


@rule("SkipSimplifiedLayerNormalization", domain="com.microsoft")
def lower_skip_simplified_layer_norm(b: Builder, node: ir.Node) -> None:
    """RMSNormalization of input + skip + bias; output 3 is that sum."""
    if any(b.used(v) for v in node.outputs[1:3]):
        raise Unsupported("the mean or deviation of SkipSimplifiedLayerNormalization is used")
    require(node.inputs[0], "float32")
    x, skip, gamma, bias = (*node.inputs, None)[:4]
    total = b.tensor(x)
    for addend in (skip, bias):
        if addend is not None:
            (total,) = b.add("binary", node, [total, b.tensor(addend)], {"op": "add"})
    _root_mean_square(b, node, total, gamma, -1)
    if len(node.outputs) > 3:
        b.define(node.outputs[3], total)


def _root_mean_square(b: Builder, node: ir.Node, x: int, gamma: ir.Value | None, axis: int) -> None:
    attrs = {"axis": axis, "eps": float(node.attributes.get_float("epsilon", 1e-5)), "op": "rms"}
    (made,) = b.add("layer_norm", node, [x, b.tensor(gamma)], attrs)
    b.define(node.outputs[0], made)


@rule("BatchNormalization")
def lower_batch_norm(b: Builder, node: ir.Node) -> None:
    """What canonicalisation could not fold: per-channel scale and shift."""
    parameters = [b.constant(v) for v in node.inputs[1:5]]
    rank = _rank(node)
    if any(p is None for p in parameters) or node.attributes.get_int("training_mode", 0) != 0:
        _lower_computed_batch_norm(b, node, rank)
        return
    scale, shift, mean, variance = (np.asarray(p, np.float64) for p in parameters)
    factor = scale / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
    shape = (-1, *[1] * (rank - 2))
    multiplier = b.lowered.constant("scale", factor.reshape(shape).astype(np.float32))
    offset = b.lowered.constant("shift", (shift - mean * factor).reshape(shape).astype(np.float32))
    (scaled,) = b.add("binary", node, [b.tensor(node.inputs[0]), multiplier], {"op": "mul"})
    (made,) = b.add("binary", node, [scaled, offset], {"op": "add"})
    b.define(node.outputs[0], made)


def _lower_computed_batch_norm(b: Builder, node: ir.Node, rank: int) -> None:
    """(x - mean) · (scale / sqrt(variance + epsilon)) + bias, of parameters computed in the run; in training mode mean
    and variance are the batch's, and the running ones move towards them."""
    for value in node.inputs[1:5]:
        require(value, "float32")
    column = b.lowered.constant("column", np.array([-1, *[1] * (rank - 2)], np.int64))
    x = b.tensor(node.inputs[0])
    scale, bias, mean, variance = (b.add("reshape", node, [b.tensor(v), column])[0] for v in node.inputs[1:5])
    if node.attributes.get_int("training_mode", 0) != 0:
        running = (mean, variance)
        axes = {"op": "mean", "keepdims": 1, "noop": 0, "axes": [0, *range(2, rank)]}
        (mean,) = b.add("reduce", node, [x], axes)
        centred = _binary(b, node, "sub", x, mean)
        (variance,) = b.add("reduce", node, [_binary(b, node, "mul", centred, centred)], axes)
        _define_running(b, node, running, (mean, variance))
    epsilon = b.lowered.constant("epsilon", np.array(node.attributes.get_float("epsilon", 1e-5), np.float32))
    (deviation,) = b.add("unary", node, [_binary(b, node, "add", variance, epsilon)], {"op": "sqrt"})
    factor = _binary(b, node, "div", scale, deviation)
    scaled = _binary(b, node, "mul", _binary(b, node, "sub", x, mean), factor)
    b.define(node.outputs[0], _binary(b, node, "add", scaled, bias))


def _define_running(b: Builder, node: ir.Node, before: tuple[int, int], batch: tuple[int, int]) -> None:
    """Outputs 1 and 2: the running mean and variance, momentum · before + (1 - momentum) · the batch's."""
    momentum = np.float32(node.attributes.get_float("momentum", 0.9))
    flat = b.lowered.constant("flat", np.array([-1], np.int64))
    keep, take = (b.lowered.constant("momentum", np.array(m, np.float32)) for m in (momentum, 1 - momentum))
    for value, old, new in zip(node.outputs[1:], before, batch, strict=False):
        moved = _binary(b, node, "add", _binary(b, node, "mul", old, keep), _binary(b, node, "mul", new, take))
        b.define(value, b.add("reshape", node, [moved, flat])[0])


def _binary(b: Builder, node: ir.Node, op: str, left: int, right: int) -> int:
    (made,) = b.add("binary", node, [left, right], {"op": op})
    return made


@rule("InstanceNormalization")
def lower_instance_norm(b: Builder, node: ir.Node) -> None:
    rank = _rank(node)
    x = b.tensor(node.inputs[0])
    _scaled(b, node, _standardised(b, node, x, list(range(2, rank))), rank)


@rule("GroupNormalization")
def lower_group_norm(b: Builder, node: ir.Node) -> None:
    """Opset 21: scale and bias per channel. The channels of a group are one axis of a reshape."""
    if b.opset < 21:
        raise Unsupported("GroupNormalization before opset 21")
    rank = _rank(node)
    x = b.tensor(node.inputs[0])
    groups = b.lowered.constant("groups", np.array([0, node.attributes["num_groups"].as_int(), -1], np.int64))
    (split,) = b.add("reshape", node, [x, groups])
    (shape,) = b.add("shape", node, [x])
    (joined,) = b.add("reshape", node, [_standardised(b, node, split, [2]), shape])
    _scaled(b, node, joined, rank)


def _rank(node: ir.Node) -> int:
    require(node.inputs[0], "float32")
    if node.inputs[0] is None or node.inputs[0].shape is None:
        raise Unsupported("an input of unknown rank")
    return len(node.inputs[0].shape)


def _standardised(b: Builder, node: ir.Node, x: int, axes: list[int]) -> int:
    """(x - mean) / sqrt(variance + epsilon) over the axes."""
    mean_attrs = {"op": "mean", "keepdims": 1, "noop": 0, "axes": axes}
    epsilon = b.lowered.constant("epsilon", np.array(node.attributes.get_float("epsilon", 1e-5), np.float32))
    (mean,) = b.add("reduce", node, [x], mean_attrs)
    (centred,) = b.add("binary", node, [x, mean], {"op": "sub"})
    (squares,) = b.add("binary", node, [centred, centred], {"op": "mul"})
    (variance,) = b.add("reduce", node, [squares], mean_attrs)
    (shifted,) = b.add("binary", node, [variance, epsilon], {"op": "add"})
    (deviation,) = b.add("unary", node, [shifted], {"op": "sqrt"})
    (made,) = b.add("binary", node, [centred, deviation], {"op": "div"})
    return made


def _scaled(b: Builder, node: ir.Node, x: int, rank: int) -> None:
    """Defines the node's output: x times scale plus bias per channel (inputs 1 and 2)."""
    column = b.lowered.constant("column", np.array([-1, *[1] * (rank - 2)], np.int64))
    for value, op in zip(node.inputs[1:3], ("mul", "add"), strict=True):
        (parameter,) = b.add("reshape", node, [b.tensor(value), column])
        (x,) = b.add("binary", node, [x, parameter], {"op": op})
    b.define(node.outputs[0], x)
