"""fold_constants: nodes whose inputs are all constant are evaluated now."""

from __future__ import annotations

import numpy as np
import onnx_ir

from planish.passes.compressed_weights import compressed_weight_nodes
from planish.passes.evaluate import FOLDED_BYTES, evaluate, evaluate_by_reference, fits
from planish.passes.patterns import (
    Array,
    constant_of,
    graphs_of,
    is_constant,
    nodes_of,
    rank_of,
    scalar_of,
    static_shape,
    subgraphs_of,
)
from planish.passes.rewrite import add_constant, make_node, remove_nodes, replace_node
from planish.passes.shape_arithmetic import known_elements

#: Identity keeps constants that are outputs computed; DequantizeLinear of a constant is a weight.
_NEVER = ("Identity", "DequantizeLinear")

_SHAPE_TYPES = frozenset({onnx_ir.DataType.INT64, onnx_ir.DataType.INT32})


def fold_constants(model: onnx_ir.Model) -> bool:
    """Evaluate nodes with constant inputs, and Shape and Size of values whose shape is known.

    Left alone: the compressed forms of weights (`compressed_weights`), among them DequantizeLinear of a constant, which
    the lowering runs natively; results larger than 256 KiB unless their inputs are as large (so that Expand and its
    like cannot blow up the model); random operators; strings. QuantizeLinear of a constant becomes integers; integers
    times zero are zero.

    Guarantees: integer shape arithmetic on known shapes is gone.
    """
    opset = model.opset_imports.get("", 1)
    protected: set[onnx_ir.Node] | None = None  # found when first needed, which is never for most models
    changed = False
    for graph in graphs_of(model):
        for node in list(graph):
            if node.domain == "" and node.op_type not in _NEVER and _may_fold(node):
                protected = _protected_nodes(model) if protected is None else protected
                changed |= node not in protected and _fold(node, graph, opset)
    return changed


def _may_fold(node: onnx_ir.Node) -> bool:
    """Whether the inputs are constant, or the result may be known without them."""
    return (
        node.outputs[0].dtype in _SHAPE_TYPES
        or node.op_type == "Mul"
        or all(value is None or is_constant(value) for value in node.inputs)
    )


def _protected_nodes(model: onnx_ir.Model) -> set[onnx_ir.Node]:
    return {
        part
        for node in nodes_of(model, "DequantizeLinear", "Gather", "GatherElements", "ScatterND")
        for part in compressed_weight_nodes(node.outputs[0])
    } | _reshaped_weights(model)


def _reshaped_weights(model: onnx_ir.Model) -> set[onnx_ir.Node]:
    """Reshape and Transpose that finish a compressed weight."""
    reshaping = nodes_of(model, "Reshape", "Transpose", "Squeeze", "Unsqueeze")
    return {node for node in reshaping if compressed_weight_nodes(node.outputs[0])}


def _fold(node: onnx_ir.Node, graph: onnx_ir.Graph, opset: int) -> bool:
    results = _evaluate(node, opset) or _evaluate_shape_arithmetic(node) or _multiply_by_zero(node)
    if results is None or len(results) != len(node.outputs):
        return False
    for output, array in zip(list(node.outputs), results, strict=True):
        if output.is_graph_output():
            if len(results) > 1:
                return False
            constant = add_constant(graph, array, f"{output.name}.value")
            replace_node(node, make_node("Identity", [constant], like=constant))
            return True
    for output, array in zip(list(node.outputs), results, strict=True):
        name = str(output.name)
        output.name = None
        output.replace_all_uses_with(add_constant(graph, array, name))
    remove_nodes(node)
    return True


def _evaluate_shape_arithmetic(node: onnx_ir.Node) -> list[Array] | None:
    """Integers that follow from the shape of a value, without its data."""
    dtype, rank = node.outputs[0].dtype, rank_of(node.outputs[0])
    if dtype not in _SHAPE_TYPES or dtype is None or rank is None or rank > 1:
        return None
    elements = known_elements(node.outputs[0])
    if elements is None or not all(isinstance(e, int) for e in elements) or (rank == 0 and len(elements) != 1):
        return None
    array = np.array(elements, dtype.numpy())
    return [array.reshape(()) if rank == 0 else array]


def _multiply_by_zero(node: onnx_ir.Node) -> list[Array] | None:
    """Integers times zero are zero; for floats NaN and infinity forbid that."""
    shape, dtype = static_shape(node.outputs[0]), node.outputs[0].dtype
    if node.op_type != "Mul" or shape is None or dtype is None or not dtype.is_integer() or not fits(shape, 8):
        return None
    if not any(scalar_of(value) == 0 for value in node.inputs):
        return None
    return [np.zeros(shape, dtype.numpy())]


def _evaluate(node: onnx_ir.Node, opset: int) -> list[Array] | None:
    if not node.inputs or subgraphs_of(node) or not all(v is None or is_constant(v) for v in node.inputs):
        return None
    arrays = [constant_of(value) for value in node.inputs]
    if any(array is None and value is not None for array, value in zip(arrays, node.inputs, strict=True)):
        return None  # strings
    folded = evaluate(node, arrays)
    if folded is not None:
        return folded
    shapes = [static_shape(value) for value in node.outputs]
    if any(shape is None or not fits(shape, 8, *arrays) for shape in shapes):
        return None
    if sum(a.nbytes for a in arrays if a is not None) > 64 * FOLDED_BYTES:
        return None
    return evaluate_by_reference(node, arrays, opset)
