"""The nodes of each operator, listed once for all the passes between two changes: most passes look for operators that
the model does not have, and reading the whole graph for each of them took longer than what they do.

The index belongs to a thread and to one model, and holds from `index_nodes` until `drop_index`. Whatever makes a node
drops it, so that `patterns.nodes_of` never misses one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

import onnx_ir

#: Operator → (position, node) in graph order, of the standard domain.
_Nodes = dict[str, list[tuple[int, onnx_ir.Node]]]


class _Index(threading.local):
    """What the index of this thread is of; None: there is none."""

    model: onnx_ir.Model | None = None
    nodes: _Nodes = {}  # noqa: RUF012 - replaced, never changed


_index = _Index()


def index_nodes(model: onnx_ir.Model, graphs: Iterable[onnx_ir.Graph]) -> None:
    """Make the index of a model, whose graphs are given, outer graphs first."""
    nodes: _Nodes = {}
    position = 0
    for graph in graphs:
        for node in graph:
            if node.domain == "":
                nodes.setdefault(node.op_type, []).append((position, node))
                position += 1
    _index.model, _index.nodes = model, nodes


def drop_index() -> None:
    """Forget the index: the graph is about to get nodes that it does not know."""
    _index.model, _index.nodes = None, {}


def has_index(model: onnx_ir.Model) -> bool:
    return _index.model is model


def indexed_nodes(op_types: Iterable[str]) -> list[onnx_ir.Node]:
    """The nodes of these operators in graph order, as they were when the index was made."""
    found = [entry for op_type in op_types for entry in _index.nodes.get(op_type, ())]
    found.sort(key=lambda entry: entry[0])
    return [node for _, node in found]
