"""Changing a graph: the few primitives that all passes are written in.

They keep three things right that are easy to get wrong one by one: graph outputs keep their names, values keep their
types and shapes, and removed nodes no longer count as users. Names may repeat; the pipeline makes them
unique before they are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir

from planish.passes.node_index import drop_index
from planish.passes.patterns import Array


def make_node(
    op_type: str,
    inputs: Sequence[onnx_ir.Value | None],
    attributes: Mapping[str, Any] | None = None,
    *,
    like: onnx_ir.Value | None = None,
    shape: Sequence[Any] | onnx_ir.Shape | None = None,
    dtype: onnx_ir.DataType | None = None,
    outputs: int = 1,
    name: str | None = None,
) -> onnx_ir.Node:
    """A new node of the standard domain, in no graph yet.

    The first output's type and shape come from `like`, overridden by `dtype` and `shape`. Attributes that are None are
    left out.
    """
    drop_index()
    attrs = onnx_ir.convenience.convert_attributes(
        {k: _plain(v) for k, v in (attributes or {}).items() if v is not None}
    )
    node = onnx_ir.Node("", op_type, list(inputs), attrs, num_outputs=outputs, name=name)
    if like is not None:
        node.outputs[0].type = like.type
        node.outputs[0].shape = like.shape
    if dtype is not None:
        node.outputs[0].type = onnx_ir.TensorType(dtype)
    if shape is not None:
        node.outputs[0].shape = onnx_ir.Shape(list(shape))
    return node


def _plain(value: Any) -> Any:
    """Attribute values as onnx_ir expects them; an empty sequence is a list of integers."""
    if isinstance(value, (list, tuple)) and not value:
        return onnx_ir.Attr("", onnx_ir.AttributeType.INTS, ())
    if isinstance(value, np.generic):
        return value.item()
    return value


def add_constant(graph: onnx_ir.Graph, array: Array, name: str, dtype: onnx_ir.DataType | None = None) -> onnx_ir.Value:
    """A new initializer of `graph` holding `array`; `name` gets a number appended where it is taken."""
    unique, index = name, 1
    while unique in graph.initializers:
        unique, index = f"{name}_{index}", index + 1
    tensor = onnx_ir.Tensor(np.asarray(array), dtype, name=unique)
    return _register(graph, tensor, unique)


def add_tensor(graph: onnx_ir.Graph, tensor: onnx_ir.TensorProtocol, name: str) -> onnx_ir.Value:
    """A new initializer of `graph` holding `tensor` as it is (packed, mapped or a string tensor)."""
    unique, index = name, 1
    while unique in graph.initializers:
        unique, index = f"{name}_{index}", index + 1
    return _register(graph, tensor, unique)


def _register(graph: onnx_ir.Graph, tensor: onnx_ir.TensorProtocol, name: str) -> onnx_ir.Value:
    value = onnx_ir.Value(
        name=name,
        shape=onnx_ir.Shape(tensor.shape.numpy()),
        type=onnx_ir.TensorType(tensor.dtype),
        const_value=tensor,
    )
    graph.register_initializer(value)
    return value


def insert_before(anchor: onnx_ir.Node, *nodes: onnx_ir.Node) -> onnx_ir.Value:
    """Put `nodes` in front of `anchor`, in order; gives the last one's first output."""
    assert anchor.graph is not None
    drop_index()
    anchor.graph.insert_before(anchor, nodes)
    return nodes[-1].outputs[0]


def replace_node(old: onnx_ir.Node, *nodes: onnx_ir.Node) -> None:
    """Put `nodes` in the place of `old`; the last one's outputs take over the names, types and uses of `old`'s."""
    assert old.graph is not None
    drop_index()
    new = nodes[-1]
    if not new.name:
        new.name = old.name
    for node in nodes:
        node.meta.update(old.meta)  # its number in the file, for messages
    old.graph.insert_before(old, nodes)
    for before, after in zip(old.outputs, new.outputs, strict=False):
        take_over(before, after)
    remove_nodes(old)


def take_over(before: onnx_ir.Value, after: onnx_ir.Value) -> None:
    """`after` becomes what `before` was, in name, type, shape, uses and as a graph output."""
    name = before.name
    before.replace_all_uses_with(after, replace_graph_outputs=True)
    after.type = before.type or after.type
    after.shape = before.shape if before.shape is not None else after.shape
    before.name = None
    after.name = name


def bypass(value: onnx_ir.Value, source: onnx_ir.Value) -> bool:
    """Let every user of `value` (computed by a node that does nothing to `source`) use `source`; then drop the node.

    False, with nothing changed, where `value` is an output of its graph and `source` cannot take its place: because it
    is an input, a constant, an output already, or belongs to another graph.
    """
    node = value.producer()
    assert node is not None
    if value.is_graph_output():
        if source.producer() is None or source.is_graph_output() or source.graph is not value.graph:
            return False
        _rename_to_output(value, source)
    else:
        value.replace_all_uses_with(source)
    remove_nodes(node)
    return True


def _rename_to_output(output: onnx_ir.Value, source: onnx_ir.Value) -> None:
    name, shape = output.name, output.shape
    source.type = output.type or source.type
    output.replace_all_uses_with(source, replace_graph_outputs=True)
    output.name = None
    source.name = name
    if shape is not None:
        source.shape = shape


def remove_nodes(*nodes: onnx_ir.Node) -> None:
    """Remove nodes whose outputs nothing uses any more."""
    graph = nodes[0].graph
    assert graph is not None
    graph.remove(nodes, safe=True)


def set_input(node: onnx_ir.Node, index: int, value: onnx_ir.Value | None) -> None:
    """Set input `index`, lengthening the inputs with empty ones where needed."""
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    node.replace_input_with(index, value)
