"""Control flow. Both branches of an If are lowered; specialisation inlines the one that a known condition selects."""

from __future__ import annotations

import onnx_ir as ir

from planish.lowering.builder import Builder, port, rule
from planish.lowering.lowered import Lowered


@rule("If")
def lower_if(b: Builder, node: ir.Node) -> None:
    from planish.lowering.lower import lower_nodes

    branches = []
    for name in ("then_branch", "else_branch"):
        graph = node.attributes[name].as_graph()
        inner = Lowered(constants=b.lowered.constants, names=b.lowered.names, notes=b.lowered.notes)
        child = Builder(inner, b.opset, b)
        lower_nodes(child, graph)
        inner.outputs = [port(v, child.tensor(v)) for v in graph.outputs]
        branches.append(inner)
    made = b.add("if", node, [b.tensor(node.inputs[0])], {"branches": branches}, len(node.outputs))
    for value, tensor in zip(node.outputs, made, strict=True):
        b.define(value, tensor)
