"""LSTM, GRU and RNN: one recurrent step a direction."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from planish import _core
from planish.lowering.builder import Builder, Unsupported, rule
from planish.lowering.lowered import ABSENT, Packed

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


@rule("LSTM", "GRU", "RNN")
def lower_recurrent(b: Builder, node: ir.Node) -> None:
    w, r = b.constant(node.inputs[1]), b.constant(node.inputs[2])
    if w is None or r is None or w.dtype != np.float32:
        raise Unsupported("recurrent weights that are computed, or not float32")
    get = node.attributes
    if get.get_int("layout", 0) or get.get_int("input_forget", 0):
        raise Unsupported("recurrent layers with layout 1 or input_forget")
    activations = [a.capitalize() for a in get.get_strings("activations", None) or []]
    directions = w.shape[0]
    if activations and activations != _DEFAULTS[node.op_type] * directions:
        raise Unsupported(f"activations {activations}")
    inputs = [*node.inputs, *[None] * (8 - len(node.inputs))]
    bias = b.constant(inputs[3])
    if inputs[3] is not None and bias is None:
        raise Unsupported("a recurrent bias that is computed")
    results = [_direction(b, node, inputs, w, r, bias, d) for d in range(directions)]
    _join(b, node, results)


def _direction(
    b: Builder, node: ir.Node, inputs: list[ir.Value | None], w: Any, r: Any, bias: Any, direction: int
) -> list[int]:
    """One direction's step: [Y, Y_h, Y_c]."""
    get = node.attributes
    hidden = r.shape[2]
    gates = _GATES[node.op_type]
    which = get.get_string("direction", "forward")
    attrs: dict[str, Any] = {
        "cell": node.op_type.lower(), "hidden": hidden, "reverse": int(which == "reverse" or direction == 1),
    }  # fmt: skip
    if node.op_type == "GRU":
        attrs["linear_before_reset"] = get.get_int("linear_before_reset", 0)
    if "clip" in get:
        attrs["clip"] = float(get["clip"].as_float())
    packed = [_pack(b, node, name, m[direction]) for name, m in (("W", w), ("R", r))]
    bias_tensor = ABSENT
    if bias is not None:
        halves = bias[direction].reshape(2, gates * hidden)
        joined = halves.ravel() if node.op_type == "GRU" else halves.sum(0)
        bias_tensor = b.lowered.constant("bias", np.ascontiguousarray(joined, np.float32))
    states = [_state(b, node, inputs[i], direction) for i in (5, 6)]
    peepholes = b.constant(inputs[7])
    peephole_tensor = (
        ABSENT if peepholes is None else b.lowered.constant("P", np.ascontiguousarray(peepholes[direction]))
    )
    lengths = b.tensor(inputs[4])
    operands = [b.tensor(inputs[0]), *packed, bias_tensor, lengths, *states, peephole_tensor]
    return b.add("recurrent", node, operands, attrs, 3 if node.op_type == "LSTM" else 2)


def _pack(b: Builder, node: ir.Node, name: str, matrix: Any) -> int:
    dense = np.ascontiguousarray(matrix, np.float32)
    memory = _core.pack_dense_f32(dense[:, None, :], 1)
    return b.lowered.constant(f"{node.name}.{name}", Packed(memory, "dense_f32", dense.nbytes))


def _state(b: Builder, node: ir.Node, value: ir.Value | None, direction: int) -> int:
    """[directions, B, H] → [B, H]."""
    if value is None:
        return ABSENT
    index = b.lowered.constant("direction", np.array(direction, np.int64))
    (made,) = b.add("gather", node, [b.tensor(value), index], {"axis": 0})
    return made


def _join(b: Builder, node: ir.Node, results: list[list[int]]) -> None:
    """Per-direction results → ONNX's outputs Y [T, D, B, H], Y_h and Y_c [D, B, H]."""
    for i, value in enumerate(node.outputs):
        axis = 1 if i == 0 else 0
        axes = b.lowered.constant("axes", np.array([axis], np.int64))
        parts = [b.add("unsqueeze", node, [r[i], axes])[0] for r in results]
        joined = parts[0] if len(parts) == 1 else b.add("concat", node, parts, {"axis": axis})[0]
        b.define(value, joined)
