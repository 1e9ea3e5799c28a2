"""The ONNX side of an inspection: operators, and the forms that constants are stored in."""

from __future__ import annotations

from collections import Counter

import onnx_ir as ir

from planish.inspection.result import Source

#: Operators whose constant operands are one of the compressed forms.
_FORMS = {"Gather": "codebook", "GatherElements": "codebook", "ScatterND": "blocks"}


def read_source(model: ir.Model) -> Source:
    """What a model says of itself, before planish changes anything in it."""
    storage: dict[str, tuple[int, int]] = {}
    for tensor, form in _constants(model.graph):
        elements, size = storage.get(form, (0, 0))
        storage[form] = elements + tensor.size, size + tensor.nbytes
    return Source(
        producer=" ".join(filter(None, [model.producer_name, model.producer_version])),
        ir_version=model.ir_version or 0,
        opsets=dict(model.opset_imports),
        operators=tuple(_operator(node) for node in model.graph.all_nodes()),
        storage=dict(sorted(storage.items(), key=lambda entry: -entry[1][1])),
        metadata={k: v for k, v in model.metadata_props.items() if k.startswith("planish.")},
    )


def count_operators(source: Source) -> Counter[str]:
    """Nodes of each operator, most frequent first."""
    return Counter(dict(Counter(source.operators).most_common()))


def _operator(node: ir.Node) -> str:
    return f"{node.domain}::{node.op_type}" if node.domain else node.op_type


def _constants(graph: ir.Graph) -> list[tuple[ir.TensorProtocol, str]]:
    """Initializers and Constant nodes with the form each belongs to."""
    found = [(v.const_value, _form(v)) for v in graph.initializers.values() if v.const_value is not None]
    for node in graph.all_nodes():
        value = node.attributes.get("value") if node.op_type == "Constant" else None
        if value is not None and value.type == ir.AttributeType.TENSOR:
            found.append((value.as_tensor(), _form(node.outputs[0], value.as_tensor())))
    return found


def _form(value: ir.Value, tensor: ir.TensorProtocol | None = None) -> str:
    """The compressed form a constant is a part of, else its element type."""
    for node, _ in value.uses():
        users = [user for user, _ in node.outputs[0].uses()] if node.op_type in ("Cast", "DequantizeLinear") else [node]
        for user in users:
            if user.op_type in _FORMS and all(v is None or _is_constant(v) for v in user.inputs):
                return _FORMS[user.op_type]
    stored = tensor or value.const_value
    assert stored is not None
    return stored.dtype.numpy().name if stored.dtype != ir.DataType.STRING else "string"


def _is_constant(value: ir.Value) -> bool:
    """Whether a value follows from constants alone, through the operators that compressed forms are made of."""
    if value.const_value is not None:
        return True
    node = value.producer()
    if node is None or node.op_type not in ("Cast", "Constant", "ConstantOfShape", "DequantizeLinear"):
        return False
    return all(v is None or _is_constant(v) for v in node.inputs)
