"""decompose_gathers: a Gather at constant, evenly spaced positions becomes a Slice, which needs no copy."""

from __future__ import annotations

import numpy as np
import onnx_ir

from planish.passes.compressed_weights import is_compressed_weight
from planish.passes.patterns import constant_of, dims_of, int_attribute, is_constant, nodes_of, normal_axis
from planish.passes.rewrite import add_constant, make_node, replace_node


def decompose_gathers(model: onnx_ir.Model) -> bool:
    """Rewrite Gather of a constant index, or of constant indices with one positive step, as Slice.

    A scalar index also drops its axis, by Squeeze; indices of rank 2 and more are followed by a Reshape. The size of
    the axis must be known and the indices inside it: Slice clips what Gather would refuse.

    Guarantees: a Gather that is left has computed, irregular or unchecked indices, or decodes a compressed weight.
    """
    changed = False
    for node in nodes_of(model, "Gather"):
        if not is_compressed_weight(node.outputs[0]) and not is_constant(node.inputs[0]):
            changed |= _decompose(node)
    return changed


def _decompose(node: onnx_ir.Node) -> bool:
    data, indices = node.inputs[0], constant_of(node.inputs[1])
    dims, graph = dims_of(data), node.graph
    if data is None or indices is None or dims is None or not isinstance(graph, onnx_ir.Graph):
        return False
    axis = normal_axis(int_attribute(node, "axis", 0), len(dims))
    size = dims[axis]
    if size is None or indices.size == 0 or indices.min() < -size or indices.max() >= size:
        return False
    positions = np.where(indices < 0, indices + size, indices).astype(np.int64).reshape(-1)
    steps = np.diff(positions)
    if steps.size and (steps[0] <= 0 or (steps != steps[0]).any()):
        return False
    step = int(steps[0]) if steps.size else 1
    name = node.outputs[0].name
    bounds = (positions[0], positions[-1] + 1, axis, step)
    parameters = [
        add_constant(graph, np.array([number], np.int64), f"{name}.{part}")
        for part, number in zip(("start", "end", "axis", "step"), bounds, strict=True)
    ]
    shape = [*(data.shape or ())]
    shape[axis] = len(positions)
    cut = make_node("Slice", [data, *parameters], shape=shape, dtype=data.dtype)
    y = node.outputs[0]
    if indices.ndim == 1:
        replace_node(node, cut)
    elif indices.ndim == 0:
        replace_node(node, cut, make_node("Squeeze", [cut.outputs[0], parameters[2]], like=y))
    else:
        target = [-1 if d is None else d for d in (*dims[:axis], *indices.shape, *dims[axis + 1 :])]
        if target.count(-1) > 1 or 0 in target:
            return False
        wanted = add_constant(graph, np.array(target, np.int64), f"{name}.shape")
        replace_node(node, cut, make_node("Reshape", [cut.outputs[0], wanted], like=y))
    return True
