"""merge_relu_clips: chains of Relu, Clip, Min and Max with constants become one."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir

from planish.passes.patterns import input_at, is_float, nodes_of, producer_of, scalar_of, single_consumer
from planish.passes.rewrite import add_constant, make_node, replace_node


def merge_relu_clips(model: onnx_ir.Model) -> bool:
    """Turn consecutive Relu, Clip, and Min or Max with a scalar constant, into one Relu or Clip.

    Bounds that are empty after merging (lower above upper) leave the chain as it is. Clip(0, none) becomes Relu, and a
    Min or Max with a scalar constant alone becomes Clip, the form that epilogues know. Floating-point tensors only.

    Guarantees: no such node has another one, used by it alone, as its producer.
    """
    changed = False
    for node in nodes_of(model, "Relu", "Clip", "Min", "Max"):
        own = _bounds(node)
        if own is None:
            continue
        x, low, high = own
        previous = producer_of(x, "Relu", "Clip", "Min", "Max")
        before = _bounds(previous) if previous is not None and single_consumer(x) is node else None
        if before is not None and before[1] <= before[2]:
            x, (low, high) = before[0], (_clamp(before[1], low, high), _clamp(before[2], low, high))
        elif _is_canonical(node, low, high):
            continue
        if low <= high:
            _replace(node, x, low, high)
            changed = True
    return changed


def _clamp(number: float, low: float, high: float) -> float:
    return min(max(number, low), high)


def _is_canonical(node: onnx_ir.Node, low: float, high: float) -> bool:
    return node.op_type == "Relu" or (node.op_type == "Clip" and not (low == 0 and high == math.inf))


def _bounds(node: onnx_ir.Node) -> tuple[onnx_ir.Value, float, float] | None:
    """(input, lowest, highest) of a clamping node with constant scalar bounds; infinite where there is none."""
    x = node.inputs[0] if node.inputs else None
    if x is None or not is_float(x):
        return None
    if node.op_type == "Relu":
        return x, 0.0, math.inf
    if node.op_type == "Clip":
        low, high = _bound(node, 1, -math.inf), _bound(node, 2, math.inf)
        return None if low is None or high is None else (x, low, high)
    return _min_max_bounds(node)


def _bound(node: onnx_ir.Node, index: int, default: float) -> float | None:
    value = input_at(node, index)
    if value is None:
        return default
    number = scalar_of(value)
    return None if number is None or math.isnan(number) else float(number)


def _min_max_bounds(node: onnx_ir.Node) -> tuple[onnx_ir.Value, float, float] | None:
    if len(node.inputs) != 2 or node.inputs[0] is None or node.inputs[1] is None:
        return None
    first, second = node.inputs[0], node.inputs[1]
    for x, other in ((first, second), (second, first)):
        number = scalar_of(other)
        if number is None or math.isnan(number) or x.shape is None or other.shape is None:
            continue
        if len(other.shape) <= len(x.shape):
            return (x, float(number), math.inf) if node.op_type == "Max" else (x, -math.inf, float(number))
    return None


def _replace(node: onnx_ir.Node, x: onnx_ir.Value, low: float, high: float) -> None:
    graph, y = node.graph, node.outputs[0]
    assert isinstance(graph, onnx_ir.Graph)
    assert x.dtype is not None
    if low == 0 and high == math.inf:
        replace_node(node, make_node("Relu", [x], like=y))
        return
    dtype = x.dtype.numpy()
    bounds = [
        None if math.isinf(bound) else add_constant(graph, np.array(bound, dtype), f"{y.name}.{name}")
        for name, bound in (("min", low), ("max", high))
    ]
    replace_node(node, make_node("Clip", [x, *bounds], like=y))
