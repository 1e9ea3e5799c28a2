"""Control flow: the graphs inside If, Loop and Scan are lowered like any graph.

Both branches of an If are lowered; specialisation inlines the one that a known condition selects. The body of a Loop,
Scan or SequenceMap becomes a graph of its own, which the executor runs once an iteration; what it captures from outside
becomes inputs of the step, behind the operator's own.
"""

from __future__ import annotations

import onnx_ir as ir

from planish.lowering.builder import Builder, Unsupported, port, rule
from planish.lowering.lowered import ABSENT, Lowered, captured_by


@rule("If")
def lower_if(b: Builder, node: ir.Node) -> None:
    branches = [_lower_graph(b, node.attributes[name].as_graph()) for name in ("then_branch", "else_branch")]
    made = b.add("if", node, [b.tensor(node.inputs[0])], {"branches": branches}, len(node.outputs))
    for value, tensor in zip(node.outputs, made, strict=True):
        b.define(value, tensor)


@rule("Loop")
def lower_loop(b: Builder, node: ir.Node) -> None:
    _lower_iterated(b, node, "loop", {})


@rule("Scan")
def lower_scan(b: Builder, node: ir.Node) -> None:
    if b.opset < 9:
        raise Unsupported("the batched Scan of opset 8")
    attrs: dict[str, object] = {"scans": node.attributes["num_scan_inputs"].as_int()}
    for side in ("input", "output"):
        for what in ("axes", "directions"):
            attrs[f"{side}_{what}"] = list(node.attributes.get_ints(f"scan_{side}_{what}", ()))
    _lower_iterated(b, node, "scan", attrs)


@rule("SequenceMap")
def lower_sequence_map(b: Builder, node: ir.Node) -> None:
    _lower_iterated(b, node, "sequence_map", {})


def _lower_iterated(b: Builder, node: ir.Node, kind: str, attrs: dict[str, object]) -> None:
    body = _lower_graph(b, node.attributes["body"].as_graph())
    own = [b.tensor(v) for v in node.inputs]
    if kind == "loop":
        own += [ABSENT] * (2 - len(own))
    inputs = [*own, *captured_by(body, b.lowered.constants)]
    made = b.add(kind, node, inputs, {**attrs, "branches": [body]}, len(node.outputs))
    for value, tensor in zip(node.outputs, made, strict=True):
        b.define(value, tensor)


def _lower_graph(b: Builder, graph: ir.Graph) -> Lowered:
    """A nested graph; its tensors are numbered along with the outer ones, and outer values keep their numbers."""
    from planish.lowering.lower import lower_nodes

    inner = Lowered(constants=b.lowered.constants, names=b.lowered.names, notes=b.lowered.notes)
    child = Builder(inner, b.opset, b)
    for value in graph.inputs:
        number = inner.tensor(value.name or "")
        inner.inputs.append(port(value, number))
        child.define(value, number)
    lower_nodes(child, graph)
    inner.outputs = [port(v, child.tensor(v)) for v in graph.outputs]
    return inner
