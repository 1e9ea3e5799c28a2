"""eliminate_identities: nodes that hand their input through unchanged are removed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir

from planish.passes.patterns import (
    constant_of,
    input_at,
    int_attribute,
    ints_of,
    is_permutation_identity,
    nodes_of,
    output_at,
    same_shape,
    static_shape,
)
from planish.passes.rewrite import bypass, make_node, replace_node


def eliminate_identities(model: onnx_ir.Model) -> bool:
    """Remove Identity, Dropout, Cast to the same type, Transpose, Reshape, Expand, Slice, Pad, Tile, Concat and pooling
    that change nothing, and arithmetic with the neutral element where neither type nor shape changes.

    Adding zero is neutral except for -0, which becomes +0; x + 0 is therefore removed (the values compare equal), as is
    multiplying by one. A node whose result is a graph output stays where its input cannot bear that name: a graph
    input, a constant, another output. An Identity of a constant that feeds nodes is removed, one that is an output
    stays.

    Guarantees: no node of the kinds named returns its input, except next to graph outputs.
    """
    changed = False
    for node in nodes_of(model, *_RULES):
        source = node.inputs[0] if node.inputs else None
        if node.op_type in ("Add", "Mul") and source is not None and not _is_neutral(node):
            source = _neutral_second(node)
            if source is None:
                continue
        elif source is None or not _RULES[node.op_type](node):
            continue
        if len(node.outputs) > 1 and output_at(node, 1) is not None:
            continue
        changed |= _pass_through(node, source)
    return changed


def _pass_through(node: onnx_ir.Node, source: onnx_ir.Value) -> bool:
    if bypass(node.outputs[0], source):
        return True
    if node.op_type == "Identity":
        return False
    replace_node(node, make_node("Identity", [source], like=source))
    return True


def _always(node: onnx_ir.Node) -> bool:
    return True


def _is_cast_to_same(node: onnx_ir.Node) -> bool:
    x = node.inputs[0]
    return x is not None and x.dtype is not None and x.dtype == node.attributes["to"].as_int()


def _is_dropout_off(node: onnx_ir.Node) -> bool:
    mode = input_at(node, 2)
    constant = constant_of(mode)
    return mode is None or (constant is not None and not constant.any())


def _keeps_axes(node: onnx_ir.Node) -> bool:
    perm = node.attributes.get_ints("perm")
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    if perm is None:
        return shape is not None and len(shape) <= 1
    return is_permutation_identity(perm)


def _keeps_shape(node: onnx_ir.Node) -> bool:
    """For operators that only rearrange or repeat: the same known shape means the same tensor."""
    return same_shape(node.inputs[0], node.outputs[0])


def _is_reshape_to_same(node: onnx_ir.Node) -> bool:
    if _keeps_shape(node):
        return True
    wanted, x = ints_of(input_at(node, 1)), node.inputs[0]
    if wanted is None or x is None or x.shape is None or len(wanted) != len(x.shape):
        return False
    if int_attribute(node, "allowzero", 0):
        return False
    inferred = wanted.count(-1)
    return inferred <= 1 and all(w in (0, -1) or w == d for w, d in zip(wanted, x.shape, strict=True))


def _is_full_slice(node: onnx_ir.Node) -> bool:
    steps = input_at(node, 4)
    if steps is not None and any(s != 1 for s in ints_of(steps) or [0]):
        return False
    if _keeps_shape(node) and static_shape(node.inputs[0]) is not None:
        return True
    starts, ends = ints_of(input_at(node, 1)), ints_of(input_at(node, 2))
    far = np.iinfo(np.int32).max
    return starts is not None and ends is not None and not any(starts) and all(end >= far for end in ends)


def _pads_nothing(node: onnx_ir.Node) -> bool:
    pads = ints_of(input_at(node, 1))
    return pads is not None and not any(pads)


def _is_concat_of_one(node: onnx_ir.Node) -> bool:
    return len(node.inputs) == 1


def _tiles_once(node: onnx_ir.Node) -> bool:
    repeats = ints_of(input_at(node, 1))
    return repeats is not None and all(r == 1 for r in repeats)


def _expands_nothing(node: onnx_ir.Node) -> bool:
    shape = ints_of(input_at(node, 1))
    x = node.inputs[0]
    if shape is not None and x is not None and x.shape is not None and len(shape) <= len(x.shape):
        return all(d == 1 for d in shape) or _keeps_shape(node)
    return _keeps_shape(node)


def _is_neutral(node: onnx_ir.Node) -> bool:
    """x + 0, x - 0, x * 1, x / 1, x ** 1 without a change of shape."""
    constant = constant_of(input_at(node, 1))
    neutral = 0 if node.op_type in ("Add", "Sub") else 1
    if constant is None or constant.size == 0 or not (constant == neutral).all():
        return False
    x = node.inputs[0]
    if x is None or x.dtype is None or x.dtype != node.outputs[0].dtype:
        return False
    return _keeps_shape(node) or (x.shape is not None and constant.ndim <= len(x.shape) and constant.size == 1)


def _neutral_second(node: onnx_ir.Node) -> onnx_ir.Value | None:
    """The second input where the first one is the neutral constant of a commutative operator."""
    constant, x = constant_of(node.inputs[0]), input_at(node, 1)
    if constant is None or constant.size == 0 or x is None or x.shape is None:
        return None
    if not (constant == (0 if node.op_type == "Add" else 1)).all():
        return None
    kept = same_shape(x, node.outputs[0]) or (constant.size == 1 and constant.ndim <= len(x.shape))
    return x if kept else None


def _is_variadic_of_one(node: onnx_ir.Node) -> bool:
    return len(node.inputs) == 1


_RULES: dict[str, Callable[[onnx_ir.Node], bool]] = {
    "Add": _is_neutral,
    "Cast": _is_cast_to_same,
    "Concat": _is_concat_of_one,
    "Div": _is_neutral,
    "Dropout": _is_dropout_off,
    "Expand": _expands_nothing,
    "Flatten": _keeps_shape,
    "Identity": _always,
    "Max": _is_variadic_of_one,
    "Mean": _is_variadic_of_one,
    "Min": _is_variadic_of_one,
    "Mul": _is_neutral,
    "Pad": _pads_nothing,
    "Pow": _is_neutral,
    "Reshape": _is_reshape_to_same,
    "Slice": _is_full_slice,
    "Squeeze": _keeps_shape,
    "Sub": _is_neutral,
    "Sum": _is_variadic_of_one,
    "Tile": _tiles_once,
    "Transpose": _keeps_axes,
    "Unsqueeze": _keeps_shape,
}
