"""fold_into_tables: what is computed element by element from looked-up rows is computed on the table instead."""

from __future__ import annotations

import onnx_ir

from planish.passes.evaluate import evaluate
from planish.passes.layout_rules import BROADCASTING, UNARY
from planish.passes.patterns import Array, constant_of, int_attribute, is_float, nodes_of, single_consumer
from planish.passes.rewrite import add_constant, remove_nodes, set_input, take_over

#: A table above this size is evaluated too slowly while loading.
_MAX_ELEMENTS = 1 << 18


def fold_into_tables(model: onnx_ir.Model) -> bool:
    """Apply element-wise operators behind Gather(table, indices) to the constant table itself.

    The Gather takes whole rows (axis 0) of a float matrix and has one consumer: a unary operator, or one whose other
    operands are constant scalars or vectors along the row. The table must have fewer than 2¹⁸ elements.

    Guarantees: no such operator directly follows such a Gather, if it is among those that are evaluated here.
    """
    changed = False
    for node in nodes_of(model, "Gather"):
        table = constant_of(node.inputs[0])
        if table is None or table.ndim != 2 or table.size > _MAX_ELEMENTS or int_attribute(node, "axis", 0) != 0:
            continue
        while is_float(node.outputs[0]) and _absorb_consumer(node):
            changed = True
    return changed


def _absorb_consumer(gather: onnx_ir.Node) -> bool:
    user = single_consumer(gather.outputs[0], *UNARY, *BROADCASTING)
    table, graph, value = constant_of(gather.inputs[0]), gather.graph, gather.inputs[0]
    if user is None or table is None or value is None or not isinstance(graph, onnx_ir.Graph):
        return False
    operands = [table if v is gather.outputs[0] else _row_parameter(v, table.shape[1]) for v in user.inputs]
    if any(v is not None and operand is None for v, operand in zip(user.inputs, operands, strict=True)):
        return False
    results = evaluate(user, operands)
    if results is None or len(results) != 1 or results[0].shape != table.shape or results[0].dtype != table.dtype:
        return False
    set_input(gather, 0, add_constant(graph, results[0], str(value.name), value.dtype))
    take_over(user.outputs[0], gather.outputs[0])
    remove_nodes(user)
    return True


def _row_parameter(value: onnx_ir.Value | None, columns: int) -> Array | None:
    """A constant scalar or vector that is the same for every row."""
    array = constant_of(value)
    if array is None or array.ndim > 1 or array.size not in (1, columns):
        return None
    return array
