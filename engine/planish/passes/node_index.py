"""The nodes of each operator, listed once for all the passes between two changes: most passes look for operators that
the model does not have, and reading the whole graph for each of them took longer than what they do.

The index belongs to a thread and to one model, and holds from `index_nodes` until `drop_index`. Nodes that are removed
meanwhile are left out. Whatever makes or moves a node, or changes its operator, drops the index.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import onnx_ir

#: (domain, operator) → (position, node) in graph order.
_Nodes = dict[tuple[str, str], list[tuple[int, onnx_ir.Node]]]


class _Index(threading.local):
    """What the index of this thread is of; None: there is none."""

    model: onnx_ir.Model | None = None
    nodes: _Nodes = {}  # noqa: RUF012 - replaced, never changed
    holders: list[onnx_ir.Node] = []  # noqa: RUF012


_index = _Index()


def index_nodes(model: onnx_ir.Model, bodies_of: Callable[[onnx_ir.Node], list[onnx_ir.Graph]]) -> None:
    """Make the index of a model; bodies_of: the graphs that a node holds."""
    nodes: _Nodes = {}
    holders = []
    position = 0
    graphs = [model.graph]
    for graph in graphs:  # grows while it is read, outer graphs first
        for node in graph:
            if bodies := bodies_of(node):
                holders.append(node)
                graphs.extend(bodies)
            nodes.setdefault((node.domain, node.op_type), []).append((position, node))
            position += 1
    _index.model, _index.nodes, _index.holders = model, nodes, holders


def drop_index() -> None:
    """Forget the index: the graph is about to get nodes that it does not know."""
    _index.model, _index.nodes, _index.holders = None, {}, []


def has_index(model: onnx_ir.Model) -> bool:
    return _index.model is model


def indexed_nodes(op_types: Iterable[str], domain: str) -> list[onnx_ir.Node]:
    """The nodes of these operators in graph order, as they were when the index was made."""
    found = [entry for op_type in op_types for entry in _index.nodes.get((domain, op_type), ())]
    found.sort(key=lambda entry: entry[0])
    return [node for _, node in found]


def indexed_holders(graph: onnx_ir.Graph) -> list[onnx_ir.Node]:
    """The nodes of a graph that hold graphs."""
    return [node for node in _index.holders if node.graph is graph]
