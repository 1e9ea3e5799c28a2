"""Reading a graph: what passes and the lowering ask of values and nodes. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir

from planish.passes.node_index import has_index, indexed_holders, indexed_nodes

Array = npt.NDArray[Any]

_CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})


def graphs_of(model: onnx_ir.Model) -> list[onnx_ir.Graph]:
    """The main graph and every graph inside it, outer graphs first."""
    graphs = [model.graph]
    for graph in graphs:  # grows while it is read
        for node in indexed_holders(graph) if has_index(model) else graph:
            graphs.extend(subgraphs_of(node))
    return graphs


def subgraphs_of(node: onnx_ir.Node) -> list[onnx_ir.Graph]:
    """The graphs that `node` holds as attributes: the bodies of If, Loop, Scan and their like."""
    if node.domain == "" and node.op_type not in _CONTROL_FLOW:
        return []
    found: list[onnx_ir.Graph] = []
    for attribute in node.attributes.values():
        if attribute.type == onnx_ir.AttributeType.GRAPH and not attribute.is_ref():
            found.append(attribute.as_graph())
        elif attribute.type == onnx_ir.AttributeType.GRAPHS and not attribute.is_ref():
            found.extend(attribute.as_graphs())
    return found


def nodes_of(model: onnx_ir.Model, *op_types: str, domain: str = "") -> Iterator[onnx_ir.Node]:
    """Every node of the domain (by default the standard one) whose operator is among `op_types` (of every domain when
    none is given).

    The nodes are listed beforehand, so the graph may be changed meanwhile; those removed since are left out.
    """
    wanted = frozenset(op_types)
    if wanted and has_index(model):
        for node in indexed_nodes(wanted, domain):
            if node.graph is not None and node.op_type in wanted:
                yield node
        return
    for graph in graphs_of(model):
        for node in list(graph):
            if node.graph is not None and (not wanted or (node.op_type in wanted and node.domain == domain)):
                yield node


def constant_of(value: onnx_ir.Value | None) -> Array | None:
    """The array of an initializer (or of a Constant's `value`), None for anything computed or fed.

    The array is shared, possibly mapped from a file: never write into it. An initializer that is also a graph input is
    a default that a caller may override, hence not a constant.
    """
    if value is None:
        return None
    if value.is_initializer():
        if value.is_graph_input() or value.const_value is None or value.dtype == onnx_ir.DataType.STRING:
            return None
        return np.asarray(value.const_value.numpy())
    producer = value.producer()
    if producer is not None and producer.op_type == "Constant" and producer.domain == "":
        tensor = producer.attributes.get_tensor("value")
        if tensor is not None and tensor.dtype != onnx_ir.DataType.STRING:
            return np.asarray(tensor.numpy())
    return None


def is_constant(value: onnx_ir.Value | None) -> bool:
    """Whether `constant_of` would give an array; decodes nothing."""
    if value is None:
        return False
    if value.is_initializer():
        return not value.is_graph_input() and value.const_value is not None
    producer = value.producer()
    return producer is not None and producer.op_type == "Constant" and producer.domain == ""


def scalar_of(value: onnx_ir.Value | None) -> float | int | bool | None:
    """The Python number of a constant with exactly one element, of any rank; else None."""
    if value is None or not is_constant(value) or (value.shape is not None and len(value.shape) > 8):
        return None
    array = constant_of(value)
    if array is None or array.size != 1:
        return None
    number: float | int | bool = array.reshape(-1)[0].item()
    return number


def ints_of(value: onnx_ir.Value | None) -> list[int] | None:
    """The integers of a constant of rank 0 or 1 (shapes, axes, pads); None where it is not one."""
    array = constant_of(value)
    if array is None or array.ndim > 1 or array.dtype.kind not in "iu":
        return None
    return [int(i) for i in array.reshape(-1)]


def rank_of(value: onnx_ir.Value | None) -> int | None:
    """The number of dimensions where it is known."""
    return None if value is None or value.shape is None else len(value.shape)


def dims_of(value: onnx_ir.Value | None) -> tuple[int | None, ...] | None:
    """The dimensions, None in place of a symbolic one; None where even the rank is unknown."""
    if value is None or value.shape is None:
        return None
    return tuple(d if isinstance(d, int) else None for d in value.shape)


def static_shape(value: onnx_ir.Value | None) -> tuple[int, ...] | None:
    """The shape where every dimension is a number."""
    dims = dims_of(value)
    return None if dims is None or None in dims else tuple(d for d in dims if d is not None)


def same_shape(a: onnx_ir.Value | None, b: onnx_ir.Value | None) -> bool:
    """Whether two values certainly have the same shape: equal numbers, or the same named symbols."""
    if a is None or b is None or a.shape is None or b.shape is None or len(a.shape) != len(b.shape):
        return False
    return all(_same_dim(p, q) for p, q in zip(a.shape, b.shape, strict=True))


def _same_dim(p: Any, q: Any) -> bool:
    if isinstance(p, int) or isinstance(q, int):
        return isinstance(p, int) and isinstance(q, int) and p == q
    return p.value is not None and p.value == q.value


def producer_of(value: onnx_ir.Value | None, *op_types: str) -> onnx_ir.Node | None:
    """The standard-domain node that computes `value` if its operator is among `op_types` (any when none is given)."""
    node = None if value is None else value.producer()
    if node is None or node.domain != "" or (op_types and node.op_type not in op_types):
        return None
    return node


def single_consumer(value: onnx_ir.Value, *op_types: str) -> onnx_ir.Node | None:
    """The only node that uses `value`, in one place and in the same graph, with an operator among `op_types`.

    None for graph outputs: their value must stay.
    """
    uses = value.uses()
    if len(uses) != 1 or value.is_graph_output():
        return None
    node = next(iter(uses)).node
    if node.graph is not value.graph or (op_types and (node.domain != "" or node.op_type not in op_types)):
        return None
    return node


def input_at(node: onnx_ir.Node, index: int) -> onnx_ir.Value | None:
    """Input `index`, None where it is left out."""
    return node.inputs[index] if index < len(node.inputs) else None


def output_at(node: onnx_ir.Node, index: int) -> onnx_ir.Value | None:
    """Output `index`, None where it does not exist, has no name, or nothing uses it."""
    if index >= len(node.outputs):
        return None
    value = node.outputs[index]
    return value if value.uses() or value.is_graph_output() else None


def split_constant(node: onnx_ir.Node) -> tuple[onnx_ir.Value, onnx_ir.Value] | None:
    """(computed input, constant input) of a binary node with exactly one constant operand, in either order."""
    if len(node.inputs) != 2 or node.inputs[0] is None or node.inputs[1] is None:
        return None
    first, second = node.inputs[0], node.inputs[1]
    if is_constant(second) and not is_constant(first):
        return first, second
    if is_constant(first) and not is_constant(second):
        return second, first
    return None


def is_float(value: onnx_ir.Value | None) -> bool:
    """Whether the element type is known and a floating-point one."""
    return value is not None and value.dtype is not None and value.dtype.is_floating_point()


def int_attribute(node: onnx_ir.Node, name: str, default: int) -> int:
    """Attribute `name` as an integer, `default` where it is left out."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()


def normal_axis(axis: int, rank: int) -> int:
    """`axis` counted from the front."""
    return axis + rank if axis < 0 else axis


def is_permutation_identity(perm: Sequence[int]) -> bool:
    """Whether `perm` leaves every axis where it is."""
    return list(perm) == list(range(len(perm)))
