"""look_up_one_hots: the product of one-hot vectors with a weight matrix becomes a look-up of its rows."""

from __future__ import annotations

import numpy as np
import onnx_ir

from planish.passes.patterns import (
    constant_of,
    input_at,
    int_attribute,
    ints_of,
    nodes_of,
    normal_axis,
    producer_of,
    rank_of,
    scalar_of,
    single_consumer,
)
from planish.passes.rewrite import add_constant, insert_before, make_node, replace_node

#: The table holds every row twice; a larger one would cost more memory than it saves time.
_MAX_TABLE_BYTES = 1 << 24


def look_up_one_hots(model: onnx_ir.Model) -> bool:
    """Rewrite MatMul(OneHot(indices), weights), a Reshape to a matrix in between or not, as Gather(table, indices).

    OneHot counts negative indices from the end and gives zeros for indices out of range, so the table is: a row of
    zeros, the weights for indices -depth to -1, the weights again for 0 to depth - 1, a row of zeros; indices are
    clipped to it. The result is exactly that of the product. Weights must be a constant finite matrix, indices
    integers, values 0 and 1.

    Guarantees: no such product is left below 16 MiB of table.
    """
    changed = False
    for node in nodes_of(model, "MatMul"):
        reshape = producer_of(node.inputs[0], "Reshape")
        one_hot = producer_of(node.inputs[0] if reshape is None else reshape.inputs[0], "OneHot")
        if one_hot is None or not _is_plain(one_hot):
            continue
        if reshape is not None and not _makes_matrix(reshape, one_hot, node):
            continue
        changed |= _look_up(node, one_hot, reshape)
    return changed


def _is_plain(one_hot: onnx_ir.Node) -> bool:
    """Ones in zeros along a new last axis, at integer indices."""
    indices, values = one_hot.inputs[0], constant_of(input_at(one_hot, 2))
    rank = rank_of(indices)
    if indices is None or indices.dtype not in (onnx_ir.DataType.INT32, onnx_ir.DataType.INT64) or rank is None:
        return False
    last = normal_axis(int_attribute(one_hot, "axis", -1), rank + 1) == rank
    return last and values is not None and values.tolist() == [0, 1]


def _makes_matrix(reshape: onnx_ir.Node, one_hot: onnx_ir.Node, product: onnx_ir.Node) -> bool:
    """Whether the Reshape only joins the leading axes: [-1, depth]."""
    target, depth = ints_of(input_at(reshape, 1)), scalar_of(input_at(one_hot, 1))
    return target is not None and depth is not None and target == [-1, depth] and product.inputs[0] is not None


def _look_up(product: onnx_ir.Node, one_hot: onnx_ir.Node, reshape: onnx_ir.Node | None) -> bool:
    weights, depth = constant_of(input_at(product, 1)), scalar_of(input_at(one_hot, 1))
    graph, indices, value = product.graph, one_hot.inputs[0], product.inputs[1]
    if weights is None or value is None or indices is None or indices.dtype is None or depth is None:
        return False
    if weights.ndim != 2 or weights.shape[0] != depth or not isinstance(graph, onnx_ir.Graph):
        return False
    if weights.nbytes * 2 > _MAX_TABLE_BYTES or not np.isfinite(weights).all():
        return False
    if any(n is not None and single_consumer(n.outputs[0]) is None for n in (one_hot, reshape)):
        return False
    zero = np.zeros((1, weights.shape[1]), weights.dtype)
    table = add_constant(graph, np.concatenate([zero, weights, weights, zero]), f"{value.name}.table", value.dtype)
    position = _clip(product, graph, indices, int(depth))
    y = product.outputs[0]
    shape = _rows_shape(indices, weights.shape[1])
    rows = make_node("Gather", [table, position], {"axis": 0}, dtype=y.dtype, shape=shape)
    if reshape is None:
        replace_node(product, rows)
    else:
        target = add_constant(graph, np.array([-1, weights.shape[1]], np.int64), f"{y.name}.shape")
        replace_node(product, rows, make_node("Reshape", [rows.outputs[0], target], like=y))
    return True


def _rows_shape(indices: onnx_ir.Value, columns: int) -> list[object]:
    assert indices.shape is not None
    return [*indices.shape, columns]


def _clip(node: onnx_ir.Node, graph: onnx_ir.Graph, indices: onnx_ir.Value, depth: int) -> onnx_ir.Value:
    """Rows of the table for `indices`: what is out of range goes to the rows of zeros at either end."""
    assert indices.dtype is not None
    dtype = indices.dtype.numpy()
    low, high, shift = (
        add_constant(graph, np.array(number, dtype), f"{node.outputs[0].name}.{part}")
        for part, number in (("lowest", -depth - 1), ("highest", depth), ("shift", depth + 1))
    )
    clipped = insert_before(node, make_node("Clip", [indices, low, high], like=indices))
    return insert_before(node, make_node("Add", [clipped, shift], like=indices))
