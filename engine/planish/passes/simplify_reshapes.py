"""simplify_reshapes: target shapes become constants, chains of reshapes become one."""

from __future__ import annotations

import numpy as np
import onnx_ir

from planish.passes.compressed_weights import is_compressed_weight
from planish.passes.patterns import dims_of, input_at, int_attribute, ints_of, nodes_of, producer_of, rank_of
from planish.passes.rewrite import add_constant, make_node, replace_node
from planish.passes.shape_arithmetic import Vector, known_elements

_RESHAPING = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")


def simplify_reshapes(model: onnx_ir.Model) -> bool:
    """Give Reshape a constant target where the shapes determine it, and let it read from the start of a chain.

    A computed target becomes constant if at most one of its elements is neither known nor the input's dimension at the
    same place (written 0); that one is written -1. A Reshape after Reshape, Flatten, Squeeze or Unsqueeze reads what
    the first one read. Squeeze and Unsqueeze with a known result after any of these become a Reshape. Decoding of
    compressed weights is left as it is.

    Guarantees: a Reshape with a constant target follows no other reshaping node.
    """
    changed = False
    for node in nodes_of(model, *_RESHAPING):
        if is_compressed_weight(node.outputs[0]):
            continue
        changed |= node.op_type == "Reshape" and _make_constant(node)
        if node.graph is not None:
            changed |= _merge_with_previous(node)
    return changed


def _make_constant(node: onnx_ir.Node) -> bool:
    """Replace a computed target shape by a constant one."""
    target = input_at(node, 1)
    if target is None or ints_of(target) is not None or int_attribute(node, "allowzero", 0):
        return False
    wanted = known_elements(target)
    result = _constant_target(node, wanted) if wanted is not None else None
    if result is None and (dims := node.outputs[0].shape) is not None:
        result = _constant_target(node, [d if isinstance(d, int) else d.value for d in dims])
    graph = node.graph
    if result is None or not isinstance(graph, onnx_ir.Graph):
        return False
    node.replace_input_with(1, add_constant(graph, np.array(result, np.int64), f"{node.outputs[0].name}.shape"))
    return True


def _constant_target(node: onnx_ir.Node, wanted: Vector) -> list[int] | None:
    """`wanted` written with numbers only: 0 copies the input's dimension, one -1 is inferred."""
    x = node.inputs[0]
    source: Vector = [] if x is None or x.shape is None else [d if isinstance(d, int) else d.value for d in x.shape]
    target: list[int] = []
    for index, element in enumerate(wanted):
        if isinstance(element, int):
            target.append(element)
        elif element is not None and index < len(source) and source[index] == element:
            target.append(0)
        else:
            target.append(-1)
    zeros_meant = [i for i, element in enumerate(wanted) if element == 0]
    if target.count(-1) > 1 or (zeros_meant and -1 in target):
        return None
    return target


def _merge_with_previous(node: onnx_ir.Node) -> bool:
    """Let a reshaping node with a known result read what the reshaping node before it reads."""
    previous = producer_of(node.inputs[0], *_RESHAPING)
    target = _target_of(node)
    graph = node.graph
    if previous is None or target is None or is_compressed_weight(previous.outputs[0]):
        return False
    if not isinstance(graph, onnx_ir.Graph):
        return False
    shape = add_constant(graph, np.array(target, np.int64), f"{node.outputs[0].name}.shape")
    replace_node(node, make_node("Reshape", [previous.inputs[0], shape], like=node.outputs[0]))
    return True


def _target_of(node: onnx_ir.Node) -> list[int] | None:
    """The result's shape with at most one -1 and no zeros; None where that cannot be written."""
    if node.op_type == "Reshape":
        target = ints_of(input_at(node, 1))
        if target is not None and 0 not in target:
            return target
    dims = dims_of(node.outputs[0])
    if dims is None or rank_of(node.outputs[0]) is None:
        return None
    target = [-1 if d is None else d for d in dims]
    return None if target.count(-1) > 1 or (0 in target) else target
