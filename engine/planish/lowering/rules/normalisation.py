"""Softmax and the normalisations: layer, root mean square, batch, instance, group."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from planish.lowering.builder import Builder, Unsupported, require, rule


@rule("Softmax", "LogSoftmax")
def lower_softmax(b: Builder, node: ir.Node) -> None:
    require(node.inputs[0], "float32", "float64")
    default = -1 if b.opset >= 13 else 1
    axis = node.attributes.get_int("axis", default)
    log = int(node.op_type == "LogSoftmax")
    if b.opset < 13:
        rank = len(node.inputs[0].shape) if node.inputs[0] is not None and node.inputs[0].shape is not None else None
        if rank is None or axis % rank != rank - 1:
            raise Unsupported("Softmax before opset 13 over several axes")
    if node.inputs[0] is not None and node.inputs[0].dtype == ir.DataType.DOUBLE:
        _lower_softmax_by_parts(b, node, axis, bool(log))
        return
    b.lower_to("softmax", node, node.inputs, {"axis": axis, "log": log})


def _lower_softmax_by_parts(b: Builder, node: ir.Node, axis: int, log: bool) -> None:
    """exp(x - max) / Σ exp(x - max), or x - max - ln Σ exp(x - max), for types that the kernel lacks."""
    along = {"keepdims": 1, "noop": 0, "axes": [axis]}
    x = b.tensor(node.inputs[0])
    (largest,) = b.add("reduce", node, [x], {"op": "max", **along})
    (shifted,) = b.add("binary", node, [x, largest], {"op": "sub"})
    (powers,) = b.add("unary", node, [shifted], {"op": "exp"})
    (total,) = b.add("reduce", node, [powers], {"op": "sum", **along})
    if log:
        (total,) = b.add("unary", node, [total], {"op": "log"})
    (made,) = b.add("binary", node, [shifted if log else powers, total], {"op": "sub" if log else "div"})
    b.define(node.outputs[0], made)


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
    if node.attributes.get_int("training_mode", 0) != 0:
        raise Unsupported("BatchNormalization in training mode")
    if any(p is None for p in parameters):
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
    """(x - mean) · (scale / sqrt(variance + epsilon)) + bias, of parameters computed in the run."""
    column = b.lowered.constant("column", np.array([-1, *[1] * (rank - 2)], np.int64))
    epsilon = b.lowered.constant("epsilon", np.array(node.attributes.get_float("epsilon", 1e-5), np.float32))
    for value in node.inputs[1:5]:
        require(value, "float32")
    scale, bias, mean, variance = (b.add("reshape", node, [b.tensor(v), column])[0] for v in node.inputs[1:5])
    (shifted,) = b.add("binary", node, [variance, epsilon], {"op": "add"})
    (deviation,) = b.add("unary", node, [shifted], {"op": "sqrt"})
    (factor,) = b.add("binary", node, [scale, deviation], {"op": "div"})
    (centred,) = b.add("binary", node, [b.tensor(node.inputs[0]), mean], {"op": "sub"})
    (scaled,) = b.add("binary", node, [centred, factor], {"op": "mul"})
    (made,) = b.add("binary", node, [scaled, bias], {"op": "add"})
    b.define(node.outputs[0], made)


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
