"""A model as onnx's shape inference needs it: no weights, names of nodes or documentation. onnx_ir's own serialization
of a quantized model, with its hundreds of scales, takes longer than everything else that resolve_shapes does."""

from __future__ import annotations

import onnx
import onnx_ir

from planish.passes.patterns import subgraphs_of

#: Operators that inference reads no number from, only types and shapes.
_UNREAD = frozenset(
    {
        "BatchNormalization", "Conv", "ConvTranspose", "DequantizeLinear", "Gemm", "LayerNormalization", "MatMul",
        "QuantizeLinear", "QLinearConv", "QLinearMatMul",
    }
)  # fmt: skip


def inference_proto(model: onnx_ir.Model, largest: int) -> onnx.ModelProto:
    """The model's nodes in order, and what is stated about its values. Initializers of the main graph above `largest`
    bytes, and those that only operators use whose inference reads no numbers, become graph inputs of their type and
    shape."""
    proto = onnx.ModelProto(ir_version=model.ir_version)
    for domain, version in model.opset_imports.items():
        proto.opset_import.add(domain=domain, version=version)
    for function in model.functions.values():
        proto.functions.append(onnx_ir.to_proto(function))
    graph = model.graph
    proto.graph.name = graph.name or "graph"
    for value in graph.inputs:
        _state(proto.graph.input.add(), value)
    given = {value.name for value in graph.inputs}
    for value in graph.initializers.values():
        tensor = value.const_value
        if tensor is not None and tensor.nbytes <= largest and not _is_unread(value):
            tensor.name = value.name
            onnx_ir.serde.serialize_tensor_into(proto.graph.initializer.add(), tensor)
        elif value.name not in given:
            _state(proto.graph.input.add(), value)
    for value in graph.outputs:
        _state(proto.graph.output.add(), value)
    for node in graph:
        _add_node(proto.graph, node)
    return proto


def _is_unread(value: onnx_ir.Value) -> bool:
    return all(
        user.op_type in _UNREAD and user.domain == "" and not value.is_graph_output() for user in value.consumers()
    )


def _add_node(graph: onnx.GraphProto, node: onnx_ir.Node) -> None:
    if node.overload or subgraphs_of(node):
        graph.node.append(onnx_ir.to_proto(node))
    else:
        proto = graph.node.add(op_type=node.op_type, domain=node.domain)
        proto.input.extend(["" if value is None else str(value.name) for value in node.inputs])
        proto.output.extend([str(value.name) for value in node.outputs])
        for attribute in node.attributes.values():
            if attribute.is_ref():
                onnx_ir.serde.serialize_reference_attribute_into(proto.attribute.add(), attribute)
            else:
                onnx_ir.serde.serialize_attribute_into(proto.attribute.add(), attribute)
    for value in node.outputs:
        if (value.type is not None or value.shape is not None) and not value.is_graph_output():
            _state(graph.value_info.add(), value)


def _state(info: onnx.ValueInfoProto, value: onnx_ir.Value) -> None:
    """What is known of a value's type and shape."""
    kind, shape = value.type, value.shape
    if not isinstance(kind, onnx_ir.TensorType):
        onnx_ir.serde.serialize_value_into(info, value)
        return
    info.name = str(value.name)
    info.type.tensor_type.elem_type = int(kind.dtype)
    if shape is None:
        return
    dims = info.type.tensor_type.shape
    dims.SetInParent()
    for size in shape:
        dim = dims.dim.add()
        if isinstance(size, int):
            dim.dim_value = size
        elif size.value is not None:
            dim.dim_param = str(size.value)
