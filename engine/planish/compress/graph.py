"""The clean float graph that compression starts from, and its layers seen as matrices W[N, K]."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from planish.errors import ModelError, first_line

ModelLike = str | os.PathLike[str] | bytes | onnx.ModelProto

#: Operators with a constant weight that can be compressed.
LAYER_OPS = ("Conv", "ConvTranspose", "Gemm", "MatMul")

#: Operators that only quantized models have.
_QUANTIZED_OPS = frozenset(("DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"))

#: Initializers above this many elements are kept away from the version converter, which needs none of them.
_SMALL = 1024


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a weight tensor is seen as W[N, K]: N output channels, K inputs of one output.

    `perm` brings the stored axes into the order (N, taps..., cin); K = taps * cin, with cin the fastest.
    """

    shape: tuple[int, ...]
    perm: tuple[int, ...]

    @property
    def ordered(self) -> tuple[int, ...]:
        """The shape after `perm`: (N, taps..., cin)."""
        return tuple(self.shape[axis] for axis in self.perm)

    @property
    def rows(self) -> int:
        """N, the number of output channels."""
        return self.shape[self.perm[0]]

    @property
    def channel_axis(self) -> int:
        """The stored axis of the output channels."""
        return self.perm[0]

    @property
    def cin(self) -> int:
        """Input channels of one tap."""
        return self.shape[self.perm[-1]]

    def matrix(self, stored: NDArray[Any]) -> NDArray[Any]:
        """W[N, K] of a tensor in its stored layout."""
        return stored.transpose(self.perm).reshape(self.rows, -1)

    def stored(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """The inverse of `matrix`."""
        return np.ascontiguousarray(matrix.reshape(self.ordered).transpose(np.argsort(self.perm)))


@dataclasses.dataclass(frozen=True)
class Layer:
    """A node whose weight is constant: what recipes match and the report lists."""

    name: str
    op: str
    node: str
    input: str
    output: str
    weight: str
    bias: str | None
    layout: Layout
    groups: int = 1
    #: Where the bias of a MatMul lives: the Add behind it.
    bias_node: str | None = None

    @property
    def rows(self) -> int:
        return self.layout.rows

    @property
    def input_channel_axis(self) -> int:
        """The axis of the layer's input that holds its input channels."""
        return 1 if self.op in ("Conv", "ConvTranspose") else -1


@dataclasses.dataclass
class FloatModel:
    """A canonical float model, its layers in topological order, and their weights and biases as float32 arrays."""

    model: ir.Model
    layers: list[Layer]
    weights: dict[str, NDArray[np.float32]]
    biases: dict[str, NDArray[np.float32]]

    @property
    def by_name(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    def copy(self) -> ir.Model:
        """An independent copy of the graph for a writer to edit; constant data is shared."""
        return self.model.clone()


def load_float(model: ModelLike, opset: int = 13) -> FloatModel:
    """Load `model`, canonicalise it, raise it to `opset` and find its layers.

    Raises ModelError for what is not a readable float model.
    """
    clean = _canonical(model, opset)
    name_nodes(clean.graph)
    layers = find_layers(clean.graph)
    if not layers and any(node.op_type in _QUANTIZED_OPS for node in clean.graph):
        raise ModelError("model: is quantized already; give the float model it was made from")
    weights: dict[str, NDArray[np.float32]] = {}
    biases: dict[str, NDArray[np.float32]] = {}
    for layer in layers:
        weights[layer.name] = constant(clean.graph, layer.weight).astype(np.float32)
        if layer.bias is not None:
            biases[layer.name] = constant(clean.graph, layer.bias).astype(np.float32).reshape(-1)
    return FloatModel(clean, layers, weights, biases)


def _canonical(model: ModelLike, opset: int) -> ir.Model:
    from planish.importing import load_model
    from planish.passes import canonicalise

    clean = canonicalise(load_model(model))
    for value in [value for value in clean.graph.inputs if value.name in clean.graph.initializers]:
        clean.graph.inputs.remove(value)
    return raise_opset(clean, opset)


def raise_opset(model: ir.Model, minimum: int) -> ir.Model:
    """`model` at an ONNX opset of at least `minimum`. Raises ModelError where ONNX knows no conversion."""
    version = model.opset_imports.get("", minimum)
    if version >= minimum:
        return model
    large = {
        name: value.const_value
        for name, value in model.graph.initializers.items()
        if value.const_value is not None and value.const_value.size > _SMALL
    }
    proto = _without(ir.to_proto(model), set(large))
    try:
        raised = ir.from_proto(onnx.version_converter.convert_version(proto, minimum))
    except Exception as error:
        reason = first_line(error)
        raise ModelError(
            f"model: cannot be raised from opset {version} to {minimum} ({reason}); export it at opset {minimum}"
        ) from error
    for value in list(raised.graph.inputs):
        if value.name in large:
            raised.graph.inputs.remove(value)
            value.const_value = large[value.name]
            raised.graph.register_initializer(value)
    return raised


def _without(proto: onnx.ModelProto, names: set[str]) -> onnx.ModelProto:
    """`proto` with the initializers `names` turned into inputs, at an IR version where the others need not be."""
    proto.ir_version = max(proto.ir_version, 8)
    kept = [tensor for tensor in proto.graph.initializer if tensor.name not in names]
    for tensor in proto.graph.initializer:
        if tensor.name in names:
            info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            proto.graph.input.append(info)
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    return proto


def name_nodes(graph: ir.Graph) -> None:
    """Give every node a name of its own, so that layers can be addressed."""
    seen: set[str] = set()
    for index, node in enumerate(graph):
        name = node.name or f"{node.op_type}_{index}"
        while name in seen:
            name = f"{name}_{index}"
        node.name = name
        seen.add(name)


def constant(graph: ir.Graph, name: str) -> NDArray[Any]:
    """The array of an initializer."""
    tensor = graph.initializers[name].const_value
    if tensor is None:
        raise ModelError(f"initializer '{name}': has no data; give the model with its external data")
    return tensor.numpy()


def is_constant(value: ir.Value | None) -> bool:
    return value is not None and value.is_initializer() and value.const_value is not None


def find_layers(graph: ir.Graph) -> list[Layer]:
    """Every node of `LAYER_OPS` with a constant float weight, in topological order."""
    return [layer for node in graph if (layer := _layer(node)) is not None]


def find_products(graph: ir.Graph) -> list[str]:
    """The names of the MatMul nodes that multiply two activations."""
    return [
        str(node.name)
        for node in graph
        if node.op_type == "MatMul" and node.domain in ("", "ai.onnx") and not any(map(is_constant, node.inputs))
    ]


def _layer(node: ir.Node) -> Layer | None:
    if node.domain not in ("", "ai.onnx") or node.op_type not in LAYER_OPS or len(node.inputs) < 2:
        return None
    data, weight = node.inputs[0], node.inputs[1]
    if data is None or weight is None or not is_constant(weight) or is_constant(data):
        return None
    tensor = weight.const_value
    if tensor is None or tensor.dtype not in (ir.DataType.FLOAT, ir.DataType.FLOAT16):
        return None
    layout = _layout(node, _shape(tensor))
    if layout is None:
        return None
    bias, bias_node = _bias(node, layout.rows)
    return Layer(
        name=str(node.name),
        op=node.op_type,
        node=str(node.name),
        input=str(data.name),
        output=str((bias_node or node).outputs[0].name),
        weight=str(weight.name),
        bias=bias,
        layout=layout,
        groups=node.attributes.get_int("group", 1) if "Conv" in node.op_type else 1,
        bias_node=None if bias_node is None else str(bias_node.name),
    )


def _layout(node: ir.Node, shape: tuple[int, ...]) -> Layout | None:
    """How the node's weight is seen as W[N, K]; None for forms that are not compressed."""
    if node.op_type == "Conv" and len(shape) >= 3:
        return Layout(shape, (0, *range(2, len(shape)), 1))
    if node.op_type == "ConvTranspose" and len(shape) >= 3 and node.attributes.get_int("group", 1) == 1:
        return Layout(shape, (1, *range(2, len(shape)), 0))
    if node.op_type == "Gemm" and _plain_gemm(node):
        return Layout(shape, (0, 1) if node.attributes.get_int("transB", 0) else (1, 0))
    if node.op_type == "MatMul" and len(shape) == 2:
        return Layout(shape, (1, 0))
    return None


def _plain_gemm(node: ir.Node) -> bool:
    """y = A·B + C with no factor; others stay float."""
    attributes = node.attributes
    return (
        attributes.get_float("alpha", 1.0) == 1.0
        and attributes.get_float("beta", 1.0) == 1.0
        and not attributes.get_int("transA", 0)
    )


def _bias(node: ir.Node, rows: int) -> tuple[str | None, ir.Node | None]:
    """The constant bias of a layer, and the Add that holds it where the layer is a MatMul."""
    if node.op_type != "MatMul":
        value = node.inputs[2] if len(node.inputs) > 2 else None
        usable = value is not None and is_constant(value) and value.const_value.size == rows  # type: ignore[union-attr]
        return (str(value.name) if usable and value is not None else None), None
    consumers = list(node.outputs[0].consumers())
    if len(consumers) != 1 or consumers[0].op_type != "Add" or node.outputs[0].is_graph_output():
        return None, None
    add = consumers[0]
    other = add.inputs[1] if add.inputs[0] is node.outputs[0] else add.inputs[0]
    if other is None or other.const_value is None or _shape(other.const_value) not in ((rows,), (1, rows)):
        return None, None
    return str(other.name), add


def _shape(tensor: ir.TensorProtocol) -> tuple[int, ...]:
    return tuple(int(dim) for dim in tensor.numpy().shape)
