"""Checks of the graph between passes, for debugging: `PLANISH_DEBUG=1` or `canonicalise(model, verify=True)`."""

from __future__ import annotations

import onnx
import onnx_ir

from planish.errors import ModelError
from planish.passes.patterns import subgraphs_of
from planish.passes.weightless import weightless_proto

#: Larger initializers are checked as graph inputs: the checker would copy them.
_CHECKED_BYTES = 1 << 16

Signature = tuple[tuple[str | None, str, str | None], ...]


def signature_of(model: onnx_ir.Model) -> Signature:
    """Names and types of the model's inputs and outputs: what no pass may change."""
    return tuple(
        (kind, str(value.name), None if value.type is None else str(value.type))
        for kind, values in (("input", model.graph.inputs), ("output", model.graph.outputs))
        for value in values
        if not (kind == "input" and value.is_initializer())
    )


def verify_model(model: onnx_ir.Model, signature: Signature, after: str) -> None:
    """Raise ModelError unless the model is valid ONNX, in topological order, with unique names and this signature."""
    if signature_of(model) != signature:
        raise ModelError(f"pass {after}: changed the model's inputs or outputs; report this as a bug of planish")
    _verify_graph(model.graph, set(), set(), after)
    try:
        onnx.checker.check_model(weightless_proto(model, _CHECKED_BYTES))
    except onnx.checker.ValidationError as error:
        text = " ".join(str(error).split())[:400]
        raise ModelError(f"pass {after}: left an invalid model: {text}; report this as a bug of planish") from None


def _verify_graph(graph: onnx_ir.Graph, visible: set[onnx_ir.Value], names: set[str], after: str) -> None:
    """Every use refers to a value defined before it in this graph or around it, and no name repeats."""
    defined = visible | set(graph.inputs) | set(graph.initializers.values())
    for given in {*graph.inputs, *graph.initializers.values()}:
        _verify_name(given, names, after)
    for node in graph:
        for value in node.inputs:
            if value is not None and value not in defined:
                raise ModelError(
                    f"pass {after}: node '{node.name}' uses '{value.name}' before it is defined; report it"
                )
        for subgraph in subgraphs_of(node):
            _verify_graph(subgraph, defined, names, after)
        for value in node.outputs:
            if value.name != "":
                _verify_name(value, names, after)
            defined.add(value)
    for value in graph.outputs:
        if value not in defined:
            raise ModelError(f"pass {after}: graph output '{value.name}' is not computed; report this as a bug")


def _verify_name(value: onnx_ir.Value, names: set[str], after: str) -> None:
    if not value.name or value.name in names:
        raise ModelError(f"pass {after}: the name '{value.name}' is empty or repeated; report this as a bug of planish")
    names.add(value.name)
