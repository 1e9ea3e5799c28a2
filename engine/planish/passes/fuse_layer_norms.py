"""fuse_layer_norms: normalisation written out in pieces becomes LayerNormalization."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir

from planish.passes.patterns import (
    Array,
    constant_of,
    dims_of,
    input_at,
    int_attribute,
    ints_of,
    is_float,
    nodes_of,
    normal_axis,
    producer_of,
    scalar_of,
    single_consumer,
    split_constant,
)
from planish.passes.rewrite import add_constant, make_node, replace_node


def fuse_layer_norms(model: onnx_ir.Model) -> bool:
    """Recognise (x - mean) / sqrt(variance + epsilon), scaled and shifted along the same axis.

    Two forms: PyTorch's, centred / deviation · gamma + beta, and TensorFlow's, x·s + (beta - mean·s) with
    s = gamma / deviation. The mean and the variance are ReduceMean over the last axes or over any one axis, of known
    size. Where that one is not the last, a Transpose brings it there and another one back.

    Guarantees: the result differs by rounding only; what else read the inner values still finds them.
    """
    changed = False
    for node in nodes_of(model, "Div"):
        centred = _match_centred(node) if is_float(node.outputs[0]) else None
        changed |= centred is not None and _replace_centred(node, centred)
    for node in nodes_of(model, "Add"):
        affine = _match_affine(node) if is_float(node.outputs[0]) else None
        if affine is not None:
            statistics, gamma, beta = affine
            changed |= _replace(node, statistics, gamma, beta)
    return changed


@dataclass(frozen=True)
class _Statistics:
    """What is normalised: `x` over `axes` (ascending), with the centred value, the mean and the epsilon."""

    x: onnx_ir.Value
    centred: onnx_ir.Value
    mean: onnx_ir.Value
    axes: tuple[int, ...]
    epsilon: float


def _mean_of(value: onnx_ir.Value | None) -> tuple[onnx_ir.Value, tuple[int, ...]] | None:
    """(x, axes) of ReduceMean(x) over the last axes or any one axis, kept as size 1."""
    node = producer_of(value, "ReduceMean")
    x = None if node is None else node.inputs[0]
    axes = None if node is None else ints_of(input_at(node, 1))
    if node is None or x is None or x.shape is None or not axes:
        return None
    if not int_attribute(node, "keepdims", 1):
        return None
    rank = len(x.shape)
    normal = tuple(sorted(normal_axis(a, rank) for a in axes))
    return (x, normal) if len(normal) == 1 or normal == tuple(range(rank - len(normal), rank)) else None


def _deviation(value: onnx_ir.Value | None) -> _Statistics | None:
    """The statistics behind sqrt(mean((x - mean(x))²) + epsilon)."""
    root = producer_of(value, "Sqrt")
    add = None if root is None else producer_of(root.inputs[0], "Add")
    parts = None if add is None else split_constant(add)
    epsilon = None if parts is None else scalar_of(parts[1])
    variance = None if parts is None else _mean_of(parts[0])
    if variance is None or epsilon is None:
        return None
    centred = _square_root_of(variance[0])
    difference = producer_of(centred, "Sub")
    if centred is None or difference is None or difference.inputs[0] is None or difference.inputs[1] is None:
        return None
    mean = _mean_of(difference.inputs[1])
    if mean is None or mean != (difference.inputs[0], variance[1]):
        return None
    return _Statistics(mean[0], centred, difference.inputs[1], mean[1], float(epsilon))


def _square_root_of(value: onnx_ir.Value) -> onnx_ir.Value | None:
    """x of x² or x·x."""
    node = producer_of(value, "Pow", "Mul")
    if node is None:
        return None
    if node.op_type == "Pow":
        return node.inputs[0] if scalar_of(node.inputs[1]) == 2 else None
    return node.inputs[0] if node.inputs[0] is node.inputs[1] else None


# -- centred / deviation · gamma + beta --------------------------------------------------------------------------------


def _match_centred(node: onnx_ir.Node) -> _Statistics | None:
    statistics = _deviation(node.inputs[1])
    return statistics if statistics is not None and node.inputs[0] is statistics.centred else None


def _replace_centred(node: onnx_ir.Node, statistics: _Statistics) -> bool:
    """Take in the Mul by gamma and the Add of beta that follow, as far as they are there."""
    gamma: Array | None = None
    beta: Array | None = None
    scaled = _followed_by(node, "Mul", statistics)
    if scaled is not None:
        node, gamma = scaled
    shifted = _followed_by(node, "Add", statistics)
    if shifted is not None:
        node, beta = shifted
    return _replace(node, statistics, gamma, beta)


def _followed_by(node: onnx_ir.Node, op_type: str, statistics: _Statistics) -> tuple[onnx_ir.Node, Array] | None:
    """(node, parameter) of the only consumer, if it applies a parameter along the normalised axis."""
    user = single_consumer(node.outputs[0], op_type)
    parts = None if user is None else split_constant(user)
    vector = None if parts is None else _along_axes(parts[1], statistics)
    return None if user is None or vector is None else (user, vector)


def _along_axes(value: onnx_ir.Value | None, statistics: _Statistics) -> Array | None:
    """A constant that varies along the normalised axes only, in the shape that these axes have."""
    array, dims, sizes = constant_of(value), dims_of(statistics.x), _sizes(statistics)
    if array is None or dims is None or sizes is None or array.ndim > len(dims):
        return None
    shape = (1,) * (len(dims) - array.ndim) + array.shape
    if any(d != 1 for axis, d in enumerate(shape) if axis not in statistics.axes):
        return None
    own = [shape[axis] for axis in statistics.axes]
    if any(d not in (1, size) for d, size in zip(own, sizes, strict=True)):
        return None
    return np.ascontiguousarray(np.broadcast_to(array.reshape(own), sizes))


def _sizes(statistics: _Statistics) -> tuple[int, ...] | None:
    """The sizes of the normalised axes; None unless all are known."""
    dims = dims_of(statistics.x)
    sizes = None if dims is None else [dims[axis] for axis in statistics.axes]
    return None if sizes is None or None in sizes else tuple(d for d in sizes if d is not None)


# -- x·s + (beta - mean·s) ---------------------------------------------------------------------------------------------


def _match_affine(node: onnx_ir.Node) -> tuple[_Statistics, Array | None, Array | None] | None:
    for product, offset in ((node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])):
        scaled, difference = producer_of(product, "Mul"), producer_of(offset, "Sub")
        if scaled is None or difference is None:
            continue
        for x, scale in ((scaled.inputs[0], scaled.inputs[1]), (scaled.inputs[1], scaled.inputs[0])):
            found = _inverse_deviation(scale)
            if found is None or found[0].x is not x or not _is_product(difference.inputs[1], found[0].mean, scale):
                continue
            beta = _along_axes(difference.inputs[0], found[0])
            if beta is not None:
                return found[0], found[1], beta
    return None


def _inverse_deviation(value: onnx_ir.Value | None) -> tuple[_Statistics, Array | None] | None:
    """(statistics, gamma) of gamma / deviation, written as Reciprocal, Div, or either times gamma."""
    product = producer_of(value, "Mul")
    parts = None if product is None else split_constant(product)
    if parts is not None:
        inner = _inverse_deviation(parts[0])
        gamma = None if inner is None or inner[1] is not None else _along_axes(parts[1], inner[0])
        return None if inner is None or gamma is None else (inner[0], gamma)
    inverse = producer_of(value, "Reciprocal")
    if inverse is not None:
        statistics = _deviation(inverse.inputs[0])
        return None if statistics is None else (statistics, None)
    quotient = producer_of(value, "Div")
    statistics = None if quotient is None else _deviation(quotient.inputs[1])
    gamma = None if statistics is None or quotient is None else _along_axes(quotient.inputs[0], statistics)
    return None if statistics is None or gamma is None else (statistics, gamma)


def _is_product(value: onnx_ir.Value | None, a: onnx_ir.Value, b: onnx_ir.Value | None) -> bool:
    node = producer_of(value, "Mul")
    return node is not None and {id(v) for v in node.inputs} == {id(a), id(b)}


# -- the result --------------------------------------------------------------------------------------------------------


def _replace(node: onnx_ir.Node, statistics: _Statistics, gamma: Array | None, beta: Array | None) -> bool:
    x, sizes, graph = statistics.x, _sizes(statistics), node.graph
    if sizes is None or x.shape is None or x.dtype is None or not isinstance(graph, onnx_ir.Graph):
        return False
    y, dtype, rank = node.outputs[0], x.dtype, len(x.shape)
    scale = np.ones(sizes, dtype.numpy()) if gamma is None else gamma
    inputs = [add_constant(graph, scale, f"{y.name}.gamma", dtype)]
    if beta is not None:
        inputs.append(add_constant(graph, beta, f"{y.name}.beta", dtype))
    attributes = {"axis": -len(sizes), "epsilon": statistics.epsilon}
    if statistics.axes[-1] == rank - 1:
        replace_node(node, make_node("LayerNormalization", [x, *inputs], attributes, like=y))
        return True
    (axis,) = statistics.axes
    to_last = [*(a for a in range(rank) if a != axis), axis]
    shape = [x.shape[a] for a in to_last]
    before = make_node("Transpose", [x], {"perm": to_last}, dtype=dtype, shape=shape)
    norm = make_node("LayerNormalization", [before.outputs[0], *inputs], attributes, dtype=dtype, shape=shape)
    back = [int(a) for a in np.argsort(to_last)]
    replace_node(node, before, norm, make_node("Transpose", [norm.outputs[0]], {"perm": back}, like=y))
    return True
