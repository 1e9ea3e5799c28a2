"""Structural checks of a `ModelProto` before anything is built from it.

These are the checks whose failure would otherwise surface far away as a crash or an obscure message: versions, names,
dangling references, attributes that contradict the operator's schema, and tensors whose bytes do not fit their shape.
They read no weight, so their time depends on the number of nodes only. Topological order is not demanded here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, cast

import onnx
import onnx.defs

from planish.errors import ModelError
from planish.importing.check_tensor import check_tensor

_OLDEST_IR = 3
_GRAPH, _GRAPHS = onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS
_TENSOR, _TENSORS = onnx.AttributeProto.TENSOR, onnx.AttributeProto.TENSORS
_MAX_NESTING = 32
_ELEMENT_TYPES = frozenset(onnx.TensorProto.DataType.values()) - {onnx.TensorProto.UNDEFINED}

Opsets = dict[str, int]


def check_model_proto(proto: onnx.ModelProto, where: str) -> None:
    """Raise ModelError unless `proto` is a structurally sound model of versions that the installed onnx knows."""
    if not proto.HasField("graph") or not proto.ir_version:
        raise ModelError(f"{where}: is not an ONNX model (no graph or no IR version); give the path of an .onnx file")
    opsets = _check_versions(proto, where)
    functions = {(f.domain, f.name) for f in proto.functions}
    for function in proto.functions:
        _check_function(function, opsets, functions, where)
    if not proto.graph.output:
        raise ModelError(f"{where}: the graph has no outputs; export the model again")
    _check_graph(proto.graph, frozenset(), opsets, functions, where, 0)


def _check_versions(proto: onnx.ModelProto, where: str) -> Opsets:
    if not _OLDEST_IR <= proto.ir_version <= onnx.IR_VERSION:
        raise ModelError(
            f"{where}: IR version {proto.ir_version} is not supported (onnx {onnx.__version__} knows "
            f"{_OLDEST_IR} to {onnx.IR_VERSION}); export for an older IR version or upgrade onnx"
        )
    opsets = _opsets(proto.opset_import)
    newest = onnx.defs.onnx_opset_version()
    if "" not in opsets and any(n.domain in ("", "ai.onnx") for n in proto.graph.node):
        raise ModelError(f"{where}: no opset is imported for the standard domain; export the model again")
    if not 1 <= opsets.get("", 1) <= newest:
        raise ModelError(
            f"{where}: opset {opsets['']} is unknown (onnx {onnx.__version__} knows 1 to {newest}); "
            "export for an older opset or upgrade onnx"
        )
    return opsets


def _opsets(imports: object) -> Opsets:
    return {("" if o.domain == "ai.onnx" else o.domain): o.version for o in imports}  # type: ignore[attr-defined]


def _check_function(function: onnx.FunctionProto, opsets: Opsets, functions: set[tuple[str, str]], where: str) -> None:
    where = f"{where}: function '{function.name}'"
    names = set(function.input)
    _check_nodes(function.node, names, frozenset(), opsets | _opsets(function.opset_import), functions, where, 0)
    for name in function.output:
        if name not in names:
            raise ModelError(f"{where}: output '{name}' is produced by no node; export the model again")


def _check_graph(
    graph: onnx.GraphProto,
    outer: frozenset[str],
    opsets: Opsets,
    functions: set[tuple[str, str]],
    where: str,
    depth: int,
) -> None:
    if depth > _MAX_NESTING:
        raise ModelError(f"{where}: graphs are nested more than {_MAX_NESTING} deep; simplify the model")
    names: set[str] = set()
    for value in graph.input:
        if not value.name or value.name in names:
            raise ModelError(f"{where}: graph input '{value.name}' is unnamed or named twice; export the model again")
        tensor_type = value.type.tensor_type
        if depth == 0 and value.type.HasField("tensor_type") and tensor_type.elem_type not in _ELEMENT_TYPES:
            raise ModelError(f"{where}: graph input '{value.name}' has an unknown type; export the model again")
        names.add(value.name)
    initializers: set[str] = set()
    for tensor in [*graph.initializer, *(s.values for s in graph.sparse_initializer)]:
        if not tensor.name or tensor.name in initializers:
            raise ModelError(f"{where}: initializer '{tensor.name}' is unnamed or named twice; export the model again")
        initializers.add(tensor.name)
    for tensor in graph.initializer:
        check_tensor(tensor, where)
    names |= initializers
    _check_nodes(graph.node, names, outer, opsets, functions, where, depth)
    known = names | outer
    for value in graph.output:
        if value.name not in known:
            raise ModelError(f"{where}: graph output '{value.name}' is produced by no node; export the model again")


def _check_nodes(
    nodes: object,
    names: set[str],
    outer: frozenset[str],
    opsets: Opsets,
    functions: set[tuple[str, str]],
    where: str,
    depth: int,
) -> None:
    """Check the nodes of one scope; adds the names that they produce to `names`."""
    listed: list[onnx.NodeProto] = list(nodes)  # type: ignore[call-overload]
    for index, node in enumerate(listed):
        for name in node.output:
            if name and name in names:
                raise ModelError(
                    f"{where}: {_title(node, index)}: output '{name}' is defined twice; rename one of them"
                )
            names.add(name)
    names.discard("")
    known = outer | names
    for index, node in enumerate(listed):
        for name in node.input:
            if name and name not in known:
                raise ModelError(
                    f"{where}: {_title(node, index)}: input '{name}' is neither a graph input, an initializer nor the "
                    "output of a node; export the model again"
                )
        _check_schema(node, index, opsets, functions, where)
        for attribute in node.attribute:
            if attribute.name == "equation" and any(
                term.count(b"...") > 1 for term in attribute.s.replace(b"->", b",").split(b",")
            ):
                # onnx's shape inference would never end.
                raise ModelError(f"{where}: {_title(node, index)}: a term with two ellipses; repair the equation")
            for tensor in _tensors(attribute):
                check_tensor(tensor, f"{where}: {_title(node, index)}")
            for graph in _graphs(attribute):
                _check_graph(graph, known, opsets, functions, f"{where}: {_title(node, index)}", depth + 1)


def _graphs(attribute: onnx.AttributeProto) -> Iterator[onnx.GraphProto]:
    if attribute.type == _GRAPH:
        yield attribute.g
    elif attribute.type == _GRAPHS:
        yield from attribute.graphs


def _tensors(attribute: onnx.AttributeProto) -> Iterator[onnx.TensorProto]:
    if attribute.type == _TENSOR and not attribute.ref_attr_name:
        yield attribute.t
    elif attribute.type == _TENSORS:
        yield from attribute.tensors


def _title(node: onnx.NodeProto, index: int) -> str:
    return f"node '{node.name or f'#{index}'}' ({node.op_type})"


class _Schema:
    """What is checked of an operator's schema, taken out once since every access to an OpSchema copies."""

    def __init__(self, schema: onnx.defs.OpSchema) -> None:
        self.inputs = (schema.min_input, schema.max_input)
        self.outputs = (schema.min_output, schema.max_output)
        self.types = {name: cast(Any, a.type).value for name, a in schema.attributes.items()}
        self.required_inputs = [
            (index, parameter.name)
            for index, parameter in enumerate(schema.inputs)
            if parameter.option == onnx.defs.OpSchema.FormalParameterOption.Single
        ]
        self.required = frozenset(name for name, a in schema.attributes.items() if a.required)


@functools.lru_cache(maxsize=1024)
def _schema(op_type: str, domain: str, version: int) -> _Schema | None:
    try:
        return _Schema(onnx.defs.get_schema(op_type, version, domain))
    except onnx.defs.SchemaError:
        return None


def _check_schema(
    node: onnx.NodeProto, index: int, opsets: Opsets, functions: set[tuple[str, str]], where: str
) -> None:
    """Counts of inputs and outputs, and names and types of attributes; operators without a schema pass."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    if (node.domain, node.op_type) in functions or domain not in opsets:
        return
    schema = _schema(node.op_type, domain, opsets[domain])
    if schema is None:
        return
    for count, (low, high), what in (
        (len(node.input), schema.inputs, "inputs"),
        (len(node.output), schema.outputs, "outputs"),
    ):
        if not low <= count <= high:
            raise ModelError(
                f"{where}: {_title(node, index)}: has {count} {what}, opset {opsets[domain]} wants "
                f"{low if low == high else f'{low} to {high}'}; export the model again"
            )
    for place, name in schema.required_inputs:
        if not node.input[place]:
            raise ModelError(
                f"{where}: {_title(node, index)}: input {place} '{name}' is left out; export the model again"
            )
    given = set()
    for attribute in node.attribute:
        given.add(attribute.name)
        wanted = schema.types.get(attribute.name)
        if wanted is None or (attribute.type != wanted and attribute.type):
            problem = "is unknown" if wanted is None else "has the wrong type"
            raise ModelError(
                f"{where}: {_title(node, index)}: attribute '{attribute.name}' {problem} in opset {opsets[domain]}; "
                "export the model again"
            )
    if missing := schema.required - given:
        raise ModelError(
            f"{where}: {_title(node, index)}: attribute '{min(missing)}' is missing; export the model again"
        )
