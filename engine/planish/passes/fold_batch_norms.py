"""fold_batch_norms: inference-time BatchNormalization disappears into the layer before it, or becomes Mul and Add."""

from __future__ import annotations

import numpy as np
import onnx_ir

from planish.passes.fold_mul_add import scale_layer
from planish.passes.patterns import Array, constant_of, int_attribute, nodes_of, output_at, rank_of
from planish.passes.rewrite import add_constant, insert_before, make_node, replace_node


def fold_batch_norms(model: onnx_ir.Model) -> bool:
    """Fold y = (x - mean) / sqrt(var + epsilon) * scale + bias with constant statistics.

    After a Conv, ConvTranspose, Gemm or MatMul with constant weights and no other consumer, weights and bias absorb it.
    Elsewhere it becomes Mul and Add with per-channel constants, which later passes may fuse further. The arithmetic is
    done in float64 and rounded once. With computed statistics (which is how some exporters write a layer norm) it is
    written out in element-wise operators. Training mode and used training outputs are left alone.

    Guarantees: every BatchNormalization that is left is in training mode or has an input of unknown rank.
    """
    changed = False
    for node in nodes_of(model, "BatchNormalization"):
        x = node.inputs[0]
        if x is None or _is_training(node):
            continue
        affine = _affine(node)
        if affine is None:
            changed |= _write_out(node, x)
        else:
            changed |= scale_layer(node, x, *affine) or _to_mul_add(node, x, *affine)
    return changed


def _is_training(node: onnx_ir.Node) -> bool:
    mode = int_attribute(node, "training_mode", 0)
    return bool(mode) or any(output_at(node, i) is not None for i in range(1, len(node.outputs)))


def _affine(node: onnx_ir.Node) -> tuple[Array, Array] | None:
    """(scale, shift) per channel in float64 with y = x·scale + shift; None where they are not constant."""
    constants = [constant_of(value) for value in node.inputs[1:5]]
    arrays = [np.asarray(c, np.float64) for c in constants if c is not None and c.ndim == 1]
    if len(arrays) != 4 or len({a.shape for a in arrays}) != 1:
        return None
    gamma, beta, mean, variance = arrays
    epsilon = float(np.float32(node.attributes.get_float("epsilon", 1e-5)))
    scale = gamma / np.sqrt(variance + epsilon)
    if not np.isfinite(scale).all():
        return None
    return scale, beta - mean * scale


def _to_mul_add(node: onnx_ir.Node, x: onnx_ir.Value, scale: Array, shift: Array) -> bool:
    rank = rank_of(x) or rank_of(node.outputs[0])
    graph = node.graph
    if rank is None or rank < 2 or x.dtype is None or not isinstance(graph, onnx_ir.Graph):
        return False
    shape = (-1,) + (1,) * (rank - 2)
    dtype = x.dtype.numpy()
    name = node.outputs[0].name
    factor = add_constant(graph, scale.astype(dtype).reshape(shape), f"{name}.scale", x.dtype)
    offset = add_constant(graph, shift.astype(dtype).reshape(shape), f"{name}.shift", x.dtype)
    product = insert_before(node, make_node("Mul", [x, factor], like=node.outputs[0]))
    replace_node(node, make_node("Add", [product, offset], like=node.outputs[0]))
    return True


def _write_out(node: onnx_ir.Node, x: onnx_ir.Value) -> bool:
    """(x - mean) · (gamma / sqrt(variance + epsilon)) + beta with statistics that are computed at run time."""
    rank, graph = rank_of(x), node.graph
    if rank is None or rank < 2 or x.dtype is None or not isinstance(graph, onnx_ir.Graph) or len(node.inputs) < 5:
        return False
    y, vector = node.outputs[0], node.inputs[4]
    shape = add_constant(graph, np.array([-1] + [1] * (rank - 2), np.int64), f"{y.name}.per_channel")
    epsilon = np.array(node.attributes.get_float("epsilon", 1e-5), x.dtype.numpy())
    safe = make_node("Add", [vector, add_constant(graph, epsilon, f"{y.name}.epsilon", x.dtype)], like=vector)
    deviation = make_node("Sqrt", [safe.outputs[0]], like=vector)
    factor = make_node("Div", [node.inputs[1], deviation.outputs[0]], like=vector)
    sources = (factor.outputs[0], node.inputs[2], node.inputs[3])
    gamma, beta, mean = (
        make_node("Reshape", [source, shape], dtype=x.dtype, shape=[_channels(x), *[1] * (rank - 2)])
        for source in sources
    )
    centred = make_node("Sub", [x, mean.outputs[0]], like=y)
    product = make_node("Mul", [centred.outputs[0], gamma.outputs[0]], like=y)
    result = make_node("Add", [product.outputs[0], beta.outputs[0]], like=y)
    replace_node(node, safe, deviation, factor, gamma, beta, mean, centred, product, result)
    return True


def _channels(x: onnx_ir.Value) -> int | onnx_ir.SymbolicDim:
    assert x.shape is not None
    return x.shape[1]
