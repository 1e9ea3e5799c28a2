"""drop_zero_states: initial states of recurrent layers that are zero are left out."""

from __future__ import annotations

import onnx_ir

from planish.passes.patterns import constant_of, input_at, is_constant, nodes_of, producer_of

_INITIAL_STATES = {"LSTM": (5, 6), "GRU": (5,), "RNN": (5,)}
_SPREADING = ("Tile", "Expand", "Transpose", "Slice", "Reshape", "Squeeze", "Unsqueeze", "Split", "Identity", "Gather")
_MAX_DEPTH = 16


def drop_zero_states(model: onnx_ir.Model) -> bool:
    """Leave out initial_h and initial_c of LSTM, GRU and RNN where they are zeros, however these were spread out.

    A state that is left out is zero by definition. Exporters write Tile and Expand of zeros to the batch size, which
    costs shape arithmetic at run time.

    Guarantees: an initial state that is given is not known to be zero.
    """
    changed = False
    for node in nodes_of(model, *_INITIAL_STATES):
        for index in _INITIAL_STATES[node.op_type]:
            value = input_at(node, index)
            if value is not None and _is_zero(value, _MAX_DEPTH):
                node.replace_input_with(index, None)
                changed = True
    return changed


def _is_zero(value: onnx_ir.Value | None, depth: int) -> bool:
    """Whether every element is certainly zero."""
    if is_constant(value):
        array = constant_of(value)
        return array is not None and not array.any()
    node = producer_of(value)
    if node is None or depth == 0:
        return False
    if node.op_type == "Concat":
        return all(_is_zero(v, depth - 1) for v in node.inputs)
    if node.op_type == "ConstantOfShape":
        fill = node.attributes.get_tensor("value")
        return fill is None or not fill.numpy().any()
    return node.op_type in _SPREADING and _is_zero(node.inputs[0], depth - 1)
