"""fold_mul_add: multiplications and additions of constants disappear into the layer before them."""

from __future__ import annotations

import numpy as np
import onnx_ir

from planish.passes.patterns import (
    Array,
    constant_of,
    input_at,
    int_attribute,
    ints_of,
    is_float,
    nodes_of,
    producer_of,
    rank_of,
    single_consumer,
    split_constant,
)
from planish.passes.rewrite import add_constant, make_node, remove_nodes, replace_node

_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def fold_mul_add(model: onnx_ir.Model) -> bool:
    """Fold Mul, Div, Add and Sub by a constant per output channel into the Conv, ConvTranspose, Gemm or MatMul before.

    Needs constant float weights and a layer without another consumer. A factor goes into the weights (computed in
    float64, rounded once), an addend into the bias. MatMul has none: with an addend it becomes Gemm where the data are
    a matrix, and is left alone otherwise.

    Guarantees: no layer with constant float weights is followed by such a constant, as far as it is its only consumer.
    """
    changed = False
    for node in nodes_of(model, "Mul", "Div", "Add", "Sub"):
        changed |= _swap_with_squeeze(node)
    for node in nodes_of(model, "Mul", "Div", "Add", "Sub"):
        parts = split_constant(node)
        if parts is None or not is_float(node.outputs[0]):
            continue
        x, constant = parts
        if node.op_type in ("Div", "Sub") and node.inputs[1] is not constant:
            continue  # constant / x and constant - x
        affine = _affine(node, x, constant)
        if affine is not None:
            changed |= scale_layer(node, x, *affine)
    return changed


def _swap_with_squeeze(node: onnx_ir.Node) -> bool:
    """Apply the constant before the Squeeze between layer and node: so are one-dimensional convolutions exported."""
    parts = split_constant(node)
    squeeze = None if parts is None else producer_of(parts[0], "Squeeze")
    if parts is None or squeeze is None or single_consumer(parts[0]) is not node:
        return False
    wide, axes = squeeze.inputs[0], ints_of(input_at(squeeze, 1))
    array, graph, rank = constant_of(parts[1]), node.graph, rank_of(parts[0])
    if wide is None or producer_of(wide, "Conv", "ConvTranspose") is None or single_consumer(wide) is not squeeze:
        return False
    if not axes or min(axes) < 0 or rank is None or array is None or array.ndim > rank:
        return False
    if wide.shape is None or not isinstance(graph, onnx_ir.Graph):
        return False
    full = np.expand_dims(array.reshape((1,) * (rank - array.ndim) + array.shape), tuple(axes))
    constant = add_constant(graph, full, str(parts[1].name), parts[1].dtype)
    operands = [wide, constant] if node.inputs[0] is parts[0] else [constant, wide]
    early = make_node(node.op_type, operands, like=wide, name=node.name)
    back = make_node("Squeeze", [early.outputs[0], squeeze.inputs[1]], like=node.outputs[0], name=squeeze.name)
    replace_node(node, early, back)
    remove_nodes(squeeze)
    return True


def _affine(node: onnx_ir.Node, x: onnx_ir.Value, constant: onnx_ir.Value) -> tuple[Array | None, Array | None] | None:
    """(scale, shift) of the node as float64 vectors over the layer's channels."""
    layer = x.producer()
    if layer is None or layer.op_type not in _LAYERS or layer.domain != "":
        return None
    array, rank = constant_of(constant), rank_of(x)
    if array is None or rank is None or array.ndim > rank:
        return None
    axis = 1 if layer.op_type in ("Conv", "ConvTranspose") else rank - 1
    shape = (1,) * (rank - array.ndim) + array.shape
    if any(d != 1 for i, d in enumerate(shape) if i != axis):
        return None
    vector = array.astype(np.float64).reshape(-1)
    match node.op_type:
        case "Mul":
            return vector, None
        case "Div":
            return (1.0 / vector, None) if (vector != 0).all() else None
        case "Add":
            return None, vector
    return None, -vector


def scale_layer(node: onnx_ir.Node, x: onnx_ir.Value, scale: Array | None, shift: Array | None) -> bool:
    """Replace `node`, which computes x·scale + shift per channel of layer output `x`, by the layer with changed
    weights.

    `scale` and `shift` are float64 vectors of one element or one per output channel. False, with nothing changed, where
    `x` does not come from a layer with constant float weights whose only consumer is `node`.
    """
    layer = x.producer()
    if layer is None or layer.domain != "" or layer.op_type not in _LAYERS or single_consumer(x) is not node:
        return False
    weights, bias = constant_of(input_at(layer, 1)), constant_of(input_at(layer, 2))
    if weights is None or not is_float(layer.inputs[1]) or (input_at(layer, 2) is not None and bias is None):
        return False
    channels = _channels(layer, weights)
    if channels is None or any(v is not None and v.size not in (1, channels) for v in (scale, shift)):
        return False
    if layer.op_type == "MatMul" and shift is not None and rank_of(layer.inputs[0]) != 2:
        return False
    if layer.op_type == "Gemm" and bias is not None and not _is_per_channel(bias, channels):
        return False
    if scale is not None and not np.isfinite(scale).all():
        return False
    return _rewrite_layer(layer, node, weights, bias, channels, scale, shift)


def _is_per_channel(bias: Array, channels: int) -> bool:
    """Whether a Gemm's bias differs between columns only, not between rows."""
    return bias.size == 1 or (bias.size == channels and bias.shape[-1] == channels)


def _channels(layer: onnx_ir.Node, weights: Array) -> int | None:
    """Output channels of a layer; None for weights of unexpected rank."""
    match layer.op_type:
        case "Conv" if weights.ndim >= 3:
            return int(weights.shape[0])
        case "ConvTranspose" if weights.ndim >= 3:
            return int(weights.shape[1]) * int_attribute(layer, "group", 1)
        case "Gemm" if weights.ndim == 2:
            return int(weights.shape[0 if int_attribute(layer, "transB", 0) else 1])
        case "MatMul" if weights.ndim == 2:
            return int(weights.shape[1])
    return None


def _scale_weights(layer: onnx_ir.Node, weights: Array, scale: Array) -> Array:
    """`weights` in float64 with every output channel multiplied by its entry of `scale`."""
    wide = weights.astype(np.float64)
    match layer.op_type:
        case "Conv":
            return np.asarray(wide * scale.reshape((-1,) + (1,) * (weights.ndim - 1)))
        case "ConvTranspose":
            group = int_attribute(layer, "group", 1)
            per_group = scale.reshape(group, 1, -1, *(1,) * (weights.ndim - 2))
            return np.asarray((wide.reshape(group, -1, *weights.shape[1:]) * per_group).reshape(weights.shape))
        case "Gemm" if int_attribute(layer, "transB", 0):
            return np.asarray(wide * scale.reshape(-1, 1))
    return np.asarray(wide * scale.reshape(1, -1))


def _rewrite_layer(
    layer: onnx_ir.Node,
    node: onnx_ir.Node,
    weights: Array,
    bias: Array | None,
    channels: int,
    scale: Array | None,
    shift: Array | None,
) -> bool:
    """Put the layer with new weights and bias in the place of `node`; False where they would overflow their type."""
    graph, weight_value = layer.graph, layer.inputs[1]
    assert isinstance(graph, onnx_ir.Graph)
    assert weight_value is not None
    dtype, storage = weight_value.dtype, weights.dtype
    beta = layer.attributes.get_float("beta", 1.0) if layer.op_type == "Gemm" else 1.0
    offset = (
        np.zeros(channels) if bias is None else np.broadcast_to(bias.astype(np.float64).reshape(-1) * beta, channels)
    )
    if scale is not None:
        factors = np.broadcast_to(scale, channels)
        weights, offset = _scale_weights(layer, weights, factors), offset * factors
    if shift is not None:
        offset = offset + shift
    with np.errstate(over="ignore"):
        weights, offset = weights.astype(storage), offset.astype(storage)
    if not (np.isfinite(weights).all() and np.isfinite(offset).all()):
        return False
    if scale is not None:
        weight_value = add_constant(graph, weights, str(weight_value.name), dtype)
    inputs = [layer.inputs[0], weight_value]
    if bias is not None or shift is not None:
        name = str(layer.inputs[2].name) if bias is not None and layer.inputs[2] is not None else f"{layer.name}.bias"
        inputs.append(add_constant(graph, offset, name, dtype))
    attributes = [a for k, a in layer.attributes.items() if not (layer.op_type == "Gemm" and k == "beta")]
    operator = "Gemm" if layer.op_type == "MatMul" and len(inputs) == 3 else layer.op_type
    merged = make_node(operator, inputs, like=node.outputs[0], name=layer.name)
    for attribute in attributes:
        merged.attributes.add(attribute)
    replace_node(node, merged)
    remove_nodes(layer)
    return True
