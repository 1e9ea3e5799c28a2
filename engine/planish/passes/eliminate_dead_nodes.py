"""eliminate_dead_nodes: what no output depends on is removed."""

from __future__ import annotations

import onnx_ir

from planish.passes.patterns import graphs_of, subgraphs_of
from planish.passes.rewrite import remove_nodes


def eliminate_dead_nodes(model: onnx_ir.Model) -> bool:
    """Remove nodes and initializers that contribute to no output of their graph.

    A node stays if any of its outputs is used by a living node, in this graph or inside another one, or is a graph
    output. Graph inputs stay even if unused: they are the model's interface. The trailing inputs and outputs that a
    node leaves unused are cut off.

    Guarantees: every node and initializer is needed for some output.
    """
    changed = False
    for graph in reversed(graphs_of(model)):
        changed |= _sweep_nodes(graph)
    for graph in graphs_of(model):
        changed |= _sweep_initializers(graph)
    return changed


def _sweep_nodes(graph: onnx_ir.Graph) -> bool:
    changed = False
    for node in list(reversed(graph)):
        if any(v.is_graph_output() or v.uses() for v in node.outputs):
            changed |= _drop_unused_outputs(node)
            continue
        _release_subgraphs(node)
        remove_nodes(node)
        changed = True
    return changed


def _drop_unused_outputs(node: onnx_ir.Node) -> bool:
    """Mark optional outputs that nobody reads as not wanted: only BatchNormalization-like extras and Dropout's mask."""
    if node.domain != "" or node.op_type not in ("Dropout", "MaxPool", "BatchNormalization", "LSTM", "GRU", "RNN"):
        return False
    used = [bool(v.uses()) or v.is_graph_output() for v in node.outputs]
    keep = max(i for i, is_used in enumerate(used) if is_used) + 1
    if keep == len(node.outputs):
        return False
    node.resize_outputs(keep)
    return True


def _release_subgraphs(node: onnx_ir.Node) -> None:
    """Make the bodies of a dying node let go of the outer values that they use."""
    for graph in subgraphs_of(node):
        for inner in graph:
            _release_subgraphs(inner)
            for index in range(len(inner.inputs)):
                inner.replace_input_with(index, None)


def _sweep_initializers(graph: onnx_ir.Graph) -> bool:
    dead = [
        name
        for name, value in graph.initializers.data.items()
        if not value.uses() and not value.is_graph_output() and not value.is_graph_input()
    ]
    for name in dead:
        del graph.initializers[name]
    return bool(dead)
