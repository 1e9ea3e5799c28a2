"""LSTM, GRU and RNN: one recurrent step a direction."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from planish import _core
from planish.lowering.builder import Builder, Unsupported, require, rule
from planish.lowering.lowered import ABSENT, Packed

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


@rule("LSTM", "GRU", "RNN")
def lower_recurrent(b: Builder, node: ir.Node) -> None:
    for value in (*node.inputs[:4], *node.inputs[5:]):
        require(value, "float32")
    get = node.attributes
    if get.get_int("input_forget", 0):
        raise Unsupported("recurrent layers with input_forget")
    directions = 2 if get.get_string("direction", "forward") == "bidirectional" else 1
    activations = [a.capitalize() for a in get.get_strings("activations", None) or []]
    relu = node.op_type == "RNN" and activations == ["Relu"] * directions
    if activations and not relu and activations != _DEFAULTS[node.op_type] * directions:
        raise Unsupported(f"activations {activations}")
    inputs = [*node.inputs, *[None] * (8 - len(node.inputs))]
    batch_first = bool(get.get_int("layout", 0))
    x = b.tensor(inputs[0])
    if batch_first:
        (x,) = b.add("transpose", node, [x], {"perm": [1, 0, 2]})
    results = [_direction(b, node, x, inputs, d, {"act": "relu"} if relu else {}) for d in range(directions)]
    _join(b, node, results, batch_first)


def _direction(
    b: Builder, node: ir.Node, x: int, inputs: list[ir.Value | None], direction: int, attrs: dict[str, Any]
) -> list[int]:
    """One direction's step: [Y, Y_h, Y_c]."""
    get = node.attributes
    hidden = _hidden(b, node, inputs[2])
    which = get.get_string("direction", "forward")
    attrs = {
        **attrs, "cell": node.op_type.lower(), "hidden": hidden, "reverse": int(which == "reverse" or direction == 1),
    }  # fmt: skip
    if node.op_type == "GRU":
        attrs["linear_before_reset"] = get.get_int("linear_before_reset", 0)
    if "clip" in get:
        attrs["clip"] = float(get["clip"].as_float())
    packed = [_pack(b, node, name, inputs[i], direction) for name, i in (("W", 1), ("R", 2))]
    bias = _bias(b, node, inputs[3], direction, hidden)
    axis = get.get_int("layout", 0)
    states = [_slice(b, node, inputs[i], direction, axis) for i in (5, 6)]
    peepholes = _slice(b, node, inputs[7], direction)
    operands = [x, *packed, bias, b.tensor(inputs[4]), *states, peepholes]
    return b.add("recurrent", node, operands, attrs, 3 if node.op_type == "LSTM" else 2)


def _hidden(b: Builder, node: ir.Node, r: ir.Value | None) -> int:
    """The number of units, from the attribute or the recurrent weights [D, gates·H, H]."""
    weights = b.constant(r)
    if weights is not None:
        return int(weights.shape[2])
    hidden = node.attributes.get_int("hidden_size", 0) or (r.shape[2] if r is not None and r.shape is not None else 0)
    if not isinstance(hidden, int) or hidden < 1:
        raise Unsupported("a recurrent layer of which the number of units is not known")
    return hidden


def _pack(b: Builder, node: ir.Node, name: str, value: ir.Value | None, direction: int) -> int:
    """One direction's weights in the kernel's format."""
    weights = b.constant(value)
    if weights is None:
        (packed,) = b.add("pack", node, [_slice(b, node, value, direction)])
        return packed
    dense = np.ascontiguousarray(weights[direction], np.float32)
    memory = _core.pack_dense_f32(dense[:, None, :], 1)
    return b.lowered.constant(f"{node.name}.{name}", Packed(memory, "dense_f32", dense.nbytes))


def _bias(b: Builder, node: ir.Node, value: ir.Value | None, direction: int, hidden: int) -> int:
    """One direction's bias as the kernel wants it: both halves, of which all but GRU's are summed."""
    if value is None:
        return ABSENT
    gates = _GATES[node.op_type]
    bias, summed = b.constant(value), node.op_type != "GRU"
    if bias is not None:
        halves = bias[direction].reshape(2, gates * hidden)
        return b.lowered.constant("bias", np.ascontiguousarray(halves.sum(0) if summed else halves.ravel(), np.float32))
    flat = _slice(b, node, value, direction)
    if not summed:
        return flat
    shape = b.lowered.constant("halves", np.array([2, gates * hidden], np.int64))
    (split,) = b.add("reshape", node, [flat, shape])
    (made,) = b.add("reduce", node, [split], {"op": "sum", "keepdims": 0, "noop": 0, "axes": [0]})
    return made


def _slice(b: Builder, node: ir.Node, value: ir.Value | None, direction: int, axis: int = 0) -> int:
    """One direction of a tensor that has an axis of directions."""
    if value is None:
        return ABSENT
    constant = b.constant(value)
    if constant is not None:
        return b.lowered.constant(value.name or "", np.ascontiguousarray(constant.take(direction, axis)))
    index = b.lowered.constant("direction", np.array(direction, np.int64))
    (made,) = b.add("gather", node, [b.tensor(value), index], {"axis": axis})
    return made


def _join(b: Builder, node: ir.Node, results: list[list[int]], batch_first: bool) -> None:
    """Per-direction results → ONNX's outputs Y [T, D, B, H] or [B, T, D, H], Y_h and Y_c [D, B, H] or [B, D, H]."""
    for i, value in enumerate(node.outputs):
        axis = (2 if i == 0 else 1) if batch_first else (1 if i == 0 else 0)
        axes = b.lowered.constant("axes", np.array([axis], np.int64))
        parts = [r[i] for r in results]
        if batch_first and i == 0:
            parts = [b.add("transpose", node, [p], {"perm": [1, 0, 2]})[0] for p in parts]
        parts = [b.add("unsqueeze", node, [p, axes])[0] for p in parts]
        joined = parts[0] if len(parts) == 1 else b.add("concat", node, parts, {"axis": axis})[0]
        b.define(value, joined)
