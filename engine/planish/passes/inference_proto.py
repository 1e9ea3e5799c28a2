"""A model, or a part of it, as onnx's shape inference needs it: no weights, names of nodes or documentation. onnx_ir's
own serialization of a quantized model, with its hundreds of scales, takes longer than everything else that
resolve_shapes does."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

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

_GRAPH = onnx.AttributeProto.GRAPH

#: Attributes of more numbers are not kept for the next node that has the same.
_FEW = 16


def inference_proto(model: onnx_ir.Model, nodes: Iterable[onnx_ir.Node], largest: int) -> onnx.ModelProto:
    """These nodes of the main graph, which are given in its order, and what is stated about the values around them.

    What they read and none of them makes becomes a graph input of its type and shape; so do initializers above
    `largest` bytes, and those that only operators use whose inference reads no numbers, also of graphs inside nodes.
    The model's own inputs are inputs, used or not: names that inference invents must differ from theirs.
    """
    proto = onnx.ModelProto(ir_version=model.ir_version)
    for domain, version in model.opset_imports.items():
        proto.opset_import.add(domain=domain, version=version)
    for function in model.functions.values():
        proto.functions.append(onnx_ir.to_proto(function))
    proto.graph.name = model.graph.name or "graph"
    listed = list(nodes)
    reads = dict.fromkeys(model.graph.inputs, False) | _reads(listed)
    made = {value for node in listed for value in node.outputs}
    around = [value for value in reads if value.graph is model.graph and value not in made]
    for value in around:
        if value.is_graph_input() or not value.is_initializer():
            _state(proto.graph.input.add(), value)
    graph = _Graph(proto.graph, proto.graph, reads, largest)
    graph.add_initializers(value for value in around if value.is_initializer())
    for value in model.graph.outputs:
        if value in made:
            _state(proto.graph.output.add(), value)
    graph.add_nodes(listed)
    return proto


def reads_of(node: onnx_ir.Node) -> Iterator[tuple[onnx_ir.Node, onnx_ir.Value]]:
    """The values that a node reads and those that nodes inside it do, each with its reader; what a body gives counts as
    read by the node."""
    for value in node.inputs:
        if value is not None:
            yield node, value
    for body in subgraphs_of(node):
        for inner in body:
            yield from reads_of(inner)
        for value in body.outputs:
            yield node, value


def _reads(nodes: Iterable[onnx_ir.Node]) -> dict[onnx_ir.Value, bool]:
    """The values that nodes read → whether their numbers may matter, not only types and shapes."""
    found: dict[onnx_ir.Value, bool] = {}
    for node in nodes:
        for reader, value in reads_of(node):
            if not found.get(value):
                found[value] = reader.op_type not in _UNREAD or reader.domain != "" or value.is_graph_output()
    return found


@dataclass(frozen=True)
class _Graph:
    """A graph that is being written, and the main one, whose inputs everything inside it can read."""

    proto: onnx.GraphProto
    main: onnx.GraphProto
    reads: Mapping[onnx_ir.Value, bool]
    largest: int

    def add_initializers(self, values: Iterable[onnx_ir.Value]) -> None:
        for value in values:
            tensor = value.const_value
            if tensor is not None and self.reads.get(value) and tensor.nbytes <= self.largest:
                _add_tensor(self.proto, tensor, str(value.name))
            elif not value.is_graph_input():
                _state(self.main.input.add(), value)

    def add_nodes(self, nodes: Iterable[onnx_ir.Node]) -> None:
        for node in nodes:
            proto = self.proto.node.add(
                op_type=node.op_type,
                domain=node.domain,
                overload=node.overload,
                input=["" if value is None else str(value.name) for value in node.inputs],
                output=[str(value.name) for value in node.outputs],
            )
            bodies = subgraphs_of(node)
            for attribute in node.attributes.data.values():
                if bodies and attribute.type == onnx_ir.AttributeType.GRAPH and not attribute.is_ref():
                    self._add_body(proto.attribute.add(name=attribute.name, type=_GRAPH).g, attribute.as_graph())
                else:
                    _add_attribute(proto, attribute)
            for value in node.outputs:
                if (value.type is not None or value.shape is not None) and not value.is_graph_output():
                    _state(self.proto.value_info.add(), value)

    def _add_body(self, proto: onnx.GraphProto, body: onnx_ir.Graph) -> None:
        proto.name = body.name or "body"
        inner = _Graph(proto, self.main, self.reads, self.largest)
        for value in body.inputs:
            _state(proto.input.add(), value)
        inner.add_initializers(body.initializers.data.values())
        inner.add_nodes(body)
        for value in body.outputs:
            _state(proto.output.add(), value)


def _add_tensor(graph: onnx.GraphProto, tensor: onnx_ir.TensorProtocol, name: str) -> None:
    if type(tensor) is onnx_ir.Tensor and tensor.dtype.bitwidth >= 8:
        data = tensor.numpy()
        graph.initializer.add(name=name, data_type=int(tensor.dtype), dims=data.shape, raw_data=data.tobytes())
    else:
        tensor.name = name
        onnx_ir.serde.serialize_tensor_into(graph.initializer.add(), tensor)


def _add_attribute(proto: onnx.NodeProto, attribute: onnx_ir.Attr) -> None:
    if attribute.is_ref():
        onnx_ir.serde.serialize_reference_attribute_into(proto.attribute.add(), attribute)
    elif attribute.type == onnx_ir.AttributeType.INTS and len(attribute.value) <= _FEW:
        proto.attribute.append(_ints(attribute.name, tuple(attribute.value)))
    elif attribute.type == onnx_ir.AttributeType.INT:
        proto.attribute.append(_int(attribute.name, attribute.value))
    else:
        onnx_ir.serde.serialize_attribute_into(proto.attribute.add(), attribute)


@functools.lru_cache(maxsize=1024)
def _ints(name: str, numbers: tuple[int, ...]) -> onnx.AttributeProto:
    return onnx.AttributeProto(name=name, type=onnx.AttributeProto.INTS, ints=numbers)


@functools.lru_cache(maxsize=1024)
def _int(name: str, number: int) -> onnx.AttributeProto:
    return onnx.AttributeProto(name=name, type=onnx.AttributeProto.INT, i=number)


def _state(info: onnx.ValueInfoProto, value: onnx_ir.Value) -> None:
    """What is known of a value's type and shape."""
    kind, shape = value.type, value.shape
    if not isinstance(kind, onnx_ir.TensorType):
        onnx_ir.serde.serialize_value_into(info, value)
        return
    info.name = str(value.name)
    info.type.CopyFrom(_tensor_type(int(kind.dtype), None if shape is None else shape.dims))


@functools.lru_cache(maxsize=1024)
def _tensor_type(element: int, dims: tuple[int | onnx_ir.SymbolicDim, ...] | None) -> onnx.TypeProto:
    proto = onnx.TypeProto()
    proto.tensor_type.elem_type = element
    if dims is not None:
        proto.tensor_type.shape.SetInParent()
    for size in dims or ():
        if isinstance(size, int):
            proto.tensor_type.shape.dim.add(dim_value=size)
        else:
            proto.tensor_type.shape.dim.add(dim_param=size.value)
    return proto
