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
    for value in list(graph.initializers.values()):
        tensor = value.const_value
        if tensor is None or not _is_small(tensor) or value.is_graph_output() or value.is_graph_input():
            continue
        kept = first.setdefault((tensor.dtype, tuple(tensor.shape.numpy()), _bytes_of(tensor)), value)
        if kept is not value:
            value.replace_all_uses_with(kept)
            del graph.initializers[str(value.name)]
            changed = True
    return changed


def _bytes_of(tensor: onnx_ir.TensorProtocol) -> bytes:
    """What tells tensors of one type and shape apart; onnx_ir's own `tobytes` takes five times as long."""
    return tensor.numpy().tobytes() if type(tensor) is onnx_ir.Tensor else tensor.tobytes()


def _is_small(tensor: onnx_ir.TensorProtocol) -> bool:
    return tensor.dtype != onnx_ir.DataType.STRING and tensor.nbytes <= _SMALL_BYTES


def _merge_nodes(graph: onnx_ir.Graph) -> bool:
    first: dict[Hashable, onnx_ir.Node] = {}
    changed = False
    for node in list(graph):
        key = _key(node)
        if key is None:
            continue
        kept = first.setdefault(key, node)
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


def _key(node: onnx_ir.Node) -> Hashable:
    """What two nodes must share to compute the same; None for nodes that are never merged."""
    if (node.domain == "" and node.op_type in _NEVER) or subgraphs_of(node):
        return None
    attributes = []
    for name, attribute in sorted(node.attributes.items()):
        if attribute.is_ref() or attribute.type in (onnx_ir.AttributeType.GRAPH, onnx_ir.AttributeType.GRAPHS):
            return None
        value = attribute.value
        if attribute.type == onnx_ir.AttributeType.TENSOR:
            tensor = attribute.as_tensor()
            if not _is_small(tensor):
                return None
            value = (tensor.dtype, tuple(tensor.shape.numpy()), _bytes_of(tensor))
        elif not isinstance(value, (int, float, str, bytes)):
            value = repr(value)
        attributes.append((name, value))
    wanted = tuple(bool(value.name) for value in node.outputs)
    return node.domain, node.op_type, node.overload, tuple(map(id, node.inputs)), tuple(attributes), wanted
