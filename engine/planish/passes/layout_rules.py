"""Which operators can run on transposed tensors, and how their attributes change.

A rule is asked about a node whose tensors would all be stored in another axis order: axis `a` of the present order is
axis `perm[a]` of the stored one. It gives a function that adapts the node, or None where the operator depends on the
order. Only inputs and outputs of the common rank take part; constants of lower rank are broadcast, so they are expanded
first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir

from planish.passes.patterns import constant_of, input_at, int_attribute, ints_of, is_constant, normal_axis, rank_of
from planish.passes.rewrite import add_constant, set_input

Adapt = Callable[[], None]

_UNARY_NAMES = (
    "Abs Cast Ceil Celu Clip Cos Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity IsNaN LeakyRelu Log Mish Neg "
    "Not Reciprocal Relu Round Selu Sigmoid Sign Sin Softplus Softsign Sqrt Tanh ThresholdedRelu"
)
_BROADCASTING_NAMES = (
    "Add And Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mul Or PRelu Pow Sub Sum Where Xor"
)
_REDUCTION_NAMES = "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare"

UNARY = frozenset(_UNARY_NAMES.split())
BROADCASTING = frozenset(_BROADCASTING_NAMES.split())
_REDUCTIONS = frozenset(f"Reduce{name}" for name in _REDUCTION_NAMES.split())


def data_inputs(node: onnx_ir.Node) -> list[int]:
    """The inputs that are stored in the common axis order, as opposed to parameters."""
    if node.op_type in BROADCASTING or node.op_type == "Concat":
        return list(range(len(node.inputs)))
    return [0]


def adapt(node: onnx_ir.Node, perm: Sequence[int]) -> Adapt | None:
    """A function that makes `node` compute the same on tensors stored in the other order; None where there is none."""
    if node.domain != "" or rank_of(node.outputs[0]) != len(perm):
        return None
    operator = node.op_type
    if operator in UNARY:
        return _nothing if all(_is_scalar(v) for v in node.inputs[1:]) else None
    if operator in BROADCASTING:
        return _adapt_operands(node, perm)
    if operator == "Concat":
        return _adapt_concat(node, perm)
    if operator in ("Split", "Softmax", "LogSoftmax", "Hardmax"):
        return _adapt_axis(node, perm)
    if operator in _REDUCTIONS and int_attribute(node, "keepdims", 1):
        return _adapt_axes_input(node, perm, 1)
    if operator == "Slice":
        return _adapt_axes_input(node, perm, 3)
    if operator == "Pad":
        return _adapt_pads(node, perm)
    if operator in ("QuantizeLinear", "DequantizeLinear"):
        return _nothing if all(_is_scalar(v) for v in node.inputs[1:]) else None
    return None


def reduced_order(node: onnx_ir.Node, perm: Sequence[int]) -> tuple[list[int], list[int]] | None:
    """For a reduction that drops its axes: (its axes in the stored order, order of the axes that remain).

    The second list gives for each axis of the present result its place in the result of the reduction of the stored
    tensor. None for other nodes.
    """
    axes = ints_of(input_at(node, 1))
    if node.domain != "" or node.op_type not in _REDUCTIONS or int_attribute(node, "keepdims", 1) or not axes:
        return None
    rank = len(perm)
    dropped = {normal_axis(a, rank) for a in axes}
    stored = sorted(perm[a] for a in dropped)
    left = [a for a in range(rank) if a not in stored]
    return stored, [left.index(perm[a]) for a in range(rank) if a not in dropped]


def _nothing() -> None:
    """The node is the same in any order."""


def _is_scalar(value: onnx_ir.Value | None) -> bool:
    if value is None:
        return True
    array = constant_of(value)
    return array is not None and array.size == 1


def _adapt_axis(node: onnx_ir.Node, perm: Sequence[int]) -> Adapt:
    axis = perm[normal_axis(int_attribute(node, "axis", 0 if node.op_type == "Split" else -1), len(perm))]

    def apply() -> None:
        node.attributes["axis"] = onnx_ir.AttrInt64("axis", axis)

    return apply


def _adapt_concat(node: onnx_ir.Node, perm: Sequence[int]) -> Adapt | None:
    """The axis, and the pieces that are constants."""
    turn_axis, turn_pieces = _adapt_axis(node, perm), _adapt_operands(node, perm)
    if turn_pieces is None:
        return None

    def apply() -> None:
        turn_axis()
        turn_pieces()

    return apply


def _adapt_operands(node: onnx_ir.Node, perm: Sequence[int]) -> Adapt | None:
    """Constants are transposed; computed operands must have the full rank (the caller transposes them)."""
    constants: list[tuple[int, onnx_ir.Value]] = []
    for index, value in enumerate(node.inputs):
        if value is not None and is_constant(value):
            if (rank_of(value) or 0) > len(perm):
                return None
            constants.append((index, value))
        elif value is None or rank_of(value) != len(perm):
            return None
    graph = node.graph
    assert isinstance(graph, onnx_ir.Graph)

    def apply() -> None:
        for index, value in constants:
            array = constant_of(value)
            if array is None or array.size == 1:
                continue
            full = array.reshape((1,) * (len(perm) - array.ndim) + array.shape)
            stored = np.ascontiguousarray(np.transpose(full, np.argsort(perm)))
            node.replace_input_with(index, add_constant(graph, stored, str(value.name), value.dtype))

    return apply


def _adapt_axes_input(node: onnx_ir.Node, perm: Sequence[int], index: int) -> Adapt | None:
    value = input_at(node, index)
    axes = ints_of(value)
    if value is not None and axes is None:
        return None
    if axes is None:
        count = len(ints_of(input_at(node, 1)) or []) if node.op_type == "Slice" else 0
        if node.op_type == "Slice" and not count:
            return None
        axes = list(range(count))
    if not axes:
        return _nothing  # a reduction over everything
    graph = node.graph
    assert isinstance(graph, onnx_ir.Graph)
    stored = np.array([perm[normal_axis(a, len(perm))] for a in axes], np.int64)

    def apply() -> None:
        set_input(node, index, add_constant(graph, stored, f"{node.outputs[0].name}.axes"))

    return apply


def _adapt_pads(node: onnx_ir.Node, perm: Sequence[int]) -> Adapt | None:
    pads, rank = ints_of(input_at(node, 1)), len(perm)
    if pads is None or len(pads) != 2 * rank or input_at(node, 3) is not None:
        return None
    graph = node.graph
    assert isinstance(graph, onnx_ir.Graph)
    order = np.argsort(perm)
    stored = np.array([*(pads[a] for a in order), *(pads[rank + a] for a in order)], np.int64)

    def apply() -> None:
        node.replace_input_with(1, add_constant(graph, stored, f"{node.outputs[0].name}.pads"))

    return apply
