"""eliminate_duplicates: what is computed twice from the same inputs is computed once."""

from __future__ import annotations

from collections.abc import Hashable

import onnx_ir

from planish.passes.patterns import graphs_of, subgraphs_of
from planish.passes.rewrite import remove_nodes

#: Initializers up to this size are compared: shapes, axes, scales, small constants. Weights are left alone.
_SMALL_BYTES = 256

_NEVER = frozenset(
    {
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Bernoulli",
        "Multinomial",
        "Dropout",
        # Every consumer keeps its own, so that quantized layers are recognised one by one.
        "DequantizeLinear",
    }
)


def eliminate_duplicates(model: onnx_ir.Model) -> bool:
    """Merge nodes of one graph with the same operator, attributes and inputs, and equal small initializers.

    Random operators, DequantizeLinear and nodes with subgraphs are kept. Where both results are graph outputs, both
    nodes stay.

    Guarantees: no two nodes of a graph compute the same thing, with these exceptions.
    """
    changed = False
    for graph in graphs_of(model):
        changed |= _merge_initializers(graph)
        changed |= _merge_nodes(graph)
    return changed


def _merge_initializers(graph: onnx_ir.Graph) -> bool:
    first: dict[Hashable, onnx_ir.Value] = {}
    changed = False
    for value in list(graph.initializers.data.values()):
        contents = None if value.const_value is None else _small_contents(value.const_value)
        if contents is None or value.is_graph_output() or value.is_graph_input():
            continue
        kept = first.setdefault(contents, value)
        if kept is not value:
            value.replace_all_uses_with(kept)
            del graph.initializers[str(value.name)]
            changed = True
    return changed


def _small_contents(tensor: onnx_ir.TensorProtocol) -> Hashable:
    """What tells small tensors apart; None for strings and large ones."""
    if type(tensor) is onnx_ir.Tensor:  # onnx_ir's own `nbytes` and `tobytes` take many times as long
        array = tensor.numpy()
        return (tensor.dtype, array.shape, array.tobytes()) if array.nbytes <= _SMALL_BYTES else None
    if tensor.dtype == onnx_ir.DataType.STRING or tensor.nbytes > _SMALL_BYTES:
        return None
    return tensor.dtype, tuple(tensor.shape.numpy()), tensor.tobytes()


def _merge_nodes(graph: onnx_ir.Graph) -> bool:
    first: dict[Hashable, onnx_ir.Node] = {}  # operator and inputs → the first node that has them
    alike: dict[Hashable, dict[Hashable, onnx_ir.Node]] = {}  # where there are several: the rest of the key → node
    changed = False
    for node in list(graph):
        if node.domain == "" and node.op_type in _NEVER:
            continue
        operands = node.domain, node.op_type, tuple(map(id, node.inputs))
        known = first.setdefault(operands, node)
        if known is node:
            continue
        if operands not in alike:
            alike[operands] = {_rest_of_key(known): known}
        key = _rest_of_key(node)
        kept = node if key is None else alike[operands].setdefault(key, node)
        if kept is not node:
            changed |= _merge(node, kept)
    return changed


def _merge(node: onnx_ir.Node, kept: onnx_ir.Node) -> bool:
    if any(value.is_graph_output() for value in node.outputs):
        return False
    for value, replacement in zip(node.outputs, kept.outputs, strict=True):
        value.replace_all_uses_with(replacement)
    remove_nodes(node)
    return True


def _rest_of_key(node: onnx_ir.Node) -> Hashable:
    """What two nodes of one operator and inputs must share besides to compute the same; None for nodes that are never
    merged."""
    if subgraphs_of(node):
        return None
    attributes = []
    for name, attribute in sorted(node.attributes.items()):
        if attribute.is_ref() or attribute.type in (onnx_ir.AttributeType.GRAPH, onnx_ir.AttributeType.GRAPHS):
            return None
        value = attribute.value
        if attribute.type == onnx_ir.AttributeType.TENSOR:
            value = _small_contents(attribute.value)
            if value is None:
                return None
        elif not isinstance(value, (int, float, str, bytes)):
            value = repr(value)
        attributes.append((name, value))
    wanted = tuple(bool(value.name) for value in node.outputs)
    return node.overload, tuple(attributes), wanted
