"""select_branches: an If whose condition is constant becomes the branch that it takes."""

from __future__ import annotations

import onnx_ir

from planish.passes.patterns import nodes_of, scalar_of
from planish.passes.rewrite import make_node, remove_nodes, take_over


def select_branches(model: onnx_ir.Model) -> bool:
    """Move the nodes of the taken branch in front of an If with a constant condition, and remove the If.

    Guarantees: every If that is left decides at run time.
    """
    changed = False
    for node in nodes_of(model, "If"):
        condition = scalar_of(node.inputs[0])
        if condition is not None and isinstance(node.graph, onnx_ir.Graph):
            _select(node, node.graph, node.attributes["then_branch" if condition else "else_branch"].as_graph())
            changed = True
    return changed


def _select(node: onnx_ir.Node, graph: onnx_ir.Graph, branch: onnx_ir.Graph) -> None:
    results = list(branch.outputs)
    branch.outputs.clear()
    for name, value in list(branch.initializers.items()):
        del branch.initializers[name]
        while value.name in graph.initializers:
            value.name = f"{value.name}_branch"
        graph.register_initializer(value)
    moved = list(branch)
    branch.remove(moved)
    graph.insert_before(node, moved)
    for output, result in zip(list(node.outputs), results, strict=True):
        kept = make_node("Identity", [result], like=result)
        graph.insert_before(node, kept)
        take_over(output, kept.outputs[0])
    remove_nodes(node)
