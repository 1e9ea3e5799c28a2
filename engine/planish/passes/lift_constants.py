"""lift_constants: Constant nodes become initializers; initializers stop being graph inputs."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir

from planish.passes.patterns import graphs_of, nodes_of
from planish.passes.rewrite import add_tensor, make_node, remove_nodes, replace_node

#: The IR version that no longer wants initializers listed as graph inputs.
_INITIALIZERS_ARE_NOT_INPUTS = 4


def lift_constants(model: onnx_ir.Model) -> bool:
    """Turn every Constant node into an initializer of its graph, and take initializers off the list of graph inputs.

    IR version 3 demanded every initializer to be listed as an input; later versions read such a listing as a default
    that a caller may override. Here they are constants either way. A Constant that is itself a graph output becomes
    Identity of an initializer, since an output must be computed.

    Guarantees: no Constant node remains (except of sequence or unknown attributes); graph inputs are what a caller
    feeds.
    """
    changed = False
    if model.ir_version < _INITIALIZERS_ARE_NOT_INPUTS:
        model.ir_version = _INITIALIZERS_ARE_NOT_INPUTS
    for graph in graphs_of(model):
        changed |= _unlist_initializers(graph)
    for node in nodes_of(model, "Constant"):
        tensor = _tensor_of(node)
        if tensor is None or node.graph is None:
            continue
        output = node.outputs[0]
        name = str(output.name)
        graph = node.graph
        assert isinstance(graph, onnx_ir.Graph)
        if output.is_graph_output():
            constant = add_tensor(graph, tensor, f"{name}.value")
            replace_node(node, make_node("Identity", [constant], like=constant))
        else:
            output.name = None
            constant = add_tensor(graph, tensor, name)
            output.replace_all_uses_with(constant)
            remove_nodes(node)
        changed = True
    return changed


def overridable_initializers(model: onnx_ir.Model) -> list[onnx_ir.Value]:
    """The graph inputs that a caller may leave out, because an initializer is their default."""
    if model.ir_version < _INITIALIZERS_ARE_NOT_INPUTS:
        return []
    return [value for value in model.graph.inputs if value.is_initializer()]


def drop_defaults(model: onnx_ir.Model, names: Collection[str]) -> None:
    """Make the graph inputs of these names ordinary ones, that a caller must feed."""
    for name in names:
        value = model.graph.initializers.pop(name)
        value.const_value = None


def _unlist_initializers(graph: onnx_ir.Graph) -> bool:
    listed = [value for value in graph.inputs if value.is_initializer()]
    for value in listed:
        graph.inputs.remove(value)
    return bool(listed)


def _tensor_of(node: onnx_ir.Node) -> onnx_ir.TensorProtocol | None:
    """The tensor that a Constant stands for, from whichever attribute holds it."""
    if len(node.attributes) != 1:
        return None
    ((name, attribute),) = node.attributes.items()
    if attribute.is_ref():
        return None
    match name:
        case "value":
            tensor: onnx_ir.TensorProtocol = attribute.value
            return tensor
        case "value_float":
            return onnx_ir.Tensor(np.array(attribute.as_float(), np.float32))
        case "value_floats":
            return onnx_ir.Tensor(np.array(attribute.as_floats(), np.float32))
        case "value_int":
            return onnx_ir.Tensor(np.array(attribute.as_int(), np.int64))
        case "value_ints":
            return onnx_ir.Tensor(np.array(attribute.as_ints(), np.int64))
        case "value_string":
            return onnx_ir.StringTensor([attribute.as_string().encode()], shape=onnx_ir.Shape([]))
        case "value_strings":
            strings = [text.encode() for text in attribute.as_strings()]
            return onnx_ir.StringTensor(strings, shape=onnx_ir.Shape([len(strings)]))
    return None
