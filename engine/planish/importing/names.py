"""Unique, non-empty names for nodes and values, so that messages, recipes and reports can point at them."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir

from planish.importing.graphs import nested_graphs

#: Key of a node's position in its graph as the file had it, in `onnx_ir.Node.meta`.
NODE_INDEX = "planish.index"


def number_nodes(model: onnx_ir.Model) -> None:
    """Notes every node's position, so that messages can name it after nodes were sorted and replaced."""
    for graph in nested_graphs(model.graph):
        for index, node in enumerate(graph):
            node.meta.setdefault(NODE_INDEX, index)


def make_names_unique(model: onnx_ir.Model) -> None:
    """Give every node and every value of the model, its subgraphs included, a name that no other one has.

    An unused optional output stays nameless. Existing names are kept where they are unique; the first bearer in graph
    order keeps a shared one. Inputs, outputs and initializers of the main graph always keep theirs. Unnamed nodes are
    called `<Operator>_<index>`.
    """
    nodes = [(graph, list(graph)) for graph in nested_graphs(model.graph)]
    _name_nodes(node for _, listed in nodes for node in listed)
    taken = {v.name: v for v in [*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.data.values()]}
    for graph, listed in nodes:
        for value in [*graph.inputs, *graph.initializers.data.values(), *(v for node in listed for v in node.outputs)]:
            name = value.name
            if name and taken.setdefault(name, value) is value:
                continue
            if name == "" and not value.uses():
                continue  # an optional output that is not wanted
            value.name = _fresh(name or "value", taken)
            taken[value.name] = value


def _name_nodes(nodes: Iterable[onnx_ir.Node]) -> None:
    taken: dict[str | None, object] = {}
    for index, node in enumerate(nodes):
        name = node.name
        if not name or name in taken:
            name = node.name = _fresh(name or f"{node.op_type}_{index}", taken)
        taken[name] = node


def _fresh(base: str, taken: dict[str | None, object] | dict[str | None, onnx_ir.Value]) -> str:
    if base not in taken:
        return base
    index = 1
    while f"{base}_{index}" in taken:
        index += 1
    return f"{base}_{index}"
