"""Every graph of a model, those inside nodes included."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir

_GRAPH, _GRAPHS = onnx_ir.AttributeType.GRAPH, onnx_ir.AttributeType.GRAPHS


def bodies_of(node: onnx_ir.Node) -> Iterator[onnx_ir.Graph]:
    """The graphs that a node of any operator holds as attributes."""
    for attribute in node.attributes.data.values():  # `.values()` of a UserDict looks every key up again
        if attribute.type == _GRAPH and not attribute.is_ref():
            yield attribute.value
        elif attribute.type == _GRAPHS and not attribute.is_ref():
            yield from attribute.value


def nested_graphs(graph: onnx_ir.Graph) -> list[onnx_ir.Graph]:
    """The graph and every graph inside it, outer graphs first."""
    graphs = [graph]
    for outer in graphs:  # grows while it is read
        for node in outer:
            if node.attributes.data:
                graphs.extend(bodies_of(node))
    return graphs
